package access

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
)

// procedures returns every procedure of every service, from the contract itself.
func procedures() map[string]protoreflect.MethodDescriptor {
	// Whatever else is in these packages is registered with them.
	packages := []protoreflect.FullName{
		dialogv1.File_ragmesh_dialog_v1_dialog_proto.Package(), retrieverv1.File_ragmesh_retriever_v1_retriever_proto.Package(),
		toolsv1.File_ragmesh_tools_v1_tools_proto.Package(), llmv1.File_ragmesh_llm_v1_llm_proto.Package(), evalv1.File_ragmesh_eval_v1_eval_proto.Package(),
	}
	all := map[string]protoreflect.MethodDescriptor{}
	for _, name := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(name, func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				service := file.Services().Get(i)
				for j := range service.Methods().Len() {
					method := service.Methods().Get(j)
					all[fmt.Sprintf("/%s/%s", service.FullName(), method.Name())] = method
				}
			}
			return true
		})
	}
	return all
}

func TestEveryProcedureHasARule(t *testing.T) {
	t.Parallel()
	for procedure, method := range procedures() {
		r, ok := ruleOf(procedure)
		if !ok {
			t.Errorf("%s is not in the table: say who may call it, or that it is closed", procedure)
			continue
		}
		if r.role < identity.Viewer || r.role > identity.Admin {
			t.Errorf("%s has role %d", procedure, r.role)
		}
		if r.scope != always && !slices.Contains(Scopes(), r.scope) {
			t.Errorf("%s needs the scope %q, which no key can have", procedure, r.scope)
		}
		// What changes something is never for every key.
		if options, ok := method.Options().(*descriptorpb.MethodOptions); r.scope == always && (!ok || options.GetIdempotencyLevel() != descriptorpb.MethodOptions_NO_SIDE_EFFECTS) {
			t.Errorf("%s changes something, and needs no scope", procedure)
		}
		// A request about a workspace must be checked against it.
		names := method.Input().Fields().ByName("workspace") != nil
		if names && r.reach == anyWorkspace {
			t.Errorf("%s names a workspace that nobody checks", procedure)
		}
		// Reading is for viewers, of what is served at all.
		if method.Options() != nil && r.reach == inWorkspace && r.role == identity.Viewer && method.Name() == "DeleteDocument" {
			t.Errorf("%s may be called by viewers", procedure)
		}
	}
	if _, ok := ruleOf("/ragmesh.dialog.v1.DialogService/New"); ok {
		t.Error("a procedure that is not there has a rule")
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	g := &Guard{workspaces: &Workspaces{known: map[string]Workspace{"a": {}, "b": {}}, table: newTable(), now: clock}}
	roles := []identity.Role{0, identity.Viewer, identity.Editor, identity.Admin}
	for procedure := range procedures() {
		r, _ := ruleOf(procedure)
		for _, role := range roles {
			// All workspaces: the role alone decides.
			_, err := g.Authorize(t.Context(), Grant{Subject: "x", Role: role}, procedure, "a")
			if want := role >= r.role && r.reach != closed && r.reach != everything; (err == nil) != want {
				t.Errorf("%s as %v: %v", procedure, role, err)
			}
			kind := fault.Denied
			if role == 0 && r.reach == inWorkspace { // who has no business in a workspace is not told that it is there
				kind = fault.NotFound
			}
			if err != nil && fault.KindOf(err) != kind {
				t.Errorf("%s as %v: %v", procedure, role, err)
			}
			// Whoever runs the installation: the role alone decides, about everything too.
			_, err = g.Authorize(t.Context(), Grant{Subject: "x", Role: role, Owner: true}, procedure, "a")
			if want := role >= r.role && r.reach != closed; (err == nil) != want {
				t.Errorf("%s as %v, the owner: %v", procedure, role, err)
			}
			// One workspace: nothing else is there, and nothing about the whole installation either.
			one := Grant{Subject: "x", Role: role, Workspaces: []string{"a"}}
			if _, err := g.Authorize(t.Context(), one, procedure, "b"); err == nil && r.reach != anyWorkspace && r.reach != administered {
				t.Errorf("%s as %v of a reaches b", procedure, role)
			}
			p, err := g.Authorize(t.Context(), one, procedure, "a")
			if want := role >= r.role && (r.reach == inWorkspace || r.reach == anyWorkspace || r.reach == administered); (err == nil) != want {
				t.Errorf("%s as %v of a: %v", procedure, role, err)
			}
			if err == nil && p.Workspace != "a" {
				t.Errorf("%s as %v of a is for %q", procedure, role, p.Workspace)
			}
		}
	}
	if _, err := g.Authorize(t.Context(), Grant{Role: identity.Admin}, "/ragmesh.dialog.v1.DialogService/New", "a"); fault.KindOf(err) != fault.Denied {
		t.Errorf("an unknown procedure: %v", err)
	}
	if _, err := g.Authorize(t.Context(), Grant{Role: identity.Admin}, "/ragmesh.dialog.v1.DialogService/Chat", "nope"); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("an unknown workspace: %v", err)
	}
}
