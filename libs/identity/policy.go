package identity

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// allowed says which procedures each service may call. dialog is the edge and calls everything for its users, after it has
// checked their roles; the others call what their background work needs.
var allowed = map[string][]string{
	Dialog:    {"*"},
	Retriever: {"/ragmesh.llm.v1.LLMService/Embed", "/ragmesh.llm.v1.LLMService/Rerank"},
	Eval: {
		"/ragmesh.dialog.v1.DialogService/Chat", "/ragmesh.dialog.v1.DialogService/GetTurn", // replay
		"/ragmesh.llm.v1.LLMService/Generate", // the judge
	},
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
