package measure

import (
	"cmp"
	"slices"
)

// Count is how often something happened.
type Count struct {
	Name  string `json:"name"`
	Times int    `json:"times"`
}

// Counts counts names, the most frequent first.
func Counts(names []string) []Count {
	n := map[string]int{}
	for _, name := range names {
		n[name]++
	}
	all := make([]Count, 0, len(n))
	for name, times := range n {
		all = append(all, Count{name, times})
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Name, b.Name))
	})
	return all
}
