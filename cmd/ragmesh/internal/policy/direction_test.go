package policy

import (
	"path"
	"strings"
)

func directionRules() []rule {
	return []rule{
		{
			name:  "dependencies point one way",
			check: dependencyDirection,
			breaks: map[string]string{
				"libs/rpc/bad.go": "package rpc\n\nimport _ \"github.com/ragmesh/ragmesh/services/a\"\n",
			},
			where: "libs/rpc/bad.go",
		},
		{
			name:  "a service never imports another service",
			check: serviceIndependence,
			breaks: map[string]string{
				"services/b/internal/thing/thing_test.go": "package thing\n\nimport _ \"github.com/ragmesh/ragmesh/services/a\"\n",
			},
			where: "services/b/internal/thing/thing_test.go",
		},
		{
			name:  "the command line is a client",
			check: oneComposition,
			breaks: map[string]string{
				"cmd/ragmesh/internal/cli/cli.go": "// Package cli is the command line.\npackage cli\n\nimport _ \"github.com/ragmesh/ragmesh/services/a\"\n",
			},
			where: "cmd/ragmesh/internal/cli/cli.go",
		},
		{
			name:  "test support stays in tests",
			check: testSupport,
			breaks: map[string]string{
				"libs/rpc/rpctest/rpctest.go": "// Package rpctest helps tests.\npackage rpctest\n",
				"libs/rpc/bad.go":             "package rpc\n\nimport _ \"github.com/ragmesh/ragmesh/libs/rpc/rpctest\"\n",
			},
			where: "libs/rpc/bad.go",
		},
	}
}

// dependencyDirection applies to test files too: a test that needs the whole mesh belongs to cmd/ragmesh.
func dependencyDirection(ws *workspace) []violation {
	var found []violation
	for _, p := range ws.packages {
		for _, f := range p.files {
			for _, imported := range f.imports() {
				target, ok := local(imported)
				if !ok {
					continue
				}
				for _, ban := range bans {
					if within(p.dir, ban.from) && within(target, ban.to) {
						found = append(found, violation{f.name, "imports " + target, ban.why})
					}
				}
			}
		}
	}
	return found
}

func serviceIndependence(ws *workspace) []violation {
	service := func(dir string) string {
		parts := strings.SplitN(dir, "/", 3)
		if len(parts) < 2 || parts[0] != "services" {
			return ""
		}
		return parts[1]
	}
	var found []violation
	for _, p := range ws.packages {
		own := service(p.dir)
		if own == "" {
			continue
		}
		for _, f := range p.files {
			for _, imported := range f.imports() {
				target, ok := local(imported)
				if other := service(target); ok && other != "" && other != own {
					found = append(found, violation{f.name, "imports " + target, serviceBan})
				}
			}
		}
	}
	return found
}

// oneComposition is about cmd/ragmesh, where everything else is a client of a server that may run anywhere.
func oneComposition(ws *workspace) []violation {
	var found []violation
	for _, p := range ws.packages {
		if _, ok := compositions[p.dir]; ok || !within(p.dir, "cmd/ragmesh") {
			continue
		}
		for _, f := range p.production() {
			for _, imported := range f.imports() {
				if target, ok := local(imported); ok && within(target, "services") {
					found = append(found, violation{
						f.name, "imports " + target,
						"internal/wire alone knows what runs in this process",
					})
				}
			}
		}
	}
	return found
}

// testSupport is about packages named <thing>test.
func testSupport(ws *workspace) []violation {
	isSupport := func(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }
	var found []violation
	for _, p := range ws.packages {
		if isSupport(p.dir) {
			continue
		}
		for _, f := range p.production() {
			for _, imported := range f.imports() {
				if target, ok := local(imported); ok && isSupport(target) {
					found = append(found, violation{
						f.name, "imports " + target,
						"a package named after tests makes no promise that production code could rely on",
					})
				}
			}
		}
	}
	return found
}
