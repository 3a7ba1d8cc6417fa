package evidence

import "strings"

// canonical maps the stem of an irregular form to the stem of its base form, and
// a few everyday words to the one they are interchanged with in questions and
// answers. Other stems stand for themselves.
func canonical(stem string) string {
	switch stem {
	case "wrote", "written", "author", "writer", "penned":
		return "write"
	case "won", "victor", "winner", "victori":
		return "win"
	case "made", "maker":
		return "make"
	case "led", "leader":
		return "lead"
	case "held":
		return "hold"
	case "began", "begun", "begin", "commenc", "initi":
		return "start"
	case "built", "construct", "builder":
		return "build"
	case "took", "taken":
		return "take"
	case "gave", "given":
		return "give"
	case "came":
		return "come"
	case "went", "gone":
		return "go"
	case "saw", "seen":
		return "see"
	case "grew", "grown", "growth":
		return "grow"
	case "knew", "known":
		return "know"
	case "founder", "establish":
		return "found"
	case "discoveri", "discover":
		return "discov"
	case "left":
		return "leav"
	case "lost", "loss":
		return "lose"
	case "met":
		return "meet"
	case "paid", "payment":
		return "pay"
	case "ran", "runner":
		return "run"
	case "sent":
		return "send"
	case "sold", "sale", "seller":
		return "sell"
	case "spent":
		return "spend"
	case "spoke", "spoken", "speaker":
		return "speak"
	case "taught", "teacher":
		return "teach"
	case "thought":
		return "think"
	case "told":
		return "tell"
	case "understood":
		return "understand"
	case "bought", "purchas":
		return "buy"
	case "brought":
		return "bring"
	case "caught":
		return "catch"
	case "chose", "chosen", "choic", "select":
		return "choos"
	case "drew", "drawn":
		return "draw"
	case "drove", "driven":
		return "drive"
	case "fell", "fallen":
		return "fall"
	case "fought":
		return "fight"
	case "flew", "flown", "flight":
		return "fli"
	case "kept":
		return "keep"
	case "meant":
		return "mean"
	case "rose", "risen":
		return "rise"
	case "sang", "sung", "singer", "song":
		return "sing"
	case "stood":
		return "stand"
	case "struck":
		return "strike"
	case "threw", "thrown":
		return "throw"
	case "wore", "worn":
		return "wear"
	case "became":
		return "becom"
	case "broke", "broken":
		return "break"
	case "died", "dead", "death", "dy":
		return "die"
	case "birth", "birthplac":
		return "born"
	case "men":
		return "man"
	case "women":
		return "woman"
	case "children":
		return "child"
	case "peopl":
		return "person"
	case "larger", "largest", "big", "biggest", "bigger":
		return "larg"
	case "older", "oldest", "earliest":
		return "old"
	case "higher", "highest", "tallest":
		return "high"
	case "better", "best":
		return "good"
	case "maximum", "maxim":
		return "max"
	case "minimum", "minim":
		return "min"
	case "movi", "motion":
		return "film"
	case "finish", "complet", "conclud":
		return "end"
	case "close":
		return "near"
	case "situat", "place":
		return "locat"
	case "delet", "eras":
		return "remov"
	case "permit", "let", "enabl":
		return "allow"
	case "specifi", "config", "configur":
		return "set"
	case "produc":
		return "creat"
	case "happen":
		return "occur"
	case "requir", "necessari":
		return "need"
	case "usag", "util":
		return "use"
	case "assist", "aid":
		return "help"
	case "shown", "display":
		return "show"
	case "halt", "termin":
		return "stop"
	case "sec":
		return "second"
	case "percentag":
		return "percent"
	case "最大", "上限", "最长", "至多":
		return "最多"
	case "下限", "最小", "最短", "至少":
		return "最少"
	}
	return stem
}

// isFraming reports whether a stem only frames a question: "what is the name
// of", "what type of".
func isFraming(stem string) bool {
	switch stem {
	case "name", "type", "kind", "sort", "call", "term", "word", "exampl", "mani", "exact", "refer", "say", "stand", "someth",
		"thing", "happen", "occur", "tell", "describ", "explain", "mean", "percent", "some", "ani", "such", "also", "just", "veri",
		"pleas", "person", "per", "get":
		return true
	}
	return false
}

// isCommon reports whether a stem or a pair of characters is common in writing
// about anything, so that its presence says little: those that stand in at least
// 2.5 % of the passages of an encyclopedia and of technical documentation alike.
func isCommon(term string) bool {
	switch term {
	case "use", "one", "new", "follow", "need", "provid", "work", "make", "like", "ani", "up", "differ", "includ", "base", "set",
		"requir", "chang", "allow", "contain", "addit", "creat", "two", "befor", "after", "way", "howev", "complet", "current",
		"consid", "result", "start", "within", "while", "case", "exist", "between", "dure", "take", "without", "similar", "even",
		"part", "possibl", "either", "generat", "until", "under", "given", "give", "out", "still", "common", "particular", "over",
		"avail", "instead", "everi", "see", "singl", "through", "appli", "specif", "typic", "whether", "across", "anoth", "becom",
		"sever", "normal", "abl", "due", "relat", "sinc", "via", "point", "multipl", "well", "general", "usual", "find",
		"main", "certain", "go", "continu", "often", "later", "rather", "know", "come", "actual", "help", "show", "keep",
		"使用", "进行", "通过", "提供", "工作", "系统", "不同", "例如", "需要", "以下", "方式", "用于", "具有", "存在", "包含", "情况",
		"任何", "通常", "完成", "并且", "作为", "根据", "相同", "之前", "因此", "发生", "多个", "有关", "一种", "处理", "部分", "不是",
		"设置", "或者", "两个", "同时", "包括", "之间", "这样", "选择", "类似", "导致", "必须", "同一", "不会", "方法", "直接", "相关",
		"已经", "表示", "只有", "其中", "开始", "之后", "过程", "更多", "基于", "对于", "主要", "属于", "拥有", "负责", "应该", "目前", "一般",
		"位于", "成为", "获得", "出现", "认为", "以及", "能够", "可以", "可能", "分别", "最终", "其他", "时候", "一个", "这个":
		return true
	}
	return false
}

// negatingPrefixes make a word deny what it would say without them. What is left of it has at least minDenied bytes.
var negatingPrefixes = [...]string{"un", "non", "in", "im", "dis", "ir", "il"}

const minDenied = 5

// opposites returns the terms that contradict a unit: its antonym, other
// ordinals, and its form without a negating prefix. For that with one see
// matcher.denied.
func opposites(stem string, k unitKind) []string {
	var out []string
	if o := antonym(stem); o != "" {
		out = append(out, o)
	}
	if k != plain {
		return out
	}
	ordinals := [...]string{"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "last"}
	for _, o := range ordinals {
		if o == stem {
			for _, other := range ordinals {
				if other != stem {
					out = append(out, other)
				}
			}
		}
	}
	for _, prefix := range negatingPrefixes {
		if rest, ok := strings.CutPrefix(stem, prefix); ok && len(rest) >= minDenied {
			out = append(out, rest)
		}
	}
	return out
}

// antonym returns the antonym of a stem or pair of characters, or "".
func antonym(stem string) string {
	for _, p := range [...][2]string{
		{"increas", "decreas"}, {"start", "end"}, {"before", "after"}, {"max", "min"}, {"high", "low"}, {"larg", "small"},
		{"enabl", "disabl"}, {"first", "last"}, {"north", "south"}, {"east", "west"}, {"northern", "southern"},
		{"eastern", "western"}, {"win", "lose"}, {"buy", "sell"}, {"accept", "reject"}, {"allow", "forbid"}, {"old", "new"},
		{"grow", "shrink"}, {"rise", "fall"}, {"support", "oppos"}, {"public", "privat"}, {"intern", "extern"}, {"more", "less"},
		{"includ", "exclud"}, {"good", "bad"}, {"strong", "weak"}, {"earli", "late"}, {"upper", "lower"}, {"major", "minor"},
		{"gain", "lose"}, {"success", "fail"}, {"agre", "disagre"}, {"long", "short"}, {"best", "worst"}, {"most", "least"},
		{"add", "remov"}, {"hot", "cold"}, {"posit", "negat"}, {"legal", "illeg"}, {"open", "close"}, {"male", "femal"},
		{"增加", "减少"}, {"最大", "最小"}, {"启用", "禁用"}, {"开始", "结束"}, {"最高", "最低"}, {"首次", "最后"}, {"上升", "下降"},
		{"内部", "外部"}, {"允许", "禁止"}, {"东部", "西部"}, {"南部", "北部"},
	} {
		switch stem {
		case p[0]:
			return p[1]
		case p[1]:
			return p[0]
		}
	}
	return ""
}
