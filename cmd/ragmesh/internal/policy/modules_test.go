package policy

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// toolsDir holds the modules of the development tools, deployDir those that check and package what is deployed, generatorsDir the one
// with the code generators.
const (
	toolsDir      = ".tools"
	deployDir     = "deploy"
	generatorsDir = ".tools/proto"
)

func moduleRules() []rule {
	return []rule{
		{
			name:   "every module is in go.work, the tools are not",
			check:  membership,
			breaks: map[string]string{"go.work": workFile("cmd/ragmesh", "libs", "proto", "services/a")},
			where:  "services/b",
		},
		{
			name:   "module paths are folders",
			check:  modulePaths,
			breaks: map[string]string{"services/b/go.mod": goMod("services/c", "")},
			where:  "services/b",
		},
		{
			name:   "one go line",
			check:  goLine,
			breaks: map[string]string{"services/b/go.mod": "module " + prefix + "services/b\n\ngo 1.25.0\n"},
			where:  "services/b",
		},
		{
			name:   "one version of each dependency",
			check:  oneVersion,
			breaks: map[string]string{"services/b/go.mod": goMod("services/b", "require example.com/shared v1.1.0")},
			where:  "services/b",
		},
		{
			name:  "siblings are replaced by their folders",
			check: siblings,
			breaks: map[string]string{
				"cmd/ragmesh/go.mod": goMod("cmd/ragmesh", "require github.com/ragmesh/ragmesh/services/a v0.0.0"),
			},
			where: "cmd/ragmesh",
		},
		{
			name:   "foreign replacements stand in go.work too",
			check:  foreignReplacements,
			breaks: map[string]string{"services/b/go.mod": goMod("services/b", "replace example.com/x => example.com/x v1.0.0")},
			where:  "services/b",
		},
		{
			name:   "code generators match the runtime",
			check:  generators,
			breaks: map[string]string{".tools/proto/go.mod": goMod("tools/proto", "require connectrpc.com/connect v1.2.4")},
			where:  ".tools/proto",
		},
	}
}

func isTool(m *module) bool { return within(m.dir, toolsDir) || within(m.dir, deployDir) }

// ours returns the modules of the workspace, without the tools.
func (ws *workspace) ours() []*module {
	return slices.DeleteFunc(slices.Clone(ws.modules), isTool)
}

func membership(ws *workspace) []violation {
	used := map[string]bool{}
	for _, use := range ws.work.Use {
		used[path.Clean(use.Path)] = true
	}
	var found []violation
	for _, m := range ws.modules {
		switch {
		case isTool(m) && used[m.dir]:
			found = append(found, violation{m.dir, "is in go.work", "tools would decide which versions we build with"})
		case !isTool(m) && !used[m.dir]:
			found = append(found, violation{m.dir, "is not in go.work", "nothing would build or test it"})
		}
	}
	return found
}

func modulePaths(ws *workspace) []violation {
	var found []violation
	for _, m := range ws.ours() {
		if got := m.file.Module.Mod.Path; got != prefix+m.dir {
			found = append(found, violation{m.dir, "is called " + got, "an import path says where the code is"})
		}
	}
	return found
}

func goLine(ws *workspace) []violation {
	want := ws.work.Go.Version
	var found []violation
	for _, m := range ws.ours() {
		const why = "a module must compile alone as it does in the workspace"
		if m.file.Go == nil || m.file.Go.Version != want {
			found = append(found, violation{m.dir, "go line is not " + want + " as in go.work", why})
		}
		if m.file.Toolchain != nil {
			found = append(found, violation{m.dir, "has a toolchain line", why})
		}
	}
	return found
}

// oneVersion compares the modules with each other: the workspace builds all of them with the highest version that one
// of them asks for, each alone with its own.
func oneVersion(ws *workspace) []violation {
	versions := map[string]map[string][]string{} // dependency, version, module folders
	for _, m := range ws.ours() {
		for _, req := range m.file.Require {
			if versions[req.Mod.Path] == nil {
				versions[req.Mod.Path] = map[string][]string{}
			}
			byVersion := versions[req.Mod.Path]
			byVersion[req.Mod.Version] = append(byVersion[req.Mod.Version], m.dir)
		}
	}
	var found []violation
	for _, dependency := range slices.Sorted(maps.Keys(versions)) {
		if len(versions[dependency]) == 1 {
			continue
		}
		var where []string
		ascending := slices.SortedFunc(maps.Keys(versions[dependency]), semver.Compare)
		for _, version := range ascending {
			where = append(where, version+" in "+strings.Join(versions[dependency][version], ", "))
		}
		found = append(found, violation{
			strings.Join(where, "; "), "disagree on " + dependency,
			"what is tested in the workspace has to be what a module builds alone. Run make tidy, and where that leaves them " +
				"apart: GOWORK=off go -C MODULE get " + dependency + "@" + ascending[len(ascending)-1],
		})
	}
	return found
}

func siblings(ws *workspace) []violation {
	const why = "the module could not be built alone"
	var found []violation
	for _, m := range ws.ours() {
		replaced := map[string]string{}
		for _, r := range m.file.Replace {
			replaced[r.Old.Path] = r.New.Path
		}
		for _, req := range m.file.Require {
			dir, ok := local(req.Mod.Path)
			if !ok {
				continue
			}
			if req.Mod.Version != "v0.0.0" {
				found = append(found, violation{m.dir, "requires " + dir + " " + req.Mod.Version + ", want v0.0.0", why})
			}
			if got := replaced[req.Mod.Path]; path.Join(m.dir, got) != dir || got == "" {
				found = append(found, violation{m.dir, "does not replace " + dir + " by its folder", why})
			}
		}
	}
	return found
}

// foreignReplacements are for dependencies whose own requirements don't build together.
func foreignReplacements(ws *workspace) []violation {
	type replacement struct{ old, new string }
	of := func(r *modfile.Replace) replacement { return replacement{r.Old.String(), r.New.String()} }
	shared := map[replacement]bool{}
	for _, r := range ws.work.Replace {
		shared[of(r)] = true
	}
	var found []violation
	for _, m := range ws.ours() {
		for _, r := range m.file.Replace {
			if _, ours := local(r.Old.Path); !ours && !shared[of(r)] {
				found = append(found, violation{
					m.dir, "replaces " + r.Old.String() + " and go.work does not",
					"the workspace would build with another version than the module alone",
				})
			}
		}
	}
	return found
}

// generators compares the generators' module with ours on the two runtimes that generated code is written for.
func generators(ws *workspace) []violation {
	runtimes := map[string]string{"google.golang.org/protobuf": "", "connectrpc.com/connect": ""}
	for _, m := range ws.ours() {
		for _, req := range m.file.Require {
			if _, ok := runtimes[req.Mod.Path]; ok {
				runtimes[req.Mod.Path] = req.Mod.Version
			}
		}
	}
	var found []violation
	for _, m := range ws.modules {
		if m.dir != generatorsDir {
			continue
		}
		for _, req := range m.file.Require {
			if want := runtimes[req.Mod.Path]; want != "" && req.Mod.Version != want {
				found = append(found, violation{
					m.dir, "has " + req.Mod.String() + ", we build with " + want,
					"generated code is only promised to work with the runtime of its generator's version",
				})
			}
		}
	}
	return found
}
