package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// settleTime bounds how long what was acknowledged before a crash may take to be done after it. A job whose worker died is
// free after its lease of twenty seconds; the rest is for a busy machine.
const settleTime = 3 * time.Minute

// check holds a running server against what it acknowledged.
type check struct {
	t      *testing.T
	client *client.Client
	ledger *ledger
	since  int // only what has changed since this note
	// requests are those whose turn was seen.
	requests map[string]string
}

func newCheck(t *testing.T, v *e2e.Victim, l *ledger, since int) *check {
	t.Helper()
	c, err := client.New(client.Options{Server: v.Server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &check{t: t, client: c, ledger: l, since: since, requests: map[string]string{}}
}

// run checks everything. Documents may still be on their way unless they are waited for.
func (c *check) run(wait bool) {
	c.t.Helper()
	c.documents(wait)
	c.turns()
	c.titles()
	c.keys()
}

// documents: each is ready in a version that was acknowledged, or asked for since, and its chunks are there once.
func (c *check) documents(wait bool) {
	c.t.Helper()
	since := c.since
	if wait {
		since = 0
	}
	c.ledger.settled(aDocument, since, func(source string, f *fate) {
		d := c.document(source, wait)
		allowed := f.allowed()
		at := slices.IndexFunc(allowed, func(v value) bool { return v.Hash == d.GetVersion() })
		switch {
		case at < 0:
			c.t.Errorf("%s is at version %.8q, allowed are %+v", source, d.GetVersion(), allowed)
			return
		case d == nil, !wait && !settled(d):
			return
		case d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetLiveVersion() != d.GetVersion():
			c.t.Errorf("%s does not become ready: %v", source, d)
			return
		}
		live := allowed[at]
		found := c.search(d, live.Token)
		if len(found) != live.Marked || int(d.GetChunkCount()) < live.Marked || live.Marked < 40 && int(d.GetChunkCount()) != live.Marked {
			c.t.Errorf("%s has %d chunks by its record, %d of %d marked ones are found", source, d.GetChunkCount(), len(found), live.Marked)
		}
		seen := map[string]bool{}
		for _, p := range found {
			if seen[p.GetChunkId()] || p.GetVersion() != live.Hash {
				c.t.Errorf("%s: chunk %s twice or of version %.8s", source, p.GetChunkId(), p.GetVersion())
			}
			seen[p.GetChunkId()] = true
		}
		for _, old := range f.before {
			if old.Token != "" && old.Hash != live.Hash && len(c.search(d, old.Token)) > 0 {
				c.t.Errorf("%s: a replaced version is still found", source)
			}
		}
	})
}

func settled(d *retrieverv1.Document) bool {
	return d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
}

// document returns a document, nil when there is none.
func (c *check) document(source string, wait bool) (d *retrieverv1.Document) {
	c.t.Helper()
	c.until(source+" settles", func() bool {
		page, err := c.client.Retriever.ListDocuments(c.t.Context(), &retrieverv1.ListDocumentsRequest{SourcePrefix: source, PageSize: 100})
		if err != nil {
			c.t.Fatal(err)
		}
		d = nil
		for _, one := range page.GetDocuments() {
			if one.GetSourceUri() == source {
				d = one
			}
		}
		return !wait || d == nil || settled(d)
	})
	return d
}

func (c *check) search(d *retrieverv1.Document, token string) []*retrieverv1.Passage {
	c.t.Helper()
	found, err := c.client.Retriever.Search(c.t.Context(), &retrieverv1.SearchRequest{
		Query: token, TopK: 100, Filter: &retrieverv1.Filter{DocumentIds: []string{d.GetDocumentId()}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return found.GetPassages()
}

// until waits for something that has to come by itself after a crash.
func (c *check) until(what string, done func() bool) {
	c.t.Helper()
	end := time.After(settleTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			c.t.Errorf("waited %s in vain: %s", settleTime, what)
			return
		}
	}
}

// turns: each can be read, stands in its session once, and in eval's list once.
func (c *check) turns() {
	c.t.Helper()
	sessions := map[string]map[string]int{}
	want := map[string]string{}
	c.ledger.settled(aTurn, c.since, func(request string, f *fate) {
		v := f.settled
		if other, ok := want[v.Turn]; ok {
			c.t.Errorf("turn %s answers two requests, %s and %s", v.Turn, request, other)
		}
		want[v.Turn] = request
		got, err := c.client.Dialog.GetTurn(c.t.Context(), &dialogv1.GetTurnRequest{TurnId: v.Turn})
		if err != nil || got.GetTurn().GetQuestion() != v.Text || got.GetTurn().GetSessionId() != v.Session {
			c.t.Errorf("turn %s of %s: %v, %v", v.Turn, request, got.GetTurn().GetQuestion(), err)
		}
		if sessions[v.Session] == nil {
			sessions[v.Session] = c.session(v.Session)
		}
		if n := sessions[v.Session][v.Turn]; n != 1 {
			c.t.Errorf("turn %s stands in session %s %d times", v.Turn, v.Session, n)
		}
	})
	c.traces(want)
}

// session counts the turns of a session by id, and wants one of each request.
func (c *check) session(id string) map[string]int {
	c.t.Helper()
	turns, token := map[string]int{}, ""
	for first := true; first || token != ""; first = false {
		page, err := c.client.Dialog.ListTurns(c.t.Context(), &dialogv1.ListTurnsRequest{SessionId: id, PageToken: token})
		if err != nil {
			c.t.Errorf("list turns of %s: %v", id, err)
			break
		}
		for _, turn := range page.GetTurns() {
			turns[turn.GetTurnId()]++
			unsure := slices.ContainsFunc(turn.GetDegradations(), func(d *retrieverv1.Degradation) bool { return d.GetReason() == "dedupe_unavailable" })
			if other, ok := c.requests[turn.GetRequestId()]; ok && other != turn.GetTurnId() && !unsure {
				c.t.Errorf("request %s was answered by %s and %s", turn.GetRequestId(), other, turn.GetTurnId())
			}
			c.requests[turn.GetRequestId()] = turn.GetTurnId()
		}
		token = page.GetNextPageToken()
	}
	return turns
}

// traces wants every turn in eval's list, once.
func (c *check) traces(want map[string]string) {
	c.t.Helper()
	var times map[string]int
	c.until("eval has every turn", func() bool {
		times = map[string]int{}
		token := ""
		for left, first := len(want), true; left > 0 && (first || token != ""); first = false {
			page, err := c.client.Eval.ListTraces(c.t.Context(), &evalv1.ListTracesRequest{PageSize: 500, PageToken: token})
			if err != nil {
				c.t.Fatal(err)
			}
			for _, trace := range page.GetTraces() {
				if _, ok := want[trace.GetTurnId()]; ok && times[trace.GetTurnId()] == 0 {
					left--
				}
				times[trace.GetTurnId()]++
			}
			token = page.GetNextPageToken()
		}
		for id := range want {
			if times[id] == 0 {
				return false
			}
		}
		return true
	})
	for id, n := range times {
		if n != 1 {
			c.t.Errorf("eval lists turn %s %d times", id, n)
		}
	}
	for id, request := range want {
		if times[id] == 0 {
			c.t.Errorf("eval does not have turn %s of %s", id, request)
		}
	}
}

// titles: a session that was renamed has that title.
func (c *check) titles() {
	c.t.Helper()
	titles, token := map[string]string{}, ""
	everything := c.since == 0
	for first := true; first || token != ""; first = false {
		page, err := c.client.Dialog.ListSessions(c.t.Context(), &dialogv1.ListSessionsRequest{PageSize: 500, PageToken: token})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, s := range page.GetSessions() {
			if _, ok := titles[s.GetSessionId()]; ok {
				c.t.Errorf("session %s is listed twice", s.GetSessionId())
			}
			titles[s.GetSessionId()] = s.GetTitle()
			if everything { // also those that nobody was told of
				if turns := c.session(s.GetSessionId()); len(turns) != int(s.GetTurnCount()) {
					c.t.Errorf("session %s says it has %d turns, there are %d", s.GetSessionId(), s.GetTurnCount(), len(turns))
				}
			}
		}
		token = page.GetNextPageToken()
	}
	c.ledger.settled(aTitle, c.since, func(session string, f *fate) {
		if !slices.ContainsFunc(f.allowed(), func(v value) bool { return v.Text == titles[session] }) {
			c.t.Errorf("session %s has the title %q, allowed are %+v", session, titles[session], f.allowed())
		}
	})
	c.ledger.settled(aTurn, c.since, func(_ string, f *fate) {
		if _, ok := titles[f.settled.Session]; !ok {
			c.t.Errorf("session %s of an acknowledged turn is not listed", f.settled.Session)
		}
	})
}

// keys: each is there once, and revoked when that was acknowledged.
func (c *check) keys() {
	c.t.Helper()
	list, err := c.client.Keys.ListKeys(c.t.Context(), &dialogv1.ListKeysRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	byName := map[string][]*dialogv1.Key{}
	for _, k := range list.GetKeys() {
		byName[k.GetName()] = append(byName[k.GetName()], k)
	}
	c.ledger.settled(aKey, c.since, func(name string, f *fate) {
		got := byName[name]
		if len(got) != 1 || !slices.ContainsFunc(f.allowed(), func(v value) bool {
			return v.Key == got[0].GetKeyId() && v.Revoked == (got[0].GetRevokedAt() != nil)
		}) {
			c.t.Errorf("key %s is %v, allowed are %+v", name, got, f.allowed())
		}
	})
}

// checkFeedback reads the events stream of a server that has ended: nothing of the public API shows feedback yet.
func checkFeedback(t *testing.T, natsDir string, l *ledger) {
	t.Helper()
	server, err := natsserver.Start(t.Context(), natsserver.Options{Dir: natsDir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	b, err := bus.Connect(t.Context(), bus.Options{Name: "check", InProcess: server, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureTopology(t.Context()); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	var before uint64
	for first := true; first || before > 0; first = false {
		messages, start, err := b.Tail(t.Context(), bus.Events, 500, before)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			var event eventv1.FeedbackGiven
			if !strings.HasPrefix(m.Subject, bus.EventSubject("feedback", "default")+".") {
				continue
			}
			if err := proto.Unmarshal(m.Data, &event); err != nil {
				t.Fatal(err)
			}
			times[event.GetComment()]++
		}
		before = start
	}
	l.settled(aFeedback, 0, func(comment string, _ *fate) {
		if times[comment] != 1 {
			t.Errorf("feedback %s is on the stream %d times", comment, times[comment])
		}
	})
}

// checkLog wants nothing in a server's output that would worry a person.
func checkLog(t *testing.T, v *e2e.Victim) {
	t.Helper()
	for line := range strings.SplitSeq(v.Log(), "\n") {
		lower := strings.ToLower(line)
		for _, bad := range []string{`"level":"error"`, `"level":"fatal"`, "panic", "corrupt", "can't be read", "unreadable", "malformed"} {
			if strings.Contains(lower, bad) {
				t.Errorf("the log says: %s", line)
				break
			}
		}
	}
}
