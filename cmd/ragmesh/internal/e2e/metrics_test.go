package e2e_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	"github.com/ragmesh/ragmesh/libs/port"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

const metricsPage = "../../../../docs/metrics.md"

// metric is what a scrape says of a metric.
type metric struct {
	kind, help string
	labels     []string
}

// TestMetricsPage holds docs/metrics.md, which rules, dashboards and scalers are checked against, to what ragmesh exports once
// everything that can be counted has happened.
func TestMetricsPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole system")
	}
	config, docs := t.TempDir(), documents(t)
	ports, err := port.Free(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	for path, text := range map[string]string{
		key: "sk-of-another-application",
		filepath.Join(config, "llm-gateway.yaml"):        "api: {addr: '" + ports[0] + "'}\nkeys: [{name: app, key: {file: '" + key + "'}}]\nproviders: {away: {type: openai, base_url: 'http://127.0.0.1:1/v1'}}\nmodels: {default: {targets: [{provider: away, model: m}]}}\nbreaker: {failures: 2, of: 2}\n",
		filepath.Join(config, "retriever.yaml"):          "search: {strategy: mixed}\n",
		filepath.Join(config, "retrieval", "mixed.yaml"): "retriever_type: hybrid\n",
		filepath.Join(docs, "torn.md"):                   "\x7fELF\x02\x01\x01\x00 no text",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := e2e.StartAllInOne(t, e2e.WithConfig(config))
	if code, _, _ := s.Run(t, "", "ingest", "--base", docs, docs); code == 0 {
		t.Error("a document without text was taken in")
	}
	must(t, s, "ask", "What does a replacement card cost?")
	must(t, s, "ask", "What is 3 % of 100?")
	must(t, s, "trace", "last")
	askGateway(t, "http://"+ports[0], "sk-of-another-application")
	metrics := scrape(t, s.Admin+"/metrics")
	for end := time.Now().Add(30 * time.Second); metrics["ragmesh_llm_gateway_bus_publish_seconds"].kind == "" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		metrics = scrape(t, s.Admin+"/metrics") // usage goes out now and then
	}
	got := page(metrics)
	if *update {
		if err := os.WriteFile(metricsPage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/metrics.md is not what is exported; run this test with -update (-page +exported):\n%s", diff)
	}
}

// askGateway asks for an answer as another application does; it gets none.
func askGateway(t *testing.T, server, key string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/v1/chat/completions", strings.NewReader(`{"model":"default","messages":[{"role":"user","content":"?"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the gateway says %s", response.Status)
	}
}

// scrape reads a metrics page: its metrics by name, without those that every series has.
func scrape(t *testing.T, url string) map[string]metric {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return parseMetrics(t, response.Body)
}

func parseMetrics(t *testing.T, page io.Reader) map[string]metric {
	t.Helper()
	label := regexp.MustCompile(`([a-z_]+)="`)
	out := map[string]metric{}
	name := ""
	for lines := bufio.NewScanner(page); lines.Scan(); {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			var help string
			name, help, _ = strings.Cut(rest, " ")
			out[name] = metric{help: help}
			continue
		}
		m := out[name]
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			_, m.kind, _ = strings.Cut(rest, " ")
		}
		for _, found := range label.FindAllStringSubmatch(line, -1) {
			if l := found[1]; l != "le" && l != "quantile" && l != "ragmesh_service" && !strings.HasPrefix(line, "#") && !slices.Contains(m.labels, l) {
				m.labels = append(m.labels, l)
			}
		}
		out[name] = m
	}
	return out
}

// page writes the metrics: first what every service has, then each service's own, then the process's.
func page(metrics map[string]metric) string {
	services := []string{"dialog", "retriever", "tools", "llm_gateway", "eval"}
	everyone := map[string]metric{}
	for name, m := range metrics {
		what, ok := strings.CutPrefix(name, "ragmesh_dialog_")
		for _, s := range services {
			ok = ok && cmp.Equal(metrics["ragmesh_"+s+"_"+what].labels, m.labels) && metrics["ragmesh_"+s+"_"+what].kind == m.kind
		}
		if ok {
			everyone[what] = m
		}
	}
	var b strings.Builder
	b.WriteString(`# Metrics

Generated from a running ragmesh by ` + "`go test ./cmd/ragmesh/internal/e2e -run TestMetricsPage -update`" + `. Every ragmesh metric also has the label
` + "`ragmesh_service`" + `; a histogram has ` + "`_bucket`, `_sum` and `_count`" + `. Durations that belong to a call or a turn share one scale of buckets, from 1 ms to 90 s.
Rules and dashboards made of them: [deploy/monitoring](../deploy/monitoring/README.md).

`)
	table := func(title, prefix string, rows map[string]metric) {
		fmt.Fprintf(&b, "## %s\n\n| metric | type | labels | what |\n| --- | --- | --- | --- |\n", title)
		for _, name := range slices.Sorted(maps.Keys(rows)) {
			m := rows[name]
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", prefix+name, m.kind, strings.Join(m.labels, ", "), strings.ReplaceAll(m.help, "|", `\|`))
		}
		b.WriteString("\n")
	}
	table("Every service", "ragmesh_<service>_", everyone)
	own := func(prefix string) map[string]metric {
		out := map[string]metric{}
		for name, m := range metrics {
			if what, ok := strings.CutPrefix(name, prefix); ok && everyone[what].kind == "" {
				out[what] = m
			}
		}
		return out
	}
	for _, s := range services {
		table(strings.ReplaceAll(s, "_", "-"), "ragmesh_"+s+"_", own("ragmesh_"+s+"_"))
	}
	models := map[string]metric{}
	for name, m := range metrics {
		if strings.HasPrefix(name, "gen_ai_") {
			models[name] = m
		}
	}
	table("llm-gateway, by OpenTelemetry's conventions for generative models", "", models)
	process := map[string]metric{}
	for _, name := range []string{ // of the runtime's many
		"go_goroutines", "go_gc_duration_seconds", "go_gc_gomemlimit_bytes", "go_memstats_heap_inuse_bytes", "go_sched_gomaxprocs_threads",
		"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds",
	} {
		process[name] = metrics[name]
	}
	table("Every process (the runtime has more)", "", process)
	return strings.TrimSuffix(b.String(), "\n")
}
