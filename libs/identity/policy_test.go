package identity

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1" // the tests read every service's descriptors
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
)

func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		issuer, procedure string
		want              bool
	}{
		{Dialog, "/ragmesh.retriever.v1.RetrieverService/Search", true},
		{Dialog, "/ragmesh.eval.v1.EvalService/CreateRun", true},
		{Retriever, "/ragmesh.llm.v1.LLMService/Embed", true},
		{Retriever, "/ragmesh.llm.v1.LLMService/Rerank", true},
		{Retriever, "/ragmesh.llm.v1.LLMService/Generate", false},
		{Retriever, "/ragmesh.tools.v1.ToolsService/Call", false},
		{Eval, "/ragmesh.dialog.v1.DialogService/Chat", true},
		{Eval, "/ragmesh.dialog.v1.DialogService/GetTurn", true},
		{Eval, "/ragmesh.dialog.v1.KeyService/CreateKey", false},
		{Eval, "/ragmesh.llm.v1.LLMService/Generate", true},
		{Eval, "/ragmesh.retriever.v1.RetrieverService/DeleteWorkspace", false},
		{Eval, "/ragmesh.retriever.v1.RetrieverService/Search", true},
		{Eval, "/ragmesh.retriever.v1.RetrieverService/ReadDocument", false},
		{Eval, "/ragmesh.tools.v1.ToolsService/ListTools", true},
		{Eval, "/ragmesh.tools.v1.ToolsService/Call", false},
		{Tools, "/ragmesh.llm.v1.LLMService/Generate", false},
		{Tools, "/ragmesh.retriever.v1.RetrieverService/Search", true},
		{Tools, "/ragmesh.retriever.v1.RetrieverService/ReadDocument", true},
		{Tools, "/ragmesh.retriever.v1.RetrieverService/DeleteDocument", false},
		{Gateway, "/ragmesh.retriever.v1.RetrieverService/Search", false},
		{"", "/ragmesh.llm.v1.LLMService/Embed", false},
	} {
		if got := Allowed(test.issuer, test.procedure); got != test.want {
			t.Errorf("%s calls %s: %t", test.issuer, test.procedure, got)
		}
	}
}

// A procedure that is renamed must be renamed in the table too.
func TestTableNamesProceduresThatExist(t *testing.T) {
	t.Parallel()
	for issuer, list := range allowed {
		if !slices.Contains(Services(), issuer) {
			t.Errorf("%s is no service", issuer)
		}
		for _, procedure := range list {
			if procedure == "*" {
				continue
			}
			name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(procedure, "/"), "/", "."))
			if _, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err != nil {
				t.Errorf("%s: %v", procedure, err)
			}
		}
	}
}

// The graph as people know it, from ARCHITECTURE.md: a change here is a change of who can reach whom in a cluster.
func TestCallGraph(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		Dialog:    {Retriever, Tools, Gateway, Eval},
		Retriever: {Gateway},
		Tools:     {Retriever},
		Gateway:   {},
		Eval:      {Dialog, Retriever, Tools, Gateway},
	}
	if diff := cmp.Diff(want, CallGraph()); diff != "" {
		t.Errorf("CallGraph() (-want +got):\n%s", diff)
	}
	for _, callee := range Services() {
		for _, caller := range Services() {
			if called, calls := slices.Contains(Callers(callee), caller), slices.Contains(want[caller], callee); called != calls {
				t.Errorf("Callers(%s) has %s: %t, CallGraph says %t", callee, caller, called, calls)
			}
		}
	}
	if got := Callers("nobody"); len(got) != 0 {
		t.Errorf("%v call a service that there is not", got)
	}
}

// Only dialog acts for people. What the others call for themselves changes nothing, so that a service that was taken over
// can't delete what it has no part in. Chat is the exception: a replay is a turn.
func TestServicesOnlyReadFromEachOther(t *testing.T) {
	t.Parallel()
	for issuer, list := range allowed {
		for _, procedure := range list {
			if procedure == "*" {
				if issuer != Dialog {
					t.Errorf("%s may call everything", issuer)
				}
				continue
			}
			descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(procedure, "/"), "/", ".")))
			if err != nil {
				t.Error(err)
				continue
			}
			options, _ := descriptor.Options().(*descriptorpb.MethodOptions)
			generates := strings.HasSuffix(procedure, "DialogService/Chat") || strings.HasSuffix(procedure, "LLMService/Generate")
			if !generates && options.GetIdempotencyLevel() != descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
				t.Errorf("%s may call %s, which has side effects", issuer, procedure)
			}
		}
	}
}

// Every package with services belongs to one of ours, or a procedure of it would be in nobody's graph.
func TestEveryPackageHasAService(t *testing.T) {
	t.Parallel()
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		name := string(file.Package())
		if strings.HasPrefix(name, "ragmesh.") && file.Services().Len() > 0 && packages[name] == "" {
			t.Errorf("package %s is no service's", name)
		}
		return true
	})
	for name, service := range packages {
		if !slices.Contains(Services(), service) {
			t.Errorf("%s belongs to %s, which is no service", name, service)
		}
	}
}

func TestCheckWorkspace(t *testing.T) {
	t.Parallel()
	p := Principal{Workspace: "bank"}
	for name, test := range map[string]struct {
		request any
		ok      bool
	}{
		"own":                     {&retrieverv1.SearchRequest{Workspace: "bank"}, true},
		"another":                 {&retrieverv1.SearchRequest{Workspace: "shop"}, false},
		"none given":              {&retrieverv1.SearchRequest{}, false},
		"request without one":     {&llmv1.ListModelsRequest{}, true},
		"no protobuf message":     {"bank", true},
		"list of another's names": {&dialogv1.CreateKeyRequest{Workspaces: []string{"shop"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := CheckWorkspace(p, test.request)
			if test.ok != (err == nil) {
				t.Fatalf("got %v", err)
			}
			if err != nil && (fault.KindOf(err) != fault.NotFound || fault.ReasonOf(err) != fault.WorkspaceNotFound) {
				t.Errorf("got %s %s", fault.KindOf(err), fault.ReasonName(fault.ReasonOf(err)))
			}
		})
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, r := range []Role{0, Viewer, Editor, Admin} {
		got, err := ParseRole(r.String())
		if err != nil || got != r {
			t.Errorf("%q parses as %d, %v", r, got, err)
		}
	}
	if _, err := ParseRole("root"); err == nil {
		t.Error("root is a role")
	}
	if !(Viewer < Editor && Editor < Admin) {
		t.Error("roles are not in order")
	}
	if Role(9).String() != "" {
		t.Error("a role that is none has a name")
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	if _, ok := FromContext(t.Context()); ok {
		t.Error("a principal in an empty context")
	}
	want := Background(Retriever, "bank")
	got, ok := FromContext(NewContext(t.Context(), want))
	if !ok || got.Workspace != "bank" || got.Subject != Retriever || got.Service != Retriever {
		t.Errorf("got %+v", got)
	}
}
