package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// Server says how the proxies of some pods treat one port: policy.linkerd.io/v1beta3.
type Server struct {
	linkerdMeta
	Spec ServerSpec `json:"spec"`
}

// ServerSpec is a Server's.
type ServerSpec struct {
	PodSelector              *metav1.LabelSelector `json:"podSelector,omitempty"`
	ExternalWorkloadSelector *metav1.LabelSelector `json:"externalWorkloadSelector,omitempty"`
	// Port is a number, or the name of a container's port.
	Port          *intstr.IntOrString `json:"port"`
	ProxyProtocol string              `json:"proxyProtocol,omitempty"`
	AccessPolicy  string              `json:"accessPolicy,omitempty"`
}

// AuthorizationPolicy lets authenticated clients reach a target: policy.linkerd.io/v1alpha1.
type AuthorizationPolicy struct {
	linkerdMeta
	Spec AuthorizationPolicySpec `json:"spec"`
}

// AuthorizationPolicySpec is an AuthorizationPolicy's.
type AuthorizationPolicySpec struct {
	TargetRef                  Ref   `json:"targetRef"`
	RequiredAuthenticationRefs []Ref `json:"requiredAuthenticationRefs"`
}

// MeshTLSAuthentication is a set of identities: policy.linkerd.io/v1alpha1.
type MeshTLSAuthentication struct {
	linkerdMeta
	Spec MeshTLSAuthenticationSpec `json:"spec"`
}

// MeshTLSAuthenticationSpec is a MeshTLSAuthentication's; it has one of its two lists.
type MeshTLSAuthenticationSpec struct {
	Identities   []string `json:"identities,omitempty"`
	IdentityRefs []Ref    `json:"identityRefs,omitempty"`
}

// NetworkAuthentication is a set of networks: policy.linkerd.io/v1alpha1.
type NetworkAuthentication struct {
	linkerdMeta
	Spec NetworkAuthenticationSpec `json:"spec"`
}

// NetworkAuthenticationSpec is a NetworkAuthentication's.
type NetworkAuthenticationSpec struct {
	Networks []Network `json:"networks"`
}

// Network is a range of addresses without some of them.
type Network struct {
	CIDR   string   `json:"cidr"`
	Except []string `json:"except,omitempty"`
}

// HTTPLocalRateLimitPolicy bounds what one pod takes: policy.linkerd.io/v1alpha1.
type HTTPLocalRateLimitPolicy struct {
	linkerdMeta
	Spec HTTPLocalRateLimitPolicySpec `json:"spec"`
}

// HTTPLocalRateLimitPolicySpec is an HTTPLocalRateLimitPolicy's.
type HTTPLocalRateLimitPolicySpec struct {
	TargetRef Ref             `json:"targetRef"`
	Total     *Rate           `json:"total,omitempty"`
	Identity  *Rate           `json:"identity,omitempty"`
	Overrides []RateOverrides `json:"overrides,omitempty"`
}

// Rate is a number of requests.
type Rate struct {
	RequestsPerSecond int64 `json:"requestsPerSecond"`
}

// RateOverrides is the rate of some clients.
type RateOverrides struct {
	RequestsPerSecond int64 `json:"requestsPerSecond"`
	ClientRefs        []Ref `json:"clientRefs"`
}

// EgressNetwork says what becomes of traffic that leaves the cluster: policy.linkerd.io/v1alpha1.
type EgressNetwork struct {
	linkerdMeta
	Spec EgressNetworkSpec `json:"spec"`
}

// EgressNetworkSpec is an EgressNetwork's.
type EgressNetworkSpec struct {
	TrafficPolicy string    `json:"trafficPolicy"`
	Networks      []Network `json:"networks,omitempty"`
}

// Ref names another object.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

type linkerdMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Checked for objects of all kinds.
	Metadata json.RawMessage `json:"metadata"`
}

// linkerdKind decodes and checks one kind.
type linkerdKind struct {
	apiVersion string
	check      func(text []byte) []error
}

func linkerdKinds() map[string]linkerdKind {
	return map[string]linkerdKind{
		"Server":                   {"policy.linkerd.io/v1beta3", checking((*Server).problems)},
		"AuthorizationPolicy":      {"policy.linkerd.io/v1alpha1", checking((*AuthorizationPolicy).problems)},
		"MeshTLSAuthentication":    {"policy.linkerd.io/v1alpha1", checking((*MeshTLSAuthentication).problems)},
		"NetworkAuthentication":    {"policy.linkerd.io/v1alpha1", checking((*NetworkAuthentication).problems)},
		"HTTPLocalRateLimitPolicy": {"policy.linkerd.io/v1alpha1", checking((*HTTPLocalRateLimitPolicy).problems)},
		"EgressNetwork":            {"policy.linkerd.io/v1alpha1", checking((*EgressNetwork).problems)},
	}
}

func checkLinkerd(o render.Object, text []byte) []error {
	kind, ok := linkerdKinds()[o.Kind()]
	if !ok {
		return []error{fmt.Errorf("%s %s is none of the Linkerd kinds in use; legacy ones stay out", o.APIVersion(), o.Kind())}
	}
	if o.APIVersion() != kind.apiVersion {
		return []error{fmt.Errorf("%s has apiVersion %s, use %s", o.Kind(), o.APIVersion(), kind.apiVersion)}
	}
	return kind.check(text)
}

func checking[T any](problems func(*T) []error) func([]byte) []error {
	return func(text []byte) []error {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		var v T
		if err := decoder.Decode(&v); err != nil {
			return []error{err}
		}
		return slices.DeleteFunc(problems(&v), func(err error) bool { return err == nil })
	}
}

func (s *Server) problems() []error {
	protocols := []string{"", "unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS"}
	policies := []string{"", "deny", "audit", "all-authenticated", "all-unauthenticated", "cluster-authenticated", "cluster-unauthenticated"}
	errs := []error{
		oneOf("spec.proxyProtocol", s.Spec.ProxyProtocol, protocols),
		oneOf("spec.accessPolicy", s.Spec.AccessPolicy, policies),
	}
	if s.Spec.Port == nil {
		errs = append(errs, errors.New("spec.port is missing"))
	}
	if (s.Spec.PodSelector == nil) == (s.Spec.ExternalWorkloadSelector == nil) {
		errs = append(errs, errors.New("spec has one of podSelector and externalWorkloadSelector"))
	}
	return errs
}

func (a *AuthorizationPolicy) problems() []error {
	errs := []error{a.Spec.TargetRef.problem("spec.targetRef", "Server", "HTTPRoute", "GRPCRoute", "Namespace", "EgressNetwork")}
	if a.Spec.RequiredAuthenticationRefs == nil {
		errs = append(errs, errors.New("spec.requiredAuthenticationRefs is missing"))
	}
	for i, ref := range a.Spec.RequiredAuthenticationRefs {
		errs = append(errs, ref.problem(fmt.Sprintf("spec.requiredAuthenticationRefs[%d]", i), "MeshTLSAuthentication", "NetworkAuthentication", "ServiceAccount"))
	}
	return errs
}

func (m *MeshTLSAuthentication) problems() []error {
	var errs []error
	if (len(m.Spec.Identities) == 0) == (len(m.Spec.IdentityRefs) == 0) {
		errs = append(errs, errors.New("spec has one of identities and identityRefs, and at least one entry"))
	}
	for i, ref := range m.Spec.IdentityRefs {
		errs = append(errs, ref.problem(fmt.Sprintf("spec.identityRefs[%d]", i), "ServiceAccount", "Namespace"))
	}
	return errs
}

func (n *NetworkAuthentication) problems() []error {
	if len(n.Spec.Networks) == 0 {
		return []error{errors.New("spec.networks is empty")}
	}
	return networks(n.Spec.Networks)
}

func (h *HTTPLocalRateLimitPolicy) problems() []error {
	errs := []error{h.Spec.TargetRef.problem("spec.targetRef", "Server", "HTTPRoute")}
	if h.Spec.Total == nil && h.Spec.Identity == nil && len(h.Spec.Overrides) == 0 {
		errs = append(errs, errors.New("spec bounds nothing: it has none of total, identity, overrides"))
	}
	rates := []*Rate{h.Spec.Total, h.Spec.Identity}
	for i, override := range h.Spec.Overrides {
		rates = append(rates, &Rate{RequestsPerSecond: override.RequestsPerSecond})
		for j, ref := range override.ClientRefs {
			errs = append(errs, ref.problem(fmt.Sprintf("spec.overrides[%d].clientRefs[%d]", i, j), "ServiceAccount"))
		}
	}
	for _, rate := range rates {
		if rate != nil && rate.RequestsPerSecond < 1 {
			errs = append(errs, fmt.Errorf("requestsPerSecond is %d", rate.RequestsPerSecond))
		}
	}
	return errs
}

func (e *EgressNetwork) problems() []error {
	return append(networks(e.Spec.Networks), oneOf("spec.trafficPolicy", e.Spec.TrafficPolicy, []string{"Allow", "Deny"}))
}

func networks(list []Network) []error {
	var errs []error
	for _, network := range list {
		for _, cidr := range append([]string{network.CIDR}, network.Except...) {
			_, err := netip.ParsePrefix(cidr)
			_, errAddr := netip.ParseAddr(cidr)
			if err != nil && errAddr != nil {
				errs = append(errs, fmt.Errorf("%q is no network: %w", cidr, err))
			}
		}
	}
	return errs
}

func (r Ref) problem(path string, kinds ...string) error {
	groups := map[string]string{"ServiceAccount": "", "Namespace": "", "HTTPRoute": "gateway.networking.k8s.io", "GRPCRoute": "gateway.networking.k8s.io"}
	group, ok := groups[r.Kind]
	if !ok {
		group = "policy.linkerd.io"
	}
	switch {
	case !slices.Contains(kinds, r.Kind):
		return fmt.Errorf("%s.kind %q is none of %v", path, r.Kind, kinds)
	case r.Group != group && (group != "" || r.Group != "core"):
		return fmt.Errorf("%s.group %q is not that of a %s, %q", path, r.Group, r.Kind, group)
	case r.Name == "" && r.Kind != "Namespace":
		return fmt.Errorf("%s.name is missing", path)
	}
	return nil
}

func oneOf(path, value string, allowed []string) error {
	if !slices.Contains(allowed, value) {
		return fmt.Errorf("%s %q is none of %q", path, value, allowed)
	}
	return nil
}
