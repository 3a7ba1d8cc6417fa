package lint_test

import "github.com/ragmesh/ragmesh/deploy/check/lint/linttest"

func onRetriever(kind, rules string) string {
	return `{apiVersion: gateway.networking.k8s.io/v1, kind: ` + kind + `, metadata: {name: x, namespace: ragmesh}, spec: {` +
		`parentRefs: [{group: "", kind: Service, name: ragmesh-retriever, port: 8080}], rules: [` + rules + `]}}`
}

var linkerdCases = []linttest.Case{
	{
		Name: "typo on a Service", Rule: "linkerd-annotations", Want: "timeout.linkerd.io/idel",
		Edit: linttest.Put("Service/ragmesh-dialog", "60s", "metadata", "annotations", "timeout.linkerd.io/idel"),
	},
	{
		Name: "typo on pods", Rule: "linkerd-annotations", Want: "config.linkerd.io/proxy-memory",
		Edit: linttest.Put(deployment, "64Mi", inPod("metadata", "annotations", "config.linkerd.io/proxy-memory")...),
	},
	{
		Name: "no unit", Rule: "linkerd-annotations", Want: `"60" is no whole number with a unit`,
		Edit: linttest.Put("Service/ragmesh-dialog", "60", "metadata", "annotations", "timeout.linkerd.io/idle"),
	},
	{
		Name: "no text", Rule: "linkerd-annotations", Want: "quote it",
		Edit: linttest.Put("Service/ragmesh-dialog", 7.0, "metadata", "annotations", "balancer.linkerd.io/failure-accrual-consecutive-max-failures"),
	},
	{
		Name: "status that gRPC has and Linkerd does not repeat", Rule: "linkerd-annotations", Want: `"unknown"`,
		Edit: linttest.Put("Service/ragmesh-dialog", "unavailable,unknown", "metadata", "annotations", "retry.linkerd.io/grpc"),
	},
	{
		Name: "injection", Rule: "linkerd-annotations", Want: `"true" is none of enabled`,
		Edit: linttest.Put(deployment, "true", inPod("metadata", "annotations", "linkerd.io/inject")...),
	},
	{
		Name: "injection by label", Rule: "linkerd-annotations", Want: "as a label it does nothing",
		Edit: linttest.Put(deployment, "enabled", "metadata", "labels", "linkerd.io/inject"),
	},
	{
		Name: "for callers on pods", Rule: "linkerd-places", Want: "on a Service or a route only",
		Edit: linttest.Put(deployment, "60s", inPod("metadata", "annotations", "timeout.linkerd.io/idle")...),
	},
	{
		Name: "for pods on the workload", Rule: "linkerd-places", Want: "on pods and namespaces only",
		Edit: linttest.Put(deployment, "64Mi", "metadata", "annotations", "config.linkerd.io/proxy-memory-limit"),
	},
	{
		Name: "whole Service", Rule: "linkerd-places", Want: "cuts streams and uploads",
		Edit: linttest.Put("Service/ragmesh-dialog", "3s", "metadata", "annotations", "timeout.linkerd.io/request"),
	},
	{
		Name: "less than a heartbeat", Rule: "linkerd-places", Want: "heartbeats",
		Edit: linttest.Put("Service/ragmesh-dialog", "10s", "metadata", "annotations", "timeout.linkerd.io/idle"),
	},
	{
		Name: "NATS whose pods are not", Rule: "linkerd-opaque", Want: "StatefulSet/ragmesh-nats",
		Edit: linttest.Put("StatefulSet/ragmesh-nats", "8222", inPod("metadata", "annotations", "config.linkerd.io/opaque-ports")...),
	},
	{
		Name: "NATS whose Service is not", Rule: "linkerd-opaque", Want: "Service/ragmesh-nats",
		Edit: linttest.Remove("Service/ragmesh-nats", "metadata", "annotations", "config.linkerd.io/opaque-ports"),
	},
	{
		Name: "calls that no route takes", Rule: "linkerd-routes", Want: "NOT_FOUND",
		Edit: linttest.Add(onRetriever("GRPCRoute", `{matches: [{method: {service: a.B}}]}`)),
	},
	{
		Name: "two kinds", Rule: "linkerd-routes", Want: "is ignored",
		Edit: linttest.All(
			linttest.Add(onRetriever("GRPCRoute", `{backendRefs: [{name: ragmesh-retriever, port: 8080}]}`)),
			linttest.Add(onRetriever("HTTPRoute", `{backendRefs: [{name: ragmesh-retriever, port: 8080}]}`)),
		),
	},
	{
		Name: "all ports", Rule: "linkerd-routes", Want: "name one",
		Edit: linttest.All(
			linttest.Add(onRetriever("GRPCRoute", `{}`)),
			linttest.Remove("GRPCRoute/x", "spec", "parentRefs", 0, "port"),
		),
	},
	{
		Name: "selects nothing", Rule: "linkerd-servers", Want: "selects no pods",
		Edit: linttest.Put("Server/ragmesh-retriever-rpc", "retreiver", "spec", "podSelector", "matchLabels", "app.kubernetes.io/name"),
	},
	{
		Name: "port that is not there", Rule: "linkerd-servers", Want: "grpc",
		Edit: linttest.Put("Server/ragmesh-retriever-rpc", "grpc", "spec", "port"),
	},
	{
		Name: "two for one port", Rule: "linkerd-servers", Want: "and so is",
		Edit: linttest.Put("Server/ragmesh-retriever-rpc", "admin", "spec", "port"),
	},
	{
		Name: "target", Rule: "linkerd-policies", Want: "Server/x",
		Edit: linttest.Put("AuthorizationPolicy/ragmesh-retriever-callers", "x", "spec", "targetRef", "name"),
	},
	{
		Name: "authentication", Rule: "linkerd-policies", Want: "MeshTLSAuthentication/x",
		Edit: linttest.Put("AuthorizationPolicy/ragmesh-retriever-callers", "x", "spec", "requiredAuthenticationRefs", 0, "name"),
	},
	{
		Name: "everybody", Rule: "linkerd-policies", Want: "everybody",
		Edit: linttest.Put("AuthorizationPolicy/ragmesh-retriever-callers", []any{}, "spec", "requiredAuthenticationRefs"),
	},
	{
		Name: "nobody", Rule: "linkerd-policies", Want: "no AuthorizationPolicy",
		Edit: linttest.Drop("AuthorizationPolicy/ragmesh-retriever-callers"),
	},
	{
		Name: "whole mesh", Rule: "linkerd-policies", Want: "everybody in the mesh",
		Edit: linttest.Put("MeshTLSAuthentication/ragmesh-retriever-callers", []any{"*"}, "spec", "identities"),
	},
	{
		Name: "account", Rule: "linkerd-identities", Want: "ServiceAccount/ragmesh-dialogue",
		Edit: linttest.Put("MeshTLSAuthentication/ragmesh-retriever-callers", "ragmesh-dialogue", "spec", "identityRefs", 0, "name"),
	},
	{
		Name: "protocol", Rule: "linkerd-limits", Want: "use HTTP/2",
		Edit: linttest.Put("Server/ragmesh-retriever-rpc", "gRPC", "spec", "proxyProtocol"),
	},
	{
		Name: "target", Rule: "linkerd-limits", Want: "Server/x",
		Edit: linttest.Put("HTTPLocalRateLimitPolicy/ragmesh-retriever", "x", "spec", "targetRef", "name"),
	},
}
