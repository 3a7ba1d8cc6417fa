package lint

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func workloadRules() []Rule {
	return []Rule{
		restricted, readOnlyRoot, serviceAccountToken, serviceLinks, pinnedImages, resources, goMemLimit, probes, gracePeriod, rollingUpdate,
		volumes, environment,
	}
}

var restricted = Rule{
	Name: "restricted",
	Why:  "Namespaces may enforce the Pod Security Standard restricted, and refuse other pods.",
	Check: func(objects render.Objects, report Report) {
		evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
		if err != nil {
			panic(err) // the standard's own checks
		}
		level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
		for _, p := range pods(objects) {
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &p.meta, &p.spec))
			if !result.Allowed {
				report(p.Object, "%s", result.ForbiddenDetail())
			}
		}
	},
}

var readOnlyRoot = Rule{
	Name: "read-only-root",
	Why:  "What is written beside the volumes is lost, fills the node's disk, and helps whoever breaks in.",
	Check: eachContainer(func(_ render.Objects, p pod, c corev1.Container, report Report) {
		if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			report(p.Object, "container %s: securityContext.readOnlyRootFilesystem is not true", c.Name)
		}
	}),
}

var serviceAccountToken = Rule{
	Name: "no-token",
	Why:  "A process that never calls the API server needs no credential for it.",
	Check: func(objects render.Objects, report Report) {
		bound := map[string]bool{}
		for _, o := range objects.Kind("RoleBinding") {
			subjects, _ := o.At("subjects").([]any)
			for i := range subjects {
				bound[o.String("subjects", i, "name")] = true
			}
		}
		for _, p := range pods(objects) {
			mounted := p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken
			if mounted && !bound[p.spec.ServiceAccountName] {
				report(p.Object, "automountServiceAccountToken is not false, and no RoleBinding gives %q anything to use a token for", p.spec.ServiceAccountName)
			}
		}
		for _, a := range decoded[corev1.ServiceAccount](objects, "ServiceAccount") {
			if on := a.value.AutomountServiceAccountToken; (on == nil || *on) && !bound[a.value.Name] {
				report(a.object, "automountServiceAccountToken is not false")
			}
		}
	},
}

var serviceLinks = Rule{
	Name: "no-service-links",
	Why:  "Kubernetes otherwise adds variables for every Service to the environment, and a Service named ragmesh-dialog makes RAGMESH_DIALOG_....",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			if on := p.spec.EnableServiceLinks; on == nil || *on {
				report(p.Object, "enableServiceLinks is not false")
			}
		}
	},
}

var pinnedImages = Rule{
	Name: "pinned-images",
	Why:  "An image without a version is another one after the next pull.",
	Check: eachContainer(func(_ render.Objects, p pod, c corev1.Container, report Report) {
		name, digest, hasDigest := strings.Cut(c.Image, "@")
		_, tag, hasTag := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
		switch {
		case hasDigest && strings.HasPrefix(digest, "sha256:"):
		case !hasTag || tag == "" || tag == "latest":
			report(p.Object, "container %s: image %q has neither a tag other than latest nor a digest", c.Name, c.Image)
		}
	}),
}

var resources = Rule{
	Name: "resources",
	Why:  "Without requests the scheduler guesses; a memory limit above the request lets pods be killed for their neighbours' sake.",
	Check: eachContainer(func(_ render.Objects, p pod, c corev1.Container, report Report) {
		requests, limits := c.Resources.Requests, c.Resources.Limits
		if requests.Memory().IsZero() || requests.Memory().Cmp(*limits.Memory()) != 0 {
			report(p.Object, "container %s: resources.requests.memory is %s and limits.memory is %s, want the same", c.Name, requests.Memory(), limits.Memory())
		}
		if requests.Cpu().IsZero() {
			report(p.Object, "container %s: resources.requests.cpu is missing", c.Name)
		}
		if !limits.Cpu().IsZero() && limits.Cpu().Cmp(*requests.Cpu()) < 0 {
			report(p.Object, "container %s: resources.limits.cpu %s is less than the request", c.Name, limits.Cpu())
		}
	}),
}

var goMemLimit = Rule{
	Name: "gomemlimit",
	Why:  "Without it Go grows until the kernel kills the process; at the limit it has no room for what Go does not count.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			if !p.serves() {
				continue
			}
			for _, c := range p.spec.Containers {
				i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "GOMEMLIMIT" })
				if i < 0 {
					report(p.Object, "container %s: GOMEMLIMIT is not set", c.Name)
					continue
				}
				// Go writes MiB where Kubernetes writes Mi.
				limit, err := resource.ParseQuantity(strings.TrimSuffix(c.Env[i].Value, "B"))
				share := limit.AsApproximateFloat64() / c.Resources.Limits.Memory().AsApproximateFloat64()
				if err != nil || !(share >= 0.5 && share <= 0.95) {
					report(p.Object, "container %s: GOMEMLIMIT %q is not 50 to 95 %% of the memory limit %s", c.Name, c.Env[i].Value, c.Resources.Limits.Memory())
				}
			}
		}
	},
}

var probes = Rule{
	Name: "probes",
	Why:  "A pod without them gets calls before it can answer, and is kept when it hangs.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			if !p.serves() {
				continue
			}
			for _, c := range p.spec.Containers {
				for _, probe := range []struct {
					name  string
					probe *corev1.Probe
				}{{"startupProbe", c.StartupProbe}, {"readinessProbe", c.ReadinessProbe}, {"livenessProbe", c.LivenessProbe}} {
					if problem := probeProblem(p, probe.probe); problem != "" {
						report(p.Object, "container %s: %s %s", c.Name, probe.name, problem)
					}
				}
			}
		}
	},
}

func probeProblem(p pod, probe *corev1.Probe) string {
	var port intstr.IntOrString
	switch {
	case probe == nil:
		return "is missing"
	case probe.HTTPGet != nil:
		port = probe.HTTPGet.Port
	case probe.TCPSocket != nil:
		port = probe.TCPSocket.Port
	default:
		return "asks neither by HTTP nor by TCP"
	}
	if _, ok := p.port(port.StrVal); !ok {
		return fmt.Sprintf("asks port %q, which is no container's by name", port.String())
	}
	return ""
}

var gracePeriod = Rule{
	Name: "grace-period",
	Why:  "A pod that is killed before its shutdown is over cuts the answers under way.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			if !p.serves() {
				continue
			}
			shutdown, ok := shutdownTimeout(objects, p)
			if !ok {
				continue
			}
			var sleep int64
			for _, c := range p.spec.Containers {
				if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil || c.Lifecycle.PreStop.Sleep.Seconds < 1 {
					report(p.Object, "container %s: lifecycle.preStop.sleep is missing: calls still arrive when a pod begins to end", c.Name)
					continue
				}
				sleep = max(sleep, c.Lifecycle.PreStop.Sleep.Seconds)
			}
			need := time.Duration(sleep)*time.Second + shutdown
			if grace := p.spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second <= need {
				report(p.Object, "terminationGracePeriodSeconds is not more than preStop and shutdown.timeout together, %s", need)
			}
		}
	},
}

// shutdownTimeout returns how long the process of a pod takes to end at most, from the configuration that it mounts.
func shutdownTimeout(objects render.Objects, p pod) (time.Duration, bool) {
	for _, file := range ConfigFiles(objects, p.Object) {
		var config struct {
			Shutdown struct{ Timeout, Delay string }
		}
		if yaml.Unmarshal([]byte(file.Text), &config) != nil {
			continue
		}
		if timeout, err := time.ParseDuration(config.Shutdown.Timeout); err == nil {
			delay, _ := time.ParseDuration(config.Shutdown.Delay)
			return timeout + delay, true
		}
	}
	return 0, false
}

var rollingUpdate = Rule{
	Name: "rolling-update",
	Why:  "A Deployment that takes a pod away before its successor is ready serves with fewer than it was sized for.",
	Check: func(objects render.Objects, report Report) {
		for _, o := range objects.Kind("Deployment") {
			if value, ok := o.At("spec", "strategy", "rollingUpdate", "maxUnavailable").(float64); !ok || value != 0 {
				report(o, "spec.strategy.rollingUpdate.maxUnavailable is not 0")
			}
		}
	},
}

var volumes = Rule{
	Name: "volumes",
	Why:  "A mount without a volume keeps the pod from being made; a volume without a mount is a leftover. With subPath, a change never reaches the pod.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			declared := map[string]bool{}
			for _, v := range p.spec.Volumes {
				declared[v.Name] = false
			}
			templates, _ := p.At("spec", "volumeClaimTemplates").([]any)
			for i := range templates {
				declared[p.String("spec", "volumeClaimTemplates", i, "metadata", "name")] = false
			}
			for _, c := range p.containers() {
				for _, m := range c.VolumeMounts {
					if _, ok := declared[m.Name]; !ok {
						report(p.Object, "container %s mounts volume %q, which the pod does not have", c.Name, m.Name)
					}
					declared[m.Name] = true
					if m.SubPath != "" || m.SubPathExpr != "" {
						report(p.Object, "container %s mounts %s by subPath", c.Name, m.MountPath)
					}
				}
			}
			for name, used := range declared {
				if !used {
					report(p.Object, "volume %q is mounted nowhere", name)
				}
			}
		}
	},
}

var environment = Rule{
	Name: "environment",
	Why:  "Of a variable that is given twice, one silently wins.",
	Check: eachContainer(func(_ render.Objects, p pod, c corev1.Container, report Report) {
		seen := map[string]bool{}
		for _, e := range c.Env {
			if seen[e.Name] {
				report(p.Object, "container %s: %s is given twice", c.Name, e.Name)
			}
			seen[e.Name] = true
		}
	}),
}

// eachContainer makes a check of all objects from one of a container.
func eachContainer(check func(render.Objects, pod, corev1.Container, Report)) func(render.Objects, Report) {
	return func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			for _, c := range p.containers() {
				check(objects, p, c, report)
			}
		}
	}
}
