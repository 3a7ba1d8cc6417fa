package check_test

import (
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// The example of a quota has room for what the umbrella installs, one pod more of each Deployment during a roll-out, and the test pods.
func TestQuotaHoldsTheDefaults(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(render.Root(t), "deploy", "quota.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var quota corev1.ResourceQuota
	if err := yaml.UnmarshalStrict(text, &quota); err != nil {
		t.Fatal(err)
	}
	used := corev1.ResourceList{}
	add := func(name corev1.ResourceName, q resource.Quantity) {
		sum := used[name]
		sum.Add(q)
		used[name] = sum
	}
	pods := func(n int64, spec corev1.PodSpec) {
		for range n {
			add(corev1.ResourcePods, resource.MustParse("1"))
			for _, c := range spec.Containers {
				add(corev1.ResourceRequestsCPU, c.Resources.Requests[corev1.ResourceCPU])
				add(corev1.ResourceRequestsMemory, c.Resources.Requests[corev1.ResourceMemory])
				add(corev1.ResourceLimitsMemory, c.Resources.Limits[corev1.ResourceMemory])
			}
		}
	}
	for _, o := range render.Render(t, "ragmesh") {
		switch o.Kind() {
		case "Deployment":
			d := render.As[appsv1.Deployment](t, o)
			pods(int64(*d.Spec.Replicas)+1, d.Spec.Template.Spec)
		case "StatefulSet":
			s := render.As[appsv1.StatefulSet](t, o)
			pods(int64(*s.Spec.Replicas), s.Spec.Template.Spec)
			for _, claim := range s.Spec.VolumeClaimTemplates {
				add(corev1.ResourcePersistentVolumeClaims, resource.MustParse("1"))
				add(corev1.ResourceRequestsStorage, claim.Spec.Resources.Requests[corev1.ResourceStorage])
			}
		case "Pod":
			pods(1, render.As[corev1.Pod](t, o).Spec)
		}
	}
	for name, sum := range used {
		if limit, ok := quota.Spec.Hard[name]; !ok || sum.Cmp(limit) > 0 {
			t.Errorf("%s: the defaults take %s of %s", name, sum.String(), limit.String())
		}
	}
}

// What the umbrella's values for production say of a service is what that service's own chart is checked with.
func TestProductionIsTheSameForEachServiceAlone(t *testing.T) {
	t.Parallel()
	whole := render.File(t, "ragmesh", "production")
	for _, service := range []string{"dialog", "retriever", "tools", "llm-gateway", "eval"} {
		want := map[string]any{"global": whole["global"]}
		part, _ := whole[service].(map[string]any)
		for key, value := range part {
			want[key] = value
		}
		if diff := cmp.Diff(want, map[string]any(render.File(t, service, "production"))); diff != "" {
			t.Errorf("%s/ci/production.yaml (-ragmesh/values-production.yaml +it):\n%s", service, diff)
		}
	}
}
