// Package openai serves OpenAI's HTTP API at the edge, so that whatever speaks to OpenAI speaks to ragmesh: GET /v1/models
// and POST /v1/chat/completions, streamed or not. A model is an assistant in a workspace: "support" is the workspace support
// with its default prompt, "support/brief" the same with the prompt template brief. Each request is a turn like any other:
// authorised, stored, traced; what OpenAI's form has no place for is in the field "ragmesh".
package openai

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"net/http"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// maxBody bounds a request: a question and the conversation before it.
const maxBody = 1 << 20

// Asker answers questions; *turn.Answerer is one.
type Asker interface {
	Ask(ctx context.Context, q turn.Question, sink turn.Sink) error
}

// Caller is who sent a request, once they were let in.
type Caller struct {
	Workspace string
	User      string
}

// Gate lets requests in or refuses them.
type Gate interface {
	// Admit says who sends r and whether they may chat in workspace, by default their own or the default one.
	Admit(r *http.Request, workspace string) (context.Context, Caller, error)
	// Workspaces returns where the sender of r may chat.
	Workspaces(r *http.Request) (context.Context, []Workspace, error)
}

// Workspace is one that a caller may chat in.
type Workspace struct {
	ID        string
	CreatedAt time.Time
}

// Prompts lists the prompt templates.
type Prompts func(ctx context.Context) ([]string, error)

// Deps are what a Handler works with.
type Deps struct {
	Asker   Asker
	Gate    Gate
	Prompts Prompts
	Now     func() time.Time
	// Report is told how each request ended.
	Report func(ctx context.Context, err error)
}

// Handler serves the API. It is safe for concurrent use.
type Handler struct{ deps Deps }

// New returns a Handler.
func New(d Deps) *Handler { return &Handler{deps: d} }

// Routes are the handler's patterns, as [http.ServeMux] takes them.
func (h *Handler) Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /v1/models":            h.listModels,
		"GET /v1/models/{model...}": h.getModel,
		"POST /v1/chat/completions": h.chat,
		"/v1/":                      h.unknown,
	}
}

// chat answers the last message of a conversation.
func (h *Handler) chat(w http.ResponseWriter, r *http.Request) {
	asked, err := decode(http.MaxBytesReader(w, r.Body, maxBody), r.Header)
	if err != nil {
		h.fail(r.Context(), w, err)
		return
	}
	ctx, who, err := h.deps.Gate.Admit(r, asked.workspace)
	if err != nil {
		h.fail(ctxOf(ctx, r), w, modelUnknown(err, asked.Model))
		return
	}
	q := asked.question(who)
	out := answer{id: "", model: asked.Model, created: h.deps.Now().Unix(), asked: asked}
	if asked.Stream {
		q.Committed = true // what was sent can't be taken back in OpenAI's form
		err = h.stream(ctx, w, q, &out)
	} else {
		err = h.whole(ctx, w, q, &out)
	}
	h.deps.Report(ctx, err)
}

// whole answers with one object.
func (h *Handler) whole(ctx context.Context, w http.ResponseWriter, q turn.Question, out *answer) error {
	err := h.deps.Asker.Ask(ctx, q, func(e turn.Event) error {
		out.take(e)
		return nil
	})
	if err == nil {
		err = out.failure()
	}
	if err != nil {
		refusal.Write(w, modelUnknown(err, out.model))
		return err
	}
	w.Header().Set("X-Request-Id", out.id)
	refusal.JSON(w, http.StatusOK, out.completion())
	return nil
}

// fail answers with an error and reports it.
func (h *Handler) fail(ctx context.Context, w http.ResponseWriter, err error) {
	refusal.Write(w, err)
	h.deps.Report(ctx, err)
}

func ctxOf(ctx context.Context, r *http.Request) context.Context {
	if ctx == nil {
		return r.Context()
	}
	return ctx
}

func (h *Handler) unknown(w http.ResponseWriter, r *http.Request) {
	h.fail(r.Context(), w, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "Unknown request URL: %s %s. There are GET /v1/models and POST /v1/chat/completions.", refusal.Clip(r.Method, 16), refusal.Clip(r.URL.Path, 128)))
}

// model is an entry of the list of models.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// models returns the assistants that the sender of r may talk to.
func (h *Handler) models(r *http.Request) (context.Context, []model, error) {
	ctx, workspaces, err := h.deps.Gate.Workspaces(r)
	if err != nil {
		return ctx, nil, err
	}
	prompts, err := h.deps.Prompts(ctx)
	if err != nil {
		prompts = nil // the default assistants are there whatever the gateway says
	}
	list := []model{}
	for _, ws := range workspaces {
		entry := model{ID: ws.ID, Object: "model", Created: max(ws.CreatedAt.Unix(), 0), OwnedBy: "ragmesh"}
		list = append(list, entry)
		for _, prompt := range prompts {
			if prompt != defaultPrompt {
				entry.ID = ws.ID + "/" + prompt
				list = append(list, entry)
			}
		}
	}
	return ctx, list, nil
}

// defaultPrompt is the template behind a workspace's plain name.
const defaultPrompt = "default"

func (h *Handler) listModels(w http.ResponseWriter, r *http.Request) {
	ctx, list, err := h.models(r)
	if err != nil {
		h.fail(ctxOf(ctx, r), w, err)
		return
	}
	refusal.JSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
	h.deps.Report(ctx, nil)
}

func (h *Handler) getModel(w http.ResponseWriter, r *http.Request) {
	ctx, list, err := h.models(r)
	if err != nil {
		h.fail(ctxOf(ctx, r), w, err)
		return
	}
	id := r.PathValue("model")
	for _, m := range list {
		if m.ID == id {
			refusal.JSON(w, http.StatusOK, m)
			h.deps.Report(ctx, nil)
			return
		}
	}
	h.fail(ctx, w, refusal.NoModel(id))
}

// sessionOf names the session that a conversation is kept in: requests that continue one another share it, because they begin
// with the same message of the same user.
func sessionOf(who Caller, first string) string {
	sum := sha256.Sum256([]byte(who.Workspace + "\x00" + who.User + "\x00" + first))
	return "c-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:15]))
}
