package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// replicated services have two pods each and must not be missed when one goes.
var replicated = []string{"dialog", "tools", "llm-gateway"}

const (
	// settle is how long a load runs before something is done, and after it.
	settle = 5 * time.Second
	// rest is between one pod's replacement and the next pod's end.
	rest = 3 * time.Second
	// recovered is how long before the end of a load everything must be as before.
	recovered = 20 * time.Second
)

// under puts ragmesh under constant load while disturb does something to it, over and over until the load is about to end.
func (r *run) under(ctx context.Context, name string, rate float64, d time.Duration, disturb func(context.Context) error) (*load, error) {
	r.say("%s: %.0f questions a second for %s", name, rate, d)
	l := &load{Name: name, Rate: rate}
	args := []string{"bench", "load", "--json", "--progress", "0", "--rate", fmt.Sprint(rate), "--duration", d.String(), "--allow-failed", "1000000000"}
	if err := r.startPod(ctx, "try-load", args...); err != nil {
		return l, err
	}
	until, cancel := context.WithTimeout(ctx, d-settle)
	defer cancel()
	err := wait(until, settle)
	for err == nil && until.Err() == nil {
		if err = disturb(until); err == nil {
			l.Done++
		}
	}
	if err != nil && until.Err() == nil {
		return l, err
	}
	if ctx.Err() != nil {
		return l, ctx.Err()
	}
	l.Busy = r.busy()
	out, err := r.endPod(ctx, "try-load")
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(out[max(0, bytes.IndexByte(out, '{')):], &l.Report); err != nil {
		return l, fmt.Errorf("read the load's report: %w: %s", err, tail(string(out)))
	}
	r.now.Loads = append(r.now.Loads, l)
	p := l.Report
	r.say("%s: %d times; of %d questions %d failed (%s), %d degraded (%s) in %d s, %d asked again (%s); mean %.0f ms, p99 %.0f ms, longest gap %.0f ms",
		name, l.Done, p.Planned, p.Failed, counts(p.Failures), p.Degraded, counts(p.Degradations), p.DegradedFor, p.Retried, counts(p.Repeats),
		p.Latency.Mean, p.Latency.P99, p.LongestGap)
	return l, r.ready(ctx)
}

// unharmed checks that nobody noticed anything.
func (l *load) unharmed() error {
	p := l.Report
	if p.Failed > 0 || p.Degraded > 0 || p.Duplicates > 0 {
		return fmt.Errorf("%s: %d turns failed (%s), %d degraded (%s), %d doubled", l.Name, p.Failed, counts(p.Failures), p.Degraded, counts(p.Degradations), p.Duplicates)
	}
	return nil
}

// ready waits until every service has all its pods.
func (r *run) ready(ctx context.Context) error {
	for _, service := range append([]string{"nats"}, services...) {
		if _, err := r.in(ctx, "rollout", "status", r.workload(service), "--timeout=3m"); err != nil {
			return err
		}
	}
	return nil
}

// upgrade replaces all pods of the replicated services by upgrades of the release.
func (r *run) upgrade(ctx context.Context) error {
	if err := r.ensure(ctx); err != nil {
		return err
	}
	n := 0
	l, err := r.under(ctx, "upgrade", r.rate, 2*time.Minute, func(context.Context) error {
		n++
		return r.upgradeTo(ctx, fmt.Sprintf("upgrade %d", n)) // to its end: helm that is cut short leaves the release locked
	})
	return errors.Join(err, l.unharmed())
}

// evict evicts the pods of the replicated services through the API, as draining a node does.
func (r *run) evict(ctx context.Context) error {
	if err := r.ensure(ctx); err != nil {
		return err
	}
	l, err := r.under(ctx, "evict", r.rate, 2*time.Minute, r.inTurn(replicated, func(ctx context.Context, pod string) error {
		eviction, err := json.Marshal(object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": object{"name": pod, "namespace": r.namespace}})
		if err != nil {
			return err
		}
		for {
			_, err := r.kubectl(ctx, bytes.NewReader(eviction), "create", "--raw", "/api/v1/namespaces/"+r.namespace+"/pods/"+pod+"/eviction", "-f", "-")
			if err == nil || !strings.Contains(err.Error(), "disruption budget") {
				return err
			}
			if err := wait(ctx, time.Second); err != nil {
				return err
			}
		}
	}))
	return errors.Join(err, l.unharmed())
}

// kill ends pods of the replicated services without a warning: removed from the API at once, and by SIGKILL where they run on this
// machine.
func (r *run) kill(ctx context.Context) error {
	if err := r.ensure(ctx); err != nil {
		return err
	}
	l, err := r.under(ctx, "delete --force", r.rate, 2*time.Minute, r.inTurn(replicated, r.forceDelete))
	if err := errors.Join(err, l.unharmed()); err != nil {
		return err
	}
	if _, err := r.process(ctx, "ragmesh-eval-0"); err != nil {
		r.note("no kill -9: %v", err)
		return nil
	}
	l, err = r.under(ctx, "kill -9", r.rate, 2*time.Minute, r.inTurn(replicated, r.killProcess))
	return errors.Join(err, l.unharmed())
}

// single kills the pods of the services of which there is only one. Turns may be degraded meanwhile, not fail.
func (r *run) single(ctx context.Context) error {
	if err := r.ensure(ctx); err != nil {
		return err
	}
	var errs []error
	for _, service := range []string{"retriever", "eval", "nats"} {
		pod := "ragmesh-" + service + "-0"
		for _, way := range []struct {
			name string
			do   func(context.Context, string) error
		}{{"delete", r.deletePod}, {"delete --force", r.forceDelete}} {
			once := false
			l, err := r.under(ctx, service+", "+way.name, r.rate, 50*time.Second, func(ctx context.Context) error {
				if once { // the rest of the load shows the recovery
					<-ctx.Done()
					return ctx.Err()
				}
				once = true
				return way.do(ctx, pod)
			})
			if err != nil {
				return err
			}
			r.note("%s, %s: %d turns degraded in %d s, longest time without an answer %.1f s", service, way.name, l.Report.Degraded, l.Report.DegradedFor, l.Report.LongestGap/1000)
			if l.Report.Failed > 0 {
				errs = append(errs, fmt.Errorf("%s: %d turns failed (%s)", l.Name, l.Report.Failed, counts(l.Report.Failures)))
			}
		}
	}
	return errors.Join(errs...)
}

// dependencies takes each service away for 15 s. Turns are answered all the same, degraded where they need it, and are whole again once it
// is back.
func (r *run) dependencies(ctx context.Context) error {
	if err := r.ensure(ctx); err != nil {
		return err
	}
	var errs []error
	for _, d := range []struct {
		service string
		pods    int
		stage   string // whose absence turns name; empty where none does
	}{{"retriever", 1, "retriever"}, {"tools", 2, "tools"}, {"llm-gateway", 2, "llm-gateway"}, {"eval", 1, ""}, {"nats", 1, "save"}} {
		const d15 = 15 * time.Second
		var back time.Duration
		done := false
		began := time.Now()
		l, err := r.under(ctx, d.service+" away", r.rate, 75*time.Second, func(until context.Context) error {
			if done {
				<-until.Done()
				return until.Err()
			}
			done = true
			if _, err := r.in(ctx, "scale", r.workload(d.service), "--replicas=0"); err != nil {
				return err
			}
			if err := wait(ctx, d15); err != nil {
				return err
			}
			if _, err := r.in(ctx, "scale", r.workload(d.service), fmt.Sprintf("--replicas=%d", d.pods)); err != nil {
				return err
			}
			if _, err := r.in(ctx, "rollout", "status", r.workload(d.service), "--timeout=1m"); err != nil {
				return err
			}
			back = time.Since(began)
			return nil
		})
		if err != nil {
			return err
		}
		p := l.Report
		away, late := p.degradedBetween(0, back+rest), p.degradedBetween(time.Duration(p.Duration)*time.Second-recovered, time.Hour)
		r.note("%s away: %d of %d turns degraded (%s) in %d s, %d until the pods were back after %.0f s, %d in the last %.0f s", d.service, p.Degraded, p.Planned,
			counts(p.Degradations), p.DegradedFor, away, back.Seconds(), late, recovered.Seconds())
		if p.Failed > 0 {
			errs = append(errs, fmt.Errorf("%s: %d turns failed (%s)", l.Name, p.Failed, counts(p.Failures)))
		}
		if d.stage == "" && away > 0 {
			errs = append(errs, fmt.Errorf("%s: %d turns degraded (%s), which must not need it", l.Name, away, counts(p.Degradations)))
		}
		if d.stage != "" && !strings.Contains(counts(p.Degradations), d.stage+":") {
			errs = append(errs, fmt.Errorf("%s: no turn says that %s was missing: %s", l.Name, d.stage, counts(p.Degradations)))
		}
		// A busy disk can make a turn wait at any time.
		if float64(late) > .02*r.rate*recovered.Seconds() {
			errs = append(errs, fmt.Errorf("%s: %d turns were degraded in the last %s", l.Name, late, recovered))
		}
	}
	return errors.Join(errs...)
}

// long is the promise: 99.95 % answered at this rate for this long, with a mean below 800 ms, while pods are killed throughout.
func (r *run) long(ctx context.Context) error {
	if err := r.ensure(ctx); err != nil {
		return err
	}
	ways := []func(context.Context, string) error{r.forceDelete, r.deletePod}
	if _, err := r.process(ctx, "ragmesh-eval-0"); err == nil {
		ways = append(ways, r.killProcess)
	}
	l, err := r.under(ctx, "long", r.longRate, r.longTime, func(ctx context.Context) error {
		service := replicated[r.chance.IntN(len(replicated))]
		way := ways[r.chance.IntN(len(ways))]
		if err := r.inTurn([]string{service}, way)(ctx); err != nil {
			return err
		}
		return wait(ctx, time.Duration(5+r.chance.IntN(15))*time.Second)
	})
	if err != nil {
		return err
	}
	p := l.Report
	r.note("%.0f turns a minute for %.0f s: %.3f %% answered, mean %.0f ms, p99 %.0f ms, %d pods ended", 60*l.Rate, p.Duration, 100*p.Share, p.Latency.Mean, p.Latency.P99, l.Done)
	if p.Share < .9995 || p.Latency.Mean >= 800 {
		return fmt.Errorf("%.3f %% answered with a mean of %.0f ms; promised are 99.95 %% below 800 ms; failed: %s", 100*p.Share, p.Latency.Mean, counts(p.Failures))
	}
	return nil
}

// inTurn returns a disturbance that does something to the next pod of the services at each call, and waits until it is replaced.
func (r *run) inTurn(of []string, do func(ctx context.Context, pod string) error) func(context.Context) error {
	n := 0
	return func(ctx context.Context) error {
		service := of[n%len(of)]
		n++
		pods, err := r.pods(ctx, service)
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			return fmt.Errorf("%s has no pod", service)
		}
		pod := pods[r.chance.IntN(len(pods))]
		if err := do(ctx, pod); err != nil {
			return err
		}
		if err := r.replaced(ctx, service, pod, len(pods)); err != nil {
			return err
		}
		return wait(ctx, rest)
	}
}

// podList is what `kubectl get pods -o json` prints.
type podList struct {
	Items []struct {
		Metadata struct {
			Name              string
			UID               string
			DeletionTimestamp string
		}
		Status struct {
			Conditions        []struct{ Type, Status string }
			ContainerStatuses []struct{ RestartCount int }
		}
	}
}

// pods returns the names of a service's pods that are ready.
func (r *run) pods(ctx context.Context, service string) ([]string, error) {
	out, err := r.in(ctx, "get", "pods", "-l", "app.kubernetes.io/instance=ragmesh,app.kubernetes.io/name="+service, "-o", "json")
	if err != nil {
		return nil, err
	}
	var list podList
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range list.Items {
		for _, c := range pod.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && pod.Metadata.DeletionTimestamp == "" {
				names = append(names, pod.Metadata.Name)
			}
		}
	}
	return names, nil
}

// replaced waits until a service has so many ready pods again, first giving the end of one the time to show.
func (r *run) replaced(ctx context.Context, service, _ string, want int) error {
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	for {
		pods, err := r.pods(ctx, service)
		if err != nil {
			return err
		}
		if len(pods) >= want {
			return nil
		}
		if err := wait(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

func (r *run) deletePod(ctx context.Context, pod string) error {
	_, err := r.in(ctx, "delete", "pod", pod, "--wait=false")
	return err
}

func (r *run) forceDelete(ctx context.Context, pod string) error {
	_, err := r.in(ctx, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")
	return err
}

func (r *run) killProcess(ctx context.Context, pod string) error {
	pid, err := r.process(ctx, pod)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// process finds the process of a pod of ours on this machine, by its control group.
func (r *run) process(ctx context.Context, pod string) (int, error) {
	uid, err := r.in(ctx, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		return 0, err
	}
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	for _, group := range groups {
		text, err := os.ReadFile(group)
		if err != nil || !bytes.Contains(bytes.ReplaceAll(text, []byte("_"), []byte("-")), uid) {
			continue // ended meanwhile, or another's
		}
		dir := filepath.Dir(group)
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err == nil && strings.TrimSpace(string(name)) == "ragmesh" {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("pod %s does not run on this machine", pod)
}
