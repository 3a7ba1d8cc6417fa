package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Secret refers to a secret: an environment variable or a mounted file, written as {env: NAME} or {file: /path}. It never
// holds the secret itself, so that printing a configuration in any way shows the reference only.
type Secret struct {
	// Env is the name of an environment variable.
	Env string
	// File is the path of a file.
	File string
}

// maxSecret bounds what is read as a secret.
const maxSecret = 64 << 10

// IsZero says whether there is no reference.
func (s Secret) IsZero() bool { return s == Secret{} }

// Resolve reads the secret, without the line break at its end. A secret that is not there or empty is an error, which
// names the reference.
func (s Secret) Resolve() (string, error) {
	var value string
	switch {
	case s.Env != "" && s.File != "":
		return "", errors.New("resolve secret: both env and file are given")
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fmt.Errorf("resolve secret: environment variable %s is not set", s.Env)
		}
		value = v
	case s.File != "":
		v, err := readSecret(s.File)
		if err != nil {
			return "", fmt.Errorf("resolve secret: %w", err)
		}
		value = v
	default:
		return "", errors.New("resolve secret: no reference is configured")
	}
	value = strings.TrimRight(value, "\r\n")
	if value == "" {
		return "", fmt.Errorf("resolve secret: %s is empty", s)
	}
	if len(value) > maxSecret {
		return "", fmt.Errorf("resolve secret: %s is larger than %s", s, Bytes(maxSecret))
	}
	return value, nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+3)) // room for a line break, and to see that it is too large
	return string(b), err
}

// String returns the reference, e.g. "env:OPENAI_API_KEY".
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "env:" + s.Env
	case s.File != "":
		return "file:" + s.File
	default:
		return "none"
	}
}

// MarshalJSON writes the reference as files have it.
func (s Secret) MarshalJSON() ([]byte, error) {
	m := map[string]string{}
	if s.Env != "" {
		m["env"] = s.Env
	}
	if s.File != "" {
		m["file"] = s.File
	}
	return json.Marshal(m)
}

// MarshalYAML writes the reference as files have it.
func (s Secret) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	add := func(key, value string) {
		if value != "" {
			node.Content = append(node.Content, text(key), text(value))
		}
	}
	add("env", s.Env)
	add("file", s.File)
	return node, nil
}

// text returns a YAML string, quoted where it would read as something else.
func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}
