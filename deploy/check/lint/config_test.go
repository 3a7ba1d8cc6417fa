package lint_test

import (
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint/linttest"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// rewrite replaces a text in a file of a ConfigMap.
func rewrite(name, file, from, to string) linttest.Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		text := objects.One(t, "ConfigMap", name).String("data", file)
		if !strings.Contains(text, from) {
			t.Fatalf("no %q in %s:\n%s", from, file, text)
		}
		return linttest.Put("ConfigMap/"+name, strings.Replace(text, from, to, 1), "data", file)(t, objects)
	}
}

var configCases = []linttest.Case{
	{
		Name: "file", Rule: "config-secrets", Want: "jwks.jsno",
		Edit: rewrite("ragmesh-dialog", "dialog.yaml", "jwks.json", "jwks.jsno"),
	},
	{
		Name: "variable", Rule: "config-secrets", Want: "OPENAI_API_KEY",
		Edit: rewrite("ragmesh-llm-gateway", "llm-gateway.yaml", "admin:", "providers: {openai: {key: {env: OPENAI_API_KEY}}}\nadmin:"),
	},
	{
		Name: "elsewhere", Rule: "config-data", Want: "/var/lib",
		Edit: rewrite("ragmesh-eval", "eval.yaml", "data: /data", "data: /var/lib"),
	},
	{
		Name: "peer", Rule: "config-addresses", Want: "http://ragmesh-evla:8080",
		Edit: rewrite("ragmesh-dialog", "dialog.yaml", "http://ragmesh-eval:8080", "http://ragmesh-evla:8080"),
	},
	{
		Name: "port", Rule: "config-addresses", Want: "nats://ragmesh-nats:4223",
		Edit: rewrite("ragmesh-dialog", "dialog.yaml", "nats://ragmesh-nats:4222", "nats://ragmesh-nats:4223"),
	},
}
