package lint_test

import "github.com/ragmesh/ragmesh/deploy/check/lint/linttest"

var meshCases = []linttest.Case{
	{
		Name: "another domain", Rule: "linkerd-lookalikes", Want: "linkerd-io/inject looks like",
		Edit: linttest.Put(deployment, "enabled", inPod("metadata", "annotations", "linkerd-io/inject")...),
	},
	{
		Name: "a typo in the group", Rule: "linkerd-lookalikes", Want: "timeout.linkerd.oi/idle looks like",
		Edit: linttest.Put("Service/ragmesh-dialog", "60s", "metadata", "annotations", "timeout.linkerd.oi/idle"),
	},
	{
		Name: "a label of pods", Rule: "linkerd-lookalikes", Want: "label linkerd.io/inject does nothing",
		Edit: linttest.Put(deployment, "enabled", inPod("metadata", "labels", "linkerd.io/inject")...),
	},
	{
		Name: "parameters alone", Rule: "linkerd-accrual", Want: "min-penalty without",
		Edit: linttest.Remove("Service/ragmesh-tools", "metadata", "annotations", "balancer.linkerd.io/failure-accrual"),
	},
	{
		Name: "parameters of the other mode", Rule: "linkerd-accrual", Want: "unified",
		Edit: linttest.Put("Service/ragmesh-tools", "0.9", "metadata", "annotations", "balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold"),
	},
	{
		Name: "penalties upside down", Rule: "linkerd-accrual", Want: "penalties from 1m0s to 10s",
		Edit: linttest.All(
			linttest.Put("Service/ragmesh-tools", "1m", "metadata", "annotations", "balancer.linkerd.io/failure-accrual-consecutive-min-penalty"),
			linttest.Put("Service/ragmesh-tools", "10s", "metadata", "annotations", "balancer.linkerd.io/failure-accrual-consecutive-max-penalty"),
		),
	},
	{
		Name: "headless", Rule: "linkerd-accrual", Want: "headless",
		Edit: linttest.Put("Service/ragmesh-retriever", "None", "spec", "clusterIP"),
	},
	{
		Name: "on a Service", Rule: "linkerd-retries", Want: "retry.linkerd.io/grpc",
		Edit: linttest.Put("Service/ragmesh-retriever", "unavailable", "metadata", "annotations", "retry.linkerd.io/grpc"),
	},
	{
		Name: "h2c that is detected", Rule: "linkerd-protocols", Want: `"unknown" of a port that Service/ragmesh-retriever calls "kubernetes.io/h2c"`,
		Edit: linttest.Put("Server/ragmesh-retriever-rpc", "unknown", "spec", "proxyProtocol"),
	},
	{
		Name: "an edge without HTTP/1.1", Rule: "linkerd-protocols", Want: "Server/ragmesh-dialog-http",
		Edit: linttest.Put("Server/ragmesh-dialog-http", "HTTP/2", "spec", "proxyProtocol"),
	},
	{
		Name: "NATS as HTTP", Rule: "linkerd-protocols", Want: "Server/ragmesh-nats-client",
		Edit: linttest.Put("Server/ragmesh-nats-client", "unknown", "spec", "proxyProtocol"),
	},
	{
		Name: "a pod outside the mesh", Rule: "linkerd-cover", Want: "not in the mesh",
		Edit: linttest.Remove(deployment, inPod("metadata", "annotations", "linkerd.io/inject")...),
	},
	{
		Name: "a port of nobody", Rule: "linkerd-cover", Want: "no Server for port admin (9090)",
		Edit: linttest.Drop("Server/ragmesh-dialog-admin"),
	},
	{
		Name: "HTTP/2", Rule: "linkerd-probes", Want: "probed over HTTP/1.1",
		Edit: linttest.Put("Server/ragmesh-dialog-admin", "HTTP/2", "spec", "proxyProtocol"),
	},
	{
		Name: "a route", Rule: "linkerd-probes", Want: "HTTPRoute/metrics is attached",
		Edit: linttest.Add(`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: metrics, namespace: ragmesh}, spec: {` +
			`parentRefs: [{group: policy.linkerd.io, kind: Server, name: ragmesh-dialog-admin}], rules: [{matches: [{path: {value: /metrics}}]}]}}`),
	},
	{
		Name: "two identities at once", Rule: "linkerd-admission", Want: "2 identities",
		Edit: linttest.Put("AuthorizationPolicy/ragmesh-dialog-callers", map[string]any{"kind": "ServiceAccount", "name": "x"}, "spec", "requiredAuthenticationRefs", 1),
	},
	{
		Name: "one caller may more than all", Rule: "linkerd-admission", Want: "above the total",
		Edit: linttest.Put("HTTPLocalRateLimitPolicy/ragmesh-dialog", 5000.0, "spec", "identity", "requestsPerSecond"),
	},
	{
		Name: "an exception elsewhere", Rule: "linkerd-admission", Want: "no part of 10.0.0.0/8",
		Edit: linttest.Put("NetworkAuthentication/ragmesh-dialog-admin-networks", []any{"192.168.1.0/24"}, "spec", "networks", 0, "except"),
	},
	{
		Name: "egress without a port", Rule: "linkerd-admission", Want: "without a port",
		Edit: linttest.Add(`{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: TLSRoute, metadata: {name: x, namespace: ragmesh}, spec: {` +
			`parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: ragmesh-egress}], rules: [{}]}}`),
	},
	{
		Name: "in a configuration", Rule: "addresses", Want: "http://ragmesh-retriever:8081",
		Edit: linttest.Put("ConfigMap/ragmesh-dialog", "peers: {retriever: http://ragmesh-retriever:8081}", "data", "dialog.yaml"),
	},
	{
		Name: "in an argument", Rule: "addresses", Want: "http://ragmesh-dialog:9091",
		Edit: linttest.Put("Pod/ragmesh-dialog-test", "http://ragmesh-dialog:9091", "spec", "containers", 0, "args", 1),
	},
}
