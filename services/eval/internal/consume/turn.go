package consume

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

const (
	// maxTurnBytes is twice what the contract allows a turn.
	maxTurnBytes = 1 << 20
	// maxQuestionBytes is how much of a question lists show.
	maxQuestionBytes = 500
	// maxDegraded bounds the stages a list shows.
	maxDegraded = 16
	// maxNesting bounds messages within messages: a record has about ten, and deeper ones only cost stack.
	maxNesting = 32
)

// decodeTurn turns a TurnRecorded into what the store keeps. The subject says where a turn belongs and is what NATS
// authorises, so a record that claims otherwise is malformed.
func decodeTurn(subject string, data []byte) (store.Turn, error) {
	if len(data) > maxTurnBytes {
		return store.Turn{}, fmt.Errorf("turn has %d bytes, at most %d are allowed", len(data), maxTurnBytes)
	}
	var event eventv1.TurnRecorded
	if err := (proto.UnmarshalOptions{RecursionLimit: maxNesting}).Unmarshal(data, &event); err != nil {
		return store.Turn{}, fmt.Errorf("decode turn: %w", err)
	}
	t := event.GetTurn()
	if t.GetTurnId() == "" || t.GetWorkspace() == "" || t.GetSessionId() == "" {
		return store.Turn{}, errors.New("turn without turn id, workspace or session")
	}
	if want := "ragmesh.turn.v1." + t.GetWorkspace() + "." + t.GetSessionId() + "." + t.GetTurnId(); subject != want {
		return store.Turn{}, fmt.Errorf("turn %s came on the subject of another", t.GetTurnId())
	}
	if !t.GetStartedAt().IsValid() {
		return store.Turn{}, fmt.Errorf("turn %s without a start", t.GetTurnId())
	}
	started := t.GetStartedAt().AsTime()
	if !representable(started) {
		return store.Turn{}, fmt.Errorf("turn %s began at %s", t.GetTurnId(), started)
	}
	var duration time.Duration
	if t.GetCompletedAt().IsValid() {
		duration = max(0, t.GetCompletedAt().AsTime().Sub(started))
	}
	record, err := recordOf(data, t)
	if err != nil {
		return store.Turn{}, fmt.Errorf("encode turn %s: %w", t.GetTurnId(), err)
	}
	turn := store.Turn{
		Workspace: t.GetWorkspace(), ID: t.GetTurnId(), Session: t.GetSessionId(), TraceID: t.GetTraceId(), User: t.GetUser(),
		Question: cut(t.GetQuestion(), maxQuestionBytes), Outcome: int32(t.GetOutcome()), Degraded: []string{}, Started: started,
		Duration: duration, Record: record,
	}
	for _, d := range t.GetDegradations() {
		if len(turn.Degraded) == maxDegraded {
			break
		}
		turn.Degraded = append(turn.Degraded, d.GetStage())
	}
	return turn, nil
}

// recordOf returns a turn's encoding: as it stands in the event, which holds nothing else.
func recordOf(event []byte, t *dialogv1.Turn) ([]byte, error) {
	if field, kind, n := protowire.ConsumeTag(event); n > 0 && field == turnField && kind == protowire.BytesType {
		if record, m := protowire.ConsumeBytes(event[n:]); m == len(event)-n {
			return record, nil
		}
	}
	return proto.Marshal(t) // in pieces, or beside what a later build has added
}

// turnField is the number of the turn in a TurnRecorded.
const turnField = 1

// representable says whether t fits into Unix nanoseconds, which end in 2262.
func representable(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2262 }

// cut shortens s to at most n bytes without cutting through a character.
func cut(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
