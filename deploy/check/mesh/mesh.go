// Package mesh reads from Linkerd's policies who may call whom, and writes the policies of deploy/linkerd that come from the charts.
package mesh

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

// Edge says that somebody may call a port.
type Edge struct {
	// Caller is a service account as namespace/name, or a network.
	Caller string
	// Callee is the app.kubernetes.io/name of the called pods.
	Callee string
	// Port is the Server's, a name or a number.
	Port string
}

// String returns "ragmesh/ragmesh-eval -> dialog:http".
func (e Edge) String() string { return e.Caller + " -> " + e.Callee + ":" + e.Port }

// Edges returns what the policies among the objects allow, sorted.
func Edges(objects render.Objects) []Edge {
	var all []Edge
	for _, o := range objects.Kind("AuthorizationPolicy") {
		policy, err := render.Decode[schema.AuthorizationPolicy](o)
		if err != nil {
			continue // the schema's check says so
		}
		target, ok := objects.Find("Server", policy.Spec.TargetRef.Name)
		if !ok || policy.Spec.TargetRef.Kind != "Server" {
			continue // the lint says so
		}
		server, err := render.Decode[schema.Server](target)
		if err != nil || server.Spec.Port == nil {
			continue
		}
		for _, caller := range callers(objects, o.Namespace(), policy) {
			all = append(all, Edge{Caller: caller, Callee: callee(server.Spec.PodSelector), Port: server.Spec.Port.String()})
		}
	}
	slices.SortFunc(all, func(a, b Edge) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// callers returns whom a policy names.
func callers(objects render.Objects, namespace string, policy schema.AuthorizationPolicy) []string {
	var all []string
	add := func(ref schema.Ref) {
		ns := ref.Namespace
		if ns == "" {
			ns = namespace
		}
		if ref.Kind == "Namespace" {
			all = append(all, ref.Name+"/*")
			return
		}
		all = append(all, ns+"/"+ref.Name)
	}
	for _, ref := range policy.Spec.RequiredAuthenticationRefs {
		if ref.Kind == "ServiceAccount" {
			add(ref)
			continue
		}
		o, ok := objects.Find(ref.Kind, ref.Name)
		if !ok {
			continue
		}
		if mesh, err := render.Decode[schema.MeshTLSAuthentication](o); err == nil && ref.Kind == "MeshTLSAuthentication" {
			all = append(all, mesh.Spec.Identities...)
			for _, identity := range mesh.Spec.IdentityRefs {
				add(identity)
			}
		}
		if networks, err := render.Decode[schema.NetworkAuthentication](o); err == nil && ref.Kind == "NetworkAuthentication" {
			for _, network := range networks.Spec.Networks {
				all = append(all, network.CIDR)
			}
		}
	}
	return all
}

// callee names the pods of a selector: a service, or whatever else it says.
func callee(selector *metav1.LabelSelector) string {
	if name := selector.MatchLabels["app.kubernetes.io/name"]; name != "" {
		return name
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || s.Empty() {
		return "everything"
	}
	return s.String()
}
