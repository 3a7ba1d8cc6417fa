package turn

import (
	"context"
	"errors"
	"io"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/followup"
)

// RewritePrompt is the llm-gateway's prompt that makes follow-ups standalone. It answers nobody.
const RewritePrompt = "rewrite"

// The ways to make a follow-up standalone.
const (
	ByRules = "rules"
	ByModel = "model"
	ByBoth  = "auto" // a model where there is one and the rules are not sure
)

const (
	maxRewritten     = 4 << 10 // bytes of a model's text that are read
	rewriteTokens    = 256     // that it is given for it
	rewriteHistory   = 4       // exchanges that it is shown
	rewriteTextBytes = 2 << 10 // of each text in them
)

// rewritten is how the question became standalone.
type rewritten struct {
	Question string `json:"question"`
	Rule     string `json:"rule"`
	Topic    string `json:"topic,omitempty"`
	By       string `json:"by"`
	Model    string `json:"model,omitempty"`
	Usage    *Usage `json:"usage,omitempty"`
	// Instead says why rules did what a model was to do.
	Instead string `json:"instead,omitempty"`
}

// rewrite makes the question standalone: by rules, and by a model where that is configured.
func (r *run) rewrite(ctx context.Context, history []Turn) {
	recent := history[max(0, len(history)-r.terms.cfg.History):]
	earlier := make([]followup.Exchange, 0, len(recent))
	for _, h := range recent {
		if h.Withheld {
			continue
		}
		e := followup.Exchange{Question: h.Standalone, Answer: h.Answer}
		for _, c := range h.Citations {
			e.Titles = append(e.Titles, c.Title)
		}
		earlier = append(earlier, e)
	}
	input := map[string]any{"question": r.turn.Question, "history": len(recent)}
	if r.q.History != nil { // in no session that it could be read from
		input["given"] = r.q.History[len(r.q.History)-len(recent):]
	}
	ctx, st := r.stage(ctx, "rewrite", self, input)
	got := followup.Rewrite(r.turn.Question, earlier)
	out := rewritten{Question: got.Question, Rule: got.Rule, Topic: got.Topic, By: ByRules}
	status := StatusOK
	if r.asksModel(got, earlier) {
		if err := r.remodel(ctx, &out, earlier); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			out.Instead = reasonOf(err)
			if fault.KindOf(err) == fault.Invalid { // what the model said can't be used
				out.Instead = fault.As(err).Message
			}
			if r.terms.cfg.FollowUp.By == ByModel {
				status = StatusDegraded
				r.degrade(Degradation{Stage: "rewrite", Reason: reasonOf(err), Message: "The follow-up was made standalone by rules instead of a model: " + fault.As(err).Message})
			}
		}
	}
	out.Question = clip(out.Question, maxQuestion)
	r.turn.Standalone = out.Question
	r.turn.Language = languageOf(r.turn.Question, r.turn.Standalone)
	st.span.SetAttributes(attribute.String("ragmesh.rewrite.by", out.By))
	st.end(status, out, nil)
}

// asksModel decides whether a model is to have a say.
func (r *run) asksModel(got followup.Result, earlier []followup.Exchange) bool {
	if len(earlier) == 0 || r.a.models == nil {
		return false
	}
	switch r.terms.cfg.FollowUp.By {
	case ByModel:
		return true
	case ByBoth:
		return followup.Unsure(r.turn.Question, got, earlier)
	default:
		return false
	}
}

// remodel has a model make the question standalone. Whatever goes wrong, the rules' question stays.
func (r *run) remodel(ctx context.Context, out *rewritten, earlier []followup.Exchange) error {
	cfg := r.terms.cfg
	type said struct {
		text  string
		model string
		usage Usage
	}
	zero := 0.0
	got, err := within(ctx, &r.a.calls, cfg.Budget.Rewrite, func(ctx context.Context) (*said, error) {
		there, err := r.a.models.Real(ctx, cfg.FollowUp.Model)
		if err != nil || !there {
			return nil, err
		}
		g := Generate{
			Workspace: r.q.Workspace, Session: r.turn.Session, Question: r.turn.Question, PromptID: RewritePrompt, Model: cfg.FollowUp.Model,
			Language: languageOf(r.turn.Question, ""), Form: Form{MaxTokens: rewriteTokens, Temperature: &zero},
		}
		for _, e := range earlier[max(0, len(earlier)-rewriteHistory):] {
			if strings.TrimSpace(e.Answer) == "" {
				continue
			}
			g.History = append(g.History, Message{Text: clip(e.Question, rewriteTextBytes)},
				Message{Assistant: true, Text: clip(citing.WithoutMarkers(e.Answer), rewriteTextBytes)})
		}
		s, err := r.a.model.Generate(ctx, g)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		var text strings.Builder
		var from said
		for {
			p, err := s.Next()
			switch {
			case errors.Is(err, io.EOF):
				return nil, fault.New(fault.Unavailable, fault.ProviderStreamCut, "the model's text ended before its end")
			case err != nil:
				return nil, err
			case p.Started != nil:
				if p.Started.Provider == builtin {
					return nil, fault.New(fault.Unavailable, fault.ServiceUnavailable, "no language model answers just now")
				}
				from.model = clip(p.Started.ProviderModel, maxName)
			case p.Completed != nil:
				from.text, from.usage = text.String(), p.Completed.Usage
				return &from, nil
			}
			if text.WriteString(p.Text); text.Len() > maxRewritten {
				return nil, fault.New(fault.Invalid, fault.InvalidRequest, "too long")
			}
		}
	})
	if err != nil {
		return err
	}
	if got == nil { // there is no model: the rules are what there is
		if cfg.FollowUp.By == ByModel {
			return fault.New(fault.Precondition, fault.ModelNotFound, "no language model is configured")
		}
		return nil
	}
	out.Model, out.Usage = got.model, &got.usage
	question, why := followup.Usable(r.turn.Question, got.text, earlier)
	if why != "" {
		return fault.New(fault.Invalid, fault.InvalidRequest, "%s", why)
	}
	*out = rewritten{Question: question, Rule: "model", By: ByModel, Model: got.model, Usage: &got.usage}
	return nil
}

// builtin is the provider that needs no model; it answers from sources and rewrites nothing.
const builtin = "extractive"
