package access

import "github.com/ragmesh/ragmesh/libs/identity"

// reach says what a procedure is about.
type reach uint8

const (
	inWorkspace  reach = iota // the workspace its request names
	anyWorkspace              // none in particular; whoever is in one may
	administered              // keys of workspaces that the caller administers; which these are is checked beside each key
	installation              // all of it; needs a key for all workspaces
	everything                // all there is, hashes of keys and every conversation; needs the bootstrap key
	closed                    // not served at the edge
)

// The scopes of an API key: what of its role it may use. A key without any may use all of it.
const (
	scopeAsk    = "ask"    // questions, and the conversations they are part of
	scopeRead   = "read"   // documents and what is found in them
	scopeWrite  = "write"  // documents
	scopeEval   = "eval"   // traces and tests
	scopeManage = "manage" // keys, members, workspaces
	always      = ""       // what every key may
)

// Scopes are all scopes that a key may have.
func Scopes() []string { return []string{scopeAsk, scopeRead, scopeWrite, scopeEval, scopeManage} }

type rule struct {
	role  identity.Role
	reach reach
	scope string
}

// AboutWorkspace reports whether a procedure's request is about the workspace it names, so that an empty name means the
// default one. The name of a workspace to make is not.
func AboutWorkspace(procedure string) bool {
	r, ok := ruleOf(procedure)
	return ok && r.reach == inWorkspace
}

// ruleOf is the table of who may call what. A procedure that is not here is refused.
func ruleOf(procedure string) (rule, bool) {
	const (
		dialog     = "/ragmesh.dialog.v1.DialogService/"
		workspaces = "/ragmesh.dialog.v1.WorkspaceService/"
		keys       = "/ragmesh.dialog.v1.KeyService/"
		operations = "/ragmesh.dialog.v1.OperationsService/"
		retriever  = "/ragmesh.retriever.v1.RetrieverService/"
		tools      = "/ragmesh.tools.v1.ToolsService/"
		llm        = "/ragmesh.llm.v1.LLMService/"
		eval       = "/ragmesh.eval.v1.EvalService/"
	)
	switch procedure {
	case dialog + "Chat", dialog + "GetTurn", dialog + "ListTurns", dialog + "ListSessions", dialog + "RenameSession",
		dialog + "DeleteSession", dialog + "ExportSession", dialog + "StopTurn", dialog + "SendFeedback":
		return rule{identity.Viewer, inWorkspace, scopeAsk}, true

	case workspaces + "ListWorkspaces":
		return rule{identity.Viewer, anyWorkspace, always}, true
	case workspaces + "CreateWorkspace", workspaces + "DeleteWorkspace":
		return rule{identity.Admin, installation, scopeManage}, true

	case workspaces + "UpdateWorkspace", workspaces + "ListMembers", workspaces + "SetMember", workspaces + "RemoveMember":
		return rule{identity.Admin, inWorkspace, scopeManage}, true

	case keys + "CreateKey", keys + "RotateKey", keys + "ListKeys", keys + "RevokeKey":
		return rule{identity.Admin, administered, scopeManage}, true

	case operations + "Backup":
		return rule{identity.Admin, everything, scopeManage}, true

	case retriever + "Search", retriever + "GetDocument", retriever + "ListDocuments", retriever + "ReadDocument", retriever + "Watch",
		retriever + "CheckDocuments", retriever + "GetQueue":
		return rule{identity.Viewer, inWorkspace, scopeRead}, true
	case retriever + "CreateUpload", retriever + "PutPart", retriever + "CommitUpload", retriever + "PutDocument", retriever + "DeleteDocument",
		retriever + "CancelIngestion", retriever + "RetryIngestion", retriever + "RetryDocuments", retriever + "SetDocumentAccess":
		return rule{identity.Editor, inWorkspace, scopeWrite}, true
	case retriever + "DeleteWorkspace":
		return rule{identity.Admin, inWorkspace, scopeManage}, true

	case tools + "ListTools":
		return rule{identity.Viewer, inWorkspace, always}, true
	case tools + "Call": // only a turn calls tools, where approval and audit are
		return rule{identity.Admin, closed, scopeManage}, true

	case llm + "ListModels", llm + "ListPrompts":
		return rule{identity.Viewer, anyWorkspace, always}, true
	case llm + "RenderPrompt":
		return rule{identity.Viewer, inWorkspace, always}, true
	case llm + "GetUsage": // who spent what is for those who answer for it
		return rule{identity.Admin, inWorkspace, scopeManage}, true
	case llm + "Generate", llm + "Embed", llm + "Rerank", // models cost money; Chat is the way to them
		llm + "DeleteWorkspace": // which is a part of deleting one
		return rule{identity.Admin, closed, scopeManage}, true

	case eval + "GetTrace", eval + "ListTraces", eval + "GetRun", eval + "CompareRuns", eval + "ListGaps":
		return rule{identity.Viewer, inWorkspace, scopeEval}, true
	case eval + "CreateRun", eval + "Replay":
		return rule{identity.Editor, inWorkspace, scopeEval}, true
	}
	return rule{}, false
}
