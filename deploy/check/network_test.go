package check_test

import (
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/lint/linttest"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// NetworkPolicies let through the calls that libs/identity names, with the mesh and without, and no other.
func TestNetworkPoliciesLetThroughTheCallGraph(t *testing.T) {
	t.Parallel()
	rules := []lint.Rule{lint.NetworkGraph(callGraph(t))}
	for _, finding := range lint.Run(render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true")), rules...) {
		t.Errorf("in the mesh: %s", finding)
	}
	linttest.Run(t, rules, render.Render(t, "ragmesh"), []linttest.Case{
		{
			Name: "caller that is kept out", Rule: "network-graph", Want: "NetworkPolicy/ragmesh-llm-gateway: lets in not dialog",
			Edit: linttest.Remove("NetworkPolicy/ragmesh-llm-gateway", "spec", "ingress", 0, "from", 0),
		},
		{
			Name: "caller that is none", Rule: "network-graph", Want: "NetworkPolicy/ragmesh-llm-gateway: lets in tools, which the code does not",
			Edit: linttest.Put("NetworkPolicy/ragmesh-llm-gateway", "tools", "spec", "ingress", 0, "from", 0, "podSelector", "matchLabels", "app.kubernetes.io/name"),
		},
		{
			Name: "anyone", Rule: "network-graph", Want: "NetworkPolicy/ragmesh-llm-gateway: lets anyone",
			Edit: linttest.Remove("NetworkPolicy/ragmesh-llm-gateway", "spec", "ingress", 0, "from"),
		},
		{
			Name: "service that is kept away", Rule: "network-graph", Want: "NetworkPolicy/ragmesh-retriever: lets out to not llm-gateway",
			Edit: linttest.Put("NetworkPolicy/ragmesh-retriever", "eval", "spec", "egress", 2, "to", 0, "podSelector", "matchLabels", "app.kubernetes.io/name"),
		},
		{
			Name: "NATS that is kept away", Rule: "network-graph", Want: "NetworkPolicy/ragmesh-tools: lets out to not nats",
			Edit: linttest.Remove("NetworkPolicy/ragmesh-tools", "spec", "egress", 1),
		},
		{
			Name: "who may not call NATS", Rule: "network-graph", Want: "NetworkPolicy/ragmesh-nats: lets in not eval",
			Edit: linttest.Put("NetworkPolicy/ragmesh-nats", "tools", "spec", "ingress", 0, "from", 0, "podSelector", "matchLabels", "app.kubernetes.io/name"),
		},
	})
}
