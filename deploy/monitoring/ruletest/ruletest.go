// Package ruletest runs files of `promtool test rules` without promtool, whose module brings every cloud's SDK along. It knows what our
// files use: input_series, evaluation_interval, interval, and promql_expr_test; rules are evaluated as Prometheus does, recording rules and
// alerts in their order, with ALERTS as the series of pending and firing alerts.
package ruletest

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// File is a file of tests.
type File struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []Test         `yaml:"tests"`
}

// Test is a scenario.
type Test struct {
	Name        string         `yaml:"name"`
	Interval    model.Duration `yaml:"interval"`
	InputSeries []Input        `yaml:"input_series"`
	ExprTests   []Expectation  `yaml:"promql_expr_test"`
}

// Input is a series in promtool's notation.
type Input struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// Expectation is what an expression gives at a time.
type Expectation struct {
	Expr     string         `yaml:"expr"`
	EvalTime model.Duration `yaml:"eval_time"`
	Samples  []Sample       `yaml:"exp_samples"`
}

// Sample is a series and its value.
type Sample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// Rules is a rule file.
type Rules struct {
	Groups []Group `yaml:"groups"`
}

// Group is evaluated in order.
type Group struct {
	Name  string `yaml:"name"`
	Rules []Rule `yaml:"rules"`
}

// Rule records a series, or alerts.
type Rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         model.Duration    `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Read reads a YAML file, and refuses keys that this package would ignore.
func Read[T any](tb testing.TB, path string) T {
	tb.Helper()
	var out T
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&out); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	return out
}

// Parser parses expressions as every check here does.
func Parser() parser.Parser { return parser.NewParser(parser.Options{}) }

// Run runs a file's tests.
func Run(t *testing.T, path string) {
	t.Helper()
	file := Read[File](t, path)
	var groups []Group
	for _, name := range file.RuleFiles {
		groups = append(groups, Read[Rules](t, filepath.Join(filepath.Dir(path), name)).Groups...)
	}
	for _, test := range file.Tests {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, groups: groups, series: newSeries(), alerts: map[string]map[string]*alert{}, recorded: map[string]map[string]labels.Labels{}}
			w.engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: Parser()})
			w.run(test, time.Duration(file.EvaluationInterval))
		})
	}
}

// world is a Prometheus in a scenario.
type world struct {
	t        *testing.T
	engine   *promql.Engine
	groups   []Group
	series   *series
	alerts   map[string]map[string]*alert        // by rule, then labels
	recorded map[string]map[string]labels.Labels // by rule: what it gave the last time
}

type alert struct {
	labels labels.Labels
	since  time.Time
	state  string
}

func (w *world) run(test Test, every time.Duration) {
	w.t.Helper()
	var end time.Duration
	for _, e := range test.ExprTests {
		end = max(end, time.Duration(e.EvalTime))
	}
	parse := Parser()
	for _, in := range test.InputSeries {
		l, values, err := parse.ParseSeriesDesc(in.Series + " " + in.Values)
		if err != nil {
			w.t.Fatalf("%s: %v", in.Series, err)
		}
		for i, v := range values {
			if !v.Omitted {
				w.series.add(l, int64(i)*time.Duration(test.Interval).Milliseconds(), v.Value)
			}
		}
	}
	for at := time.Duration(0); at <= end; at += every {
		now := time.UnixMilli(at.Milliseconds()).UTC()
		for g, group := range w.groups {
			for i, rule := range group.Rules {
				w.evaluate(fmt.Sprintf("%d/%d", g, i), rule, now)
			}
		}
		for _, e := range test.ExprTests {
			if time.Duration(e.EvalTime) == at {
				w.expect(e, now)
			}
		}
	}
}

func (w *world) query(expr string, now time.Time) promql.Vector {
	w.t.Helper()
	q, err := w.engine.NewInstantQuery(context.Background(), w.series, nil, expr, now)
	if err != nil {
		w.t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	result := q.Exec(context.Background())
	vector, err := result.Vector()
	if err != nil {
		w.t.Fatalf("%s: %v", expr, err)
	}
	return slices.Clone(vector)
}

func (w *world) evaluate(id string, rule Rule, now time.Time) {
	w.t.Helper()
	stale := math.Float64frombits(value.StaleNaN)
	vector := w.query(rule.Expr, now)
	if rule.Record != "" {
		given := map[string]labels.Labels{}
		for _, s := range vector {
			b := labels.NewBuilder(s.Metric).Set(model.MetricNameLabel, rule.Record)
			for k, v := range rule.Labels {
				b.Set(k, v)
			}
			l := b.Labels()
			given[l.String()] = l
			w.series.add(l, now.UnixMilli(), s.F)
		}
		for key, l := range w.recorded[id] {
			if _, still := given[key]; !still {
				w.series.add(l, now.UnixMilli(), stale)
			}
		}
		w.recorded[id] = given
		return
	}
	before := w.alerts[id]
	active := map[string]*alert{}
	for _, s := range vector {
		b := labels.NewBuilder(s.Metric).Del(model.MetricNameLabel).Set("alertname", rule.Alert)
		for k, v := range rule.Labels {
			b.Set(k, v)
		}
		l := b.Labels()
		a, known := before[l.String()]
		if !known {
			a = &alert{labels: l, since: now}
		}
		if active[l.String()] != nil {
			w.t.Fatalf("%s fires twice for %s", rule.Alert, l)
		}
		active[l.String()] = a
	}
	state := func(a *alert, name string, v float64) {
		w.series.add(labels.NewBuilder(a.labels).Set(model.MetricNameLabel, "ALERTS").Set("alertstate", name).Labels(), now.UnixMilli(), v)
	}
	for key, a := range before {
		if active[key] == nil {
			state(a, a.state, stale)
		}
	}
	for _, a := range active {
		next := "pending"
		if now.Sub(a.since) >= time.Duration(rule.For) {
			next = "firing"
		}
		if a.state != "" && a.state != next {
			state(a, a.state, stale)
		}
		a.state = next
		state(a, next, 1)
	}
	w.alerts[id] = active
}

func (w *world) expect(e Expectation, now time.Time) {
	w.t.Helper()
	parse := Parser()
	want, got := []string{}, []string{}
	for _, s := range e.Samples {
		l, err := parse.ParseMetric(s.Labels)
		if err != nil {
			w.t.Fatalf("%s: %v", s.Labels, err)
		}
		want = append(want, fmt.Sprintf("%s %g", l, s.Value))
	}
	for _, s := range w.query(e.Expr, now) {
		got = append(got, fmt.Sprintf("%s %g", s.Metric, s.F))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("at %s, %s (-want +got):\n%s", e.EvalTime, e.Expr, diff)
	}
}
