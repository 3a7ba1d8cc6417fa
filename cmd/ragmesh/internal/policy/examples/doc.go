// Package examples checks that every example configuration is one ragmesh would start with, and that the check notices one
// it would not. It is apart from the other rules because it needs the services to compile. Nobody imports it.
package examples
