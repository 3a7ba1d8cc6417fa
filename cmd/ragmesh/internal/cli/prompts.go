package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

func (a *app) prompts() *cobra.Command {
	c := &cobra.Command{Use: "prompts", Short: "List prompt templates, and see what they make of a question"}
	c.AddCommand(a.promptsList(), a.promptsRender())
	return c
}

func (a *app) promptsList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the prompt templates",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			resp, err := c.Models.ListPrompts(ctx, &llmv1.ListPromptsRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			rows := make([][]string, 0, len(resp.GetPrompts()))
			for _, p := range resp.GetPrompts() {
				rows = append(rows, []string{p.GetPromptId(), p.GetRevision(), variables(p), canary(p), oneLine(p.GetDescription(), 60)})
			}
			a.out.table([]string{"PROMPT", "REVISION", "VARIABLES", "CANARY", "WHAT FOR"}, rows)
			return nil
		}),
	}
}

// variables names a template's variables; those that must be given have a star.
func variables(p *llmv1.Prompt) string {
	names := make([]string, 0, len(p.GetVariables()))
	for _, v := range p.GetVariables() {
		name := v.GetName()
		if v.GetRequired() {
			name += "*"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func canary(p *llmv1.Prompt) string {
	if p.GetCanaryPromptId() == "" {
		return ""
	}
	return fmt.Sprintf("%s %g %%", p.GetCanaryPromptId(), p.GetCanaryPercent())
}

func (a *app) promptsRender() *cobra.Command {
	generate := &llmv1.GenerateRequest{}
	c := &cobra.Command{
		Use:     "render QUESTION",
		Short:   "Show the messages that a model would get",
		Long:    "Show the messages that a model would get for a question without sources, and what they are called in turns and traces. No model is asked.",
		Example: "  ragmesh prompts render \"What does a card cost?\" --prompt default --variable company=\"Example Bank\"",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			generate.Workspace, generate.Question = a.workspace, strings.Join(args, " ")
			resp, err := c.Models.RenderPrompt(ctx, &llmv1.RenderPromptRequest{Generate: generate})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			for _, m := range resp.GetMessages() {
				role := strings.ToLower(strings.TrimPrefix(m.GetRole().String(), "ROLE_"))
				a.out.printf("%s\n%s\n\n", a.out.style("1", role), clean(m.GetContent()))
			}
			s := resp.GetStarted()
			a.out.printf("prompt %s, revision %s, about %d tokens, for %s (%s)\n", s.GetPromptId(), s.GetPromptRevision(), resp.GetPromptTokens(), s.GetModel(), s.GetProvider())
			if s.GetCanaryOf() != "" {
				a.out.printf("canary of %s\n", s.GetCanaryOf())
			}
			return nil
		}),
	}
	f := c.Flags()
	f.StringVar(&generate.PromptId, "prompt", "", "the template (default: default)")
	f.StringVar(&generate.Model, "model", "", "the model (default: the template's)")
	f.StringVar(&generate.Language, "language", "", "language to answer in, en or zh (default: the question's)")
	f.StringVar(&generate.Session, "session", "", "session whose variant of the prompt to show")
	f.StringToStringVar(&generate.Variables, "variable", nil, "a variable's value, as name=value; may be repeated")
	return c
}
