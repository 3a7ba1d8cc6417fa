package lint

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func networkRules() []Rule {
	return []Rule{appProtocol, servicePorts, policyPorts, policyNames, edgeBackends}
}

// The ports of a Linkerd proxy: calls from other proxies, and its own metrics.
const (
	proxyPort        = 4143
	proxyMetricsPort = 4191
)

var appProtocol = Rule{
	Name: "app-protocol",
	Why:  "Linkerd takes a port with any other value for opaque TCP: no metrics, no balancing of calls.",
	Check: func(objects render.Objects, report Report) {
		known := []string{"", "http", "kubernetes.io/h2c", "linkerd.io/opaque", "linkerd.io/tcp"}
		for _, s := range decoded[corev1.Service](objects, "Service") {
			for _, port := range s.value.Spec.Ports {
				value := ""
				if port.AppProtocol != nil {
					value = *port.AppProtocol
				}
				switch {
				case !slices.Contains(known, value):
					report(s.object, "port %s: appProtocol %q is none of http, kubernetes.io/h2c, linkerd.io/opaque, linkerd.io/tcp", port.Name, value)
				case port.Name == "rpc" && value != "kubernetes.io/h2c":
					report(s.object, "port rpc: appProtocol is %q, and not kubernetes.io/h2c: calls wait for the protocol to be found out", value)
				case port.Name == "http" && value != "":
					report(s.object, "port http: appProtocol is %q: the edge speaks HTTP/1.1 as well as HTTP/2, which only no value says", value)
				}
			}
		}
	},
}

var servicePorts = Rule{
	Name: "service-ports",
	Why:  "Linkerd refuses calls to ports that no Service declares, and a Service can't send to a port that no container has.",
	Check: func(objects render.Objects, report Report) {
		all := pods(objects)
		declared := map[string]map[int32]bool{}
		for _, s := range decoded[corev1.Service](objects, "Service") {
			for _, p := range ofService(all, s.value) {
				if !p.serves() {
					continue
				}
				if declared[p.ID()] == nil {
					declared[p.ID()] = map[int32]bool{}
				}
				for _, port := range s.value.Spec.Ports {
					number, ok := target(p, port)
					if !ok {
						report(s.object, "port %s: targetPort %s is no port of %s", port.Name, port.TargetPort.String(), p.ID())
					}
					declared[p.ID()][number] = true
				}
			}
		}
		for _, p := range all {
			if !p.serves() {
				continue
			}
			for _, c := range p.spec.Containers {
				for _, port := range c.Ports {
					if !declared[p.ID()][port.ContainerPort] {
						report(p.Object, "container %s: no Service declares port %s (%d)", c.Name, port.Name, port.ContainerPort)
					}
				}
			}
		}
	},
}

// target returns the container port that a Service's port leads to.
func target(p pod, port corev1.ServicePort) (int32, bool) {
	if port.TargetPort.Type == intstr.String {
		found, ok := p.port(port.TargetPort.StrVal)
		return found.ContainerPort, ok
	}
	number := port.TargetPort.IntVal
	if number == 0 {
		number = port.Port
	}
	for _, c := range p.spec.Containers {
		if slices.ContainsFunc(c.Ports, func(cp corev1.ContainerPort) bool { return cp.ContainerPort == number }) {
			return number, true
		}
	}
	return number, false
}

var policyPorts = Rule{
	Name: "policy-ports",
	Why:  "Calls between pods of the mesh arrive on the proxy's port 4143, whatever the service's own: a policy without it blocks them all.",
	Check: func(objects render.Objects, report Report) {
		all := pods(objects)
		for _, n := range decoded[networkingv1.NetworkPolicy](objects, "NetworkPolicy") {
			for _, p := range selected(all, &n.value.Spec.PodSelector) {
				if p.serves() && slices.Contains(n.value.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
					for _, problem := range ingressProblems(p, n.value.Spec.Ingress) {
						report(n.object, "ingress to %s: %s", p.ID(), problem)
					}
				}
				if p.meshed() && slices.Contains(n.value.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
					for _, problem := range egressProblems(n.value.Spec.Egress) {
						report(n.object, "egress from %s: %s", p.ID(), problem)
					}
				}
			}
		}
	},
}

func ingressProblems(p pod, rules []networkingv1.NetworkPolicyIngressRule) []string {
	open := map[int32]bool{}
	var problems []string
	for _, rule := range rules {
		ports := map[int32]bool{}
		for _, port := range rule.Ports {
			number, ok := policyPort(p, port.Port)
			if !ok {
				problems = append(problems, fmt.Sprintf("port %s is no container's", port.Port))
				continue
			}
			ports[number], open[number] = true, true
		}
		// A rule for a port of the app must let in both those whose proxy calls and those who have none.
		for _, c := range p.spec.Containers {
			for _, port := range c.Ports {
				switch {
				case !ports[port.ContainerPort]:
				case p.meshed() && !ports[proxyPort]:
					problems = append(problems, fmt.Sprintf("the rule for port %d is without %d, where proxies call", port.ContainerPort, proxyPort))
				case !p.meshed() && ports[proxyPort]:
					problems = append(problems, fmt.Sprintf("the rule for port %d opens %d, where no proxy listens", port.ContainerPort, proxyPort))
				}
			}
		}
	}
	for _, c := range p.spec.Containers {
		for _, port := range c.Ports {
			if !open[port.ContainerPort] {
				problems = append(problems, fmt.Sprintf("no rule for port %s (%d)", port.Name, port.ContainerPort))
			}
		}
	}
	if p.meshed() && !open[proxyMetricsPort] {
		problems = append(problems, fmt.Sprintf("no rule for port %d, the proxy's metrics", proxyMetricsPort))
	}
	return problems
}

// egressProblems says what keeps pods with a proxy from others with one, and from the mesh's control plane.
func egressProblems(rules []networkingv1.NetworkPolicyEgressRule) []string {
	var problems []string
	controlPlane := false
	for i, rule := range rules {
		// Whether what is neither a service of ours nor NATS has a proxy, nobody can tell.
		toOurs := len(rule.Ports) > 0 && (opens(rule.Ports, callPort) || opens(rule.Ports, natsPort))
		if toOurs && !opens(rule.Ports, proxyPort) {
			problems = append(problems, fmt.Sprintf("rule %d is without port %d, where proxies are called", i, proxyPort))
		}
		controlPlane = controlPlane || len(rule.Ports) == 0 && slices.ContainsFunc(rule.To, func(p networkingv1.NetworkPolicyPeer) bool {
			return p.NamespaceSelector != nil && p.PodSelector == nil
		})
	}
	if !controlPlane {
		problems = append(problems, "no rule for the namespace of the control plane, without which a proxy does not start")
	}
	return problems
}

func policyPort(p pod, port *intstr.IntOrString) (int32, bool) {
	if port == nil {
		return 0, true
	}
	if port.Type == intstr.String {
		found, ok := p.port(port.StrVal)
		return found.ContainerPort, ok
	}
	return port.IntVal, true
}

var policyNames = Rule{
	Name: "policy-dns",
	Why:  "A pod whose outgoing traffic is bounded and that can't look up names reaches nothing; answers that are too long for UDP come by TCP.",
	Check: func(objects render.Objects, report Report) {
		all := pods(objects)
		for _, n := range decoded[networkingv1.NetworkPolicy](objects, "NetworkPolicy") {
			// Who calls nobody needs no names; a proxy always calls the mesh's control plane.
			calls := len(n.value.Spec.Egress) > 0 || slices.ContainsFunc(selected(all, &n.value.Spec.PodSelector), pod.meshed)
			if !slices.Contains(n.value.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) || !calls {
				continue
			}
			open := map[corev1.Protocol]bool{}
			for _, rule := range n.value.Spec.Egress {
				for _, port := range rule.Ports {
					if port.Port != nil && port.Port.IntVal == 53 && port.Protocol != nil {
						open[*port.Protocol] = true
					}
				}
			}
			for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
				if !open[protocol] {
					report(n.object, "egress has no rule for names, port 53 by %s", protocol)
				}
			}
		}
	},
}

var edgeBackends = Rule{
	Name: "edge",
	Why:  "dialog is the only way in: a route to another service goes around the checks of who may do what.",
	Check: func(objects render.Objects, report Report) {
		lead := func(o render.Object, service, port string) {
			switch s, ok := objects.Find("Service", service); {
			case !ok:
				report(o, "leads to Service/%s, which is not there", service)
			case s.Labels()["app.kubernetes.io/name"] != "dialog":
				report(o, "leads to Service/%s: only dialog checks who asks", service)
			case port != "http" && port != "8080":
				report(o, "leads to port %s of Service/%s: that is not for users", port, service)
			}
		}
		for _, i := range decoded[networkingv1.Ingress](objects, "Ingress") {
			for _, rule := range i.value.Spec.Rules {
				if rule.Host == "" {
					report(i.object, "has a rule without a host")
				}
				if rule.HTTP == nil {
					continue
				}
				for _, path := range rule.HTTP.Paths {
					if b := path.Backend.Service; b != nil {
						port := b.Port.Name
						if port == "" {
							port = strconv.Itoa(int(b.Port.Number))
						}
						lead(i.object, b.Name, port)
					}
				}
			}
		}
		for _, r := range routes(objects) {
			if r.inMesh() {
				continue
			}
			for _, b := range r.backends() {
				lead(r.Object, b.name, b.port)
			}
		}
	},
}
