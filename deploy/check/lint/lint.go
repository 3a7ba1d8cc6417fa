// Package lint finds what no schema refuses and a cluster would run with: an annotation with a typo, a selector that selects nothing, a
// policy for an identity that nobody has.
//
// A rule looks at all objects of one release. To add one, write it in the file of its subject (workload.go, release.go, config.go,
// network.go, linkerd.go, monitoring.go), name it in that file's list, and break an object for it in the test of the same name; [Rules] runs over every chart with
// every values set, and a test fails for a rule that nothing broken proves. A rule that compares with the code takes what the code says
// (package code) as an argument, and is run from the tests of package check.
package lint

import (
	"fmt"
	"slices"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// Rule is one thing that must hold for the objects of a release.
type Rule struct {
	// Name is short and hyphenated, such as "app-protocol".
	Name string
	// Why is what goes wrong otherwise, in a sentence.
	Why string
	// Check reports what breaks the rule. Objects of kinds it has nothing to say about are skipped.
	Check func(objects render.Objects, report Report)
}

// Report notes one thing that is wrong with an object, in words that name the field and what it should be.
type Report func(o render.Object, format string, args ...any)

// Finding is one broken rule.
type Finding struct {
	Rule    string
	Object  string
	Message string
}

// String returns the finding on one line.
func (f Finding) String() string { return f.Object + ": " + f.Message + " (" + f.Rule + ")" }

// Rules returns all rules that need nothing but the objects, and hold for the release of a single service as well (see [Whole]).
func Rules() []Rule {
	return slices.Concat(workloadRules(), releaseRules(), configRules(), networkRules(), linkerdRules(), meshRules(), monitoringRules())
}

// Run checks the objects of one release.
func Run(objects render.Objects, rules ...Rule) []Finding {
	var found []Finding
	for _, rule := range rules {
		rule.Check(objects, func(o render.Object, format string, args ...any) {
			found = append(found, Finding{Rule: rule.Name, Object: o.ID(), Message: fmt.Sprintf(format, args...)})
		})
	}
	return found
}
