package token

import (
	"slices"
	"strings"
)

// tree finds the tokens that begin at a place of a text. A node's children stand side by side, in the order of the byte that
// leads to them: a quarter of a million tokens take some ten megabytes.
type tree struct {
	nodes  []node
	labels []byte // by node
}

type node struct {
	id    int32 // of the token that ends here; -1 for none
	first int32 // child
	count int16 // of children
}

const (
	root    int32 = 0
	nowhere int32 = -1
)

// newTree makes the tree of tokens, whose ids are their places. Empty ones, and all but the first of equal ones, are never
// found.
func newTree(tokens []string) tree {
	order := make([]int32, len(tokens))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return strings.Compare(tokens[a], tokens[b]) })
	order = slices.CompactFunc(order, func(a, b int32) bool { return tokens[a] == tokens[b] })
	t := tree{nodes: []node{{id: -1}}, labels: []byte{0}}
	type span struct{ at, from, to int32 } // the node, and the tokens below it
	level := []span{{root, 0, int32(len(order))}}
	for depth := 0; len(level) > 0; depth++ {
		var below []span
		for _, s := range level {
			if s.from < s.to && len(tokens[order[s.from]]) == depth {
				if depth > 0 {
					t.nodes[s.at].id = order[s.from]
				}
				s.from++
			}
			t.nodes[s.at].first = int32(len(t.nodes))
			for s.from < s.to {
				label, end := tokens[order[s.from]][depth], s.from+1
				for end < s.to && tokens[order[end]][depth] == label {
					end++
				}
				below = append(below, span{int32(len(t.nodes)), s.from, end})
				t.nodes, t.labels = append(t.nodes, node{id: -1}), append(t.labels, label)
				t.nodes[s.at].count++
				s.from = end
			}
		}
		level = below
	}
	return t
}

// next is the node that b leads to from n.
func (t *tree) next(n int32, b byte) int32 {
	from := t.nodes[n].first
	labels := t.labels[from : from+int32(t.nodes[n].count)]
	if len(labels) > 8 {
		if i, ok := slices.BinarySearch(labels, b); ok {
			return from + int32(i)
		}
		return nowhere
	}
	for i, l := range labels {
		if l == b {
			return from + int32(i)
		}
	}
	return nowhere
}
