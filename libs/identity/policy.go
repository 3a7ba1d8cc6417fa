package identity

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// allowed says which procedures each service may call: the one declaration of who calls whom. Callers are checked against it
// here, and the policies of the mesh and the network are generated from it (see [CallGraph]). dialog is the edge and calls
// everything for its users, after it has checked their roles; the others call what their background work needs, and only
// read.
var allowed = map[string][]string{
	Dialog:    {"*"},
	Retriever: {"/ragmesh.llm.v1.LLMService/Embed", "/ragmesh.llm.v1.LLMService/Rerank"},
	Tools: {
		"/ragmesh.retriever.v1.RetrieverService/Search",       // a tool that looks something up
		"/ragmesh.retriever.v1.RetrieverService/ReadDocument", // and reads around what it found
	},
	Eval: {
		"/ragmesh.dialog.v1.DialogService/Chat", "/ragmesh.dialog.v1.DialogService/GetTurn", // replay
		"/ragmesh.retriever.v1.RetrieverService/Search", // retrieval alone
		"/ragmesh.llm.v1.LLMService/Generate",           // the judge
		"/ragmesh.tools.v1.ToolsService/ListTools",      // what a test case may expect to be called
	},
}

// packages are the RPC packages of the services, one each.
var packages = map[string]string{
	"ragmesh.dialog.v1":    Dialog,
	"ragmesh.retriever.v1": Retriever,
	"ragmesh.tools.v1":     Tools,
	"ragmesh.llm.v1":       Gateway,
	"ragmesh.eval.v1":      Eval,
}

// CallGraph returns which services each service may call, from what [Allowed] allows, in the order of [Services]. Every
// service is a key; one that calls nobody has an empty list. None calls itself.
func CallGraph() map[string][]string {
	graph := map[string][]string{}
	for _, caller := range Services() {
		graph[caller] = slices.DeleteFunc(Services(), func(callee string) bool {
			return caller == callee || !slices.ContainsFunc(allowed[caller], func(procedure string) bool {
				return procedure == "*" || ServiceOf(procedure) == callee
			})
		})
	}
	return graph
}

// Callers returns the services that may call a service, in the order of [Services].
func Callers(service string) []string {
	graph := CallGraph()
	return slices.DeleteFunc(Services(), func(caller string) bool { return !slices.Contains(graph[caller], service) })
}

// ServiceOf returns the service that serves a procedure, e.g. "/ragmesh.llm.v1.LLMService/Embed"; "" when none does.
func ServiceOf(procedure string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	return packages[name[:max(0, strings.LastIndexByte(name, '.'))]]
}

// Allowed says whether a service may call a procedure, e.g. "/ragmesh.llm.v1.LLMService/Embed".
func Allowed(issuer, procedure string) bool {
	list := allowed[issuer]
	return slices.Contains(list, procedure) || slices.Contains(list, "*")
}

// CheckWorkspace compares the workspace a request names, in a field of that name, with the principal's. Another one is not
// found rather than denied: a caller learns nothing about workspaces that aren't theirs. Requests without the field pass.
func CheckWorkspace(p Principal, request any) error {
	message, ok := request.(proto.Message)
	if !ok {
		return nil
	}
	m := message.ProtoReflect()
	field := m.Descriptor().Fields().ByName("workspace")
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
		return nil
	}
	if m.Get(field).String() != p.Workspace {
		return fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no such workspace; check its name, and that the key in use may enter it")
	}
	return nil
}
