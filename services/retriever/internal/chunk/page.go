package chunk

import (
	"slices"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// maxBoxes bounds the boxes of a chunk on one page.
const maxBoxes = 64

// pagesOf says on which pages a range of a text stands, and where.
func pagesOf(doc parse.Document, start, end int) []document.Page {
	at, _ := slices.BinarySearchFunc(doc.Places, start, func(p parse.Place, start int) int { return p.Start - start })
	for at > 0 && doc.Places[at-1].End > start {
		at--
	}
	var out []document.Page
	for _, p := range doc.Places[at:] {
		if p.Start >= end {
			break
		}
		if p.End <= start {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Number != p.Page {
			out = append(out, document.Page{Number: p.Page})
		}
		if p.Box != (parse.Box{}) {
			cover(&out[len(out)-1], p.Box)
		}
	}
	return out
}

// cover adds a box. Lines below one another make one.
func cover(page *document.Page, b parse.Box) {
	if n := len(page.Boxes); n > 0 {
		last := &page.Boxes[n-1]
		shared := min(last[2], b.Right) - max(last[0], b.Left)
		below := last[1] - b.Top // between the two
		if n == maxBoxes || shared > 0 && below < 1.2*(b.Top-b.Bottom) && below > -1.5*(b.Top-b.Bottom) && b.Bottom <= last[1] {
			*last = document.Box{min(last[0], b.Left), min(last[1], b.Bottom), max(last[2], b.Right), max(last[3], b.Top)}
			return
		}
	}
	page.Boxes = append(page.Boxes, document.Box{b.Left, b.Bottom, b.Right, b.Top})
}
