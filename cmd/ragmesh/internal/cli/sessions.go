package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

// sessionPage is how many sessions are asked for at once, turnPage how many turns.
const (
	sessionPage = 100
	turnPage    = 10
)

func (a *app) sessions() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List, show, rename, export and remove conversations",
		Long:  "List, show, rename, export and remove conversations: your own, and with an administrator's key those of others.\n\nWhere a command takes a SESSION, \"last\" is the one you asked in last.",
	}
	c.AddCommand(a.sessionsList(), a.sessionsShow(), a.sessionsRename(), a.sessionsExport(), a.sessionsRemove())
	return c
}

func (a *app) sessionsList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the workspace's conversations, the latest first",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			req := &dialogv1.ListSessionsRequest{Workspace: a.workspace, PageSize: sessionPage, AllUsers: all}
			var rows [][]string
			for {
				resp, err := c.Dialog.ListSessions(ctx, req)
				if err != nil {
					return err
				}
				if a.json {
					if err := a.out.message(resp); err != nil {
						return err
					}
				}
				for _, s := range resp.GetSessions() {
					rows = append(rows, sessionRow(s, all))
				}
				if resp.GetNextPageToken() == "" || resp.GetNextPageToken() == req.GetPageToken() {
					break
				}
				req.PageToken = resp.GetNextPageToken()
			}
			if a.json {
				return nil
			}
			if len(rows) == 0 {
				a.out.printf("No conversations in workspace %s. Begin one with `ragmesh chat`.\n", a.workspace)
				return nil
			}
			header := []string{"SESSION", "LAST ASKED", "TURNS", "TITLE"}
			if all {
				header = []string{"SESSION", "LAST ASKED", "TURNS", "USER", "TITLE"}
			}
			a.out.table(header, rows)
			return nil
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "everybody's, not only your own; needs the role admin")
	return c
}

func sessionRow(s *dialogv1.Session, all bool) []string {
	row := []string{s.GetSessionId(), s.GetUpdatedAt().AsTime().Format(time.RFC3339), strconv.FormatUint(uint64(s.GetTurnCount()), 10)}
	if all {
		row = append(row, oneLine(s.GetUser(), 40))
	}
	return append(row, oneLine(s.GetTitle(), 60))
}

// sessionID returns the session that a name means.
func (a *app) sessionID(ctx context.Context, c *client.Client, name string) (string, error) {
	if name != "last" {
		return name, nil
	}
	resp, err := c.Dialog.ListSessions(ctx, &dialogv1.ListSessionsRequest{Workspace: a.workspace, PageSize: 1})
	if err != nil {
		return "", err
	}
	if len(resp.GetSessions()) == 0 {
		return "", fault.New(fault.NotFound, fault.SessionNotFound, "you have no conversations in workspace %s; begin one with `ragmesh chat`", a.workspace)
	}
	return resp.GetSessions()[0].GetSessionId(), nil
}

func (a *app) sessionsShow() *cobra.Command {
	var replaced bool
	c := &cobra.Command{
		Use:   "show SESSION",
		Short: "Show a conversation's questions and answers",
		Args:  cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			return a.eachTurn(ctx, c, args[0], replaced, func(resp *dialogv1.ListTurnsResponse) error {
				if a.json {
					return a.out.message(resp)
				}
				for _, t := range resp.GetTurns() {
					a.showTurn(t)
				}
				return nil
			})
		}),
	}
	c.Flags().BoolVar(&replaced, "replaced", false, "also turns that later ones took the place of")
	return c
}

// eachTurn calls f with every page of a session's turns.
func (a *app) eachTurn(ctx context.Context, c *client.Client, name string, replaced bool, f func(*dialogv1.ListTurnsResponse) error) error {
	session, err := a.sessionID(ctx, c, name)
	if err != nil {
		return err
	}
	req := &dialogv1.ListTurnsRequest{Workspace: a.workspace, SessionId: session, PageSize: turnPage, IncludeReplaced: replaced}
	for {
		resp, err := c.Dialog.ListTurns(ctx, req)
		if err != nil {
			return err
		}
		if err := f(resp); err != nil {
			return err
		}
		if resp.GetNextPageToken() == "" || resp.GetNextPageToken() == req.GetPageToken() {
			return nil
		}
		req.PageToken = resp.GetNextPageToken()
	}
}

func (a *app) showTurn(t *dialogv1.Turn) {
	a.out.printf("%s\n", a.out.style(bold, "> "+strings.TrimSpace(clean(t.GetQuestion()))))
	a.out.printf("%s\n", a.out.style(dim, strings.Join([]string{"turn " + t.GetTurnId(), t.GetStartedAt().AsTime().Format(time.RFC3339), outcomes[t.GetOutcome()]}, "  ")))
	if answer := strings.TrimSpace(clean(t.GetAnswer())); answer != "" {
		a.out.printf("%s\n", answer)
	}
	if f := t.GetFailure(); f != nil {
		a.out.printf("%s\n", a.out.style(red, oneLine(f.GetMessage(), 0)))
	}
	a.showCitations(t)
	a.out.printf("\n")
}

func (a *app) sessionsRename() *cobra.Command {
	return &cobra.Command{
		Use:   "rename SESSION TITLE...",
		Short: "Give a conversation a title",
		Args:  cobra.MinimumNArgs(2),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			session, err := a.sessionID(ctx, c, args[0])
			if err != nil {
				return err
			}
			resp, err := c.Dialog.RenameSession(ctx, &dialogv1.RenameSessionRequest{Workspace: a.workspace, SessionId: session, Title: strings.Join(args[1:], " ")})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.out.printf("renamed %s to %s\n", session, oneLine(resp.GetSession().GetTitle(), 0))
			return nil
		}),
	}
}

func (a *app) sessionsExport() *cobra.Command {
	var format, file string
	var force bool
	c := &cobra.Command{
		Use:   "export SESSION",
		Short: "Write a conversation as Markdown or JSON",
		Long: "Write a conversation as Markdown or JSON, to standard output or to a file.\n\nWith --output a folder, the file there is named after the conversation. " +
			"A file that exists is left alone unless --force is given.",
		Example: "  ragmesh sessions export last > conversation.md\n  ragmesh sessions export last --output .\n  ragmesh sessions export 01J... --format json --output talk.json",
		Args:    cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			wanted, ok := formats[format]
			switch {
			case !ok:
				return usagef("%q is not a format; it is markdown or json", format)
			case format == "":
				wanted = formatOf(file)
			}
			session, err := a.sessionID(ctx, c, args[0])
			if err != nil {
				return err
			}
			written, err := a.exportTo(ctx, c, session, wanted, file, force)
			if err == nil && written != "" && !a.json {
				a.out.printf("written to %s\n", oneLine(written, 0))
			}
			return err
		}),
	}
	c.Flags().StringVar(&format, "format", "", "markdown or json (default: by the file's name, else markdown)")
	c.Flags().StringVarP(&file, "output", "o", "", "file or folder to write to (default: standard output)")
	c.Flags().BoolVar(&force, "force", false, "write over a file that exists")
	return c
}

var formats = map[string]dialogv1.ExportFormat{
	"": dialogv1.ExportFormat_EXPORT_FORMAT_MARKDOWN, "markdown": dialogv1.ExportFormat_EXPORT_FORMAT_MARKDOWN,
	"md": dialogv1.ExportFormat_EXPORT_FORMAT_MARKDOWN, "json": dialogv1.ExportFormat_EXPORT_FORMAT_JSON,
}

func formatOf(file string) dialogv1.ExportFormat {
	if strings.EqualFold(filepath.Ext(file), ".json") {
		return dialogv1.ExportFormat_EXPORT_FORMAT_JSON
	}
	return dialogv1.ExportFormat_EXPORT_FORMAT_MARKDOWN
}

// exportTo writes a session to a file, into a folder, or to standard output when file is empty, and returns the file's name. With
// --json the server's messages are printed instead.
func (a *app) exportTo(ctx context.Context, c *client.Client, session string, format dialogv1.ExportFormat, file string, force bool) (written string, err error) {
	stream, err := c.Dialog.ExportSession(ctx, &dialogv1.ExportSessionRequest{Workspace: a.workspace, SessionId: session, Format: format})
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }() // what matters has been received
	to := a.out.w
	var opened *os.File
	for first := true; stream.Receive(); first = false {
		piece := stream.Msg()
		if a.json {
			if err := a.out.message(piece); err != nil {
				return "", err
			}
			continue
		}
		if first && file != "" {
			if opened, err = create(file, piece.GetFileName(), force); err != nil {
				return "", err
			}
			to, written = opened, opened.Name()
		}
		if _, err = to.Write(piece.GetData()); err != nil {
			err = fmt.Errorf("write export: %w", err)
			break
		}
	}
	err = errors.Join(err, stream.Err())
	if opened == nil {
		return "", err
	}
	if err = errors.Join(err, opened.Close()); err != nil {
		return "", errors.Join(err, os.Remove(opened.Name())) // half a conversation is none
	}
	return written, nil
}

// create opens the file to write, which is called name when file is a folder.
func create(file, name string, force bool) (*os.File, error) {
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		name = filepath.Base(filepath.Clean("/" + name)) // whatever the server says, it is a name in that folder
		if name == "/" || name == "." {
			name = "conversation"
		}
		file = filepath.Join(file, name)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !force {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(file, flags, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s exists already; name another file", file)
	}
	if err != nil {
		return nil, fmt.Errorf("write export: %w", err)
	}
	return f, nil
}

func (a *app) sessionsRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm SESSION...",
		Aliases: []string{"remove"},
		Short:   "Remove conversations with everything that was said in them",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error { return a.removeSession(ctx, c, name) })
		}),
	}
}

func (a *app) removeSession(ctx context.Context, c *client.Client, name string) error {
	session, err := a.sessionID(ctx, c, name)
	if err != nil {
		return err
	}
	resp, err := c.Dialog.DeleteSession(ctx, &dialogv1.DeleteSessionRequest{Workspace: a.workspace, SessionId: session})
	if err != nil {
		return err
	}
	if a.json {
		return a.out.message(resp)
	}
	a.out.printf("removed %s (%d turns)\n", session, resp.GetRemovedTurns())
	return nil
}
