// Package proto is the home of ragmesh's wire contracts: the .proto files under ragmesh/, one folder per service and
// version, and the Go code generated from them under gen/. It holds no hand-written logic. Run `make generate` after a
// change; CI compares the result and refuses breaking changes.
package proto
