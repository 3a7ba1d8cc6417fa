package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// module is a Go module with custom resource definitions in it. It is downloaded rather than required: its dependencies are none of ours.
// The sum is that of go.sum.
type module struct {
	path, version, sum string
	// dirs hold the definitions, one file for each kind: <group>_<plural>.yaml. The first that has it counts.
	dirs []string
}

// modules are the modules by API group. Gateway API stays at 1.2.1: Linkerd ignores a whole route that has any newer field; only
// TLSRoute, which Linkerd reads too, is experimental there.
func modules() map[string]module {
	return map[string]module{
		"gateway.networking.k8s.io": {
			"sigs.k8s.io/gateway-api", "v1.2.1", "h1:fZZ/+RyRb+Y5tGkwxFKuYuSRQHu9dZtbjenblleOLHM=", []string{"config/crd/standard", "config/crd/experimental"},
		},
		"keda.sh": {
			"github.com/kedacore/keda/v2", "v2.21.0", "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=", []string{"config/crd/bases"},
		},
		"cert-manager.io": {
			"github.com/cert-manager/cert-manager", "v1.21.2", "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=", []string{"deploy/crds"},
		},
		"monitoring.coreos.com": {
			"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
			[]string{"example/prometheus-operator-crd"},
		},
	}
}

// definition is one version of a custom resource definition, ready to check with.
type definition struct {
	structural *structural.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// definitions holds what has been read, by apiVersion and kind. Reading one takes about 0.1 s.
var definitions sync.Map //nolint:gochecknoglobals // a cache of what never changes

func checkModule(o render.Object, text []byte) []error {
	type result struct {
		definition *definition
		err        error
	}
	read, _ := definitions.LoadOrStore(o.APIVersion()+" "+o.Kind(), sync.OnceValue(func() result {
		d, err := readModule(o.Group(), o.APIVersion(), o.Kind())
		return result{d, err}
	}))
	r := read.(func() result)()
	if r.err != nil {
		return []error{r.err}
	}
	return r.definition.check(text)
}

func readModule(group, apiVersion, kind string) (*definition, error) {
	m, ok := modules()[group]
	if !ok {
		return nil, fmt.Errorf("nothing is known about the group of %s %s", apiVersion, kind)
	}
	dir, err := m.download()
	if err != nil {
		return nil, err
	}
	for _, sub := range m.dirs {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(sub), group+"_"+strings.ToLower(kind)+"s.yaml"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		return readDefinition(text, apiVersion)
	}
	return nil, fmt.Errorf("%s %s has no %s", m.path, m.version, kind)
}

// download returns the folder of the module in Go's module cache.
func (m module) download() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	empty, err := os.MkdirTemp("", "ragmesh-check")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(empty)
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", m.path+"@"+m.version) //nolint:gosec // from the table above
	// Outside any module, so that nobody's go.mod counts. The sum is checked here.
	cmd.Dir = empty
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GONOSUMDB=*", "GO111MODULE=on")
	out, runErr := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", fmt.Errorf("download %s: %w", m.path, errors.Join(runErr, err))
	}
	switch {
	case got.Error != "":
		return "", fmt.Errorf("download %s %s: %s", m.path, m.version, got.Error)
	case got.Sum != m.sum:
		return "", fmt.Errorf("download %s %s: its sum is %s, not %s", m.path, m.version, got.Sum, m.sum)
	}
	return got.Dir, nil
}

// readDefinition reads one version of the custom resource definition in a file.
func readDefinition(text []byte, apiVersion string) (*definition, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	for _, v := range crd.Spec.Versions {
		if crd.Spec.Group+"/"+v.Name != apiVersion {
			continue
		}
		if !v.Served {
			return nil, fmt.Errorf("%s %s is no longer served", apiVersion, crd.Spec.Names.Kind)
		}
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return nil, err
		}
		s, err := structural.NewStructural(&props)
		if err != nil {
			return nil, err
		}
		validator, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			return nil, err
		}
		return &definition{structural: s, schema: validator, rules: cel.NewValidator(s, true, celconfig.PerCallLimit)}, nil
	}
	return nil, fmt.Errorf("%s has no version %s", crd.Name, apiVersion)
}

// check does with an object what an API server does, in its order.
func (d *definition) check(text []byte) []error {
	var object map[string]any
	// Whole numbers stay integers, which the rules tell from others.
	if err := utiljson.Unmarshal(text, &object); err != nil {
		return []error{err}
	}
	var errs []error
	unknown := pruning.PruneWithOptions(object, d.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		errs = append(errs, fmt.Errorf("unknown field %q", path))
	}
	// Rules may look at what is there only by default.
	defaulting.Default(object, d.structural)
	found := validation.ValidateCustomResource(nil, object, d.schema)
	found = append(found, listtype.ValidateListSetsAndMaps(nil, d.structural, object)...)
	if len(found) == 0 && d.rules != nil {
		var broken field.ErrorList
		broken, _ = d.rules.Validate(context.Background(), nil, d.structural, object, nil, celconfig.RuntimeCELCostBudget)
		found = append(found, broken...)
	}
	for _, err := range found {
		errs = append(errs, err)
	}
	return errs
}

// LinkerdDefinitions checks objects against Linkerd's own custom resource definitions, from a file with all of them.
type LinkerdDefinitions struct{ byKind map[string][]byte }

// ReadLinkerd reads Linkerd's definitions.
func ReadLinkerd(file string) (*LinkerdDefinitions, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := &LinkerdDefinitions{byKind: map[string][]byte{}}
	for _, document := range bytes.Split(text, []byte("\n---")) {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(document, &crd); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if crd.Spec.Names.Kind != "" {
			d.byKind[crd.Spec.Group+" "+crd.Spec.Names.Kind] = document
		}
	}
	return d, nil
}

// Check is as the function of that name.
func (d *LinkerdDefinitions) Check(o render.Object) []error {
	document, ok := d.byKind[o.Group()+" "+o.Kind()]
	if !ok {
		return []error{fmt.Errorf("no definition of Linkerd's for %s", o.Kind())}
	}
	definition, err := readDefinition(document, o.APIVersion())
	if err != nil {
		return []error{err}
	}
	text, err := json.Marshal(o.Raw)
	if err != nil {
		return []error{err}
	}
	return definition.check(text)
}
