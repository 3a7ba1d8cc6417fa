package dialog_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// openAPI asks the server for its document, and reads it.
func openAPI(t *testing.T, m *mesh) *openapi3.T {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
	r.Host = "localhost"
	w, all := m.answer(r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatal(all[:min(len(all), 500)])
	}
	document, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return document
}

// What is served is in the document, and what is in the document is served.
func TestDocumentIsWhatIsServed(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	document := openAPI(t, m)
	var served []string
	for _, route := range m.mux.Routes() {
		method, path, plain := strings.Cut(route, " ")
		switch {
		case plain:
			served = append(served, method+" "+strings.ReplaceAll(path, "...}", "}"))
		case strings.HasPrefix(route, "/grpc."): // for tools that speak gRPC
		case strings.HasSuffix(route, "/") && strings.HasPrefix(route, "/ragmesh."):
			found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.Trim(route, "/")))
			if err != nil {
				t.Fatal(err)
			}
			methods := found.(protoreflect.ServiceDescriptor).Methods() //nolint:forcetypeassert // that is what is served under such a path
			for i := range methods.Len() {
				served = append(served, "POST "+route+string(methods.Get(i).Name()))
			}
		case strings.HasSuffix(route, "/"): // answers that there is nothing
		default:
			served = append(served, "POST "+route)
		}
	}
	var written []string
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			written = append(written, method+" "+path)
		}
	}
	for _, route := range written {
		if !slices.Contains(served, route) {
			t.Errorf("%s is in the document and not served", route)
		}
	}
	m.as(t, bootstrap)
	for _, route := range served {
		if slices.Contains(written, route) {
			continue
		}
		// What nobody may call is no use in a document.
		method, path, _ := strings.Cut(route, " ")
		r := httptest.NewRequest(method, path, strings.NewReader("{}"))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+bootstrap)
		if _, all := m.answer(r); !strings.Contains(all, "is not served here") && !strings.Contains(all, "415") {
			t.Errorf("%s is served and not in the document: %s", route, all)
		}
	}
}

// What the server answers is as the document says.
func TestAnswersFitTheDocument(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	document := openAPI(t, m)
	document.Servers = nil
	router, err := legacy.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
	}{
		"sessions":          {"POST", "/ragmesh.dialog.v1.DialogService/ListSessions", `{"pageSize": 5}`, 200},
		"workspaces":        {"POST", "/ragmesh.dialog.v1.WorkspaceService/ListWorkspaces", `{}`, 200},
		"search":            {"POST", "/ragmesh.retriever.v1.RetrieverService/Search", `{"query": "limit"}`, 200},
		"tools":             {"POST", "/ragmesh.tools.v1.ToolsService/ListTools", `{}`, 200},
		"a call that fails": {"POST", "/ragmesh.dialog.v1.DialogService/GetTurn", `{"turnId": "none"}`, 404},
		"models":            {"GET", "/v1/models", ``, 200},
		"a model":           {"GET", "/v1/models/default", ``, 200},
		"no model":          {"GET", "/v1/models/none", ``, 404},
		"a completion":      {"POST", "/v1/chat/completions", `{"model": "default", "messages": [{"role": "user", "content": "` + limitQuestion + `"}]}`, 200},
		"a bad completion":  {"POST", "/v1/chat/completions", `{"model": "default", "messages": [{"role": "user", "content": "x"}], "n": 1, "functions": [{}]}`, 400},
		"me":                {"GET", "/auth/me", ``, 200},
		"MCP":               {"POST", "/mcp", `{"jsonrpc": "2.0", "id": 1, "method": "ping"}`, 200},
	} {
		r := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		route, parameters, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		request := &openapi3filter.RequestValidationInput{
			Request: r, PathParams: parameters, Route: route, Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
		}
		if err := openapi3filter.ValidateRequest(t.Context(), request); err != nil {
			t.Errorf("%s: the request: %v", name, err)
		}
		r.Body = io.NopCloser(strings.NewReader(tc.body))
		w, all := m.answer(r)
		if w.Code != tc.status {
			t.Errorf("%s: %s", name, all)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
			continue // its events would have to be taken apart first
		}
		if err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: request, Status: w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
		}); err != nil {
			t.Errorf("%s: the answer: %v\n%s", name, err, all)
		}
	}
}
