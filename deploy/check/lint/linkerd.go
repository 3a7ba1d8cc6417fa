package lint

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func linkerdRules() []Rule {
	return []Rule{linkerdAnnotations, linkerdPlaces, linkerdOpaque, linkerdRoutes, linkerdServers, linkerdPolicies, linkerdLimits}
}

// grammar says what is wrong with an annotation's value; empty for nothing.
type grammar func(value string) string

// annotations are those that Linkerd 2.20 reads and that make sense in a chart, with the grammar of their values, which nobody checks
// before the proxy ignores them.
func annotations() map[string]grammar {
	return map[string]grammar{
		"linkerd.io/inject": words("enabled", "disabled", "ingress"),

		"config.linkerd.io/opaque-ports":                                      ports,
		"config.linkerd.io/skip-inbound-ports":                                ports,
		"config.linkerd.io/skip-outbound-ports":                               ports,
		"config.linkerd.io/default-inbound-policy":                            words("all-authenticated", "all-unauthenticated", "cluster-authenticated", "cluster-unauthenticated", "deny", "audit"),
		"config.linkerd.io/proxy-cpu-request":                                 quantity,
		"config.linkerd.io/proxy-cpu-limit":                                   quantity,
		"config.linkerd.io/proxy-cpu-ratio-limit":                             ratio,
		"config.linkerd.io/proxy-memory-request":                              quantity,
		"config.linkerd.io/proxy-memory-limit":                                quantity,
		"config.linkerd.io/proxy-ephemeral-storage-request":                   quantity,
		"config.linkerd.io/proxy-ephemeral-storage-limit":                     quantity,
		"config.linkerd.io/proxy-log-level":                                   anything,
		"config.linkerd.io/proxy-log-format":                                  words("plain", "json"),
		"config.linkerd.io/access-log":                                        words("apache", "json"),
		"config.linkerd.io/proxy-await":                                       words("enabled", "disabled"),
		"config.linkerd.io/proxy-enable-native-sidecar":                       words("true", "false"),
		"config.linkerd.io/proxy-additional-env":                              jsonText,
		"config.linkerd.io/proxy-outbound-connect-timeout":                    duration,
		"config.linkerd.io/proxy-inbound-connect-timeout":                     duration,
		"config.linkerd.io/shutdown-grace-period":                             duration,
		"viz.linkerd.io/tap-enabled":                                          words("true", "false"),
		"retry.linkerd.io/http":                                               httpConditions,
		"retry.linkerd.io/grpc":                                               listOf("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"),
		"retry.linkerd.io/limit":                                              whole,
		"retry.linkerd.io/timeout":                                            duration,
		"timeout.linkerd.io/request":                                          duration,
		"timeout.linkerd.io/response":                                         duration,
		"timeout.linkerd.io/idle":                                             duration,
		"balancer.linkerd.io/failure-accrual":                                 words("consecutive", "unified"),
		"balancer.linkerd.io/failure-accrual-consecutive-max-failures":        whole,
		"balancer.linkerd.io/failure-accrual-consecutive-min-penalty":         duration,
		"balancer.linkerd.io/failure-accrual-consecutive-max-penalty":         duration,
		"balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio":        ratio,
		"balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold":    ratio,
		"balancer.alpha.linkerd.io/failure-accrual-success-rate-window":       duration,
		"balancer.alpha.linkerd.io/failure-accrual-success-rate-min-requests": whole,
		"balancer.alpha.linkerd.io/penalize-failures":                         words("true", "false"),
		"balancer.alpha.linkerd.io/load-biaser-penalty":                       duration,
		"balancer.alpha.linkerd.io/load-biaser-max-retry-after":               duration,
	}
}

func anything(string) string { return "" }

func words(allowed ...string) grammar {
	return func(value string) string {
		if slices.Contains(allowed, value) {
			return ""
		}
		return "is none of " + strings.Join(allowed, ", ")
	}
}

func listOf(allowed ...string) grammar {
	return func(value string) string {
		for part := range strings.SplitSeq(value, ",") {
			if problem := words(allowed...)(part); problem != "" {
				return fmt.Sprintf("has %q, which %s", part, problem)
			}
		}
		return ""
	}
}

var durationPattern = regexp.MustCompile(`^[0-9]+(ms|s|m|h|d)$`)

func duration(value string) string {
	if !durationPattern.MatchString(value) {
		return "is no whole number with a unit: ms, s, m, h or d"
	}
	return ""
}

func whole(value string) string {
	if n, err := strconv.Atoi(value); err != nil || n < 1 {
		return "is no whole number from 1"
	}
	return ""
}

func ratio(value string) string {
	if f, err := strconv.ParseFloat(value, 64); err != nil || f < 0 || f > 1 {
		return "is no number from 0 to 1"
	}
	return ""
}

func quantity(value string) string {
	if _, err := resource.ParseQuantity(value); err != nil {
		return "is no quantity such as 100m or 64Mi"
	}
	return ""
}

func jsonText(value string) string {
	if !json.Valid([]byte(value)) {
		return "is no JSON"
	}
	return ""
}

func ports(value string) string {
	for part := range strings.SplitSeq(value, ",") {
		from, to, isRange := strings.Cut(part, "-")
		low, err := strconv.ParseUint(from, 10, 16)
		high := low
		if err == nil && isRange {
			high, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || low == 0 || high < low {
			return fmt.Sprintf("has %q, which is neither a port nor a range of ports", part)
		}
	}
	return ""
}

var statusPattern = regexp.MustCompile(`^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$`)

func httpConditions(value string) string {
	for part := range strings.SplitSeq(value, ",") {
		if part != "5xx" && part != "gateway-error" && !statusPattern.MatchString(part) {
			return fmt.Sprintf("has %q, which is none of 5xx, gateway-error, 503, 502-504", part)
		}
	}
	return ""
}

var linkerdAnnotations = Rule{
	Name: "linkerd-annotations",
	Why:  "Nobody refuses an annotation with a typo or a number without a unit; the proxy does without it.",
	Check: func(objects render.Objects, report Report) {
		known := annotations()
		check := func(o render.Object, where string, annotations map[string]string) {
			for key, value := range annotations {
				group, _, _ := strings.Cut(key, "/")
				if group != "linkerd.io" && !strings.HasSuffix(group, ".linkerd.io") {
					continue
				}
				if grammar, ok := known[key]; !ok {
					report(o, "%s: Linkerd knows no annotation %s", where, key)
				} else if problem := grammar(value); problem != "" {
					report(o, "%s: annotation %s: %q %s", where, key, value, problem)
				}
			}
		}
		for _, o := range objects {
			check(o, "metadata", o.Annotations())
			for label := range o.Labels() {
				if strings.HasPrefix(label, "linkerd.io/inject") {
					report(o, "metadata: %s is an annotation; as a label it does nothing", label)
				}
			}
			// A text is wanted: numbers and bools without quotes are refused by the API server.
			raw, _ := o.At("metadata", "annotations").(map[string]any)
			for key, value := range raw {
				if _, ok := value.(string); !ok {
					report(o, "metadata: annotation %s is no text: quote it", key)
				}
			}
		}
		for _, p := range pods(objects) {
			if p.Object.Kind() != "Pod" {
				check(p.Object, "pods", p.meta.Annotations)
			}
		}
	},
}

var linkerdPlaces = Rule{
	Name: "linkerd-places",
	Why:  "An annotation is read in one kind of place: for pods on the pods, for callers on the Service or route they call.",
	Check: func(objects render.Objects, report Report) {
		forPods := []string{"config.linkerd.io/proxy-", "config.linkerd.io/skip-", "config.linkerd.io/access-log", "config.linkerd.io/default-inbound-policy", "config.linkerd.io/shutdown-"}
		forCallers := []string{"retry.linkerd.io/", "timeout.linkerd.io/", "balancer.linkerd.io/", "balancer.alpha.linkerd.io/"}
		for _, o := range objects {
			for key := range o.Annotations() {
				hasPrefix := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
				switch kind := o.Kind(); {
				case slices.ContainsFunc(forCallers, hasPrefix) && kind != "Service" && kind != "HTTPRoute" && kind != "GRPCRoute":
					report(o, "metadata: %s is read on a Service or a route only", key)
				case slices.ContainsFunc(forPods, hasPrefix) && kind != "Namespace" && kind != "Pod":
					report(o, "metadata: %s is read on pods and namespaces only", key)
				}
			}
			// A whole Service has no request timeout: it would cut streams, Watch and uploads.
			for _, key := range []string{"timeout.linkerd.io/request", "timeout.linkerd.io/response"} {
				if o.Kind() == "Service" && o.Annotations()[key] != "" {
					report(o, "metadata: %s on a whole Service cuts streams and uploads: use timeout.linkerd.io/idle", key)
				}
			}
			if idle, err := time.ParseDuration(o.Annotations()["timeout.linkerd.io/idle"]); err == nil && idle < time.Minute {
				report(o, "metadata: timeout.linkerd.io/idle %s cuts streams: heartbeats come every 15 s, at most every minute", idle)
			}
		}
		for _, p := range pods(objects) {
			for key := range p.meta.Annotations {
				if p.Object.Kind() != "Pod" && slices.ContainsFunc(forCallers, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
					report(p.Object, "pods: %s is read on a Service or a route only", key)
				}
			}
		}
	},
}

var linkerdOpaque = Rule{
	Name: "linkerd-opaque",
	Why:  "In NATS's protocol the server speaks first: a proxy that waits for the client to show which protocol it is delays each connection by 10 s.",
	Check: func(objects render.Objects, report Report) {
		all := pods(objects)
		for _, s := range decoded[corev1.Service](objects, "Service") {
			for _, p := range ofService(all, s.value) {
				for _, port := range s.value.Spec.Ports {
					number, _ := target(p, port)
					if number != 4222 && number != 6222 || !p.meshed() {
						continue
					}
					text := strconv.Itoa(int(number))
					if !slices.Contains(strings.Split(p.meta.Annotations["config.linkerd.io/opaque-ports"], ","), text) {
						report(p.Object, "pods: config.linkerd.io/opaque-ports is without %s", text)
					}
					if !slices.Contains(strings.Split(s.object.Annotations()["config.linkerd.io/opaque-ports"], ","), text) {
						report(s.object, "metadata: config.linkerd.io/opaque-ports is without %s", text)
					}
				}
			}
		}
	},
}
