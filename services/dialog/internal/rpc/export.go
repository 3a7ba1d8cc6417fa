package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/services/dialog/internal/export"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/store"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

const (
	// exportPage is how many turns are held at once.
	exportPage = 8
	// exportPiece is how large a piece of the file is.
	exportPiece = 256 << 10
)

// ExportSession implements the contract.
func (d *Dialog) ExportSession(ctx context.Context, m *dialogv1.ExportSessionRequest, out *connect.ServerStream[dialogv1.ExportSessionResponse]) error {
	conversation, err := d.store.Open(ctx, reader(ctx), m.GetWorkspace(), m.GetSessionId(), false)
	if err != nil {
		return err
	}
	s := conversation.Session
	file := &exportFile{send: out.Send, first: &dialogv1.ExportSessionResponse{FileName: fileName(s) + ".md", ContentType: "text/markdown; charset=utf-8"}}
	turns := d.exported(ctx, m.GetWorkspace(), conversation)
	if m.GetFormat() == dialogv1.ExportFormat_EXPORT_FORMAT_JSON {
		file.first.FileName, file.first.ContentType = fileName(s)+".json", "application/json"
		err = exportJSON(file, s, turns)
	} else {
		err = export.Markdown(file, export.Head{
			Title: s.Title, Begun: s.CreatedAt, Ended: s.UpdatedAt, Exported: d.now(), Session: s.ID, User: s.User, Turns: conversation.Len(),
		}, turns)
	}
	if err != nil {
		return err
	}
	return file.flush()
}

// exported are a conversation's turns as the caller may see them, read page by page.
func (d *Dialog) exported(ctx context.Context, workspace string, c *store.Conversation) iter.Seq2[turn.Turn, error] {
	return func(yield func(turn.Turn, error) bool) {
		for at := 0; at < c.Len(); at += exportPage {
			turns, err := c.Page(ctx, at, exportPage)
			if err != nil {
				yield(turn.Turn{}, err)
				return
			}
			for _, t := range d.shown(ctx, workspace, turns) {
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

// exportJSON writes {"session": ..., "turns": [...]}, one turn at a time.
func exportJSON(w io.Writer, s store.Session, turns iter.Seq2[turn.Turn, error]) error {
	if err := writeMessage(w, `{"session":`, session(s)); err != nil {
		return err
	}
	between := `,"turns":[` + "\n"
	n := 0
	for t, err := range turns {
		if err != nil {
			return err
		}
		if err := writeMessage(w, between, record.Turn(t)); err != nil {
			return err
		}
		between = ",\n"
		n++
	}
	if n == 0 {
		between = `,"turns":[]}` + "\n"
	} else {
		between = "\n]}\n"
	}
	_, err := io.WriteString(w, between)
	return err
}

func writeMessage(w io.Writer, before string, m proto.Message) error {
	data, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("export session: %w", err)
	}
	line := bytes.NewBufferString(before)
	if err := json.Compact(line, data); err != nil { // protojson varies its white space on purpose
		return fmt.Errorf("export session: %w", err)
	}
	_, err = line.WriteTo(w)
	return err
}

// exportFile sends what is written to it.
type exportFile struct {
	send  func(*dialogv1.ExportSessionResponse) error
	first *dialogv1.ExportSessionResponse // nil once it was sent
	data  []byte
}

// Write implements [io.Writer].
func (p *exportFile) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		n := min(len(rest), exportPiece-len(p.data))
		p.data = append(p.data, rest[:n]...)
		if rest = rest[n:]; len(p.data) == exportPiece {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(data), nil
}

func (p *exportFile) flush() error {
	if len(p.data) == 0 && p.first == nil {
		return nil
	}
	piece := p.first
	if piece == nil {
		piece = &dialogv1.ExportSessionResponse{}
	}
	piece.Data = p.data
	p.first, p.data = nil, p.data[:0]
	return p.send(piece)
}

// fileName is a session's title as a file's name: letters and digits of any script, and nothing that means something to a shell
// or a path.
func fileName(s store.Session) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.M, r) {
			return unicode.ToLower(r)
		}
		return ' '
	}, s.Title)
	name = strings.Join(strings.Fields(name), "-")
	for len(name) > 100 {
		cut := strings.LastIndexByte(name[:100], '-')
		if cut <= 0 {
			return "session-" + s.ID
		}
		name = name[:cut]
	}
	if name == "" {
		return "session-" + s.ID
	}
	return name
}
