package lint

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// pod is what an object makes pods from.
type pod struct {
	render.Object
	meta metav1.ObjectMeta
	spec corev1.PodSpec
	// replicas and selector are those of a Deployment or StatefulSet.
	replicas *int32
	selector *metav1.LabelSelector
}

// serves says whether the pods are there to be called, rather than to end.
func (p pod) serves() bool {
	return p.Object.Kind() == "Deployment" || p.Object.Kind() == "StatefulSet"
}

// meshed says whether Linkerd puts a proxy beside the pods.
func (p pod) meshed() bool {
	inject := p.meta.Annotations["linkerd.io/inject"]
	return inject == "enabled" || inject == "ingress"
}

// containers returns all containers, those that begin first first.
func (p pod) containers() []corev1.Container {
	return append(append([]corev1.Container{}, p.spec.InitContainers...), p.spec.Containers...)
}

// port returns a container's port by name.
func (p pod) port(name string) (corev1.ContainerPort, bool) {
	for _, c := range p.containers() {
		for _, port := range c.Ports {
			if port.Name == name {
				return port, true
			}
		}
	}
	return corev1.ContainerPort{}, false
}

// pods returns the pods of a release. What can't be decoded is left to the schema's check.
func pods(objects render.Objects) []pod {
	var all []pod
	for _, o := range objects {
		if p, err := podOf(o); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func podOf(o render.Object) (pod, error) {
	switch o.Kind() {
	case "Deployment":
		d, err := render.Decode[appsv1.Deployment](o)
		return pod{o, d.Spec.Template.ObjectMeta, d.Spec.Template.Spec, d.Spec.Replicas, d.Spec.Selector}, err
	case "StatefulSet":
		s, err := render.Decode[appsv1.StatefulSet](o)
		return pod{o, s.Spec.Template.ObjectMeta, s.Spec.Template.Spec, s.Spec.Replicas, s.Spec.Selector}, err
	case "Job":
		j, err := render.Decode[batchv1.Job](o)
		return pod{Object: o, meta: j.Spec.Template.ObjectMeta, spec: j.Spec.Template.Spec}, err
	case "CronJob":
		c, err := render.Decode[batchv1.CronJob](o)
		return pod{Object: o, meta: c.Spec.JobTemplate.Spec.Template.ObjectMeta, spec: c.Spec.JobTemplate.Spec.Template.Spec}, err
	case "Pod":
		p, err := render.Decode[corev1.Pod](o)
		return pod{Object: o, meta: p.ObjectMeta, spec: p.Spec}, err
	default:
		return pod{}, fmt.Errorf("%s makes no pods", o.Kind())
	}
}

// selected returns the pods that a selector selects.
func selected(all []pod, selector *metav1.LabelSelector) []pod {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil
	}
	return matching(all, s)
}

// selectedAt returns the pods that the selector under a path of an object selects.
func selectedAt(all []pod, o render.Object, path ...any) []pod {
	table, _ := o.At(path...).(map[string]any)
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(table, &selector); err != nil {
		return nil
	}
	return selected(all, &selector)
}

func matching(all []pod, s labels.Selector) []pod {
	var found []pod
	for _, p := range all {
		if s.Matches(labels.Set(p.meta.Labels)) {
			found = append(found, p)
		}
	}
	return found
}

// ofService returns the pods that a Service sends to.
func ofService(all []pod, service corev1.Service) []pod {
	if len(service.Spec.Selector) == 0 {
		return nil
	}
	return matching(all, labels.SelectorFromSet(service.Spec.Selector))
}

// decoded returns the objects of a kind as their type; what can't be decoded is left to the schema's check.
func decoded[T any](objects render.Objects, kind string) []typed[T] {
	var all []typed[T]
	for _, o := range objects.Kind(kind) {
		if v, err := render.Decode[T](o); err == nil {
			all = append(all, typed[T]{o, v})
		}
	}
	return all
}

type typed[T any] struct {
	object render.Object
	value  T
}

// instance returns the prefix of the release's own names.
func instance(objects render.Objects) string {
	for _, o := range objects {
		if name := o.Labels()["app.kubernetes.io/instance"]; name != "" {
			return name
		}
	}
	return ""
}

// own says whether a name is one that the release gives, rather than somebody else's.
func own(objects render.Objects, name string) bool {
	i := instance(objects)
	return name == i || strings.HasPrefix(name, i+"-")
}
