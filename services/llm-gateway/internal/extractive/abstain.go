package extractive

import (
	"fmt"
	"strings"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

const maxMissing = 4

// abstain says that there is no answer, what is missing, and which calls failed.
func abstain(language string, missing []string, results []ask.Source) string {
	missing = missing[:min(len(missing), maxMissing)]
	var failed []string
	for _, s := range results {
		if s.Tool.Failure != "" {
			failed = append(failed, s.Tool.Name+": "+strings.TrimRight(oneLine(s.Tool.Failure), "."))
		}
	}
	if language == ask.Chinese {
		return chinese(missing, failed)
	}
	return english(missing, failed)
}

func english(missing, failed []string) string {
	var b strings.Builder
	b.WriteString("I can't answer this from the sources I have.")
	if len(missing) > 0 {
		fmt.Fprintf(&b, " They say nothing about “%s”.", strings.Join(missing, "”, “"))
	}
	if len(failed) > 0 {
		fmt.Fprintf(&b, " A tool failed (%s).", strings.Join(failed, "; "))
	}
	b.WriteString(" Try other words, or add a document that covers it.")
	return b.String()
}

func chinese(missing, failed []string) string {
	var b strings.Builder
	b.WriteString("根据现有资料，我无法回答这个问题。")
	if len(missing) > 0 {
		fmt.Fprintf(&b, "资料中没有提到“%s”。", strings.Join(missing, "”“"))
	}
	if len(failed) > 0 {
		fmt.Fprintf(&b, "工具调用失败（%s）。", strings.Join(failed, "；"))
	}
	b.WriteString("请换一种问法，或补充包含该内容的文档。")
	return b.String()
}
