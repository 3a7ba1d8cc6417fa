package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

func (a *app) feedback() *cobra.Command {
	var up, down bool
	var reasons []string
	var comment string
	c := &cobra.Command{
		Use:   "feedback TURN|last",
		Short: "Say whether an answer was good, and why",
		Long: "Say whether an answer was good, and why. What you say of a turn takes the place of what you said of it before.\n\n" +
			"Reasons that everybody understands: wrong, incomplete, outdated, irrelevant, unclear, sources, language, unsafe, slow; helpful, accurate, complete.\n" +
			"Any other word will do.",
		Example: "  ragmesh feedback last --up\n  ragmesh feedback last --down --reason outdated --comment \"That fee was abolished in May.\"",
		Args:    cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			if up == down {
				return usagef("give either --up or --down")
			}
			turn, err := a.ownTurn(ctx, c, args[0])
			if err != nil {
				return err
			}
			verdict := dialogv1.Verdict_VERDICT_DOWN
			if up {
				verdict = dialogv1.Verdict_VERDICT_UP
			}
			resp, err := c.Dialog.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{Workspace: a.workspace, TurnId: turn, Verdict: verdict, Comment: comment, Tags: reasons})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.out.printf("noted for %s\n", turn)
			return nil
		}),
	}
	c.Flags().BoolVar(&up, "up", false, "the answer was good")
	c.Flags().BoolVar(&down, "down", false, "it was not")
	c.Flags().StringSliceVar(&reasons, "reason", nil, "why, in a word; at most 8")
	c.Flags().StringVar(&comment, "comment", "", "why, in your words")
	return c
}

// ownTurn returns the turn that a name means; "last" is the newest of the session asked in last.
func (a *app) ownTurn(ctx context.Context, c *client.Client, name string) (string, error) {
	if name != "last" {
		return name, nil
	}
	last := ""
	err := a.eachTurn(ctx, c, "last", false, func(resp *dialogv1.ListTurnsResponse) error {
		if n := len(resp.GetTurns()); n > 0 {
			last = resp.GetTurns()[n-1].GetTurnId()
		}
		return nil
	})
	if err == nil && last == "" {
		err = fault.New(fault.NotFound, fault.TurnNotFound, "the last conversation has no turns")
	}
	return last, err
}
