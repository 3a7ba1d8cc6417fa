// Package check holds what must be true of the charts and manifests in deploy, proved by rendering them, without a cluster. `make charts`
// runs all of it; it needs only the Go module proxy. The module stands outside go.work: Helm's and Kubernetes' dependencies decide no
// one else's versions (GOWORK=off).
//
//	render         charts into objects; every test begins here
//	schema         every field of an object is one its API has: Kubernetes' own types, CRDs of the operators, Linkerd's in Go
//	lint           rules for what no schema refuses; lint/linttest proves each by breaking an object
//	code           what the programs say about themselves: configuration keys, metrics, health paths
//	mesh           who may call whom by Linkerd's policies; writes deploy/linkerd/policies.yaml
//	tiltfile       the Tiltfile parses and builds what it should
//	testdata/golden  what charts render to, for people to read in a review: `go test . -run TestGolden -update` rewrites it
//
// The tests of this folder apply them to every chart with every values set of its folder ci. Where does a new check go? What is true of
// objects of any release is a lint rule. What is true of one chart with certain values is a test here, in the file of its subject
// (linkerd_test.go, network_test.go, ...), written with render.Render and render.As. What a chart must refuse is a row in refuse_test.go. What pages
// show needs nothing: docs_test.go finds it. Alerts and dashboards have a module of their own, deploy/monitoring.
package check
