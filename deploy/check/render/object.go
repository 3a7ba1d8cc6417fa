package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// Object is one rendered Kubernetes object.
type Object struct {
	Chart    string
	Template string
	// Text is the object as the template wrote it.
	Text string
	// Raw is the object as YAML reads it: tables, lists, strings, bools and float64 for every number.
	Raw map[string]any
}

// Kind returns the object's kind.
func (o Object) Kind() string { return o.String("kind") }

// APIVersion returns group and version, such as "apps/v1".
func (o Object) APIVersion() string { return o.String("apiVersion") }

// Group returns the API group, empty for the core group.
func (o Object) Group() string {
	group, _, ok := strings.Cut(o.APIVersion(), "/")
	if !ok {
		return ""
	}
	return group
}

// Name returns the object's name.
func (o Object) Name() string { return o.String("metadata", "name") }

// Namespace returns the object's namespace, or the one everything is installed in where it names none.
func (o Object) Namespace() string {
	if ns := o.String("metadata", "namespace"); ns != "" {
		return ns
	}
	return Namespace
}

// ID returns "kind/name", which stands for the object in messages.
func (o Object) ID() string { return o.Kind() + "/" + o.Name() }

// Labels returns the object's labels.
func (o Object) Labels() map[string]string { return o.Strings("metadata", "labels") }

// Annotations returns the object's annotations.
func (o Object) Annotations() map[string]string { return o.Strings("metadata", "annotations") }

// Hook says whether helm runs the object at a moment of a release, tests included, rather than keeping it.
func (o Object) Hook() bool { return o.Annotations()["helm.sh/hook"] != "" }

// At returns what stands under a path of keys and, in lists, indices ("spec", "ports", 0); nil where there is nothing.
func (o Object) At(path ...any) any {
	var at any = o.Raw
	for _, step := range path {
		switch key := step.(type) {
		case string:
			table, ok := at.(map[string]any)
			if !ok {
				return nil
			}
			at = table[key]
		case int:
			list, ok := at.([]any)
			if !ok || key < 0 || key >= len(list) {
				return nil
			}
			at = list[key]
		default:
			panic(fmt.Sprintf("a path has keys and indices, not %T", step))
		}
	}
	return at
}

// String returns the text under a path, empty where there is none.
func (o Object) String(path ...any) string {
	s, _ := o.At(path...).(string)
	return s
}

// Strings returns the table of texts under a path.
func (o Object) Strings(path ...any) map[string]string {
	table, _ := o.At(path...).(map[string]any)
	out := make(map[string]string, len(table))
	for key, value := range table {
		if s, ok := value.(string); ok {
			out[key] = s
		}
	}
	return out
}

// As decodes an object into its type, such as corev1.Service. A field that the type does not have fails the test.
func As[T any](t testing.TB, o Object) T {
	t.Helper()
	v, err := Decode[T](o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Decode is As for where no test is at hand.
func Decode[T any](o Object) (T, error) {
	var v T
	text, err := json.Marshal(o.Raw)
	if err != nil {
		return v, fmt.Errorf("%s is no %T: %w", o.ID(), v, err)
	}
	unknown, err := kjson.UnmarshalStrict(text, &v)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return v, fmt.Errorf("%s is no %T: %w", o.ID(), v, err)
	}
	return v, nil
}

// Objects are rendered objects.
type Objects []Object

// Kind returns the objects of any of these kinds.
func (o Objects) Kind(kinds ...string) Objects {
	var found Objects
	for _, object := range o {
		if slices.Contains(kinds, object.Kind()) {
			found = append(found, object)
		}
	}
	return found
}

// Find returns an object by kind and name.
func (o Objects) Find(kind, name string) (Object, bool) {
	for _, object := range o {
		if object.Kind() == kind && object.Name() == name {
			return object, true
		}
	}
	return Object{}, false
}

// One returns an object by kind and name, and fails the test where there is none.
func (o Objects) One(t testing.TB, kind, name string) Object {
	t.Helper()
	object, ok := o.Find(kind, name)
	if !ok {
		t.Fatalf("no %s/%s among %s", kind, name, strings.Join(o.IDs(), ", "))
	}
	return object
}

// Clone returns objects that share nothing with these, for a test to change.
func (o Objects) Clone() Objects {
	clones := slices.Clone(o)
	for i := range clones {
		clones[i].Raw = runtime.DeepCopyJSON(clones[i].Raw)
	}
	return clones
}

// IDs returns what the objects are, in their order.
func (o Objects) IDs() []string {
	ids := make([]string, len(o))
	for i, object := range o {
		ids[i] = object.ID()
	}
	return ids
}
