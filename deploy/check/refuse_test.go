package check_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// What charts must refuse, with words that name the value and, where two do not go together, say what to do.
func TestChartsRefuse(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		chart  string
		values string
		want   []string
	}{
		{"unknown key", "dialog", `replicaCount: 3`, []string{"replicaCount"}},
		{"unknown key inside", "dialog", `autoscaling: {hpa: {enable: true}}`, []string{"enable"}},
		{"unknown key of all charts", "dialog", `global: {linkrd: {}}`, []string{"linkrd"}},
		{"unknown key of a part of the whole", "ragmesh", `dialog: {replicaCount: 3}`, []string{"dialog", "replicaCount"}},
		{"whether a part is there", "ragmesh", `dialog: {enabled: "yes"}`, []string{"dialog", "enabled"}},
		{"unknown part of the whole", "ragmesh", `dialogue: {enabled: false}`, []string{"dialogue"}},
		{"unknown key of the configuration", "dialog", `config: {turn: {budegt: {turn: 1s}}}`, []string{"budegt"}},
		{"key of another service's configuration", "tools", `config: {models: {}}`, []string{"models"}},
		{"text for a number", "tools", `replicas: three`, []string{"replicas"}},
		{"fewer than no pods", "tools", `replicas: -1`, []string{"replicas"}},
		{"no digest", "tools", `image: {digest: "sha256:abc"}`, []string{"digest"}},
		{"pull policy", "tools", `image: {pullPolicy: Sometimes}`, []string{"pullPolicy"}},
		{"quantity", "tools", `resources: {memory: 1GB}`, []string{"memory"}},
		{"quality of service", "tools", `qosClass: BestEffort`, []string{"qosClass"}},
		{"reload", "tools", `reload: restart`, []string{"reload"}},
		{"spreading", "tools", `spread: {hosts: Always}`, []string{"hosts"}},
		{"name of an installation", "tools", `global: {instance: "My Team"}`, []string{"instance"}},
		{"duration without a unit", "tools", `linkerd: {idleTimeout: "60"}`, []string{"idleTimeout"}},
		{"access policy", "tools", `linkerd: {policy: {accessPolicy: allow}}`, []string{"accessPolicy"}},
		{"account without a name", "tools", `linkerd: {admin: {serviceAccounts: [{namespace: monitoring}]}}`, []string{"serviceAccounts", "name"}},
		{"secret by value", "llm-gateway", `secretEnv: [{name: OPENAI_API_KEY, value: sk-1}]`, []string{"secretEnv", "value"}},
		{"NATS with another protocol", "tools", `nats: {url: "http://nats:4222"}`, []string{"url"}},
		{"NATS with two servers", "tools", `nats: {replicas: 2}`, []string{"replicas"}},

		{"second pod for one disk", "retriever", `replicas: 2`, []string{"replicas to 1", "config.store to weaviate"}},
		{"second pod for one disk in the whole", "ragmesh", `retriever: {replicas: 2}`, []string{"replicas to 1", "config.store to weaviate"}},
		{"second pod for a store by its name", "retriever", `{replicas: 2, config: {store: embedded}}`, []string{"config.store to weaviate"}},
		{"roles for one disk", "retriever", `ingest: {separate: true}`, []string{"ingest.separate", "config.store to weaviate"}},
		{"autoscaler for one disk", "retriever", `autoscaling: {hpa: {enabled: true}}`, []string{"autoscaling", "config.store to weaviate"}},
		{"role of the chart's", "retriever", `config: {store: weaviate, role: ingest}`, []string{"config.role", "ingest.separate"}},
		{"store that is none", "retriever", `config: {store: qdrant}`, []string{"store"}},
		{"unknown key of a role", "retriever", `ingest: {replica: 2}`, []string{"ingest", "replica"}},
		{"two autoscalers of a role", "retriever", `{config: {store: weaviate}, ingest: {separate: true, autoscaling: {hpa: {enabled: true}, keda: {enabled: true}}}}`, []string{"ingest.autoscaling.hpa.enabled", "turn one off"}},
		{"share of nothing of a role", "retriever", `{config: {store: weaviate}, ingest: {separate: true, autoscaling: {hpa: {enabled: true}}, resources: {cpu: ""}}}`, []string{"ingest.resources.cpu"}},
		{"guarantee without a CPU of a role", "retriever", `{config: {store: weaviate}, qosClass: Guaranteed, ingest: {separate: true, resources: {cpu: ""}}}`, []string{"ingest.resources.cpu"}},
		{"second pod for one file", "eval", `replicas: 2`, []string{"replicas"}},
		{"two autoscalers", "tools", `autoscaling: {hpa: {enabled: true}, keda: {enabled: true}}`, []string{"autoscaling.hpa.enabled", "autoscaling.keda.enabled", "turn one off"}},
		{"most below fewest", "tools", `autoscaling: {hpa: {enabled: true}, minReplicas: 5, maxReplicas: 3}`, []string{"autoscaling.minReplicas", "autoscaling.maxReplicas"}},
		{"share of nothing", "tools", `{autoscaling: {hpa: {enabled: true}}, resources: {cpu: ""}}`, []string{"resources.cpu"}},
		{"metric without a target", "tools", `autoscaling: {hpa: {enabled: true, perSecond: {metric: x}}}`, []string{"autoscaling.hpa.perSecond.target"}},
		{"credentials of nobody", "tools", `nats: {auth: credentials}`, []string{"nats.credentialsSecret"}},
		{"prompts twice", "llm-gateway", `{prompts: {a: {system_prompt: x}}, promptsConfigMap: mine}`, []string{"prompts", "promptsConfigMap"}},
		{"address of the chart's", "tools", `config: {rpc: {addr: "0.0.0.0:9999"}}`, []string{"config.rpc.addr"}},
		{"NATS of the chart's", "tools", `config: {nats: {url: "nats://x:4222"}}`, []string{"config.nats.url", "nats.url"}},
		{"guarantee without a CPU", "tools", `{qosClass: Guaranteed, resources: {cpu: ""}}`, []string{"resources.cpu"}},
		{"guarantee with another limit", "tools", `{qosClass: Guaranteed, resources: {cpuLimit: "3"}}`, []string{"resources.cpuLimit"}},
		{"edge for everyone", "dialog", `config: {auth: {bootstrap_key: null}}`, []string{"config.auth", "auth.bootstrapKeySecret"}},
		{"edge without authentication", "dialog", `config: {auth: null}`, []string{"config.auth", "auth.bootstrapKeySecret"}},
		{"route without a host", "dialog", `{ingress: {enabled: true}, tls: {enabled: false}}`, []string{"host"}},
		{"route without a gateway", "dialog", `{gateway: {enabled: true}, host: a.example.com}`, []string{"gateway.parentRefs", "gateway.className"}},
		{"route of two gateways", "dialog", `{gateway: {enabled: true, className: a, parentRefs: [{name: b}]}, host: a.example.com, tls: {enabled: false}}`, []string{"gateway.className", "gateway.parentRefs"}},
		{"certificate from nobody", "dialog", `{ingress: {enabled: true}, host: a.example.com}`, []string{"tls.issuer.name", "tls.secretName"}},
		{"answers longer than a pod's end", "dialog", `config: {turn: {budget: {turn: 5m}}}`, []string{"config.turn.budget.turn", "shutdown.timeoutSeconds"}},
		{"two NATS", "ragmesh", `global: {nats: {url: "nats://nats:4222"}}`, []string{"global.nats.url", "nats-dev.enabled"}},
		{"three copies on one server", "ragmesh", `global: {nats: {replicas: 3}}`, []string{"global.nats.replicas", "nats-dev.enabled"}},
	}
	for _, c := range cases {
		t.Run(c.chart+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			said := render.Refused(t, c.chart, render.YAML(c.values))
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("says nothing of %s: %s", want, said)
				}
			}
		})
	}
}

// Every table of values that is not free knows its keys, and every value its type.
func TestSchemasRefuseTyposAndOtherTypes(t *testing.T) {
	t.Parallel()
	for _, name := range render.Charts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defaults, validate := render.Defaults(t, name)
			if err := validate(defaults); err != nil {
				t.Fatalf("the schema refuses the chart's own values: %v", err)
			}
			for _, part := range render.Charts(t) {
				delete(defaults, part) // its own schema is asked when it is rendered
			}
			changes := 0
			spoil(defaults, nil, func(path []string) {
				changes++
				err := validate(defaults)
				if last := path[len(path)-1]; err == nil || !strings.Contains(err.Error(), last) {
					t.Errorf("%s: the schema says %v", strings.Join(path, "."), err)
				}
			})
			if changes < 10 {
				t.Errorf("only %d values changed", changes)
			}
		})
	}
}

// spoil makes each table hold a key too many, and each value one of another type, one at a time, and calls try meanwhile. Empty tables and
// lists are for whatever Kubernetes takes there.
func spoil(table map[string]any, path []string, try func(path []string)) {
	const typo = "speling"
	table[typo] = true
	try(append(path, typo))
	delete(table, typo)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		at := append(slices.Clone(path), key)
		switch value := table[key].(type) {
		case map[string]any:
			if len(value) > 0 {
				spoil(value, at, try)
			}
		case nil: // any type may be meant
		default:
			table[key] = map[string]any{"of": fmt.Sprintf("another type than %T", value)}
			try(at)
			table[key] = value
		}
	}
}

func TestHelmLint(t *testing.T) {
	t.Parallel()
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			for _, said := range render.Lint(t, c.Chart, c.Values) {
				t.Error(said)
			}
		})
	}
}
