package lint_test

import "github.com/ragmesh/ragmesh/deploy/check/lint/linttest"

// inPod returns the path to something in the first container of a workload's pods.
func inContainer(path ...any) []any {
	return append([]any{"spec", "template", "spec", "containers", 0}, path...)
}

// inPod returns the path to something in a workload's pods.
func inPod(path ...any) []any { return append([]any{"spec", "template"}, path...) }

const (
	deployment  = "Deployment/ragmesh-dialog"
	statefulSet = "StatefulSet/ragmesh-retriever"
)

var workloadCases = []linttest.Case{
	{
		Name: "runs as root", Rule: "restricted", Want: "runAsNonRoot",
		Edit: linttest.Put(deployment, false, inPod("spec", "securityContext", "runAsNonRoot")...),
	},
	{
		Name: "keeps capabilities", Rule: "restricted", Want: "unrestricted capabilities",
		Edit: linttest.Remove(statefulSet, inContainer("securityContext", "capabilities")...),
	},
	{
		Name: "folder of the node", Rule: "restricted", Want: "hostPath",
		Edit: linttest.Put(deployment, map[string]any{"name": "x", "hostPath": map[string]any{"path": "/"}}, inPod("spec", "volumes", 0)...),
	},
	{
		Name: "test that runs as root", Rule: "restricted", Want: "Pod/ragmesh-dialog-test",
		Edit: linttest.Remove("Pod/ragmesh-dialog-test", "spec", "securityContext"),
	},
	{
		Name: "may write anywhere", Rule: "read-only-root", Want: "readOnlyRootFilesystem",
		Edit: linttest.Remove(deployment, inContainer("securityContext", "readOnlyRootFilesystem")...),
	},
	{
		Name: "token by default", Rule: "no-token", Want: "automountServiceAccountToken",
		Edit: linttest.Remove(deployment, inPod("spec", "automountServiceAccountToken")...),
	},
	{
		Name: "token for all pods of an account", Rule: "no-token", Want: "ServiceAccount/ragmesh-eval",
		Edit: linttest.Put("ServiceAccount/ragmesh-eval", true, "automountServiceAccountToken"),
	},
	{
		Name: "variables of all services", Rule: "no-service-links", Want: "enableServiceLinks",
		Edit: linttest.Remove(deployment, inPod("spec", "enableServiceLinks")...),
	},
	{
		Name: "latest", Rule: "pinned-images", Want: "latest",
		Edit: linttest.Put(deployment, "example.com:5000/ragmesh/dialog:latest", inContainer("image")...),
	},
	{
		Name: "port of a registry taken for a tag", Rule: "pinned-images", Want: "neither a tag",
		Edit: linttest.Put(deployment, "example.com:5000/ragmesh/dialog", inContainer("image")...),
	},
	{
		Name: "limit above the request", Rule: "resources", Want: "limits.memory",
		Edit: linttest.Put(deployment, "9Gi", inContainer("resources", "limits", "memory")...),
	},
	{
		Name: "no CPU request", Rule: "resources", Want: "requests.cpu",
		Edit: linttest.Remove(deployment, inContainer("resources", "requests", "cpu")...),
	},
	{
		Name: "limit below the request", Rule: "resources", Want: "limits.cpu",
		Edit: linttest.Put(deployment, "1m", inContainer("resources", "limits", "cpu")...),
	},
	{
		Name: "all of the memory", Rule: "gomemlimit", Want: "GOMEMLIMIT",
		Edit: linttest.Put(deployment, "64GiB", inContainer("env", 0, "value")...),
	},
	{
		Name: "none", Rule: "gomemlimit", Want: "GOMEMLIMIT is not set",
		Edit: linttest.Put(deployment, "GOMEMLIMITS", inContainer("env", 0, "name")...),
	},
	{
		Name: "no startup probe", Rule: "probes", Want: "startupProbe is missing",
		Edit: linttest.Remove(deployment, inContainer("startupProbe")...),
	},
	{
		Name: "port that is not there", Rule: "probes", Want: `"amdin"`,
		Edit: linttest.Put(statefulSet, "amdin", inContainer("livenessProbe", "httpGet", "port")...),
	},
	{
		Name: "killed too early", Rule: "grace-period", Want: "terminationGracePeriodSeconds",
		Edit: linttest.Put(deployment, 85.0, inPod("spec", "terminationGracePeriodSeconds")...),
	},
	{
		Name: "no preStop", Rule: "grace-period", Want: "preStop",
		Edit: linttest.Remove(deployment, inContainer("lifecycle")...),
	},
	{
		Name: "one fewer", Rule: "rolling-update", Want: "maxUnavailable",
		Edit: linttest.Put(deployment, 1.0, "spec", "strategy", "rollingUpdate", "maxUnavailable"),
	},
	{
		Name: "mount without a volume", Rule: "volumes", Want: `"confgi"`,
		Edit: linttest.Put(deployment, "confgi", inContainer("volumeMounts", 0, "name")...),
	},
	{
		Name: "single file", Rule: "volumes", Want: "subPath",
		Edit: linttest.Put(deployment, "dialog.yaml", inContainer("volumeMounts", 0, "subPath")...),
	},
	{
		Name: "twice", Rule: "environment", Want: "twice",
		Edit: linttest.Put(deployment, map[string]any{"name": "GOMEMLIMIT", "value": "1MiB"}, inContainer("env", 1)...),
	},
}

var releaseCases = []linttest.Case{
	{
		Name: "workload", Rule: "selectors", Want: "does not select",
		Edit: linttest.Put(deployment, "dialogue", "spec", "selector", "matchLabels", "app.kubernetes.io/name"),
	},
	{
		Name: "spreading", Rule: "selectors", Want: "topologySpreadConstraints",
		Edit: linttest.Put(deployment, "dialogue", inPod("spec", "topologySpreadConstraints", 0, "labelSelector", "matchLabels", "app.kubernetes.io/name")...),
	},
	{
		Name: "service", Rule: "selectors", Want: "Service/ragmesh-eval",
		Edit: linttest.Put("Service/ragmesh-eval", "evla", "spec", "selector", "app.kubernetes.io/name"),
	},
	{
		Name: "service of everything", Rule: "selectors", Want: "different things",
		Edit: linttest.Remove("Service/ragmesh-eval", "spec", "selector", "app.kubernetes.io/name"),
	},
	{
		Name: "disruption budget", Rule: "selectors", Want: "PodDisruptionBudget/ragmesh-dialog",
		Edit: linttest.Put("PodDisruptionBudget/ragmesh-dialog", "dialogue", "spec", "selector", "matchLabels", "app.kubernetes.io/name"),
	},
	{
		Name: "network policy", Rule: "selectors", Want: "NetworkPolicy/ragmesh-dialog",
		Edit: linttest.Put("NetworkPolicy/ragmesh-dialog", "dialogue", "spec", "podSelector", "matchLabels", "app.kubernetes.io/name"),
	},
	{
		Name: "number beside an autoscaler", Rule: "one-scaler", Want: "spec.replicas",
		Edit: linttest.Put(deployment, 2.0, "spec", "replicas"),
	},
	{
		Name: "two autoscalers", Rule: "one-scaler", Want: "already",
		Edit: linttest.Add(`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: x}, spec: {scaleTargetRef: {name: ragmesh-dialog}}}`),
	},
	{
		Name: "nothing to scale", Rule: "one-scaler", Want: "not there",
		Edit: linttest.Put("HorizontalPodAutoscaler/ragmesh-dialog", "dialog", "spec", "scaleTargetRef", "name"),
	},
	{
		Name: "one disk", Rule: "one-scaler", Want: "can't be scaled",
		Edit: linttest.All(
			linttest.Remove(statefulSet, "spec", "replicas"),
			linttest.Add(`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: x}, spec: {scaleTargetRef: {kind: StatefulSet, name: ragmesh-retriever}}}`),
		),
	},
	{
		Name: "container that is not there", Rule: "one-scaler", Want: `"dialogue"`,
		Edit: linttest.Put("HorizontalPodAutoscaler/ragmesh-dialog", "dialogue", "spec", "metrics", 0, "containerResource", "container"),
	},
	{
		Name: "configuration", Rule: "references", Want: "ConfigMap/ragmesh-dialog",
		Edit: linttest.Drop("ConfigMap/ragmesh-dialog"),
	},
	{
		Name: "account", Rule: "references", Want: "ServiceAccount/ragmesh-eval",
		Edit: linttest.Drop("ServiceAccount/ragmesh-eval"),
	},
	{
		Name: "password", Rule: "secret-data", Want: "carries data",
		Edit: linttest.Add(`{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {a: b}}`),
	},
	{
		Name: "one name", Rule: "unique", Want: "Service/ragmesh-dialog",
		Edit: linttest.Add(`{apiVersion: v1, kind: Service, metadata: {name: ragmesh-dialog, namespace: ragmesh}, spec: {}}`),
	},
	{
		Name: "cluster role", Rule: "namespaced", Want: "whole cluster",
		Edit: linttest.Add(`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: x}}`),
	},
	{
		Name: "no namespace", Rule: "namespaced", Want: "names no namespace",
		Edit: linttest.Remove(deployment, "metadata", "namespace"),
	},
	{
		Name: "without", Rule: "labels", Want: "app.kubernetes.io/part-of",
		Edit: linttest.Remove(deployment, "metadata", "labels", "app.kubernetes.io/part-of"),
	},
}
