package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Position is where a value came from.
type Position struct {
	// File and Line name a place in a file.
	File string
	Line int
	// Via names anything else: "environment variable RAGMESH_DIALOG__RPC__ADDR", "flag --rpc-addr".
	Via string
}

// String returns file:line, or what else the value came from; "default" for a value nobody set.
func (p Position) String() string {
	switch {
	case p.Via != "":
		return p.Via
	case p.File == "":
		return "default"
	case p.Line == 0:
		return p.File
	default:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
}

// Problem is one thing that is wrong with a configuration. Load returns all it finds, joined.
type Problem struct {
	// Key is the path of the value, e.g. "search.top_k".
	Key string
	// Message says what is allowed, to be read after the key: "must be 1 to 100, not 0".
	Message string
	// Position is filled in by the loader.
	Position Position

	alone bool // Message stands without the key in front
}

// Invalid returns a problem for Validate methods: the key's path below the validated struct, and what must hold.
func Invalid(key, format string, a ...any) *Problem {
	return &Problem{Key: key, Message: fmt.Sprintf(format, a...)}
}

// Error returns "file:line: key message".
func (p *Problem) Error() string {
	text := p.Message
	if p.Key != "" && !p.alone {
		text = p.Key + " " + p.Message
	}
	if p.Position == (Position{}) {
		return text
	}
	return p.Position.String() + ": " + text
}

// problems unfolds joined errors. What is no Problem becomes one about key.
func problems(key string, err error) []*Problem {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Problem
		for _, e := range joined.Unwrap() {
			all = append(all, problems(key, e)...)
		}
		return all
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		if p == nil {
			return nil
		}
		c := *p
		c.Key = join(key, p.Key)
		return []*Problem{&c}
	}
	return []*Problem{{Key: key, Message: err.Error(), alone: key == ""}}
}

// maxProblems bounds how many problems one Load reports.
const maxProblems = 20

// joinProblems makes one error of them, in file order and without repeats.
func joinProblems(all []*Problem) error {
	slices.SortStableFunc(all, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Position.Via, b.Position.Via), cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line))
	})
	seen := make(map[Problem]bool, len(all)) // an inlined struct's Validate may be promoted to the outer one
	all = slices.DeleteFunc(all, func(p *Problem) bool {
		again := seen[*p]
		seen[*p] = true
		return again
	})
	errs := make([]error, 0, min(len(all), maxProblems)+1)
	for i, p := range all {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("and %d more", len(all)-i))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// unknown describes a name that is not allowed, with what is and what was probably meant.
func unknown(what, name string, allowed []string) string {
	allowed = slices.Sorted(slices.Values(allowed))
	text := fmt.Sprintf("%s %q is not known here", what, clip(name))
	if len(allowed) == 0 {
		return text
	}
	text += "; allowed: " + strings.Join(allowed, ", ")
	if near := nearest(name, allowed); near != "" {
		text += fmt.Sprintf(" (did you mean %q?)", near)
	}
	return text
}

// nearest returns the name that differs least, empty when none is near.
func nearest(name string, names []string) string {
	if len(name) > 64 {
		return ""
	}
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
	}
	best, bound := "", max(1, len(name)/3)+1
	for _, n := range names {
		if d := distance(plain(name), plain(n)); d < bound {
			best, bound = n, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// join puts a key path together; either part may be empty. An index such as "[2]" takes no dot.
func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "" || key[0] == '[':
		return path + key
	default:
		return path + "." + key
	}
}
