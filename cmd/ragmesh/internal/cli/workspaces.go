package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

func (a *app) workspaces() *cobra.Command {
	c := &cobra.Command{Use: "workspaces", Short: "Make, list, rename and delete workspaces"}
	c.AddCommand(a.workspacesList(), a.workspacesCreate(), a.workspacesRename(), a.workspacesRetain(), a.workspacesDelete())
	return c
}

func (a *app) workspacesList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the workspaces you may enter",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			resp, err := c.Workspaces.ListWorkspaces(ctx, &dialogv1.ListWorkspacesRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			rows := make([][]string, 0, len(resp.GetWorkspaces()))
			for _, ws := range resp.GetWorkspaces() {
				rows = append(rows, []string{ws.GetWorkspace(), oneLine(ws.GetDisplayName(), 40), day(ws.GetCreatedAt(), ""), retention(ws)})
			}
			a.out.table([]string{"WORKSPACE", "NAME", "CREATED", "SESSIONS KEPT"}, rows)
			return nil
		}),
	}
}

// retention says how long a workspace keeps sessions where it says so itself.
func retention(ws *dialogv1.Workspace) string {
	if ws.GetSessionRetention() == nil {
		return ""
	}
	return ws.GetSessionRetention().AsDuration().String()
}

func (a *app) workspacesCreate() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:     "create WORKSPACE",
		Short:   "Make a workspace",
		Long:    "Make a workspace, with documents, conversations and members of its own. Needs the role admin in all workspaces.",
		Example: "  ragmesh workspaces create bank --name \"The bank\"",
		Args:    cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			resp, err := c.Workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: args[0], DisplayName: name})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.out.printf("workspace %s is there; use it with -w %[1]s\n", resp.GetWorkspace().GetWorkspace())
			return nil
		}),
	}
	c.Flags().StringVar(&name, "name", "", "what people call it (default: its id)")
	return c
}

func (a *app) workspacesRename() *cobra.Command {
	return &cobra.Command{
		Use:   "rename WORKSPACE NAME",
		Short: "Change what people call a workspace; its id stays",
		Args:  cobra.ExactArgs(2),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			return a.updateWorkspace(ctx, c, &dialogv1.UpdateWorkspaceRequest{Workspace: args[0], DisplayName: &args[1]})
		}),
	}
}

func (a *app) workspacesRetain() *cobra.Command {
	return &cobra.Command{
		Use:     "retain WORKSPACE DURATION",
		Short:   "Say how long a workspace keeps a conversation after its last turn",
		Long:    "Say how long a workspace keeps a conversation after its last turn: 1h or more, or 0 for as long as the server's configuration says.",
		Example: "  ragmesh workspaces retain bank 720h",
		Args:    cobra.ExactArgs(2),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			keep, err := time.ParseDuration(args[1])
			if err != nil {
				return usagef("%q is not a duration; write e.g. 720h, or 0", args[1])
			}
			return a.updateWorkspace(ctx, c, &dialogv1.UpdateWorkspaceRequest{Workspace: args[0], SessionRetention: durationpb.New(keep)})
		}),
	}
}

func (a *app) updateWorkspace(ctx context.Context, c *client.Client, req *dialogv1.UpdateWorkspaceRequest) error {
	resp, err := c.Workspaces.UpdateWorkspace(ctx, req)
	if err != nil {
		return err
	}
	if a.json {
		return a.out.message(resp)
	}
	ws := resp.GetWorkspace()
	a.out.printf("workspace %s is called %q", ws.GetWorkspace(), clean(ws.GetDisplayName()))
	if kept := retention(ws); kept != "" {
		a.out.printf("; conversations are kept for %s", kept)
	}
	a.out.printf("\n")
	return nil
}

func (a *app) workspacesDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:     "delete WORKSPACE",
		Aliases: []string{"rm"},
		Short:   "Delete a workspace with everything in it",
		Long: `Delete a workspace with everything in it: documents, conversations, feedback, traces, members, and the API keys that are for it alone.
Nobody reaches it from then on, and nothing brings it back. The default workspace is emptied and stays.

Asks for the workspace's id; a script says --yes instead.`,
		Args: cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			if !yes {
				if err := a.confirm(args[0]); err != nil {
					return err
				}
			}
			resp, err := c.Workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.out.printf("deleted %s\n", args[0])
			return nil
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return c
}

// confirm has a person write what is to be deleted.
func (a *app) confirm(workspace string) error {
	if !a.err.terminal {
		return usagef("deleting %s can't be taken back; say --yes if that is meant", workspace)
	}
	a.err.printf("This deletes workspace %s with everything in it and can't be taken back.\nWrite its id to go on: ", workspace)
	line, err := bufio.NewReader(io.LimitReader(a.Stdin, 1<<10)).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("read answer: %w", err)
	}
	if strings.TrimSpace(line) != workspace {
		return fmt.Errorf("that is not %s; nothing was deleted", workspace)
	}
	return nil
}

func (a *app) members() *cobra.Command {
	c := &cobra.Command{
		Use:   "members",
		Short: "List, set and remove who may do what in a workspace",
		Long: `List, set and remove who may do what in a workspace: people, groups of an identity provider, and service accounts.

A MEMBER is "user:NAME" or "user:ADDRESS" (as the identity provider has them), "group:NAME", or "service:NAME" for a service account, which
is made by giving it a role. Needs the role admin in the workspace.`,
	}
	c.AddCommand(a.membersList(), a.membersSet(), a.membersRemove())
	return c
}

func (a *app) membersList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the workspace's members",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			resp, err := c.Workspaces.ListMembers(ctx, &dialogv1.ListMembersRequest{Workspace: a.workspace})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			if len(resp.GetMembers()) == 0 {
				a.out.printf("No members in workspace %s: who may enter all workspaces may enter it. Add some with `ragmesh members set`.\n", a.workspace)
				return nil
			}
			rows := make([][]string, 0, len(resp.GetMembers()))
			for _, m := range resp.GetMembers() {
				rows = append(rows, []string{oneLine(m.GetMember(), 60), roleName(m.GetRole()), day(m.GetAddedAt(), "?"), oneLine(m.GetAddedBy(), 40)})
			}
			a.out.table([]string{"MEMBER", "ROLE", "SINCE", "BY"}, rows)
			return nil
		}),
	}
}

func roleName(r dialogv1.AccessRole) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "ACCESS_ROLE_"))
}

func (a *app) membersSet() *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:     "set MEMBER... --role ROLE",
		Short:   "Give members a role, in place of the one they have",
		Example: "  ragmesh members set -w bank user:ann@example.com group:support --role editor\n  ragmesh members set -w bank service:importer --role editor",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			parsed, ok := dialogv1.AccessRole_value["ACCESS_ROLE_"+strings.ToUpper(role)]
			if !ok || parsed == 0 {
				return usagef("%q is not a role; it is one of viewer, editor, admin", role)
			}
			return a.each(args, func(member string) error {
				resp, err := c.Workspaces.SetMember(ctx, &dialogv1.SetMemberRequest{Workspace: a.workspace, Member: member, Role: dialogv1.AccessRole(parsed)})
				if err != nil {
					return err
				}
				if a.json {
					return a.out.message(resp)
				}
				a.out.printf("%s is %s in %s\n", oneLine(resp.GetMember().GetMember(), 0), roleName(resp.GetMember().GetRole()), a.workspace)
				return nil
			})
		}),
	}
	c.Flags().StringVar(&role, "role", "", "what they may do: viewer, editor or admin")
	must(c.MarkFlagRequired("role"))
	return c
}

func (a *app) membersRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm MEMBER...",
		Aliases: []string{"remove"},
		Short:   "Take members' roles away; a service account's keys are revoked",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(member string) error {
				resp, err := c.Workspaces.RemoveMember(ctx, &dialogv1.RemoveMemberRequest{Workspace: a.workspace, Member: member})
				if err != nil {
					return err
				}
				if a.json {
					return a.out.message(resp)
				}
				a.out.printf("removed %s from %s\n", oneLine(member, 0), a.workspace)
				return nil
			})
		}),
	}
}
