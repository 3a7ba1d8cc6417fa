package lint

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

const (
	serviceLabel = "app.kubernetes.io/name"
	callPort     = 8080
	natsPort     = 4222
	// tester is the label of what `helm test` runs, which may call dialog.
	tester = "ragmesh-test"
)

// NetworkGraph returns a rule for a release of all services: its NetworkPolicies let each service be called by those that the code says,
// and by no other, and let it call whom it calls. The graph has every service as a key, with whom it calls; all of them call NATS.
func NetworkGraph(graph map[string][]string) Rule {
	return Rule{
		Name: "network-graph",
		Why:  "A policy that the code has moved away from cuts calls, or lets in who has no business there.",
		Check: func(objects render.Objects, report Report) {
			g := networkGraph{pods: pods(objects), want: graph, report: report}
			for _, n := range decoded[networkingv1.NetworkPolicy](objects, "NetworkPolicy") {
				found := selected(g.pods, &n.value.Spec.PodSelector)
				for _, service := range services(found) {
					g.ingress(n, service, called(found))
					if service != "nats" {
						g.egress(n, service)
					}
				}
			}
		},
	}
}

type networkGraph struct {
	pods   []pod
	want   map[string][]string
	report Report
}

// services returns the names of the services that pods belong to, without the tester's.
func services(found []pod) []string {
	var names []string
	for _, p := range found {
		if name := p.meta.Labels[serviceLabel]; name != "" && name != tester && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// callers returns who calls a service, by the code.
func (g networkGraph) callers(service string) []string {
	var names []string
	for caller, callees := range g.want {
		if service == "nats" || slices.Contains(callees, service) {
			names = append(names, caller)
		}
	}
	slices.Sort(names)
	return names
}

// compare reports the difference between those a policy names and those the code does.
func (g networkGraph) compare(o render.Object, what string, got, want []string) {
	for _, name := range got {
		if !slices.Contains(want, name) {
			g.report(o, "%s %s, which the code does not", what, name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			g.report(o, "%s not %s, which the code does", what, name)
		}
	}
}

// called says whether pods have a port for calls: those that only take documents in have none.
func called(found []pod) bool {
	return slices.ContainsFunc(found, func(p pod) bool {
		return slices.ContainsFunc(p.containers(), func(c corev1.Container) bool {
			return slices.ContainsFunc(c.Ports, func(port corev1.ContainerPort) bool {
				return port.ContainerPort == callPort || port.ContainerPort == natsPort
			})
		})
	})
}

func (g networkGraph) ingress(n typed[networkingv1.NetworkPolicy], service string, called bool) {
	port := int32(callPort)
	if service == "nats" {
		port = natsPort
	}
	var from []string
	anyone := false
	for _, rule := range n.value.Spec.Ingress {
		if opens(rule.Ports, port) {
			anyone = anyone || len(rule.From) == 0
			from = append(from, g.peers(rule.From)...)
		}
	}
	switch {
	case !called:
		g.compare(n.object, "lets in", from, nil)
		if anyone {
			g.report(n.object, "lets anyone call pods that take no calls")
		}
	case !anyone:
		g.compare(n.object, "lets in", without(from, service), g.callers(service))
	case service != "dialog": // the edge
		g.report(n.object, "lets anyone call %s", service)
	}
}

func (g networkGraph) egress(n typed[networkingv1.NetworkPolicy], service string) {
	var calls, nats []string
	for _, rule := range n.value.Spec.Egress {
		if opens(rule.Ports, callPort) {
			calls = append(calls, g.peers(rule.To)...)
		}
		if opens(rule.Ports, natsPort) {
			nats = append(nats, g.peers(rule.To)...)
		}
	}
	g.compare(n.object, "lets out to", without(calls, service), g.want[service])
	g.compare(n.object, "lets out to", nats, []string{"nats"})
}

// peers returns the services that a rule names, as far as they are in the release.
func (g networkGraph) peers(peers []networkingv1.NetworkPolicyPeer) []string {
	var names []string
	for _, peer := range peers {
		if peer.PodSelector != nil {
			names = append(names, services(serving(selected(g.pods, peer.PodSelector)))...)
		}
	}
	return names
}

func serving(found []pod) []pod {
	return slices.DeleteFunc(found, func(p pod) bool { return !p.serves() })
}

// without leaves out a service itself: that one label names all of a release is no call of itself.
func without(names []string, service string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return name == service })
}

// opens says whether a rule is for a port; one that names none is for all.
func opens(ports []networkingv1.NetworkPolicyPort, port int32) bool {
	return len(ports) == 0 && port == callPort || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		tcp := p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP
		return tcp && p.Port != nil && p.Port.Type == intstr.Int && p.Port.IntVal == port
	})
}
