package check_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// retriever is what the chart makes of a Deployment: its pods' labels, and the role and address in its configuration.
type retriever struct {
	pods   labels.Set
	config struct {
		Role string
		RPC  struct{ Addr string }
	}
}

// retrievers returns the retriever's Deployments by name. There is nothing that has a disk of its own beside them.
func retrievers(t *testing.T, objects render.Objects) map[string]retriever {
	t.Helper()
	for _, o := range objects.Kind("StatefulSet") {
		if o.Labels()["app.kubernetes.io/name"] == "retriever" {
			t.Errorf("%s is there, although the store is shared", o.ID())
		}
	}
	all := map[string]retriever{}
	for _, o := range objects.Kind("Deployment") {
		if o.Labels()["app.kubernetes.io/name"] != "retriever" {
			continue
		}
		r := retriever{pods: render.As[appsv1.Deployment](t, o).Spec.Template.Labels}
		for _, file := range lint.ConfigFiles(objects, o) {
			if file.Path == "/etc/ragmesh/retriever.yaml" {
				if err := yaml.Unmarshal([]byte(file.Text), &r.config); err != nil {
					t.Fatal(err)
				}
			}
		}
		all[o.Name()] = r
	}
	return all
}

// of returns which Deployments' pods a selector selects.
func of(t *testing.T, all map[string]retriever, selector map[string]string) []string {
	t.Helper()
	var names []string
	for name, r := range all {
		if labels.SelectorFromSet(selector).Matches(r.pods) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// With a store that pods share, there may be several that do everything.
func TestRetrieversShareAStore(t *testing.T) {
	t.Parallel()
	objects := render.Render(t, "retriever", render.File(t, "retriever", "weaviate"))
	all := retrievers(t, objects)
	one, ok := all["ragmesh-retriever"]
	if !ok || len(all) != 1 || one.config.Role != "" || one.config.RPC.Addr != "0.0.0.0:8080" {
		t.Fatalf("retrievers %+v", all)
	}
	if n := render.As[appsv1.Deployment](t, objects.One(t, "Deployment", "ragmesh-retriever")).Spec.Replicas; *n != 2 {
		t.Errorf("%d replicas", *n)
	}
}

// Those that serve are called and take nothing in; those that take in are called by nobody, also where a policy lets in whom it should not.
func TestRetrieverRolesAreApart(t *testing.T) {
	t.Parallel()
	const serve, ingest = "ragmesh-retriever", "ragmesh-retriever-ingest"
	objects := render.Render(t, "retriever", render.File(t, "retriever", "roles-mesh"))
	all := retrievers(t, objects)
	if got := all[serve].config; got.Role != "serve" || got.RPC.Addr != "0.0.0.0:8080" {
		t.Errorf("%s has %+v", serve, got)
	}
	if got := all[ingest].config; got.Role != "ingest" || got.RPC.Addr != "127.0.0.1:8080" || len(all) != 2 {
		t.Errorf("%s has %+v, of %d", ingest, got, len(all))
	}
	for _, name := range []string{serve, ingest} {
		service := render.As[corev1.Service](t, objects.One(t, "Service", name))
		policy := render.As[networkingv1.NetworkPolicy](t, objects.One(t, "NetworkPolicy", name))
		budget := render.As[policyv1.PodDisruptionBudget](t, objects.One(t, "PodDisruptionBudget", name))
		for kind, selector := range map[string]map[string]string{
			"Service": service.Spec.Selector, "NetworkPolicy": policy.Spec.PodSelector.MatchLabels, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels,
		} {
			if diff := cmp.Diff([]string{name}, of(t, all, selector)); diff != "" {
				t.Errorf("%s/%s is for (-want +got)\n%s", kind, name, diff)
			}
		}
		calls := slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 8080 })
		lets := slices.ContainsFunc(policy.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool {
			return slices.ContainsFunc(r.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == 8080 })
		})
		if calls != (name == serve) || lets != (name == serve) {
			t.Errorf("%s: the Service has a port for calls: %v, the NetworkPolicy one: %v", name, calls, lets)
		}
		var out []string
		for _, rule := range policy.Spec.Egress {
			for _, to := range rule.To {
				if to.PodSelector != nil {
					out = append(out, to.PodSelector.MatchLabels["app.kubernetes.io/name"])
				}
			}
		}
		if diff := cmp.Diff([]string{"nats", "weaviate", "llm-gateway"}, out); diff != "" {
			t.Errorf("%s may call (-want +got)\n%s", name, diff)
		}
		pod, err := lint.PodSpec(objects.One(t, "Deployment", name))
		if err != nil || pod.ServiceAccountName != serve {
			t.Errorf("%s runs as %q, whom NATS, llm-gateway and Weaviate do not know: %v", name, pod.ServiceAccountName, err)
		}
	}
}

// In the whole, the mesh and the network let in and out whom the code names, as without roles.
func TestRetrieverRolesKeepTheCallGraph(t *testing.T) {
	t.Parallel()
	values := render.YAML(`
global: {linkerd: {enabled: true}}
retriever: {replicas: 2, ingest: {separate: true}, config: {store: weaviate}}
`)
	whole := render.Render(t, "ragmesh", values)
	for _, finding := range lint.Run(whole, append(slices.Concat(lint.Rules(), lint.Whole()), lint.NetworkGraph(callGraph(t)))...) {
		t.Error(finding)
	}
	if diff := cmp.Diff(edges(render.Render(t, "ragmesh", render.Set("global.linkerd.enabled=true"))), edges(whole)); diff != "" {
		t.Errorf("who may call whom in the mesh (-one pod +roles):\n%s", diff)
	}
	server := whole.One(t, "Server", "ragmesh-retriever-rpc").At("spec", "podSelector", "matchLabels").(map[string]any)
	if server["app.kubernetes.io/component"] != "retriever" {
		t.Errorf("calls are let in to pods of %v", server)
	}
}
