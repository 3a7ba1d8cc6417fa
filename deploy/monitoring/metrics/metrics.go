// Package metrics tells whether the metrics and labels that an expression names are ones that ragmesh exports. docs/metrics.md, which a test of
// ragmesh's own keeps true, says which those are.
package metrics

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Known are the series there are: by name, the labels of each. A nil slice is one whose labels are not known.
type Known map[string][]string

// added are the labels that scraping, or ragmesh everywhere, adds.
func added() []string {
	return []string{"ragmesh_service", "namespace", "pod", "instance", "job"}
}

var services = []string{"dialog", "retriever", "tools", "llm_gateway", "eval"}

// Read reads docs/metrics.md.
func Read(path string) (Known, error) {
	page, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	known := Known{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_<>]+)` \\| ([a-z]*) \\| ([a-z_, ]*) \\|")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		names := []string{m[1]}
		if strings.Contains(m[1], "<service>") {
			names = nil
			for _, s := range services {
				names = append(names, strings.Replace(m[1], "<service>", s, 1))
			}
		}
		own := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		own = append(own, added()...)
		for _, name := range names {
			switch m[2] {
			case "histogram":
				known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = append(slices.Clone(own), "le"), own, own
			case "summary":
				known[name], known[name+"_sum"], known[name+"_count"] = append(slices.Clone(own), "quantile"), own, own
			default:
				known[name] = own
			}
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("read metrics: %s holds none", path)
	}
	return known, nil
}

// Check returns what an expression names that is not there. $variables of Grafana are left as they are in strings, and stand for five minutes
// in ranges.
func (k Known) Check(parse parser.Parser, expr string) error {
	tree, err := parse.ParseExpr(strings.ReplaceAll(expr, "$__rate_interval", "5m"))
	if err != nil {
		return fmt.Errorf("parse %s: %w", expr, err)
	}
	var errs []error
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			errs = append(errs, k.selector(n))
		case *parser.AggregateExpr:
			errs = append(errs, k.grouping(n))
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nin %s", err, expr)
	}
	return nil
}

func (k Known) selector(s *parser.VectorSelector) error {
	names := k.matching(s)
	if len(names) == 0 {
		return fmt.Errorf("there is no metric %s", s)
	}
	var errs []error
	for _, m := range s.LabelMatchers {
		if m.Name != model.MetricNameLabel && !k.some(names, m.Name) {
			errs = append(errs, fmt.Errorf("%s has no label %s", strings.Join(names, ", "), m.Name))
		}
	}
	return errors.Join(errs...)
}

// grouping wants each label of a by clause on something beneath it.
func (k Known) grouping(a *parser.AggregateExpr) error {
	if a.Without {
		return nil
	}
	var names []string
	parser.Inspect(a.Expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			names = append(names, k.matching(s)...)
		}
		return nil
	})
	var errs []error
	for _, label := range a.Grouping {
		if !k.some(names, label) {
			errs = append(errs, fmt.Errorf("by (%s): nothing beneath has it", label))
		}
	}
	return errors.Join(errs...)
}

func (k Known) matching(s *parser.VectorSelector) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(k)) {
		for _, m := range s.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Matches(name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// some says whether one of the series has a label.
func (k Known) some(names []string, label string) bool {
	for _, name := range names {
		if of := k[name]; of == nil || slices.Contains(of, label) {
			return true
		}
	}
	return false
}
