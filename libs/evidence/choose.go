package evidence

// choose picks the sentences worth quoting.
func (a *analysis) choose(r ranking, passages []Passage) []Sentence {
	var out []Sentence
	for _, i := range r.order {
		st := &a.sentences[i]
		if len(out) == MaxSentences || a.q.coverage(st.own) == 0 {
			break
		}
		out = append(out, Sentence{
			Passage: st.passage, Start: st.span.Start, End: st.span.End,
			Text:  passages[st.passage].Text[st.span.Start:st.span.End],
			Score: r.belief[i],
		})
	}
	return out
}

// missing lists the question's own words that no passage mentions.
func (a *analysis) missing() []string {
	var out []string
	end := 0
	for i, u := range a.q.units {
		if a.all[i] >= supports || u.weight < pairWeight || len(out) == MaxMissing {
			continue
		}
		if n := len(out); n > 0 && u.kind == hanPair && u.start < end {
			out[n-1] += a.q.text[end:u.end] // overlapping pairs grow one word
		} else {
			out = append(out, a.q.text[u.start:u.end])
		}
		end = u.end
	}
	return out
}
