package waterfall

import (
	"cmp"
	"slices"
)

// maxDepth bounds the nesting that is drawn.
const maxDepth = 12

// Node is a step that knows its parent.
type Node struct {
	ID, Parent string
	Step       Step
}

// Tree returns the nodes' steps as they nest, each under its parent, brothers by start. A node whose parent is missing stands
// at the outermost level: spans may get lost.
func Tree(nodes []Node) []Step {
	known := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		known[n.ID] = true
	}
	children := map[string][]Node{}
	for _, n := range nodes {
		parent := n.Parent
		if !known[parent] || parent == n.ID {
			parent = ""
		}
		children[parent] = append(children[parent], n)
	}
	for _, c := range children {
		slices.SortStableFunc(c, func(a, b Node) int { return cmp.Compare(a.Step.Offset, b.Step.Offset) })
	}
	steps := make([]Step, 0, len(nodes))
	var visit func(parent string, depth int)
	visit = func(parent string, depth int) {
		brothers := children[parent]
		delete(children, parent) // nodes that are their own ancestors are drawn once, or not at all
		for _, n := range brothers {
			n.Step.Depth = min(depth, maxDepth)
			steps = append(steps, n.Step)
			visit(n.ID, depth+1)
		}
	}
	visit("", 0)
	return steps
}
