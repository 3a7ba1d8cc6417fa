package lint

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

func meshRules() []Rule {
	return []Rule{linkerdLookalikes, linkerdAccrual, linkerdRetries, linkerdProtocols, linkerdCover, linkerdProbes, linkerdAdmission, addresses}
}

var linkerdLookalikes = Rule{
	Name: "linkerd-lookalikes",
	Why:  "A key of the wrong group, or a label where an annotation is wanted, is valid to everybody and means nothing to Linkerd.",
	Check: func(objects render.Objects, report Report) {
		known := annotations()
		check := func(o render.Object, where string, annotations, labels map[string]string) {
			for key := range annotations {
				group, _, _ := strings.Cut(key, "/")
				if strings.Contains(strings.ToLower(key), "linkerd") && group != "linkerd.io" && !strings.HasSuffix(group, ".linkerd.io") {
					report(o, "%s: %s looks like Linkerd's, whose groups are linkerd.io and *.linkerd.io", where, key)
				}
			}
			for key := range labels {
				if _, ok := known[key]; ok {
					report(o, "%s: label %s does nothing: it is an annotation", where, key)
				}
			}
		}
		for _, o := range objects {
			check(o, "metadata", o.Annotations(), o.Labels())
		}
		for _, p := range pods(objects) {
			if p.Object.Kind() != "Pod" {
				check(p.Object, "pods", p.meta.Annotations, p.meta.Labels)
			}
		}
	},
}

var linkerdAccrual = Rule{
	Name: "linkerd-accrual",
	Why:  "Parameters of circuit breaking without the mode they belong to are ignored, a largest penalty below the smallest turns it off, and a headless Service is not balanced at all.",
	Check: func(objects render.Objects, report Report) {
		const (
			mode        = "balancer.linkerd.io/failure-accrual"
			consecutive = mode + "-consecutive-"
			rate        = "balancer.alpha.linkerd.io/failure-accrual-success-rate-"
		)
		for _, o := range objects.Kind("Service", "HTTPRoute", "GRPCRoute") {
			annotations := o.Annotations()
			for key := range annotations {
				family, _, _ := strings.Cut(key, "/")
				switch {
				case o.String("spec", "clusterIP") == "None" && slices.Contains([]string{"balancer.linkerd.io", "balancer.alpha.linkerd.io", "timeout.linkerd.io", "retry.linkerd.io"}, family):
					report(o, "metadata: %s is not read on a headless Service, whose pods are called one by one", key)
				case strings.HasPrefix(key, consecutive) && annotations[mode] == "":
					report(o, "metadata: %s without %s", key, mode)
				case strings.HasPrefix(key, rate) && annotations[mode] != "unified":
					report(o, "metadata: %s is for %s: unified", key, mode)
				}
			}
			least, most := penalty(annotations[consecutive+"min-penalty"], time.Second), penalty(annotations[consecutive+"max-penalty"], time.Minute)
			if annotations[mode] != "" && (least <= 0 || least > most) {
				report(o, "metadata: penalties from %s to %s", least, most)
			}
		}
	},
}

// penalty reads a duration as Linkerd does, which knows days.
func penalty(text string, otherwise time.Duration) time.Duration {
	if text == "" {
		return otherwise
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, _ := time.ParseDuration(days + "h")
		return 24 * d
	}
	d, _ := time.ParseDuration(text)
	return d
}

var linkerdRetries = Rule{
	Name: "linkerd-retries",
	Why:  "Calls are repeated in one place, the client in libs/rpc, which knows what may be repeated and how much time is left; repeated in the mesh as well, one failure becomes many calls.",
	Check: func(objects render.Objects, report Report) {
		for _, o := range objects {
			for key := range o.Annotations() {
				if strings.HasPrefix(key, "retry.linkerd.io/") {
					report(o, "metadata: %s", key)
				}
			}
		}
	},
}

var linkerdProtocols = Rule{
	Name: "linkerd-protocols",
	Why:  "What callers are told of a port (appProtocol) and what its own proxy expects (proxyProtocol) have to be the same, or calls fail or wait for detection.",
	Check: func(objects render.Objects, report Report) {
		fits := map[string][]string{
			"":                    {"", "unknown"},
			"http":                {"", "unknown", "HTTP/1"},
			"kubernetes.io/h2c":   {"HTTP/2", "gRPC"},
			"linkerd.io/opaque":   {"opaque"},
			"linkerd.io/tcp":      {"opaque"},
			"tcp":                 {"opaque"},
			"opaque (annotation)": {"opaque"},
		}
		all := pods(objects)
		for _, service := range decoded[corev1.Service](objects, "Service") {
			for _, p := range ofService(all, service.value) {
				for _, port := range service.value.Spec.Ports {
					number, ok := target(p, port)
					server := serverOf(objects, p, number)
					if !ok || server == nil {
						continue
					}
					told := ""
					if port.AppProtocol != nil {
						told = *port.AppProtocol
					}
					if slices.Contains(strings.Split(service.object.Annotations()["config.linkerd.io/opaque-ports"], ","), fmt.Sprint(port.Port)) {
						told = "opaque (annotation)"
					}
					if allowed := fits[told]; !slices.Contains(allowed, server.value.Spec.ProxyProtocol) {
						report(server.object, "spec.proxyProtocol %q of a port that %s calls %q: want one of %q", server.value.Spec.ProxyProtocol, service.object.ID(), told, allowed)
					}
				}
			}
		}
	},
}

// serverOf returns the Server of a port of some pods.
func serverOf(objects render.Objects, p pod, number int32) *typed[schema.Server] {
	for _, s := range decoded[schema.Server](objects, "Server") {
		if s.value.Spec.Port == nil || len(selected([]pod{p}, s.value.Spec.PodSelector)) == 0 {
			continue
		}
		if found, _ := target(p, corev1.ServicePort{TargetPort: *s.value.Spec.Port}); found == number {
			return &s
		}
	}
	return nil
}

var linkerdCover = Rule{
	Name: "linkerd-cover",
	Why:  "Policy is enforced by the proxy of the called pod: without one there is none. And in a namespace that denies by default, a port without a Server is nobody's.",
	Check: func(objects render.Objects, report Report) {
		servers := decoded[schema.Server](objects, "Server")
		for _, p := range pods(objects) {
			if !p.serves() {
				continue
			}
			isSelected := slices.ContainsFunc(servers, func(s typed[schema.Server]) bool { return len(selected([]pod{p}, s.value.Spec.PodSelector)) > 0 })
			switch {
			case isSelected && !p.meshed():
				report(p.Object, "has Servers, and its pods are not in the mesh: linkerd.io/inject is not enabled")
			case isSelected:
				for _, c := range p.spec.Containers {
					for _, port := range c.Ports {
						if port.Protocol != corev1.ProtocolUDP && serverOf(objects, p, port.ContainerPort) == nil {
							report(p.Object, "container %s: no Server for port %s (%d)", c.Name, port.Name, port.ContainerPort)
						}
					}
				}
			}
		}
	},
}

var linkerdProbes = Rule{
	Name: "linkerd-probes",
	Why:  "Linkerd lets the kubelet's probes pass by itself, over HTTP/1.1 and only while no route is attached to the Server of their port.",
	Check: func(objects render.Objects, report Report) {
		routed := map[string]string{}
		for _, r := range routes(objects) {
			list, _ := r.At("spec", "parentRefs").([]any)
			for i := range list {
				if r.String("spec", "parentRefs", i, "kind") == "Server" {
					routed[r.String("spec", "parentRefs", i, "name")] = r.ID()
				}
			}
		}
		for _, p := range pods(objects) {
			for _, number := range probed(p) {
				server := serverOf(objects, p, number)
				if server == nil {
					continue
				}
				if protocol := server.value.Spec.ProxyProtocol; !slices.Contains([]string{"", "unknown", "HTTP/1"}, protocol) {
					report(server.object, "spec.proxyProtocol %q of port %d, at which %s is probed over HTTP/1.1", protocol, number, p.ID())
				}
				if route := routed[server.object.Name()]; route != "" {
					report(server.object, "%s is attached to it, so that the probes of %s at port %d are denied", route, p.ID(), number)
				}
			}
		}
	},
}

// probed returns the ports that are probed over HTTP.
func probed(p pod) []int32 {
	var numbers []int32
	for _, c := range p.containers() {
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil {
				continue
			}
			number := probe.HTTPGet.Port.IntVal
			if probe.HTTPGet.Port.Type == intstr.String {
				named, _ := p.port(probe.HTTPGet.Port.StrVal)
				number = named.ContainerPort
			}
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

var linkerdAdmission = Rule{
	Name: "linkerd-admission",
	Why:  "Linkerd's webhook refuses these, and where it is away or old, the policy controller passes over the whole object.",
	Check: func(objects render.Objects, report Report) {
		for _, a := range decoded[schema.AuthorizationPolicy](objects, "AuthorizationPolicy") {
			mesh, network := 0, 0
			for _, ref := range a.value.Spec.RequiredAuthenticationRefs {
				if ref.Kind == "NetworkAuthentication" {
					network++
				} else {
					mesh++
				}
			}
			if mesh > 1 || network > 1 {
				report(a.object, "spec.requiredAuthenticationRefs has %d identities and %d networks; all must hold, so there may be one of each: make two policies", mesh, network)
			}
		}
		for _, h := range decoded[schema.HTTPLocalRateLimitPolicy](objects, "HTTPLocalRateLimitPolicy") {
			spec := h.value.Spec
			if spec.Total == nil {
				continue
			}
			most := spec.Total.RequestsPerSecond
			if spec.Identity != nil && spec.Identity.RequestsPerSecond > most {
				report(h.object, "spec.identity is %d a second, above the total of %d", spec.Identity.RequestsPerSecond, most)
			}
			for i, override := range spec.Overrides {
				if override.RequestsPerSecond > most {
					report(h.object, "spec.overrides[%d] is %d a second, above the total of %d", i, override.RequestsPerSecond, most)
				}
			}
		}
		for _, n := range decoded[schema.NetworkAuthentication](objects, "NetworkAuthentication") {
			exceptions(n.object, n.value.Spec.Networks, report)
		}
		for _, n := range decoded[schema.EgressNetwork](objects, "EgressNetwork") {
			exceptions(n.object, n.value.Spec.Networks, report)
		}
		for _, o := range objects.Kind("TLSRoute", "TCPRoute", "HTTPRoute", "GRPCRoute") {
			list, _ := o.At("spec", "parentRefs").([]any)
			for i := range list {
				if o.String("spec", "parentRefs", i, "kind") == "EgressNetwork" && o.At("spec", "parentRefs", i, "port") == nil {
					report(o, "spec.parentRefs[%d] names an EgressNetwork without a port", i)
				}
			}
		}
	},
}

// exceptions reports exceptions from networks that are no part of them, or all of them.
func exceptions(o render.Object, networks []schema.Network, report Report) {
	for _, network := range networks {
		whole, err := netip.ParsePrefix(network.CIDR)
		if err != nil {
			continue // the schema's check says so
		}
		for _, text := range network.Except {
			part, err := netip.ParsePrefix(text)
			switch {
			case err != nil:
			case !whole.Contains(part.Addr()) || part.Bits() < whole.Bits():
				report(o, "exception %s is no part of %s", part, whole)
			case part.Bits() == whole.Bits():
				report(o, "exception %s leaves nothing of %s", part, whole)
			}
		}
	}
}

var address = regexp.MustCompile(`[a-z]+://([a-z0-9-]+)(?:\.[a-z0-9.-]+)?:([0-9]+)`)

var addresses = Rule{
	Name: "addresses",
	Why:  "A call to a port that the Service does not declare is refused by Linkerd, and goes nowhere without it.",
	Check: func(objects render.Objects, report Report) {
		check := func(o render.Object, where, text string) {
			for _, match := range address.FindAllStringSubmatch(text, -1) {
				service, ok := objects.Find("Service", match[1])
				if ok && !hasPort(service, match[2]) {
					report(o, "%s: %s is at a port that Service/%s does not declare", where, match[0], match[1])
				}
			}
		}
		for _, o := range objects.Kind("ConfigMap") {
			for file, text := range o.Strings("data") {
				check(o, file, text)
			}
		}
		for _, p := range pods(objects) {
			for _, c := range p.containers() {
				for _, arg := range slices.Concat(c.Command, c.Args) {
					check(p.Object, "container "+c.Name, arg)
				}
				for _, e := range c.Env {
					check(p.Object, "container "+c.Name+", variable "+e.Name, e.Value)
				}
			}
		}
	},
}
