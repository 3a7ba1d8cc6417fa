// Package schema says whether every field of an object is one that its API has and takes, as strictly as an API server with strict field
// validation, without one.
//
// Kubernetes' own kinds are decoded into their Go types. Kinds of operators (Gateway API, KEDA, cert-manager, the Prometheus operator) are
// checked against the custom resource definitions in the operators' Go modules, expressions included. Linkerd has no Go module: its kinds
// are decoded into the types of linkerd.go, and against its definitions too where a copy of them is at hand.
package schema

import (
	stdjson "encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// Check returns what an API server would say about an object; nothing when it takes it.
func Check(o render.Object) []error {
	text, err := stdjson.Marshal(o.Raw)
	if err != nil {
		return []error{err}
	}
	errs := checkMeta(text)
	switch group := o.Group(); {
	case isOwn(group):
		errs = append(errs, checkOwn(text)...)
	case strings.HasSuffix(group, "linkerd.io"):
		errs = append(errs, checkLinkerd(o, text)...)
	default:
		errs = append(errs, checkModule(o, text)...)
	}
	return errs
}

// isOwn says whether a group is one of Kubernetes' own.
func isOwn(group string) bool { return scheme.Scheme.IsGroupRegistered(group) }

// checkOwn decodes an object into the Go type of its kind; what the type does not have, or has as another type, is an error.
func checkOwn(text []byte) []error {
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Strict: true})
	if _, _, err := strict.Decode(text, nil, nil); err != nil {
		return []error{err}
	}
	return nil
}

// checkMeta checks what all objects have, which decoding does not: the grammar of names, labels and annotations.
func checkMeta(text []byte) []error {
	var raw map[string]any
	if err := utiljson.Unmarshal(text, &raw); err != nil {
		return []error{err}
	}
	u := &unstructured.Unstructured{Object: raw}
	isValid := validation.NameIsDNSSubdomain
	switch {
	case u.GetKind() == "Service":
		isValid = validation.NameIsDNS1035Label
	case strings.HasPrefix(u.GetAPIVersion(), "rbac.authorization.k8s.io/"):
		isValid = func(string, bool) []string { return nil } // nearly anything goes
	}
	found := validation.ValidateObjectMetaAccessor(u, u.GetNamespace() != "", isValid, field.NewPath("metadata"))
	errs := make([]error, len(found))
	for i, err := range found {
		errs[i] = err
	}
	return errs
}
