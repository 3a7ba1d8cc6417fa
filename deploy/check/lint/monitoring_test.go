package lint_test

import "github.com/ragmesh/ragmesh/deploy/check/lint/linttest"

var monitoringCases = []linttest.Case{}
