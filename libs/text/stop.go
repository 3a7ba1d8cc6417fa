package text

import "strings"

// stopEnglish reports whether the folded, unstemmed word w carries no content.
// Question words are among them: counting them as content costs 1.2 points of
// nDCG@10 on SQuAD. Rarer function words ("itself", "upon", "some") are not: they
// are rare enough to tell passages apart, and hit@1 is half a point better with
// them.
func stopEnglish(w string) bool {
	switch w {
	case "a", "an", "the", "this", "that", "these", "those", "there",
		"i", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "she", "her", "it", "its", "they", "them", "their",
		"am", "is", "are", "was", "were", "be", "been", "being",
		"do", "does", "did", "done", "doing", "have", "has", "had", "having",
		"can", "could", "will", "would", "shall", "should", "may", "might", "must",
		"and", "or", "but", "nor", "not", "no", "so", "if", "then", "than", "as", "because",
		"of", "at", "by", "for", "with", "about", "into", "to", "from", "in", "on",
		"more", "most", "other", "only", "own", "same", "each", "both", "all",
		"s", "t", "d", "ll", "m", "re", "ve",
		"what", "which", "who", "whom", "whose", "when", "where", "why", "how", "many", "much":
		return true
	}
	if i := strings.IndexByte(w, '\''); i > 0 {
		// "what's", "it's", "they're", "we'll"; "don't" and its like carry a
		// negation but are no search terms either.
		tail := w[i+1:]
		if tail == "t" {
			return true
		}
		switch tail {
		case "s", "re", "ve", "ll", "d", "m":
			return stopEnglish(w[:i])
		}
	}
	return false
}

// stopHan reports whether the single character r is a Chinese function or
// question word, or a part of one that is rarely met elsewhere.
func stopHan(r rune) bool {
	switch r {
	case '的', '了', '着', '吗', '呢', '吧', '啊', '呀', '嘛', '么', '什', '谁', '哪', '怎', '啥',
		'是', '在', '和', '与', '或', '及', '而', '且', '但', '也', '就', '都', '则', '又', '还',
		'被', '把', '将', '从', '向', '于', '对', '为', '以', '由', '给', '让', '到',
		'我', '你', '您', '他', '她', '它', '们', '这', '那', '此', '该', '其', '之', '所', '些',
		'很', '请', '几', '会', '能', '可', '要', '有':
		return true
	}
	return false
}

// stopPair reports whether a pair of the characters a and b is a Chinese function or
// question word: either both are stop characters, or the pair is listed.
func stopPair(pair string, a, b rune) bool {
	if stopHan(a) && stopHan(b) {
		return true
	}
	switch pair {
	case "多少", "多久", "多长", "多大", "多高", "如何", "何时", "何地", "何处", "何人", "何种", "为何", "是否", "哪里", "哪年",
		"哪一", "哪个", "哪种", "哪位", "几个", "几种", "一个", "一些", "这个", "那个", "这种", "没有", "时候", "因为", "所以",
		"如果", "虽然", "但是", "可以", "能够", "应该", "请问", "告诉", "么样", "怎样", "有何", "叫做":
		return true
	}
	return false
}
