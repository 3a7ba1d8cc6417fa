package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Change is a key that differs between two configurations.
type Change struct {
	// Key is the service's name and the key, e.g. "retriever.search.top_k".
	Key string `json:"key"`
	// Before and After are the values as YAML on one line; nil where the key is not there.
	Before *string `json:"before"`
	After  *string `json:"after"`
}

// Diff returns what differs, by key.
func Diff(before, after []Document) ([]Change, error) {
	old, err := flatten(before)
	if err != nil {
		return nil, err
	}
	now, err := flatten(after)
	if err != nil {
		return nil, err
	}
	keys := maps.Clone(old)
	maps.Copy(keys, now)
	var changes []Change
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, was := old[key]
		b, is := now[key]
		if was && is && a == b {
			continue
		}
		c := Change{Key: key}
		if was {
			c.Before = &a
		}
		if is {
			c.After = &b
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// flatten returns the values by full key. Lists are values: an order that changed is a change.
func flatten(documents []Document) (map[string]string, error) {
	values := map[string]string{}
	for _, d := range documents {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(d.YAML), &node); err != nil {
			return nil, fmt.Errorf("read configuration of %s: %w", d.Service, err)
		}
		if len(node.Content) > 0 {
			if err := collect(values, d.Service, node.Content[0]); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

func collect(values map[string]string, key string, node *yaml.Node) error {
	if node.Kind == yaml.MappingNode && len(node.Content) > 0 {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if err := collect(values, key+"."+node.Content[i].Value, node.Content[i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	if node.Kind == yaml.SequenceNode || node.Kind == yaml.MappingNode {
		node.Style = yaml.FlowStyle
	}
	text, err := yaml.Marshal(node)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	values[key] = strings.TrimSpace(string(text))
	return nil
}
