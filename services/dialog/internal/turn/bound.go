package turn

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// A turn's record is below MaxRecord by construction: every part has a bound of its own, in bytes, and the bounds add up.
//
//	question and standalone question   2 x 32 KiB
//	answer                                128 KiB
//	sources, all together                 144 KiB
//	citations, all together                64 KiB
//	stages, at most 16, all together       64 KiB
//	plan, degradations and the rest        40 KiB
//
// What does not fit is left out whole (sources from the end, citations from the end) or cut with a mark (stage data).
const (
	MaxRecord = 512 << 10

	maxQuestion     = 32 << 10
	maxAnswer       = 128 << 10
	maxSourceBytes  = 144 << 10
	maxSources      = 32
	maxCiteBytes    = 64 << 10
	maxCitations    = 128
	maxStages       = 16
	maxStageBytes   = 64 << 10
	maxStageInput   = 2 << 10
	maxStageOutput  = 6 << 10
	maxStageError   = 500
	maxDegradations = 32
	maxMessage      = 300
	maxFailure      = 500
	maxName         = 128
	maxPassage      = 8 << 10
	maxPassageMeta  = 2 << 10
	maxBoxes        = 64
	maxToolText     = 16 << 10
	maxToolData     = 2 << 10
	// maxToolArguments bounds the arguments a tool reports it ran with; longer ones are replaced by the planned ones.
	maxToolArguments = 1 << 10
)

// overhead is what a field of a record costs beside its text: tags, lengths, numbers.
const overhead = 96

// Size estimates, on the high side, what a source takes in the record.
func (s Source) Size() int {
	n := overhead + len(s.ID)
	if p := s.Passage; p != nil {
		n += len(p.ChunkID) + len(p.DocumentID) + len(p.Version) + len(p.SourceURI) + len(p.Title) + len(p.Text) + len(p.Language)
		for _, h := range p.Headings {
			n += len(h) + 4
		}
		for _, r := range p.Pages {
			n += 16 + 24*len(r.Boxes)
		}
		for k := range p.ScoreParts {
			n += len(k) + 16
		}
	}
	if t := s.Tool; t != nil {
		// Arguments and data are JSON here and a tree of values in the record: a digit and a comma become eleven bytes. Long
		// arguments are the plan's own, which are strings.
		n += len(t.CallID) + len(t.Tool) + min(6*len(t.Arguments), 4*maxToolArguments+2*len(t.Arguments)) + len(t.Text) + 6*len(t.Data)
		if t.Error != nil {
			n += len(t.Error.Reason) + len(t.Error.Message)
		}
	}
	return n
}

// bounded returns the passage with every part within its bound.
func (p Passage) bounded() Passage {
	p.Text = clip(p.Text, maxPassage)
	p.End = min(p.End, p.Start+uint64(len(p.Text)))
	p.Title = clip(p.Title, 512)
	p.SourceURI = clip(p.SourceURI, maxPassageMeta)
	p.Headings = p.Headings[:min(len(p.Headings), 8)]
	for i, h := range p.Headings {
		p.Headings[i] = clip(h, 256)
	}
	boxes := 0
	for i, r := range p.Pages {
		if boxes += len(r.Boxes); boxes > maxBoxes {
			p.Pages = p.Pages[:i]
			break
		}
	}
	return p
}

// bounded returns the result with every part within its bound.
func (t ToolResult) bounded() ToolResult {
	if len(t.Text) > maxToolText {
		t.Text, t.Truncated = clip(t.Text, maxToolText), true
	}
	if len(t.Data) > maxToolData {
		t.Data, t.Truncated = "", true // half a JSON value is none; the text says it too
	}
	if t.Error != nil {
		e := *t.Error
		e.Reason, e.Message = clip(e.Reason, maxName), clip(e.Message, maxFailure)
		t.Error = &e
	}
	return t
}

// number gives the sources their numbers and leaves out what does not fit, from the end.
func number(sources []Source) []Source {
	total := 0
	for i := range sources {
		total += sources[i].Size()
		if i == maxSources || total > maxSourceBytes {
			return sources[:i]
		}
		sources[i].Number = uint32(i) + 1
	}
	return sources
}

func (c Citation) size() int {
	return overhead + len(c.Claim) + len(c.Quote) + len(c.SourceID) + len(c.DocumentID) + len(c.Title) + len(c.URI)
}

// asJSON returns v as JSON within max bytes; what is larger becomes its beginning, as a string with a mark.
func asJSON(v any, most int) string {
	if v == nil {
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	if len(data) <= most {
		return string(data)
	}
	// The beginning is escaped once more: in the worst case each of its bytes becomes six.
	for keep := most - 64; keep > 0; keep /= 2 {
		cut, err := json.Marshal(map[string]any{"truncated": true, "bytes": len(data), "head": clip(string(data), keep)})
		if err == nil && len(cut) <= most {
			return string(cut)
		}
	}
	return `{"truncated":true}`
}

// clip returns at most n bytes of s, cut between characters, and valid UTF-8: a record with anything else can't be written.
func clip(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
