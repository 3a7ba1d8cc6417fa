package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

func TestWhatAnAPIServerRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		text string
		// want stands in what is said; empty for an object in order.
		want string
	}{
		{"service", `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}`, ""},
		{"misspelt field", `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {port: [{port: 1}]}}`, `unknown field "spec.port"`},
		{"text for a number", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: three}}`, "replicas"},
		{"no quantity", `{apiVersion: v1, kind: ResourceQuota, metadata: {name: a}, spec: {hard: {cpu: 1Mb}}}`, "quantities must match"},
		{"label that is no text", `{apiVersion: v1, kind: Service, metadata: {name: a, labels: {b: 1}}, spec: {}}`, "labels"},
		{"label with a space", `{apiVersion: v1, kind: Service, metadata: {name: a, labels: {b: "c d"}}, spec: {}}`, "labels"},
		{"name that no service may have", `{apiVersion: v1, kind: Service, metadata: {name: 1a}, spec: {}}`, "metadata.name"},
		{"version that is gone", `{apiVersion: policy/v1beta1, kind: PodSecurityPolicy, metadata: {name: a}}`, "no kind"},
		{"group that nobody knows", `{apiVersion: example.com/v1, kind: Thing, metadata: {name: a}}`, "nothing is known"},

		{
			"route",
			`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: a}, spec: {parentRefs: [{name: b, kind: Service, group: "", port: 1}], rules: [{backendRefs: [{name: b, port: 1}]}]}}`,
			"",
		},
		{
			"field that is too new for Linkerd",
			`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: a}, spec: {rules: [{name: x}]}}`,
			`unknown field "spec.rules[0].name"`,
		},
		{
			"expression: a service without a port",
			`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: a}, spec: {rules: [{backendRefs: [{name: b}]}]}}`,
			"Must have port for Service reference",
		},
		{
			"misspelt field of a rule",
			`{apiVersion: monitoring.coreos.com/v1, kind: PrometheusRule, metadata: {name: a}, spec: {groups: [{name: b, rules: [{alert: c, exp: d}]}]}}`,
			`unknown field "spec.groups[0].rules[0].exp"`,
		},
		{
			"monitor without a selector",
			`{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, spec: {endpoints: [{port: admin}]}}`,
			"spec.selector",
		},
		{
			"scaler",
			`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a}, spec: {scaleTargetRef: {name: b}, triggers: [{type: cpu, metadata: {value: "60"}}]}}`,
			"",
		},
		{
			"number where a scaler wants a text",
			`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a}, spec: {scaleTargetRef: {name: b}, triggers: [{type: cpu, metadata: {value: 60}}]}}`,
			"must be of type string",
		},
		{
			"certificate without an issuer",
			`{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a}, spec: {secretName: b}}`,
			"issuerRef",
		},
		{
			"kind that a module does not have",
			`{apiVersion: keda.sh/v1alpha1, kind: ScaledThing, metadata: {name: a}}`, "has no ScaledThing",
		},

		{"server", `{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: a}, spec: {podSelector: {matchLabels: {b: c}}, port: rpc, proxyProtocol: HTTP/2}}`, ""},
		{"protocol that Linkerd does not have", `{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: a}, spec: {podSelector: {}, port: rpc, proxyProtocol: h2c}}`, "proxyProtocol"},
		{"access policy that Linkerd does not have", `{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: a}, spec: {podSelector: {}, port: rpc, accessPolicy: none}}`, "accessPolicy"},
		{"server for everything and nothing", `{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: a}, spec: {port: rpc}}`, "podSelector"},
		{"misspelt field of Linkerd", `{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: a}, spec: {podSelector: {}, prot: rpc}}`, `unknown field "prot"`},
		{"old version", `{apiVersion: policy.linkerd.io/v1beta1, kind: Server, metadata: {name: a}, spec: {podSelector: {}, port: rpc}}`, "use policy.linkerd.io/v1beta3"},
		{"legacy kind", `{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: a}}`, "legacy"},
		{
			"target of another group",
			`{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {targetRef: {kind: Server, name: b}, requiredAuthenticationRefs: []}}`,
			"spec.targetRef.group",
		},
		{
			"two kinds of identity",
			`{apiVersion: policy.linkerd.io/v1alpha1, kind: MeshTLSAuthentication, metadata: {name: a}, spec: {identities: ["*"], identityRefs: [{kind: ServiceAccount, name: b}]}}`,
			"one of identities and identityRefs",
		},
		{"no network", `{apiVersion: policy.linkerd.io/v1alpha1, kind: NetworkAuthentication, metadata: {name: a}, spec: {networks: [{cidr: 10.0.0.0/33}]}}`, "is no network"},
		{
			"limit of nothing",
			`{apiVersion: policy.linkerd.io/v1alpha1, kind: HTTPLocalRateLimitPolicy, metadata: {name: a}, spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: b}}}`,
			"bounds nothing",
		},
		{"egress", `{apiVersion: policy.linkerd.io/v1alpha1, kind: EgressNetwork, metadata: {name: a}, spec: {trafficPolicy: allow}}`, "trafficPolicy"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			objects, err := render.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			errs := schema.Check(objects[0])
			said := errors.Join(errs...)
			switch {
			case c.want == "" && said != nil:
				t.Errorf("refused: %v", said)
			case c.want != "" && said == nil:
				t.Error("taken")
			case c.want != "" && !strings.Contains(said.Error(), c.want):
				t.Errorf("says %q, want something with %q", said, c.want)
			}
		})
	}
}
