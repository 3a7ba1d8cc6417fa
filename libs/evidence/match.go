package evidence

import (
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/text"
)

// closeBy is how many positions apart two words may stand and still count as
// standing together.
const closeBy = 4

// farAway stands for no distance at all.
const farAway = 99

// matcher finds the units of one question in texts.
type matcher struct {
	q      *question
	likely [512]bool            // by slot: the terms that mean anything here; of most terms of a text this alone is read
	limits bool                 // the question asks about a limit; see limit
	single map[string][2]uint64 // CJK character -> pair units it begins, ends
	prefix []int                // units that may match by prefix
	joined map[string]uint64    // two neighbouring words written as one: "replicaset"
	sizes  uint64               // of joined, a bit for each length; those from 63 on share the last
	oppose map[string]uint64    // antonym -> units it contradicts
}

func newMatcher(q *question) *matcher {
	m := &matcher{q: q}
	for i, u := range q.units {
		switch u.kind {
		case hanPair:
			_, size := utf8.DecodeRuneInString(u.term)
			a, b := u.term[:size], u.term[size:]
			if m.single == nil {
				m.single = map[string][2]uint64{}
			}
			e := m.single[a]
			e[0] |= 1 << i
			m.single[a] = e
			e = m.single[b]
			e[1] |= 1 << i
			m.single[b] = e
		case plain, name:
			if len(u.term) >= 5 {
				m.prefix = append(m.prefix, i)
			}
			if i > 0 && q.units[i-1].kind <= name && u.start-q.units[i-1].end == 1 {
				if m.joined == nil {
					m.joined = map[string]uint64{}
				}
				word := q.units[i-1].raw + u.raw
				m.joined[word] |= 1<<i | 1<<(i-1)
				m.sizes |= 1 << min(len(word), 63)
			}
		}
		for _, o := range opposites(u.term, u.kind) {
			if m.oppose == nil {
				m.oppose = map[string]uint64{}
			}
			m.oppose[o] |= 1 << i
			m.likely[slot(o)] = true
		}
	}
	for term := range q.terms { // the units' are among them
		m.likely[slot(term)] = true
	}
	for _, term := range [...]string{"max", "min", "最多", "最少"} {
		_, asked := q.index[term]
		m.limits = m.limits || asked
	}
	return m
}

// slot spreads terms over a matcher's filter.
func slot(term string) int {
	n := len(term)
	if n == 0 {
		return 0
	}
	return (131*n + 31*int(term[0]) + 7*int(term[n-1]) + int(term[n/2])) % len(matcher{}.likely)
}

// match raises c by what s mentions.
func (m *matcher) match(s string, c credits) {
	st := sentence{own: c}
	m.measure(&st, s, text.Tokens(s))
}

// measure fills in st for the tokens of one sentence of s.
func (m *matcher) measure(st *sentence, s string, tokens []text.Token) {
	var (
		seen        uint64        // units matched here
		last        [maxUnits]int // position of each unit's last match, plus one
		begin, end  uint64        // pair units whose first, second character was seen
		opposed     uint64
		lastMatched = -farAway
		lastCand    = -farAway
		lastAnchor  = -farAway
	)
	st.near = farAway
	for i, t := range tokens {
		term := canonical(t.Term)
		likely := m.likely[slot(term)]
		hit := m.hits(term, likely, s, tokens, i, st.own)
		for h := hit; h != 0; h &= h - 1 {
			u := bits.TrailingZeros64(h)
			last[u] = t.Position + 1
			for _, v := range [2]int{u - 1, u + 1} {
				if v >= 0 && v < len(m.q.units) && last[v] > 0 && t.Position+1-last[v] <= closeBy {
					st.adjacent |= 1 << min(u, v)
				}
			}
		}
		if m.q.anchor >= 0 && hit>>m.q.anchor&1 != 0 {
			lastAnchor = t.Position
			st.anchored = st.anchored || t.Position-lastCand <= closeBy
		}
		seen |= hit
		if hit != 0 {
			switch {
			case m.q.expects.kind == listing:
				st.fits = st.fits || enumerates(s[t.End:tokens[len(tokens)-1].End])
			case st.news == 0 && !st.fits:
				st.fits = defines(s[t.End:])
			}
			lastMatched = t.Position
			st.near = min(st.near, t.Position-lastCand)
		}
		if t.Kind == text.Han {
			e := m.single[t.Term]
			begin |= e[0]
			end |= e[1]
		}
		opposed |= m.denied(term)
		asked := false
		if likely {
			opposed |= m.oppose[term]
			_, asked = m.q.terms[term]
		}
		content := t.Kind != text.HanPair && !t.Stop
		if content {
			st.size++
		}
		if asked {
			continue
		}
		if content {
			st.news++
		}
		if candidate(m.q.expects.kind, s, t, i == 0) {
			st.candidates++
			lastCand = t.Position
			st.anchored = st.anchored || t.Position-lastAnchor <= closeBy
			st.near = min(st.near, t.Position-lastMatched)
		}
	}
	for h := begin & end &^ seen; h != 0; h &= h - 1 {
		u := bits.TrailingZeros64(h)
		st.own[u] = max(st.own[u], apart)
	}
	st.clash = opposed&^seen != 0
}

// denied returns the unit that a term denies by how it begins: "unsupport" for "support".
func (m *matcher) denied(term string) uint64 {
	if len(term) < 2+minDenied {
		return 0
	}
	switch term[0] {
	case 'u', 'n', 'i', 'd':
	default:
		return 0
	}
	var units uint64
	for _, prefix := range negatingPrefixes {
		rest, ok := strings.CutPrefix(term, prefix)
		if !ok || len(rest) < minDenied || !m.likely[slot(rest)] {
			continue
		}
		if u, ok := m.q.index[rest]; ok && m.q.units[u].kind == plain {
			units |= 1 << u
		}
	}
	return units
}

// hits returns the units that token i, of a canonical term, mentions and raises their credit. A term that is not likely is none
// of the question's.
func (m *matcher) hits(term string, likely bool, s string, tokens []text.Token, i int, c credits) uint64 {
	t := tokens[i]
	if likely {
		if u, ok := m.q.index[term]; ok {
			c[u] = 1
			return 1 << u
		}
	}
	if m.limits {
		if u, ok := m.q.index[limit(s, t)]; ok {
			c[u] = 1
			return 1 << u
		}
	}
	if t.Kind != text.Word || t.Stop {
		return 0
	}
	var hit uint64
	if len(term) >= 5 {
		for _, u := range m.prefix {
			if sharesStem(term, m.q.units[u].term) {
				c[u] = max(c[u], partial)
				hit |= 1 << u
			}
		}
	}
	if m.sizes>>min(t.End-t.Start, 63)&1 != 0 {
		if h, ok := m.joined[strings.ToLower(s[t.Start:t.End])]; ok {
			for b := h; b != 0; b &= b - 1 {
				c[bits.TrailingZeros64(b)] = 1
			}
			hit |= h
		}
	}
	if i+1 < len(tokens) && tokens[i+1].Kind == text.Word && tokens[i+1].Start-t.End <= 1 {
		for _, u := range m.prefix {
			raw := m.q.units[u].raw
			if n := t.End - t.Start; len(raw) == n+tokens[i+1].End-tokens[i+1].Start &&
				strings.EqualFold(raw[:n], s[t.Start:t.End]) && strings.EqualFold(raw[n:], s[tokens[i+1].Start:tokens[i+1].End]) {
				c[u] = 1
				hit |= 1 << u
			}
		}
	}
	return hit
}

// sharesStem reports whether two stems of at least five letters begin alike for
// five letters and three quarters of the longer one.
func sharesStem(a, b string) bool {
	n := min(len(a), len(b))
	if n < 5 || a[0] != b[0] {
		return false
	}
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	return i >= 5 && i*4 >= 3*max(len(a), len(b))
}

// defines reports whether the words after a subject say what it is or does.
func defines(after string) bool {
	after = strings.TrimLeft(after, " *_`\"”’」》）)")
	for _, be := range [...]string{"is ", "are ", "was ", "were "} {
		if rest, ok := strings.CutPrefix(after, be); ok {
			word, _, _ := strings.Cut(rest, " ")
			switch {
			case word == "not", word == "also", strings.HasSuffix(word, "ly"), strings.HasSuffix(word, "ed"), strings.HasSuffix(word, "ing"):
				return false // says something about it: "are usually added"
			}
			return true
		}
	}
	for _, w := range [...]string{"refer", "mean", "ensure", "provide", "represent", "describe", "define", "enable", "allow", "let ", "lets ",
		"manage", "contain", "specif", "run", "create", "hold", "stands for", "to control", "to manage",
		"是", "指", "即", "表示", "确保", "用于", "用来", "允许", "提供", "负责", "管理", "为", "，是", "，又称", "又称", "也称", "也叫"} {
		if strings.HasPrefix(after, w) {
			return true
		}
	}
	return false
}

// enumerates reports whether the words after a subject say what there is of it, at once or in the list they introduce: "are A,
// B and C", "are:", 有 A、B 和 C.
func enumerates(after string) bool {
	after, says := strings.TrimLeft(after, " *_`)）"), false
	for _, w := range [...]string{"are", "include", "comprise", "consist of"} {
		if after, says = strings.CutPrefix(after, w); says {
			break
		}
	}
	// In Chinese the noun that is asked for may come between: QoS 类有.
	for _, w := range [...]string{"有", "包括", "包含", "分为", "是", "为", "如下"} {
		if noun, rest, found := strings.Cut(after, w); !says && found && len(noun) <= maxNoun {
			after, says = rest, true
		}
	}
	if !says {
		return false
	}
	line, _, _ := strings.Cut(after, "\n")
	if strings.HasSuffix(line, ":") || strings.HasSuffix(line, "：") {
		return len(line) <= maxItem
	}
	// The first two things are near; a comma further on parts clauses.
	if at := strings.Index(line, "、"); at >= 0 {
		return at <= maxItem
	}
	first, rest, _ := strings.Cut(line, ", ")
	second := min(index(rest, ", "), index(rest, "and "), index(rest, "or "))
	return len(first) <= maxItem && second > 0 && second < len(rest) && second <= maxItem
}

// maxNoun is the most bytes that a Chinese noun takes: four characters.
const maxNoun = 12

// maxItem is the most bytes that one thing of an enumeration takes.
const maxItem = 40

// index is [strings.Index], with the end of s for what is not in it.
func index(s, part string) int {
	if i := strings.Index(s, part); i >= 0 {
		return i
	}
	return len(s)
}

// limit recognises wordings of a maximum or minimum that share no word with a
// question about one ("up to 5", "no more than", 不超过) and gives the term such a
// question has, or "".
func limit(s string, t text.Token) string {
	switch t.Kind {
	case text.Word:
		before, after := s[:t.Start], s[t.End:]
		switch strings.ToLower(s[t.Start:t.End]) {
		case "most", "maximal":
			if strings.HasSuffix(before, "at ") || strings.HasSuffix(before, "At ") {
				return "max"
			}
		case "least":
			if strings.HasSuffix(before, "at ") || strings.HasSuffix(before, "At ") {
				return "min"
			}
		case "up":
			if strings.HasPrefix(after, " to ") && len(after) > 4 && '0' <= after[4] && after[4] <= '9' {
				return "max"
			}
		case "than":
			for _, w := range [...]string{"no more ", "not more ", "no longer ", "no greater ", "not exceed "} {
				if strings.HasSuffix(before, w) {
					return "max"
				}
			}
			if strings.HasSuffix(before, "no fewer ") || strings.HasSuffix(before, "no less ") {
				return "min"
			}
		case "exceed":
			return "max"
		}
	case text.HanPair:
		switch t.Term {
		case "不超":
			return "最多"
		case "不少", "不低":
			return "最少"
		}
	}
	return ""
}
