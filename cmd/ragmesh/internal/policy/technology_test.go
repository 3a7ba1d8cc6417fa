package policy

import (
	"path"
	"strings"
	"testing"
)

func technologyRules() []rule {
	var all []rule
	for _, tech := range technologies {
		all = append(all, rule{
			name:  tech.name + " stays in its adapters",
			check: func(ws *workspace) []violation { return strays(ws, tech) },
			breaks: map[string]string{
				"services/a/internal/thing/bad.go": "package thing\n\nimport _ \"" + tech.imports[0] + "x\"\n",
			},
			where: "services/a/internal/thing/bad.go",
		})
	}
	return all
}

// strays finds the files that know a technology and are not at home. Tests may use it to play the other side.
func strays(ws *workspace, tech technology) []violation {
	var found []violation
	for _, p := range ws.packages {
		if atHome(tech, p.dir) {
			continue
		}
		for _, f := range p.production() {
			for _, imported := range f.imports() {
				if knows(tech, imported) {
					found = append(found, violation{f.name, "imports " + imported, tech.why})
				}
			}
		}
	}
	return found
}

func knows(tech technology, imported string) bool {
	for _, p := range tech.imports {
		if strings.HasPrefix(imported, p) {
			return true
		}
	}
	return false
}

func atHome(tech technology, dir string) bool {
	// A helper for tests plays the other side, as tests do.
	if strings.HasSuffix(path.Base(dir), "test") {
		return true
	}
	for home := range tech.homes {
		if matches(home, dir) {
			return true
		}
	}
	return false
}

// matches is path.Match, with a trailing /** for everything at and below a folder.
func matches(pattern, dir string) bool {
	if root, ok := strings.CutSuffix(pattern, "/**"); ok {
		return within(dir, root)
	}
	ok, err := path.Match(pattern, dir)
	return ok && err == nil
}

// TestHomesAreLivedIn fails on an exception that nobody needs any more.
func TestHomesAreLivedIn(t *testing.T) {
	t.Parallel()
	ws := open(t)
	for _, tech := range technologies {
		for home := range tech.homes {
			if !livedIn(ws, tech, home) {
				t.Errorf("%s: no package matches %q and imports it; remove the entry", tech.name, home)
			}
		}
	}
}

func livedIn(ws *workspace, tech technology, home string) bool {
	for _, p := range ws.packages {
		if !matches(home, p.dir) {
			continue
		}
		for _, f := range p.files {
			for _, imported := range f.imports() {
				if knows(tech, imported) {
					return true
				}
			}
		}
	}
	return false
}
