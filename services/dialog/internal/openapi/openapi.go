// Package openapi serves the description of the edge's HTTP side, in OpenAPI's form: the public procedures as JSON over HTTP,
// OpenAI's API, the Model Context Protocol and logging in. The document is generated, from the contract's own descriptors and
// comments and from plain.yaml, and committed; nothing of it depends on where it is served.
package openapi

import (
	_ "embed"
	"net/http"
)

//go:generate sh -c "cd ../../../../proto && buf build --path ragmesh -o - | go run ../services/dialog/internal/openapi/generate ../services/dialog/internal/openapi/plain.yaml ../services/dialog/internal/openapi/openapi.json"

//go:embed openapi.json
var document []byte

// Document returns the document.
func Document() []byte { return document }

// Routes are the patterns under which it is served, as [http.ServeMux] takes them.
func Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{"GET /openapi.json": serve}
}

// serve answers without asking who wants to know: the document says nothing that isn't in the published contract.
func serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(document) // the client may be gone
}
