package check_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// The commands that pods run, and the Secrets that they mount, are what the command line knows and makes.
func TestCommandsAndSecretsAreTheProgrammes(t *testing.T) {
	t.Parallel()
	program := ragmesh(t)
	objects := render.Render(t, "ragmesh")

	commands, mounted := 0, map[string]string{}
	for _, o := range objects {
		spec, ok := podSpec(t, o)
		if !ok {
			continue
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			if strings.HasPrefix(c.Image, "ragmesh/ragmesh:") {
				commands++
				// With --help nothing runs, but a flag before it that nobody knows is an error.
				if out, err := program.Run(t, append(slices.Clone(c.Args), "--help")...); err != nil {
					t.Errorf("%s runs %q: %v\n%s", o.ID(), c.Args, err, out)
				}
			}
		}
		maps.Copy(mounted, secretsOf(spec))
	}
	if commands < 5 {
		t.Errorf("only %d containers run the command line", commands)
	}

	keys := filepath.Join(t.TempDir(), "keys")
	if out, err := program.Run(t, "keys", "init", "--data", keys); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manifest, err := program.Run(t, "keys", "manifest", "--data", keys, "--namespace", render.Namespace)
	if err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
	secrets, err := render.Parse(manifest)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for _, o := range secrets {
		s := render.As[corev1.Secret](t, o)
		for key := range s.Data {
			made[s.Name] = key
		}
		for key := range s.StringData {
			made[s.Name] = key
		}
	}
	if diff := cmp.Diff(made, mounted); diff != "" {
		t.Errorf("Secrets (-made by ragmesh keys +mounted by the charts):\n%s", diff)
	}
	var readable []string
	for _, rule := range render.As[rbacv1.Role](t, objects.One(t, "Role", "ragmesh-identity")).Rules {
		readable = append(readable, rule.ResourceNames...)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made)), slices.Sorted(slices.Values(readable))); diff != "" {
		t.Errorf("Secrets (-made by ragmesh keys +readable by the Job that makes them):\n%s", diff)
	}
}

// podSpec returns the pod that an object is or makes.
func podSpec(t *testing.T, o render.Object) (corev1.PodSpec, bool) {
	t.Helper()
	switch o.Kind() {
	case "Pod":
		return render.As[corev1.Pod](t, o).Spec, true
	case "Job":
		return render.As[batchv1.Job](t, o).Spec.Template.Spec, true
	case "Deployment", "StatefulSet": // of the same form where pods are concerned
		text, _ := o.At("spec", "template", "spec").(map[string]any)
		if text == nil {
			t.Fatalf("%s has no pods", o.ID())
		}
		return render.As[corev1.Pod](t, render.Object{Raw: map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": o.Name()}, "spec": text,
		}}).Spec, true
	}
	return corev1.PodSpec{}, false
}

// secretsOf returns the key of each Secret that a pod mounts or reads; ours have one each.
func secretsOf(spec corev1.PodSpec) map[string]string {
	found := map[string]string{}
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			for _, item := range v.Secret.Items {
				found[v.Secret.SecretName] = item.Key
			}
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				for _, item := range source.Secret.Items {
					found[source.Secret.Name] = item.Key
				}
			}
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				found[e.ValueFrom.SecretKeyRef.Name] = e.ValueFrom.SecretKeyRef.Key
			}
		}
	}
	return found
}
