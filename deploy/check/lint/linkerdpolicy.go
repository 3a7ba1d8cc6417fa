package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

// route is an HTTPRoute or a GRPCRoute.
type route struct{ render.Object }

// backend is where a route leads.
type backend struct{ name, port string }

func routes(objects render.Objects) []route {
	var all []route
	for _, o := range objects.Kind("HTTPRoute", "GRPCRoute") {
		all = append(all, route{o})
	}
	return all
}

// parents returns what the route is attached to, as "kind/name:port".
func (r route) parents() []string {
	list, _ := r.At("spec", "parentRefs").([]any)
	var all []string
	for i := range list {
		kind := r.String("spec", "parentRefs", i, "kind")
		if kind == "" {
			kind = "Gateway"
		}
		all = append(all, fmt.Sprintf("%s/%s:%s", kind, r.String("spec", "parentRefs", i, "name"), number(r.At("spec", "parentRefs", i, "port"))))
	}
	return all
}

// inMesh says whether the route is one for calls inside, that the callers' proxies follow.
func (r route) inMesh() bool {
	return slices.ContainsFunc(r.parents(), func(p string) bool { return strings.HasPrefix(p, "Service/") || strings.HasPrefix(p, "EgressNetwork/") })
}

// catchesAll says whether a rule of the route takes every call.
func (r route) catchesAll() bool {
	rules, _ := r.At("spec", "rules").([]any)
	for i := range rules {
		if matches, _ := r.At("spec", "rules", i, "matches").([]any); len(matches) == 0 {
			return true
		}
	}
	return false
}

func (r route) backends() []backend {
	var all []backend
	rules, _ := r.At("spec", "rules").([]any)
	for i := range rules {
		refs, _ := r.At("spec", "rules", i, "backendRefs").([]any)
		for j := range refs {
			all = append(all, backend{r.String("spec", "rules", i, "backendRefs", j, "name"), number(r.At("spec", "rules", i, "backendRefs", j, "port"))})
		}
	}
	return all
}

// number returns a number as YAML reads it, as a text.
func number(v any) string {
	f, ok := v.(float64)
	if !ok {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

var linkerdRoutes = Rule{
	Name: "linkerd-routes",
	Why:  "Once a Service's port has a GRPCRoute, its HTTPRoutes are ignored, and a call that no GRPCRoute matches is answered with NOT_FOUND.",
	Check: func(objects render.Objects, report Report) {
		type on struct{ grpc, http, all bool }
		byParent := map[string]*on{}
		for _, r := range routes(objects) {
			for _, parent := range r.parents() {
				if !strings.HasPrefix(parent, "Service/") {
					continue
				}
				if byParent[parent] == nil {
					byParent[parent] = &on{}
				}
				p := byParent[parent]
				p.grpc = p.grpc || r.Object.Kind() == "GRPCRoute"
				p.http = p.http || r.Object.Kind() == "HTTPRoute"
				p.all = p.all || r.Object.Kind() == "GRPCRoute" && r.catchesAll()
			}
		}
		for _, r := range routes(objects) {
			for _, parent := range r.parents() {
				p := byParent[parent]
				if p == nil {
					continue
				}
				name, port, _ := strings.Cut(strings.TrimPrefix(parent, "Service/"), ":")
				switch s, ok := objects.Find("Service", name); {
				case !ok && own(objects, name):
					report(r.Object, "is attached to %s, which is not there", parent)
				case ok && port == "":
					report(r.Object, "is attached to all ports of Service/%s, that for probes and metrics included: name one", name)
				case ok && !hasPort(s, port):
					report(r.Object, "is attached to port %s, which Service/%s does not have", port, name)
				}
				switch {
				case p.grpc && p.http && r.Object.Kind() == "HTTPRoute":
					report(r.Object, "is ignored: %s has a GRPCRoute as well", parent)
				case p.grpc && !p.all && r.Object.Kind() == "GRPCRoute":
					report(r.Object, "%s has no GRPCRoute with a rule without matches: all other calls are answered with NOT_FOUND", parent)
				}
			}
		}
	},
}

func hasPort(service render.Object, port string) bool {
	ports, _ := service.At("spec", "ports").([]any)
	for i := range ports {
		if number(service.At("spec", "ports", i, "port")) == port {
			return true
		}
	}
	return false
}

var linkerdServers = Rule{
	Name: "linkerd-servers",
	Why:  "A Server that selects no pods or names no port of theirs protects nothing; of two for one port, one wins by age.",
	Check: func(objects render.Objects, report Report) {
		all := pods(objects)
		taken := map[string]string{}
		for _, s := range decoded[schema.Server](objects, "Server") {
			if s.value.Spec.PodSelector == nil || s.value.Spec.Port == nil {
				continue
			}
			found := selected(all, s.value.Spec.PodSelector)
			if len(found) == 0 {
				report(s.object, "spec.podSelector selects no pods of the release")
			}
			for _, p := range found {
				if !p.serves() {
					continue
				}
				port, ok := target(p, corev1.ServicePort{TargetPort: *s.value.Spec.Port})
				if !ok {
					report(s.object, "spec.port %s is no port of %s", s.value.Spec.Port, p.ID())
				}
				key := fmt.Sprint(p.ID(), ":", port)
				if other := taken[key]; other != "" {
					report(s.object, "is for port %d of %s, and so is %s", port, p.ID(), other)
				}
				taken[key] = s.object.ID()
			}
		}
	},
}

var linkerdPolicies = Rule{
	Name: "linkerd-policies",
	Why:  "A policy for a target or of an authentication that is not there lets nobody in; a Server that denies by default and has none, neither.",
	Check: func(objects render.Objects, report Report) {
		targeted := map[string]bool{}
		for _, a := range decoded[schema.AuthorizationPolicy](objects, "AuthorizationPolicy") {
			spec := a.value.Spec
			if _, ok := objects.Find(spec.TargetRef.Kind, spec.TargetRef.Name); !ok && spec.TargetRef.Kind != "Namespace" {
				report(a.object, "spec.targetRef names %s/%s, which is not there", spec.TargetRef.Kind, spec.TargetRef.Name)
			}
			targeted[spec.TargetRef.Kind+"/"+spec.TargetRef.Name] = true
			if len(spec.RequiredAuthenticationRefs) == 0 {
				report(a.object, "spec.requiredAuthenticationRefs is empty, which lets everybody in")
			}
			for i, ref := range spec.RequiredAuthenticationRefs {
				if _, ok := objects.Find(ref.Kind, ref.Name); !ok && ref.Kind != "ServiceAccount" {
					report(a.object, "spec.requiredAuthenticationRefs[%d] names %s/%s, which is not there", i, ref.Kind, ref.Name)
				}
			}
		}
		for _, s := range decoded[schema.Server](objects, "Server") {
			if p := s.value.Spec.AccessPolicy; (p == "" || p == "deny") && !targeted["Server/"+s.object.Name()] {
				report(s.object, "denies all but those a policy names, and no AuthorizationPolicy targets it")
			}
		}
		for _, m := range decoded[schema.MeshTLSAuthentication](objects, "MeshTLSAuthentication") {
			for i, identity := range m.value.Spec.Identities {
				if identity == "*" || strings.HasPrefix(identity, "*.") {
					report(m.object, "spec.identities[%d] %q is everybody in the mesh", i, identity)
				}
			}
		}
	},
}

var serviceAccounts = Rule{
	Name: "linkerd-identities",
	Why:  "A policy that lets in an account that nobody has keeps its caller out.",
	Check: func(objects render.Objects, report Report) {
		exists := func(o render.Object, path string, ref schema.Ref) {
			if _, ok := objects.Find(ref.Kind, ref.Name); !ok && ref.Kind == "ServiceAccount" && own(objects, ref.Name) {
				report(o, "%s names ServiceAccount/%s, which is not there", path, ref.Name)
			}
		}
		for _, m := range decoded[schema.MeshTLSAuthentication](objects, "MeshTLSAuthentication") {
			for i, ref := range m.value.Spec.IdentityRefs {
				exists(m.object, fmt.Sprintf("spec.identityRefs[%d]", i), ref)
			}
		}
		for _, a := range decoded[schema.AuthorizationPolicy](objects, "AuthorizationPolicy") {
			for i, ref := range a.value.Spec.RequiredAuthenticationRefs {
				exists(a.object, fmt.Sprintf("spec.requiredAuthenticationRefs[%d]", i), ref)
			}
		}
		for _, h := range decoded[schema.HTTPLocalRateLimitPolicy](objects, "HTTPLocalRateLimitPolicy") {
			for i, override := range h.value.Spec.Overrides {
				for j, ref := range override.ClientRefs {
					exists(h.object, fmt.Sprintf("spec.overrides[%d].clientRefs[%d]", i, j), ref)
				}
			}
		}
	},
}

var linkerdLimits = Rule{
	Name: "linkerd-limits",
	Why:  "A proxy is never told of a limit whose Server says gRPC or is opaque; only one limit counts for a Server.",
	Check: func(objects render.Objects, report Report) {
		limited := map[string]string{}
		for _, h := range decoded[schema.HTTPLocalRateLimitPolicy](objects, "HTTPLocalRateLimitPolicy") {
			name := h.value.Spec.TargetRef.Name
			server, ok := objects.Find("Server", name)
			switch protocol := server.String("spec", "proxyProtocol"); {
			case h.value.Spec.TargetRef.Kind != "Server":
				continue
			case !ok:
				report(h.object, "spec.targetRef names Server/%s, which is not there", name)
			case !slices.Contains([]string{"", "unknown", "HTTP/1", "HTTP/2"}, protocol):
				report(h.object, "Server/%s has proxyProtocol %s, with which no limit is enforced: use HTTP/2", name, protocol)
			case limited[name] != "":
				report(h.object, "Server/%s is limited by %s already", name, limited[name])
			}
			limited[name] = h.object.ID()
		}
	},
}
