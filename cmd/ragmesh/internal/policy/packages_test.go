package policy

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

func packageRules() []rule {
	return []rule{
		{
			name:   "every package says what it is, once",
			check:  documentation,
			breaks: map[string]string{"libs/rpc/more.go": "// Package rpc is documented twice.\npackage rpc\n"},
			where:  "libs/rpc",
		},
		{
			name:   "names say what is inside",
			check:  naming,
			breaks: map[string]string{"libs/util/util.go": "// Package util is a drawer.\npackage util\n"},
			where:  "libs/util",
		},
		{
			name:   "a service's main is short",
			check:  shortMains,
			breaks: map[string]string{"services/a/cmd/a/more.go": "package main\n" + strings.Repeat("\n", mainLines)},
			where:  "services/a/cmd/a",
		},
		{
			name:   "a service has one importable package",
			check:  onePublicPackage,
			breaks: map[string]string{"services/a/client/client.go": "// Package client leaks.\npackage client\n"},
			where:  "services/a/client",
		},
		{
			name:   "all services have the same face",
			check:  sameFace,
			breaks: map[string]string{"services/a/a.go": strings.Replace(service("a"), "Ready()", "Prepared()", 1)},
			where:  "services/a",
		},
	}
}

// documentation wants one package comment in the hand-written code of every folder, in the form godoc expects.
func documentation(ws *workspace) []violation {
	const why = "the first sentence a reader meets says what the package gives and who may rely on it"
	var found []violation
	for _, p := range ws.packages {
		files := p.production()
		if len(files) == 0 {
			continue
		}
		var documented []string
		for _, f := range files {
			if f.syntax.Doc == nil {
				continue
			}
			documented = append(documented, path.Base(f.name))
			want := "Package " + f.syntax.Name.Name + " "
			if f.syntax.Name.Name == "main" {
				want = "Command " // its name, which may be the binary's rather than the folder's
			}
			if !strings.HasPrefix(f.syntax.Doc.Text(), want) {
				found = append(found, violation{f.name, fmt.Sprintf("package comment does not start with %q", want), why})
			}
		}
		if len(documented) != 1 {
			found = append(found, violation{p.dir, fmt.Sprintf("has %d package comments %v, want 1", len(documented), documented), why})
		}
	}
	return found
}

func naming(ws *workspace) []violation {
	const why = "a package is named after what it gives; these names attract whatever has no place yet"
	var found []violation
	for _, p := range ws.packages {
		for element := range strings.SplitSeq(p.dir, "/") {
			if slices.Contains(names, element) {
				found = append(found, violation{p.dir, "is called " + element, why})
			}
		}
	}
	return found
}

func shortMains(ws *workspace) []violation {
	var found []violation
	for _, service := range ws.services() {
		for _, p := range ws.packages {
			if !within(p.dir, service+"/cmd") {
				continue
			}
			lines := 0
			for _, f := range p.production() {
				lines += f.lines()
			}
			if lines > mainLines {
				found = append(found, violation{
					p.dir, fmt.Sprintf("has %d lines, at most %d", lines, mainLines),
					"what a main does, the all-in-one would have to do again",
				})
			}
		}
	}
	return found
}

func onePublicPackage(ws *workspace) []violation {
	var found []violation
	for _, service := range ws.services() {
		for _, p := range ws.packages {
			public := within(p.dir, service) && p.dir != service &&
				!within(p.dir, service+"/cmd") && !within(p.dir, service+"/internal")
			if public {
				found = append(found, violation{
					p.dir, "can be imported from outside the service",
					"a service's root package is its only importable API; the rest is free to change",
				})
			}
		}
	}
	return found
}

func sameFace(ws *workspace) []violation {
	const why = "who knows one service knows them all, and one host runs each of them"
	var found []violation
	for _, service := range ws.services() {
		p := ws.pkg(service)
		if p == nil {
			found = append(found, violation{service, "has no root package", why})
			continue
		}
		declared := declarations(p)
		for _, want := range []string{"Config", "Deps", "Service", "Defaults", "New", "Service.Register", "Service.Run", "Service.Ready"} {
			if !declared[want] {
				found = append(found, violation{service, "declares no " + want, why})
			}
		}
	}
	return found
}

// declarations are a package's types, functions and, as Type.Method, methods.
func declarations(p *pkg) map[string]bool {
	all := map[string]bool{}
	for _, f := range p.production() {
		for _, decl := range f.syntax.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				all[receiver(decl)+decl.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						all[spec.Name.Name] = true
					}
				}
			}
		}
	}
	return all
}

func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) != 1 {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name + "."
	}
	return ""
}
