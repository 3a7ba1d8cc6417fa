// Package policy holds the rules that keep the workspace in one shape, as tests: which module may import which, where a
// technology may be known, that all go.mod files agree, that every package says what it is for, that every service has
// the same face, that the example configuration loads.
//
// Each rule is a function from the workspace to its violations, each violation carries its reason, and each rule comes
// with the smallest change that breaks it: a rule that can't fail is not a rule. To make an exception, add it to the
// tables in tables_test.go with the reason it is one; an entry that no longer applies fails as well.
//
// The rules live in this module because it is the only one that is allowed to see all others. They read source files
// from the directory that holds go.work and so mean the same with GOWORK=off. Nobody imports this package.
package policy
