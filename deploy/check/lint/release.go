package lint

import (
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func releaseRules() []Rule {
	return []Rule{selectors, oneScaler, references, secretData, unique, namespaced, standardLabels}
}

var selectors = Rule{
	Name: "selectors",
	Why:  "A selector with a typo selects nothing, and nobody says so.",
	Check: func(objects render.Objects, report Report) {
		all := pods(objects)
		for _, p := range all {
			if p.selector != nil && len(selected([]pod{p}, p.selector)) == 0 {
				report(p.Object, "spec.selector does not select the pods of spec.template")
			}
			for _, c := range p.spec.TopologySpreadConstraints {
				if len(selected([]pod{p}, c.LabelSelector)) == 0 {
					report(p.Object, "topologySpreadConstraints over %s do not select the workload's own pods", c.TopologyKey)
				}
			}
		}
		for _, s := range decoded[corev1.Service](objects, "Service") {
			found := ofService(all, s.value)
			switch workloads := owners(found); {
			case len(s.value.Spec.Selector) > 0 && len(workloads) == 0:
				report(s.object, "spec.selector selects no pods of the release")
			case len(workloads) > 1:
				report(s.object, "spec.selector selects pods of %s, which are different things", strings.Join(workloads, " and "))
			}
		}
		for _, o := range objects.Kind("PodDisruptionBudget", "NetworkPolicy") {
			field := map[string]string{"PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector"}[o.Kind()]
			if len(selectedAt(all, o, "spec", field)) == 0 {
				report(o, "spec.%s selects no pods of the release", field)
			}
		}
	},
}

// owners returns the workloads among what makes pods.
func owners(found []pod) []string {
	var ids []string
	for _, p := range found {
		if p.serves() {
			ids = append(ids, p.ID())
		}
	}
	return ids
}

var oneScaler = Rule{
	Name: "one-scaler",
	Why:  "Two autoscalers, or one and a number in the manifest, take turns in undoing each other.",
	Check: func(objects render.Objects, report Report) {
		by := map[string]string{}
		for _, o := range objects.Kind("HorizontalPodAutoscaler", "ScaledObject") {
			kind := o.String("spec", "scaleTargetRef", "kind")
			if kind == "" {
				kind = "Deployment" // KEDA's default
			}
			target := kind + "/" + o.String("spec", "scaleTargetRef", "name")
			scaled, ok := objects.Find(kind, o.String("spec", "scaleTargetRef", "name"))
			switch {
			case by[target] != "":
				report(o, "%s is scaled by %s already", target, by[target])
			case !ok:
				report(o, "spec.scaleTargetRef names %s, which is not there", target)
			case scaled.At("spec", "replicas") != nil:
				report(o, "%s has spec.replicas, which every upgrade would put back", target)
			case kind == "StatefulSet":
				report(o, "%s keeps its state on one disk and can't be scaled", target)
			}
			by[target] = o.ID()
		}
		for _, h := range decoded[autoscalingv2.HorizontalPodAutoscaler](objects, "HorizontalPodAutoscaler") {
			for _, m := range h.value.Spec.Metrics {
				switch {
				case m.Resource != nil:
					report(h.object, "metric %s is the pod's, the mesh's proxy included: use ContainerResource", m.Resource.Name)
				case m.ContainerResource != nil && !slices.ContainsFunc(pods(objects), func(p pod) bool {
					return p.Name() == h.value.Spec.ScaleTargetRef.Name && slices.ContainsFunc(p.spec.Containers, func(c corev1.Container) bool { return c.Name == m.ContainerResource.Container })
				}):
					report(h.object, "metric of container %q, which %s does not have", m.ContainerResource.Container, h.value.Spec.ScaleTargetRef.Name)
				}
			}
		}
	},
}

var references = Rule{
	Name: "references",
	Why:  "A pod waits for ever for a ConfigMap or ServiceAccount that nobody makes. Secrets are made apart, and names that are not the release's are somebody else's.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			missing := func(kind, name string) {
				if _, ok := objects.Find(kind, name); name != "" && !ok && own(objects, name) {
					report(p.Object, "names %s/%s, which is not there", kind, name)
				}
			}
			missing("ServiceAccount", p.spec.ServiceAccountName)
			for _, v := range p.spec.Volumes {
				switch {
				case v.ConfigMap != nil:
					missing("ConfigMap", v.ConfigMap.Name)
				case v.Projected != nil:
					for _, source := range v.Projected.Sources {
						if source.ConfigMap != nil {
							missing("ConfigMap", source.ConfigMap.Name)
						}
					}
				}
			}
			for _, c := range p.containers() {
				for _, e := range c.Env {
					if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
						missing("ConfigMap", e.ValueFrom.ConfigMapKeyRef.Name)
					}
				}
			}
		}
	},
}

var secretData = Rule{
	Name: "secret-data",
	Why:  "What a chart renders stands in its release's history and in whoever's terminal: secrets are made apart and named.",
	Check: func(objects render.Objects, report Report) {
		for _, o := range objects.Kind("Secret") {
			if o.At("data") != nil || o.At("stringData") != nil {
				report(o, "carries data")
			}
		}
	},
}

var unique = Rule{
	Name: "unique",
	Why:  "Of two objects with one name, the second overwrites the first.",
	Check: func(objects render.Objects, report Report) {
		seen := map[string]string{}
		for _, o := range objects {
			key := o.Group() + " " + o.Namespace() + " " + o.ID()
			if other, ok := seen[key]; ok {
				report(o, "of %s is in %s as well", o.Template, other)
			}
			seen[key] = o.Template
		}
	},
}

var namespaced = Rule{
	Name: "namespaced",
	Why:  "Whoever installs a service may write to its namespace and nowhere else.",
	Check: func(objects render.Objects, report Report) {
		wide := []string{
			"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass", "PersistentVolume", "StorageClass",
			"ClusterIssuer", "GatewayClass", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
		}
		for _, o := range objects {
			if slices.Contains(wide, o.Kind()) {
				report(o, "is the whole cluster's")
			} else if o.String("metadata", "namespace") == "" {
				report(o, "names no namespace, and would land wherever the one who applies it happens to be")
			}
		}
	},
}

var standardLabels = Rule{
	Name: "labels",
	Why:  "Dashboards, policies and people find objects by the labels that Kubernetes recommends.",
	Check: func(objects render.Objects, report Report) {
		for _, o := range objects {
			for _, label := range []string{"name", "instance", "part-of", "managed-by", "version"} {
				if o.Labels()["app.kubernetes.io/"+label] == "" {
					report(o, "label app.kubernetes.io/%s is missing", label)
				}
			}
		}
	},
}
