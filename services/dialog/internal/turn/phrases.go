package turn

import (
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// languageOf returns the language to answer in, "en" or "zh": the question's, and that of its standalone form when the
// question has no letters ("2023?").
func languageOf(question, standalone string) string {
	for _, s := range []string{question, standalone} {
		switch text.Language(s) {
		case text.Chinese, text.Mixed:
			return text.Chinese
		case text.English:
			return text.English
		}
	}
	return text.English
}

// reply picks the text for a language, or the other one when it has none.
func reply(texts map[string]string, language string) string {
	if s := texts[language]; s != "" {
		return s
	}
	for _, l := range []string{text.English, text.Chinese} {
		if s := texts[l]; s != "" {
			return s
		}
	}
	return ""
}

// abstention is what a turn says whose sources can't answer: what is missing, and what would help.
func abstention(t *Turn, searchFailed bool, failedTools []ToolResult) string {
	zh := t.Language == text.Chinese
	var b strings.Builder
	for _, f := range failedTools {
		if zh {
			b.WriteString("工具“" + f.Tool + "”未能给出结果：" + f.Error.Message + "\n\n")
		} else {
			b.WriteString("The tool " + f.Tool + " gave no result: " + f.Error.Message + "\n\n")
		}
	}
	missing := telling(t.Evidence.Missing)
	switch {
	case searchFailed && zh:
		b.WriteString("暂时无法检索文档，因此现在不能回答这个问题。请稍后再问一次。")
	case searchFailed:
		b.WriteString("The documents could not be searched just now, so I can't answer this yet. Please ask again in a moment.")
	case !t.Plan.Retrieve && passing(failedTools) && zh:
		b.WriteString("请稍后再问一次。")
	case !t.Plan.Retrieve && passing(failedTools):
		b.WriteString("Please ask again in a few minutes.")
	case !t.Plan.Retrieve && zh:
		b.WriteString("请检查问题中的数据后再试一次。")
	case !t.Plan.Retrieve:
		b.WriteString("Please check the values in your question and try again.")
	case len(missing) > 0 && zh:
		b.WriteString("根据现有资料无法回答这个问题：资料中没有提到" + quoted(missing, "“", "”", "、") +
			"。请说明您指的是哪个产品、文档或时间，或者补充包含这些内容的文档。")
	case len(missing) > 0:
		b.WriteString("I can't answer this from the documents here: they don't mention " + quoted(missing, "“", "”", ", ") +
			". Could you say which product, document or time you mean, or add a document that covers it?")
	case zh:
		b.WriteString("根据现有资料无法回答这个问题：找到的段落没有说明这一点。请换一种说法、给出更多细节，或者补充包含答案的文档。")
	default:
		b.WriteString("I can't answer this from the documents here: the passages I found don't say it. " +
			"Could you put it another way, give more detail, or add a document that holds the answer?")
	}
	return b.String()
}

// passing reports whether a tool failed that may work later: nothing in the question has to change for it.
func passing(failed []ToolResult) bool {
	return slices.ContainsFunc(failed, func(r ToolResult) bool { return r.Error.Retryable })
}

// telling leaves out words whose absence tells nobody anything.
func telling(words []string) []string {
	var out []string
	for _, w := range words {
		switch strings.ToLower(w) {
		case "get", "got", "go", "long", "take", "takes", "make", "made", "use", "used", "need", "needed", "want", "back", "much", "many", "often",
			"still", "also", "exactly", "possible", "please", "tell", "know", "say", "says", "give", "find", "happen", "happens", "mean", "means":
		default:
			out = append(out, w)
		}
	}
	return out
}

func quoted(words []string, open, end, between string) string {
	out := make([]string, 0, len(words))
	for _, w := range words[:min(len(words), 5)] {
		out = append(out, open+clip(w, 64)+end)
	}
	return strings.Join(out, between)
}

// quotesLead comes before the sentences that stand in for an answer while no model can be reached.
func quotesLead(language string) string {
	if language == text.Chinese {
		return "暂时无法连接语言模型，以下是资料中最相关的原文：\n\n"
	}
	return "The language model can't be reached just now. These are the most relevant sentences of the sources, word for word:\n\n"
}

// noModel is what a caller is told when there is neither a model nor a source to quote.
const noModel = "the language model does not answer; ask again in a minute"
