package mesh

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// PoliciesFile is where Policies' text belongs, below the top folder of the checkout.
const PoliciesFile = "deploy/linkerd/policies.yaml"

//go:generate go run ./policies ../../..

const policiesHead = `# What the charts make for Linkerd with deploy/linkerd/values.yaml, in the namespace ragmesh: for reading, and for those who keep policies
# apart from releases (values linkerd.policy.create: false in every chart; the annotations of Services and pods stay in the charts).
# Generated from the charts by ` + "`make generate`" + `; do not edit.
`

// Policies renders the umbrella chart with the values in deploy/linkerd and returns its Linkerd objects and its TLSRoutes as YAML. root is the
// top folder of the checkout.
func Policies(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, "deploy/linkerd/values.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	values := render.Values{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	objects, err := render.Chart(filepath.Join(root, "deploy/helm/ragmesh"), values)
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(o render.Object) bool {
		return o.Group() != "policy.linkerd.io" && o.Kind() != "TLSRoute"
	})
	// By service, and within it in the order in which one reads them.
	kinds := []string{"Server", "AuthorizationPolicy", "MeshTLSAuthentication", "NetworkAuthentication", "HTTPLocalRateLimitPolicy", "TLSRoute"}
	slices.SortStableFunc(objects, func(a, b render.Object) int {
		return cmp.Or(
			cmp.Compare(a.Labels()["app.kubernetes.io/name"], b.Labels()["app.kubernetes.io/name"]),
			cmp.Compare(slices.Index(kinds, a.Kind()), slices.Index(kinds, b.Kind())),
			cmp.Compare(a.Name(), b.Name()),
		)
	})
	var out bytes.Buffer
	out.WriteString(policiesHead)
	for _, o := range objects {
		// Whoever applies the file is no Helm release.
		labels, _ := o.At("metadata", "labels").(map[string]any)
		delete(labels, "app.kubernetes.io/managed-by")
		delete(labels, "helm.sh/chart")
		document, err := yaml.Marshal(o.Raw)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", o.ID(), err)
		}
		out.WriteString("---\n" + strings.TrimSpace(string(document)) + "\n")
	}
	return out.Bytes(), nil
}
