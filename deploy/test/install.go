package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var services = []string{"dialog", "retriever", "tools", "llm-gateway", "eval"}

// cpu is what each pod requests: little, so that everything, and new pods beside old ones, finds room on one small node.
const cpu = "10m"

// workload is what a service runs as.
func (r *run) workload(service string) string {
	if service == "retriever" && r.apart {
		return "deployment/ragmesh-retriever"
	}
	if slices.Contains([]string{"retriever", "eval", "nats"}, service) {
		return "statefulset/ragmesh-" + service
	}
	return "deployment/ragmesh-" + service
}

// separate installs NATS and the five charts one by one in a random order, without waiting in between, then removes them.
func (r *run) separate(ctx context.Context) error {
	if err := r.clear(ctx); err != nil {
		return err
	}
	if err := r.manualKeys(ctx); err != nil {
		return err
	}
	order := append([]string{"nats-dev"}, services...)
	r.chance.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	began := time.Now()
	for _, chart := range order {
		if _, err := r.helm(ctx, "install", chart, "deploy/helm/"+chart, "--set", "global.image.tag="+r.tag, "--set", "resources.cpu="+cpu); err != nil {
			return err
		}
	}
	for _, service := range append([]string{"nats"}, services...) {
		if _, err := r.in(ctx, "rollout", "status", r.workload(service), "--timeout=3m"); err != nil {
			return err
		}
	}
	r.note("installed in the order %s: all ready after %.0f s", strings.Join(order, ", "), time.Since(began).Seconds())
	for _, chart := range services {
		if _, err := r.helm(ctx, "test", chart, "--timeout", "2m"); err != nil {
			return err
		}
	}
	r.note("helm test of each release succeeded")
	if err := r.askAboutDocuments(ctx); err != nil {
		return err
	}
	for _, chart := range slices.Backward(order) {
		if _, err := r.helm(ctx, "uninstall", chart, "--wait", "--timeout", "3m"); err != nil {
			return err
		}
	}
	return r.checkNothingLeft(ctx)
}

// manualKeys makes the keys as a person would who does not leave it to the umbrella chart.
func (r *run) manualKeys(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "ragmesh-keys")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(r.root, "build", "images", "ragmesh", "ragmesh") // what the image runs
	if _, err := r.command(ctx, nil, binary, "keys", "init", "--data", dir); err != nil {
		return err
	}
	manifest, err := r.command(ctx, nil, binary, "keys", "manifest", "--data", dir)
	if err != nil {
		return err
	}
	_, err = r.kubectl(ctx, strings.NewReader(string(manifest)), "-n", r.namespace, "apply", "--validate=strict", "-f", "-")
	return err
}

// checkNothingLeft checks that an uninstallation leaves what is documented: keys and volumes.
func (r *run) checkNothingLeft(ctx context.Context) error {
	for range 60 { // pods take their time to end
		out, err := r.in(ctx, "get", "all,configmaps,ingresses,networkpolicies,poddisruptionbudgets,serviceaccounts,roles,rolebindings,pods", "-o", "name")
		if err != nil {
			return err
		}
		var left []string
		for object := range strings.FieldsSeq(string(out)) {
			known := strings.HasPrefix(object, "pod/try-") || object == "configmap/kube-root-ca.crt" || object == "serviceaccount/default" ||
				strings.Contains(object, "documents") || strings.HasSuffix(object, "-test") || strings.HasSuffix(object, "-test-ask")
			if !known {
				left = append(left, object)
			}
		}
		if len(left) == 0 {
			r.note("uninstalled: only keys, volumes and test pods are left")
			return nil
		}
		if err := wait(ctx, time.Second); err != nil {
			return fmt.Errorf("left after the uninstallation: %s", strings.Join(left, ", "))
		}
	}
	return errors.New("objects are left after the uninstallation")
}

// umbrella installs everything with one command.
func (r *run) umbrella(ctx context.Context) error {
	if err := r.clear(ctx); err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.helm(ctx, "install", "ragmesh", "deploy/helm/ragmesh", "--set", r.umbrellaSet(), "--wait", "--timeout", "4m"); err != nil {
		return err
	}
	r.note("one helm install: ready after %.0f s", time.Since(began).Seconds())
	if _, err := r.helm(ctx, "test", "ragmesh", "--timeout", "3m"); err != nil {
		return err
	}
	r.note("helm test succeeded")
	if err := r.askAboutDocuments(ctx); err != nil {
		return err
	}
	return r.useMock(ctx)
}

// umbrellaSet are the umbrella chart's values in a test.
func (r *run) umbrellaSet() string {
	set := "global.image.tag=" + r.tag
	for _, chart := range append([]string{"nats-dev"}, services...) {
		set += "," + chart + ".resources.cpu=" + cpu
	}
	if r.apart {
		set += r.rolesSet()
	}
	return set
}

// ensure installs everything unless an earlier step has.
func (r *run) ensure(ctx context.Context) error {
	if r.installed {
		return nil
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	if _, err := r.helm(ctx, "install", "ragmesh", "deploy/helm/ragmesh", "--set", r.umbrellaSet(), "--wait", "--timeout", "4m"); err != nil {
		return err
	}
	if err := r.askAboutDocuments(ctx); err != nil {
		return err
	}
	return r.useMock(ctx)
}

// mockModel takes 200 ms to its first token, and sends the others at once.
const mockModel = "mock-ttft200-len32"

// useMock upgrades the release to answer with a model that takes 200 ms and has no moods of its own.
func (r *run) useMock(ctx context.Context) error {
	if err := r.apply(ctx, r.mockObjects()); err != nil {
		return err
	}
	if _, err := r.in(ctx, "rollout", "status", "deployment/try-model", "--timeout=1m"); err != nil {
		return err
	}
	if err := r.upgradeTo(ctx, ""); err != nil {
		return err
	}
	r.installed = true
	return nil
}

// upgradeTo upgrades the release, with a mark on all pods of replicated services, so that another mark replaces them.
func (r *run) upgradeTo(ctx context.Context, mark string) error {
	type m = map[string]any
	pods := m{"try": mark}
	values := m{
		"dialog": m{"podAnnotations": pods},
		"tools":  m{"podAnnotations": pods},
		"llm-gateway": m{
			"podAnnotations": pods,
			"config": m{
				"providers": m{"mock": m{"type": "openai", "base_url": "http://try-model:9999/v1"}},
				"models":    m{"default": m{"targets": []m{{"provider": "mock", "model": mockModel}}}},
			},
			"networkPolicy": m{"extraEgress": []m{{"to": []m{{"podSelector": m{"matchLabels": m{"app": "try-model"}}}}, "ports": []m{{"port": 9999}}}}},
		},
	}
	data, err := json.Marshal(values)
	if err != nil {
		return err
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("ragmesh-test-%d.json", r.seed))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	_, err = r.helm(ctx, "upgrade", "ragmesh", "deploy/helm/ragmesh", "--set", r.umbrellaSet(), "-f", file, "--wait", "--timeout", "5m")
	return err
}

// documents returns the paths of the example's documents.
func (r *run) documents() ([]string, error) {
	return filepath.Glob(filepath.Join(r.root, "examples", "bank-support", "documents", "*", "*.md"))
}

// inPod is the name that a document has in the folder /documents of pods.
func inPod(path string) string { return filepath.Base(filepath.Dir(path)) + "-" + filepath.Base(path) }

// askAboutDocuments takes the example's documents in, asks about one of them through dialog's Service, and checks the quoted answer.
func (r *run) askAboutDocuments(ctx context.Context) error {
	paths, err := r.documents()
	if err != nil {
		return err
	}
	create := []string{"create", "configmap", "documents"}
	ingest := []string{"ingest"}
	for _, path := range paths {
		name := inPod(path)
		create = append(create, "--from-file="+name+"="+path)
		ingest = append(ingest, "/documents/"+name)
	}
	if _, err := r.in(ctx, "delete", "configmap", "documents", "--ignore-not-found"); err != nil {
		return err
	}
	if _, err := r.in(ctx, create...); err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.podOutput(ctx, "try-ingest", 2*time.Minute, ingest...); err != nil {
		return err
	}
	r.note("%d documents taken in within %.0f s, start of the pod included", len(paths), time.Since(began).Seconds())
	for _, q := range []struct{ question, quote string }{
		{"How much does a replacement for a lost card cost?", "A replacement for a lost or damaged card costs 12 euros"},
		{"海港金卡信用卡的年费是多少？", "年费"},
		{"What time is it in Tokyo?", "Asia/Tokyo"}, // needs the time zones in the image
	} {
		out, err := r.podOutput(ctx, "try-ask", time.Minute, "ask", "--json", q.question)
		if err != nil {
			return err
		}
		if err := checkAnswer(out, q.quote); err != nil {
			return fmt.Errorf("%s: %w: %s", q.question, err, out)
		}
	}
	r.note("three questions answered with citations that hold")
	return nil
}

// checkAnswer checks the events of `ragmesh ask --json`: answered, nothing missing, and cited by a quote that supports it.
func checkAnswer(events []byte, quote string) error {
	var last struct {
		Completed struct {
			Turn struct {
				Answer, Outcome string
				Degradations    []any
				Citations       []struct{ Quote, Support string }
			}
		}
	}
	lines := strings.Split(strings.TrimSpace(string(events)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		return err
	}
	turn := last.Completed.Turn
	if turn.Outcome != "OUTCOME_ANSWERED" || len(turn.Degradations) > 0 {
		return fmt.Errorf("outcome %q, %d degradations", turn.Outcome, len(turn.Degradations))
	}
	for _, c := range turn.Citations {
		if strings.Contains(c.Quote, quote) && c.Support == "SUPPORT_SUPPORTED" && strings.Contains(turn.Answer, "[") {
			return nil
		}
	}
	return fmt.Errorf("no citation quotes %q", quote)
}
