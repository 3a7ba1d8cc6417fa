package mesh_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/deploy/check/mesh"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

const objects = `
{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: rpc, namespace: ours}, spec: {podSelector: {matchLabels: {app.kubernetes.io/name: tools}}, port: rpc}}
---
{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: all, namespace: ours}, spec: {podSelector: {}, port: 4191}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: MeshTLSAuthentication, metadata: {name: callers, namespace: ours}, spec: {identityRefs: [
  {kind: ServiceAccount, name: dialog}, {kind: ServiceAccount, name: nginx, namespace: ingress}, {kind: Namespace, name: trusted}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: NetworkAuthentication, metadata: {name: nets, namespace: ours}, spec: {networks: [{cidr: 10.0.0.0/8}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: a, namespace: ours}, spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: rpc},
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: callers}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: b, namespace: ours}, spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: all},
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: NetworkAuthentication, name: nets}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: c, namespace: ours}, spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: rpc},
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: eval}]}}
`

func TestEdges(t *testing.T) {
	t.Parallel()
	all, err := render.Parse(objects)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, edge := range mesh.Edges(all) {
		got = append(got, edge.String())
	}
	want := []string{
		"10.0.0.0/8 -> everything:4191",
		"ingress/nginx -> tools:rpc",
		"ours/dialog -> tools:rpc",
		"ours/eval -> tools:rpc",
		"trusted/* -> tools:rpc",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Edges() (-want +got):\n%s", diff)
	}
}
