package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// row is one value of a chart.
type row struct {
	path    []string
	value   *yaml.Node
	meaning string
}

// rowsOf returns the values with a comment that begins with `--`, in order. A value without one, on itself or on a table around it
// that is written on one line, is an error: none goes undocumented.
func rowsOf(values *yaml.Node) ([]row, error) {
	var rows []row
	var missing []string
	var walk func(n *yaml.Node, path []string)
	walk = func(n *yaml.Node, path []string) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			at := append(append([]string{}, path...), key.Value)
			meaning := meaningOf(key.HeadComment)
			switch {
			case value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0 && len(value.Content) > 0:
				walk(value, at)
			case meaning == "":
				missing = append(missing, strings.Join(at, "."))
			default:
				rows = append(rows, row{path: at, value: value, meaning: meaning})
			}
		}
	}
	walk(values, nil)
	if len(missing) > 0 {
		return nil, fmt.Errorf("no comment `# -- ...` above %s", strings.Join(missing, ", "))
	}
	return rows, nil
}

// meaningOf returns the last paragraph of a comment, which is the value's when it begins with `--`.
func meaningOf(comment string) string {
	paragraphs := strings.Split(comment, "\n\n")
	var words []string
	for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	text, ok := strings.CutPrefix(strings.Join(words, " "), "-- ")
	if !ok {
		return ""
	}
	return text
}

// readme returns a chart's page.
func readme(chartFile string, rows []row, schema map[string]any) ([]byte, error) {
	text, err := os.ReadFile(chartFile)
	if err != nil {
		return nil, err
	}
	var chart struct{ Name, Description, Version, KubeVersion string }
	if err := yaml.Unmarshal(bytes.ReplaceAll(text, []byte("kubeVersion:"), []byte("kubeversion:")), &chart); err != nil {
		return nil, fmt.Errorf("%s: %w", chartFile, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Chart %s\n\n", chart.Name)
	fmt.Fprintf(&b, "Generated from Chart.yaml and the comments of [values.yaml](values.yaml) by `make generate`; do not edit.\n\n%s\n\n", chart.Description)
	fmt.Fprintf(&b, "Version %s, for Kubernetes %s. How to install it: [docs/kubernetes.md](../../../docs/kubernetes.md).\n\n", chart.Version, chart.KubeVersion)
	b.WriteString("## Values\n\nA value that is not listed here is refused, and so are combinations that cannot work.\n\n")
	b.WriteString("| Value | Type | Default | Meaning |\n|---|---|---|---|\n")
	escape := strings.NewReplacer("|", `\|`)
	for _, r := range rows {
		value, err := oneLine(r.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", strings.Join(r.path, "."), typeOf(schema, lookup(schema, r.path)), escape.Replace(value), escape.Replace(r.meaning))
	}
	return b.Bytes(), nil
}

// typeOf names a value's type as its schema has it: what it may be where it is one of a few.
func typeOf(schema, node map[string]any) string {
	node = resolve(schema, node)
	if values, ok := node["enum"].([]any); ok {
		var names []string
		for _, value := range values {
			if value != "" {
				names = append(names, fmt.Sprint(value))
			}
		}
		return strings.Join(names, ", ")
	}
	switch t := node["type"].(type) {
	case string:
		return t
	case []any:
		names := make([]string, len(t))
		for i, name := range t {
			names[i] = fmt.Sprint(name)
		}
		return strings.Join(names, " or ")
	}
	return ""
}

// oneLine shows a default in a table's cell; nothing for an empty one.
func oneLine(n *yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode && n.Value == "" {
		return "", nil
	}
	bare := *n
	bare.HeadComment, bare.LineComment, bare.FootComment = "", "", ""
	if bare.Kind != yaml.ScalarNode {
		if len(bare.Content) == 0 {
			return "", nil
		}
		bare.Style |= yaml.FlowStyle
	}
	text, err := yaml.Marshal(&bare)
	if err != nil {
		return "", err
	}
	return "`" + strings.Join(strings.Fields(string(text)), " ") + "`", nil
}
