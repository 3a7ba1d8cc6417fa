package check_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/mesh"
	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

// callGraph returns whom each service calls, as libs/identity says, by way of the program that tells the charts.
func callGraph(t *testing.T) map[string][]string {
	t.Helper()
	root := render.Root(t)
	file := filepath.Join(t.TempDir(), "callgraph.tpl")
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/ragmesh/internal/callgraph", file)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ask for the call graph: %v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile(filepath.Join(root, "deploy/helm/ragmesh-lib/templates/_callgraph.tpl"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(committed)); diff != "" {
		t.Errorf("the charts' call graph is not that of libs/identity; run make generate (-code +charts):\n%s", diff)
	}
	_, body, _ := strings.Cut(string(text), "-}}\n")
	body, _, _ = strings.Cut(body, "{{")
	graph := map[string][]string{}
	if err := yaml.UnmarshalStrict([]byte(body), &graph); err != nil || len(graph) == 0 {
		t.Fatalf("read the call graph: %v\n%s", err, text)
	}
	return graph
}

// meshValues are the values of deploy/linkerd.
func meshValues(t *testing.T) render.Values {
	t.Helper()
	return render.YAML(readLinkerd(t, "values.yaml"))
}

func readLinkerd(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(render.Root(t), "deploy/linkerd", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// linkerdFiles are the manifests in deploy/linkerd.
func linkerdFiles() []string {
	return []string{"namespace.yaml", "policies.yaml", "nats.yaml", "weaviate.yaml", "prometheus.yaml", "prometheus-unmeshed.yaml", "egress.yaml"}
}

// manifests returns the objects of files in deploy/linkerd.
func manifests(t *testing.T, names ...string) render.Objects {
	t.Helper()
	var all render.Objects
	for _, name := range names {
		objects, err := render.Parse(readLinkerd(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, objects...)
	}
	return all
}

func TestLinkerdFilesAreKnown(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(render.Root(t), "deploy/linkerd/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := []string{"values.yaml", "linkerd-values.yaml", "linkerd-values-tracing.yaml"}
	for _, file := range files {
		if name := filepath.Base(file); !slices.Contains(append(linkerdFiles(), values...), name) {
			t.Errorf("%s is checked by nothing; name it in linkerdFiles", name)
		}
	}
}

func TestPoliciesAreWhatTheChartsMake(t *testing.T) {
	t.Parallel()
	want, err := mesh.Policies(render.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(readLinkerd(t, "policies.yaml"), string(want)); diff != "" {
		t.Errorf("%s is not what the charts make; run make generate (-file +charts):\n%s", mesh.PoliciesFile, diff)
	}
}

// calls returns the edges of the call graph as policies have them, and those of every service to NATS.
func calls(graph map[string][]string) []string {
	var all []string
	for caller, callees := range graph {
		for _, callee := range callees {
			port := "rpc"
			if callee == "dialog" {
				port = "http"
			}
			all = append(all, fmt.Sprintf("ragmesh/ragmesh-%s -> %s:%s", caller, callee, port))
		}
		all = append(all, fmt.Sprintf("ragmesh/ragmesh-%s -> nats:nats", caller))
	}
	return all
}

func edges(objects render.Objects) []string {
	var all []string
	for _, edge := range mesh.Edges(objects) {
		all = append(all, edge.String())
	}
	slices.Sort(all)
	return all
}

// Nobody is let in whom libs/identity does not name, and everybody is whom it does; from outside the graph come only helm test, and
// whoever asks for metrics.
func TestChartsLetInTheCallGraph(t *testing.T) {
	t.Parallel()
	graph := callGraph(t)
	want := append(calls(graph), "ragmesh/ragmesh-test -> dialog:http")
	for service := range graph {
		for _, network := range []string{"10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"} {
			want = append(want, network+" -> "+service+":admin")
		}
	}
	slices.Sort(want)
	got := edges(render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who may call whom (-libs/identity +charts):\n%s", diff)
	}
}

func TestManifestsLetInTheCallGraph(t *testing.T) {
	t.Parallel()
	graph := callGraph(t)
	want := append(
		calls(graph),
		"ragmesh/ragmesh-test -> dialog:http",
		"ingress-nginx/ingress-nginx -> dialog:http",
		"ragmesh/ragmesh-retriever -> weaviate:8080", "ragmesh/ragmesh-retriever -> weaviate:50051", "ragmesh/weaviate -> weaviate:7001",
		"ragmesh/ragmesh-nats -> nats:cluster", "keda/keda-operator -> nats:monitor",
	)
	for service := range graph {
		own := service
		if service == "dialog" {
			own = "test"
		}
		want = append(want, "monitoring/kube-prometheus-stack-prometheus -> "+service+":admin", "ragmesh/ragmesh-"+own+" -> "+service+":admin")
	}
	for _, prometheus := range []string{"monitoring/kube-prometheus-stack-prometheus", "linkerd-viz/prometheus"} {
		want = append(want, prometheus+" -> linkerd.io/control-plane-ns:linkerd-admin", prometheus+" -> nats:prom-metrics", prometheus+" -> weaviate:2112")
	}
	slices.Sort(want)
	got := edges(manifests(t, "policies.yaml", "nats.yaml", "weaviate.yaml", "prometheus.yaml"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who may call whom (-libs/identity and this test +deploy/linkerd):\n%s", diff)
	}
}

func TestManifestsAreWhatLinkerdTakes(t *testing.T) {
	t.Parallel()
	check := schema.Check
	file := filepath.Join(render.Root(t), "../shared/crds/linkerd/linkerd-crds.yaml")
	if definitions, err := schema.ReadLinkerd(file); err == nil {
		check = func(o render.Object) []error {
			errs := schema.Check(o)
			if strings.HasSuffix(o.Group(), "linkerd.io") {
				errs = append(errs, definitions.Check(o)...)
			}
			return errs
		}
	} else {
		t.Logf("checked against our own types only: there are no definitions of Linkerd's at hand: %v", err)
	}
	for _, o := range manifests(t, linkerdFiles()...) {
		for _, err := range check(o) {
			t.Errorf("%s: %v", o.ID(), err)
		}
		if o.Kind() != "Namespace" && o.String("metadata", "namespace") != "ragmesh" {
			t.Errorf("%s: namespace is %q", o.ID(), o.String("metadata", "namespace"))
		}
	}
}

// All of it together, the charts with the mesh's values and what those are installed beside, keeps the rules for the mesh.
func TestManifestsBreakNoRule(t *testing.T) {
	t.Parallel()
	outside, err := os.ReadFile("testdata/linkerd-outside.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := render.Parse(string(outside))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, render.Render(t, "ragmesh", meshValues(t))...)
	all = append(all, manifests(t, slices.DeleteFunc(linkerdFiles(), func(name string) bool { return name == "policies.yaml" })...)...)
	rules := slices.DeleteFunc(lint.Rules(), func(r lint.Rule) bool { return !strings.HasPrefix(r.Name, "linkerd-") && r.Name != "addresses" })
	rules = append(rules, lint.Whole()...)
	if len(rules) < 10 {
		t.Fatalf("only %d rules", len(rules))
	}
	for _, finding := range lint.Run(all, rules...) {
		t.Error(finding)
	}
}

// The lists of networks say the same everywhere: what Linkerd takes for the cluster, what the charts let read metrics, what egress is not.
func TestNetworksAgree(t *testing.T) {
	t.Parallel()
	var control struct {
		ClusterNetworks string `json:"clusterNetworks"`
	}
	if err := yaml.Unmarshal([]byte(readLinkerd(t, "linkerd-values.yaml")), &control); err != nil {
		t.Fatal(err)
	}
	want := strings.Split(control.ClusterNetworks, ",")
	slices.Sort(want)

	admin := render.As[schema.NetworkAuthentication](t, render.Render(t, "dialog", render.Set("linkerd.enabled=true")).
		One(t, "NetworkAuthentication", "ragmesh-dialog-admin-networks"))
	unmeshed := render.As[schema.NetworkAuthentication](t, manifests(t, "prometheus-unmeshed.yaml").One(t, "NetworkAuthentication", "prometheus-unmeshed"))
	for name, networks := range map[string][]schema.Network{"the charts": admin.Spec.Networks, "prometheus-unmeshed.yaml": unmeshed.Spec.Networks} {
		var got []string
		for _, network := range networks {
			got = append(got, network.CIDR)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("networks of %s (-linkerd-values.yaml +charts):\n%s", name, diff)
		}
	}

	egress := render.As[schema.EgressNetwork](t, manifests(t, "egress.yaml").One(t, "EgressNetwork", "ragmesh-egress"))
	const nodeDNS = "169.254.20.10/32"
	got := map[string]bool{}
	for _, network := range egress.Spec.Networks {
		for _, except := range network.Except {
			got[except] = true
		}
	}
	if !got[nodeDNS] {
		t.Errorf("egress.yaml takes the node's cache of names, %s, for outside", nodeDNS)
	}
	delete(got, nodeDNS)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("what is no egress (-linkerd-values.yaml +egress.yaml):\n%s", diff)
	}
}

func TestNamespaceDeniesByDefault(t *testing.T) {
	t.Parallel()
	annotations := manifests(t, "namespace.yaml").One(t, "Namespace", render.Namespace).Annotations()
	if annotations["linkerd.io/inject"] != "enabled" || annotations["config.linkerd.io/default-inbound-policy"] != "deny" {
		t.Errorf("annotations are %v", annotations)
	}
}

// A roll-out goes service by service, and from audit to deny, with one value each.
func TestRollOut(t *testing.T) {
	t.Parallel()
	one := render.Render(t, "ragmesh", render.Set("retriever.linkerd.enabled=true"))
	for _, o := range one {
		inMesh := o.Group() == "policy.linkerd.io" || strings.Contains(o.Text, "linkerd.io/inject: enabled")
		if inMesh && o.Labels()["app.kubernetes.io/component"] != "retriever" {
			t.Errorf("%s is in the mesh, and only the retriever should be", o.ID())
		}
	}
	if _, ok := one.Find("Server", "ragmesh-retriever-rpc"); !ok {
		t.Error("the retriever is not in the mesh")
	}
	all := render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true", "global.linkerd.policy.accessPolicy=audit", "dialog.linkerd.policy.accessPolicy=deny"))
	for _, o := range all.Kind("Server") {
		want := "audit"
		if o.Labels()["app.kubernetes.io/component"] == "dialog" {
			want = "deny"
		}
		if got := o.String("spec", "accessPolicy"); got != want {
			t.Errorf("%s: accessPolicy is %s, want %s", o.ID(), got, want)
		}
	}
	for _, o := range render.Render(t, "ragmesh") {
		// What must stay out of any mesh says so always.
		if strings.Contains(strings.ReplaceAll(o.Text, "linkerd.io/inject: disabled", ""), "linkerd.io") {
			t.Errorf("%s speaks of Linkerd while nothing is in the mesh", o.ID())
		}
	}
	apart := render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true", "tools.linkerd.policy.create=false"))
	for _, o := range apart {
		if o.Group() == "policy.linkerd.io" && o.Labels()["app.kubernetes.io/component"] == "tools" {
			t.Errorf("%s is made by the chart, and policies are made apart", o.ID())
		}
	}
}

// The outside that a service may call is what its configuration calls.
func TestEgressRoutes(t *testing.T) {
	t.Parallel()
	gateway := render.Render(t, "llm-gateway", render.YAML(`
linkerd: {enabled: true, egress: {network: ragmesh-egress, hosts: [oauth.example.com, "mirror.example.com:8443"]}}
config:
  providers:
    openai: {type: openai, base_url: https://api.openai.com/v1}
    own: {type: openai, base_url: "https://llm.example.com:8443/v1"}
    inside: {type: openai, base_url: "http://vllm.models:8000/v1"}
`))
	tools := render.Render(t, "tools", render.YAML(`
linkerd: {enabled: true, egress: {network: ragmesh-egress}}
plugins:
  crm: {url: "https://crm.example.com/v1/{id}"}
  rates: {url: "https://rates.example.com/", egress: ["*.example.org", "cdn.example.com:8443", 10.0.0.0/8]}
  text: "url: https://text.example.com/"
`))
	for name, want := range map[string][]string{
		"ragmesh-llm-gateway-egress-443":  {"api.openai.com", "oauth.example.com"},
		"ragmesh-llm-gateway-egress-8443": {"llm.example.com", "mirror.example.com"},
		"ragmesh-tools-egress-443":        {"*.example.org", "crm.example.com", "text.example.com"},
		"ragmesh-tools-egress-8443":       {"cdn.example.com"},
	} {
		route, ok := append(slices.Clone(gateway), tools...).Find("TLSRoute", name)
		if !ok {
			t.Errorf("no %s", name)
			continue
		}
		var got []string
		hosts, _ := route.At("spec", "hostnames").([]any)
		for _, host := range hosts {
			got = append(got, host.(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, err := range schema.Check(route) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if routes := len(gateway.Kind("TLSRoute")) + len(tools.Kind("TLSRoute")); routes != 4 {
		t.Errorf("%d routes, want 4", routes)
	}
	dialog := render.Render(t, "dialog", render.YAML(`linkerd: {enabled: true, egress: {network: ragmesh-egress, hosts: [example.com]}}`))
	if routes := dialog.Kind("TLSRoute"); len(routes) > 0 {
		t.Errorf("dialog may call outside: %v", routes.IDs())
	}
}

// Guaranteed takes every container of the pod, the proxy's too.
func TestProxyResources(t *testing.T) {
	t.Parallel()
	annotations := func(values ...render.Values) map[string]string {
		o := render.Render(t, "tools", append([]render.Values{render.Set("linkerd.enabled=true")}, values...)...).One(t, "Deployment", "ragmesh-tools")
		return o.Strings("spec", "template", "metadata", "annotations")
	}
	const prefix = "config.linkerd.io/proxy-"
	burstable := annotations()
	if burstable[prefix+"memory-request"] == "" || burstable[prefix+"memory-request"] != burstable[prefix+"memory-limit"] || burstable[prefix+"cpu-limit"] != "" {
		t.Errorf("Burstable: %v", burstable)
	}
	for cpu, guaranteed := range map[string]map[string]string{
		"1":    annotations(render.Set("qosClass=Guaranteed")),
		"500m": annotations(render.Set("qosClass=Guaranteed", "linkerd.proxy.cpuLimit=500m")),
	} {
		if guaranteed[prefix+"cpu-request"] != cpu || guaranteed[prefix+"cpu-limit"] != cpu {
			t.Errorf("Guaranteed: %v", guaranteed)
		}
	}
}

// A person whose role is too low gets PERMISSION_DENIED, which the mesh takes for a failure of the pod: at the edge, seven of them would
// take it from everybody. Where there is one pod, it is not kept out for longer than it is down.
func TestCircuitBreaking(t *testing.T) {
	t.Parallel()
	const (
		mode = "balancer.linkerd.io/failure-accrual"
		most = mode + "-consecutive-max-penalty"
	)
	all := render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true"))
	for service, want := range map[string][2]string{
		"dialog": {"", ""}, "retriever": {"consecutive", "5s"}, "tools": {"consecutive", "1m"}, "llm-gateway": {"consecutive", "1m"}, "eval": {"consecutive", "5s"},
	} {
		annotations := all.One(t, "Service", "ragmesh-"+service).Annotations()
		if got := [2]string{annotations[mode], annotations[most]}; got != want {
			t.Errorf("%s: %q, want %q", service, got, want)
		}
	}
	chosen := render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true", "dialog.linkerd.failureAccrual.enabled=true", "tools.linkerd.failureAccrual.enabled=false"))
	if chosen.One(t, "Service", "ragmesh-dialog").Annotations()[mode] == "" || chosen.One(t, "Service", "ragmesh-tools").Annotations()[mode] != "" {
		t.Error("the values do not decide")
	}
}

// What would cut answers in the mesh is refused with a sentence, in every chart; outside the mesh it does nothing.
func TestRefusedInTheMesh(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ values, want string }{
		"idle timeout below heartbeats": {`{linkerd: {idleTimeout: 30s}}`, "linkerd.idleTimeout is 30s"},
		"idle timeout in milliseconds":  {`{linkerd: {idleTimeout: 60000ms}}`, "linkerd.idleTimeout is 60000ms"},
		"request timeout":               {`{service: {annotations: {timeout.linkerd.io/request: 3s}}}`, "timeout.linkerd.io/request"},
		"retries":                       {`{service: {annotations: {retry.linkerd.io/grpc: unavailable}}}`, "retry.linkerd.io/grpc"},
		"one caller more than all":      {`{linkerd: {rateLimit: {total: 100, identity: 200}}}`, "linkerd.rateLimit.identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, chart := range []string{"dialog", "retriever"} {
				got := render.Refused(t, chart, render.Set("global.linkerd.enabled=true"), render.YAML(test.values))
				if !strings.Contains(got, test.want) {
					t.Errorf("%s: refused with %q, want %q in it", chart, got, test.want)
				}
				render.Render(t, chart, render.YAML(test.values))
			}
		})
	}
	for _, good := range []string{`{linkerd: {idleTimeout: 2m}}`, `{linkerd: {idleTimeout: ""}}`, `{linkerd: {rateLimit: {total: 0, identity: 50}}}`} {
		render.Render(t, "dialog", render.Set("global.linkerd.enabled=true"), render.YAML(good))
	}
}
