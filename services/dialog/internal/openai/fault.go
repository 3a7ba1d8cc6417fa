package openai

import (
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
)

// modelUnknown says of a workspace or prompt that is not there what a client of OpenAI understands.
func modelUnknown(err error, id string) error {
	switch fault.ReasonOf(err) {
	case fault.WorkspaceNotFound, fault.PromptNotFound:
		return refusal.NoModel(id)
	}
	return err
}
