package lint_test

import "github.com/ragmesh/ragmesh/deploy/check/lint/linttest"

var networkCases = []linttest.Case{
	{
		Name: "what Linkerd does not know", Rule: "app-protocol", Want: `appProtocol "grpc"`,
		Edit: linttest.Put("Service/ragmesh-retriever", "grpc", "spec", "ports", 0, "appProtocol"),
	},
}
