package prompt

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
)

// The types of variable.
const (
	typeString  = "string"
	typeInteger = "integer"
	typeNumber  = "number"
	typeBoolean = "boolean"
)

// Variable is a value that requests may give.
type Variable struct {
	Type        string   `yaml:"type" oneof:"string,integer,number,boolean" doc:"What it is; string when empty."`
	Description string   `yaml:"description" doc:"What it is for."`
	Default     *string  `yaml:"default" doc:"Its value where a request gives none; a request must give one when there is no default. In quotes."`
	OneOf       []string `yaml:"one_of" doc:"The values it may have; any when empty. Strings only."`
	MaxBytes    int      `yaml:"max_bytes" doc:"Longest value. Strings only. Bytes, 1 to 8192; 200 when 0."`
	Min         *float64 `yaml:"min" doc:"Least value. Numbers only."`
	Max         *float64 `yaml:"max" doc:"Greatest value. Numbers only."`
}

const (
	defaultValueBytes = 200
	maxValueBytes     = 8192
)

var variableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Kind is its type.
func (v Variable) Kind() string {
	if v.Type == "" {
		return typeString
	}
	return v.Type
}

func (v Variable) validate(key, name string) error {
	text, number := v.Kind() == typeString, v.Kind() == typeInteger || v.Kind() == typeNumber
	switch {
	case !variableName.MatchString(name):
		return config.Invalid(key, "has a name that is not allowed: lower-case letters, digits and _, at most 64, a letter first")
	case !text && (len(v.OneOf) > 0 || v.MaxBytes != 0):
		return config.Invalid(key, "has one_of or max_bytes, which are for strings")
	case !number && (v.Min != nil || v.Max != nil):
		return config.Invalid(key, "has min or max, which are for numbers")
	case v.MaxBytes < 0 || v.MaxBytes > maxValueBytes:
		return config.Invalid(key+".max_bytes", "must be 0 to %d, not %d", maxValueBytes, v.MaxBytes)
	case v.Min != nil && v.Max != nil && *v.Min > *v.Max:
		return config.Invalid(key+".min", "must not be above max")
	}
	if v.Default != nil {
		if _, err := v.parse(*v.Default); err != nil {
			return config.Invalid(key+".default", "%s", err)
		}
	}
	return nil
}

// parse returns what a template sees of a value: a string that can't pose as the prompt around it, an int, a float64 or a
// bool.
func (v Variable) parse(value string) (any, error) {
	switch v.Kind() {
	case typeInteger:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("must be an integer, not %.40q", value)
		}
		return int(n), v.bounded(float64(n))
	case typeNumber:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("must be a number, not %.40q", value)
		}
		return n, v.bounded(n)
	case typeBoolean:
		if value != "true" && value != "false" {
			return nil, fmt.Errorf("must be true or false, not %.40q", value)
		}
		return value == "true", nil
	}
	most := v.MaxBytes
	if most == 0 {
		most = defaultValueBytes
	}
	switch {
	case len(v.OneOf) > 0 && !slices.Contains(v.OneOf, value):
		return nil, fmt.Errorf("must be one of %s, not %.40q", strings.Join(v.OneOf, ", "), value)
	case len(value) > most:
		return nil, fmt.Errorf("must be at most %d bytes, not %d", most, len(value))
	case !utf8.ValidString(value):
		return nil, fmt.Errorf("must be valid UTF-8")
	}
	return neutralise(value), nil
}

func (v Variable) bounded(n float64) error {
	if v.Min != nil && n < *v.Min {
		return fmt.Errorf("must be at least %g, not %g", *v.Min, n)
	}
	if v.Max != nil && n > *v.Max {
		return fmt.Errorf("must be at most %g, not %g", *v.Max, n)
	}
	return nil
}

// sample is a value to try a template with.
func (v Variable) sample() any {
	switch {
	case v.Default != nil:
		value, _ := v.parse(*v.Default) // validate has parsed it
		return value
	case len(v.OneOf) > 0:
		return v.OneOf[0]
	}
	return map[string]any{typeString: "x", typeInteger: 1, typeNumber: 1.0, typeBoolean: true}[v.Kind()]
}

// values checks what a request gives for the template's variables and adds what it leaves to their defaults.
func (t *Template) values(given map[string]string) (map[string]any, error) {
	wrong := fault.New(fault.Invalid, fault.InvalidRequest, "the values for prompt %q are not as it declares them", t.ID)
	fields := 0
	refuse := func(name, format string, a ...any) {
		fields++
		wrong = wrong.WithField("variables."+name, fmt.Sprintf(format, a...))
	}
	out := make(map[string]any, len(t.Variables))
	for _, name := range slices.Sorted(maps.Keys(t.Variables)) {
		v := t.Variables[name]
		value, ok := given[name]
		switch {
		case !ok && v.Default == nil:
			refuse(name, "must be given: a %s", v.Kind())
			continue
		case !ok:
			value = *v.Default
		}
		parsed, err := v.parse(value)
		if err != nil {
			refuse(name, "%s", err)
		}
		out[name] = parsed
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := t.Variables[name]; !ok {
			refuse(name, "is not declared; there are %s", listed(t.Variables))
		}
	}
	if fields > 0 {
		return nil, wrong
	}
	return out, nil
}

func listed(variables map[string]Variable) string {
	if len(variables) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(variables)), ", ")
}
