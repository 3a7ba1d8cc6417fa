package lint_test

import "github.com/ragmesh/ragmesh/deploy/check/lint/linttest"

var networkCases = []linttest.Case{
	{
		Name: "what Linkerd does not know", Rule: "app-protocol", Want: `appProtocol "grpc"`,
		Edit: linttest.Put("Service/ragmesh-retriever", "grpc", "spec", "ports", 0, "appProtocol"),
	},
	{
		Name: "calls of no protocol", Rule: "app-protocol", Want: "port rpc",
		Edit: linttest.Remove("Service/ragmesh-retriever", "spec", "ports", 0, "appProtocol"),
	},
	{
		Name: "edge of HTTP/2 only", Rule: "app-protocol", Want: "port http",
		Edit: linttest.Put("Service/ragmesh-dialog", "kubernetes.io/h2c", "spec", "ports", 0, "appProtocol"),
	},
	{
		Name: "target that is not there", Rule: "service-ports", Want: "targetPort gprc",
		Edit: linttest.Put("Service/ragmesh-retriever", "gprc", "spec", "ports", 0, "targetPort"),
	},
	{
		Name: "port that is not declared", Rule: "service-ports", Want: "no Service declares port admin (9090)",
		Edit: linttest.Remove("Service/ragmesh-retriever", "spec", "ports", 1),
	},
	{
		Name: "calls through proxies", Rule: "policy-ports", Want: "4143",
		Edit: linttest.Remove("NetworkPolicy/ragmesh-retriever", "spec", "ingress", 0, "ports", 1),
	},
	{
		Name: "calls past proxies", Rule: "policy-ports", Want: "no rule for port rpc (8080)",
		Edit: linttest.Remove("NetworkPolicy/ragmesh-retriever", "spec", "ingress", 0, "ports", 0),
	},
	{
		Name: "hole where no proxy is", Rule: "policy-ports", Want: "where no proxy listens",
		Edit: linttest.Remove(statefulSet, inPod("metadata", "annotations", "linkerd.io/inject")...),
	},
	{
		Name: "calls to proxies", Rule: "policy-ports", Want: "rule 1 is without port 4143",
		Edit: linttest.Remove("NetworkPolicy/ragmesh-retriever", "spec", "egress", 1, "ports", 1),
	},
	{
		Name: "no control plane", Rule: "policy-ports", Want: "control plane",
		Edit: linttest.Remove("NetworkPolicy/ragmesh-retriever", "spec", "egress", 3),
	},
	{
		Name: "no names", Rule: "policy-dns", Want: "53",
		Edit: linttest.Remove("NetworkPolicy/ragmesh-retriever", "spec", "egress", 0),
	},
	{
		Name: "another service", Rule: "edge", Want: "only dialog",
		Edit: linttest.Put("Ingress/ragmesh-dialog", "ragmesh-tools", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name"),
	},
	{
		Name: "metrics", Rule: "edge", Want: "not for users",
		Edit: linttest.Put("Ingress/ragmesh-dialog", "admin", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "port", "name"),
	},
	{
		Name: "any host", Rule: "edge", Want: "without a host",
		Edit: linttest.Remove("Ingress/ragmesh-dialog", "spec", "rules", 0, "host"),
	},
}
