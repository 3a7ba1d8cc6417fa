package record

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
)

// Feedback is a person's judgement of a turn.
type Feedback struct {
	Workspace, Turn, User string
	Up                    bool
	Comment               string
	Tags                  []string
	At                    time.Time
}

// Encode returns a FeedbackGiven.
func (f Feedback) Encode() ([]byte, error) {
	verdict := dialogv1.Verdict_VERDICT_DOWN
	if f.Up {
		verdict = dialogv1.Verdict_VERDICT_UP
	}
	data, err := proto.Marshal(&eventv1.FeedbackGiven{
		Workspace: f.Workspace, TurnId: f.Turn, User: f.User, Verdict: verdict, Comment: f.Comment, Tags: f.Tags, At: timestamppb.New(f.At),
	})
	if err != nil {
		return nil, fmt.Errorf("encode feedback: %w", err)
	}
	return data, nil
}

// Audit is a change of who may do what, or a denial.
type Audit struct {
	Workspace      string // "-" when none
	Actor, Action  string
	Target, Reason string
	Allowed        bool
	Address        string
	Count          uint32
	At             time.Time
}

// Encode returns an Audited.
func (a Audit) Encode() ([]byte, error) {
	data, err := proto.Marshal(&eventv1.Audited{
		Workspace: a.Workspace, Actor: a.Actor, Action: a.Action, Target: a.Target, Allowed: a.Allowed, Reason: a.Reason, At: timestamppb.New(a.At),
		Address: a.Address, Count: a.Count,
	})
	if err != nil {
		return nil, fmt.Errorf("encode audit event: %w", err)
	}
	return data, nil
}
