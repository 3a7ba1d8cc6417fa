package policy

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/identity"
)

func graphRules() []rule {
	return []rule{
		{
			name:  "clients are in the call graph",
			check: clients,
			breaks: map[string]string{"services/a/internal/rpc/client.go": `package rpc

import "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"

var _ = llmv1connect.NewLLMServiceClient(nil, "")
`},
			where: "services/a/internal/rpc/client.go",
		},
		{
			name:  "dialled services are in the call graph",
			check: dialled,
			breaks: map[string]string{"services/a/cmd/a/build.go": `package main

import "github.com/ragmesh/ragmesh/libs/identity"

func build(env Env) { _ = env.Dial("http://127.0.0.1:1", identity.Gateway) }
`},
			where: "services/a/cmd/a/build.go",
		},
	}
}

// unmeshed is why both rules are there.
const unmeshed = "the mesh lets in the callers that libs/identity declares and resets all others, which shows in a cluster first"

// clients finds services that make a client of one that they may not call.
func clients(ws *workspace) []violation {
	graph := identity.CallGraph()
	var found []violation
	eachCall(ws, func(service string, f *file, call *ast.SelectorExpr, _ []ast.Expr) {
		imported := importOf(f, call.X)
		name, ok := strings.CutPrefix(imported, prefix+"proto/gen/")
		if !ok || !strings.HasPrefix(call.Sel.Name, "New") || !strings.HasSuffix(call.Sel.Name, "Client") {
			return
		}
		// ragmesh/llm/v1/llmv1connect holds the clients of package ragmesh.llm.v1.
		callee := identity.ServiceOf("/" + strings.ReplaceAll(path.Dir(name), "/", ".") + ".X/Y")
		if callee == "" || !slices.Contains(graph[service], callee) {
			found = append(found, violation{f.name, "makes a client of " + path.Dir(name) + ", which " + service + " does not call", unmeshed})
		}
	})
	return found
}

// dialled finds connections to services that the caller may not call, and those of which that can't be told.
func dialled(ws *workspace) []violation {
	graph := identity.CallGraph()
	names := map[string]string{ // the constants of libs/identity
		"Dialog": identity.Dialog, "Retriever": identity.Retriever, "Tools": identity.Tools, "Gateway": identity.Gateway, "Eval": identity.Eval,
	}
	var found []violation
	eachCall(ws, func(service string, f *file, call *ast.SelectorExpr, args []ast.Expr) {
		if importOf(f, call.X) == prefix+"libs/rpc" && call.Sel.Name == "Dial" {
			found = append(found, violation{f.name, "opens a connection by itself", "connections come from process.Env.Dial, which names whom they are to"})
			return
		}
		if call.Sel.Name != "Dial" || len(args) != 2 || importOf(f, call.X) != "" {
			return
		}
		audience, ok := args[1].(*ast.SelectorExpr)
		if !ok || importOf(f, audience.X) != prefix+"libs/identity" || names[audience.Sel.Name] == "" {
			found = append(found, violation{f.name, "dials a service without naming it by its constant in libs/identity", unmeshed})
			return
		}
		if callee := names[audience.Sel.Name]; !slices.Contains(graph[service], callee) {
			found = append(found, violation{f.name, "dials " + callee + ", which " + service + " does not call", unmeshed})
		}
	})
	return found
}

// eachCall passes over the calls x.F(args) in the services' hand-written code.
func eachCall(ws *workspace, visit func(service string, f *file, call *ast.SelectorExpr, args []ast.Expr)) {
	for _, dir := range ws.services() {
		for _, p := range ws.packages {
			if !within(p.dir, dir) {
				continue
			}
			for _, f := range p.production() {
				ast.Inspect(f.syntax, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok {
						if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
							visit(path.Base(dir), f, selector, call.Args)
						}
					}
					return true
				})
			}
		}
	}
}

// importOf returns the import path of the package an expression names, "" when it names none.
func importOf(f *file, x ast.Expr) string {
	name, ok := x.(*ast.Ident)
	if !ok {
		return ""
	}
	for _, spec := range f.syntax.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		switch {
		case spec.Name != nil && spec.Name.Name == name.Name, spec.Name == nil && path.Base(imported) == name.Name:
			return imported
		}
	}
	return ""
}

// TestTheRulesSeeTheClientsThatThereAre fails when clients are made in a way that the rules don't recognise any more: then
// they would hold for ever.
func TestTheRulesSeeTheClientsThatThereAre(t *testing.T) {
	t.Parallel()
	ws := open(t)
	made, opened := map[string]bool{}, map[string]bool{}
	eachCall(ws, func(service string, f *file, call *ast.SelectorExpr, args []ast.Expr) {
		imported := importOf(f, call.X)
		switch {
		case strings.HasPrefix(imported, prefix+"proto/gen/") && strings.HasSuffix(call.Sel.Name, "Client"):
			made[service+" "+path.Base(imported)] = true
		case call.Sel.Name == "Dial" && imported == "" && len(args) == 2:
			if audience, ok := args[1].(*ast.SelectorExpr); ok {
				opened[service+" "+audience.Sel.Name] = true
			}
		}
	})
	for _, want := range []string{"dialog retrieverv1connect", "dialog toolsv1connect", "dialog llmv1connect", "dialog evalv1connect"} {
		if !made[want] {
			t.Errorf("%s: no client seen among %v", want, slices.Sorted(maps.Keys(made)))
		}
	}
	for _, want := range []string{"dialog Retriever", "dialog Tools", "dialog Gateway", "dialog Eval"} {
		if !opened[want] {
			t.Errorf("%s: no connection seen among %v", want, slices.Sorted(maps.Keys(opened)))
		}
	}
}

// TestDialsThatCantBeRead covers the two ways past the graph.
func TestDialsThatCantBeRead(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"by itself":        `import "github.com/ragmesh/ragmesh/libs/rpc"` + "\n\nvar _ = rpc.Dial(rpc.Target{}, rpc.ClientOptions{})\n",
		"without constant": "func build(env Env) { _ = env.Dial(\"\", \"llm-gateway\") }\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := sample(t, map[string]string{"services/a/cmd/a/build.go": "package main\n\n" + body})
			if got := dialled(ws); len(got) != 1 {
				t.Errorf("%d violations, want one: %v", len(got), got)
			}
		})
	}
}
