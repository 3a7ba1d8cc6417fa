// Package monitoring holds what watches ragmesh to what ragmesh is: every alert fires when it should and only then, every metric and label that
// a rule or a dashboard names exists, every alert has its runbook, and the dashboards are what package dashboard writes.
package monitoring
