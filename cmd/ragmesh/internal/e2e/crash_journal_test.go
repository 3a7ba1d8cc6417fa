package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
)

// The kinds of what is acknowledged.
const (
	aDocument = "document" // id: source URI
	aTurn     = "turn"     // id: request id
	aFeedback = "feedback" // id: comment
	aTitle    = "title"    // id: session
	aKey      = "key"      // id: name
)

// note is a line of the journal: what was asked of the server, or what it acknowledged.
type note struct {
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	Acked bool   `json:"acked"`
	Value value  `json:"value"`
}

// value is what something was set to. Which fields are used depends on the kind.
type value struct {
	Hash    string `json:"hash,omitempty"`    // a document's content; empty when it was deleted
	Token   string `json:"token,omitempty"`   // the word that only this content holds
	Marked  int    `json:"marked,omitempty"`  // chunks that hold it
	Text    string `json:"text,omitempty"`    // question, or title
	Turn    string `json:"turn,omitempty"`    // id
	Session string `json:"session,omitempty"` // id
	Key     string `json:"key,omitempty"`     // id
	Revoked bool   `json:"revoked,omitempty"`
}

// journal is the test's own memory on disk. What the server acknowledged is synced before the test goes on, so that it is the
// server's word against this file.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(t *testing.T, path string) *journal {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &journal{file: file}
}

// try notes what is about to be asked: after a crash it may have happened or not.
func (j *journal) try(kind, id string, v value) error {
	return j.write(note{Kind: kind, ID: id, Value: v})
}

// ack notes what was acknowledged.
func (j *journal) ack(kind, id string, v value) error {
	return errors.Join(j.write(note{Kind: kind, ID: id, Acked: true, Value: v}), j.file.Sync())
}

func (j *journal) write(n note) error {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// fate is what has become of one thing: what was acknowledged last, and what was asked since without an answer.
type fate struct {
	settled *value
	open    []value
	before  []value // were settled once
	since   int     // number of the note that changed it last
}

// allowed returns the states it may be in.
func (f *fate) allowed() []value {
	if f.settled != nil {
		return append([]value{*f.settled}, f.open...)
	}
	return f.open
}

// ledger is the journal read back: fates by kind and id.
type ledger struct {
	fates map[string]map[string]*fate
	notes int
	acked int
}

// read reads the journal from the disk, as a process that knows nothing else.
func (j *journal) read(t *testing.T) *ledger {
	t.Helper()
	j.mu.Lock() // half of what is being written may be there
	defer j.mu.Unlock()
	file, err := os.Open(j.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l := &ledger{fates: map[string]map[string]*fate{aDocument: {}, aTurn: {}, aFeedback: {}, aTitle: {}, aKey: {}}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var n note
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			t.Fatal(err)
		}
		l.take(n)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *ledger) take(n note) {
	l.notes++
	f, ok := l.fates[n.Kind][n.ID]
	if !ok {
		f = &fate{}
		l.fates[n.Kind][n.ID] = f
	}
	f.since = l.notes
	if !n.Acked {
		f.open = append(f.open, n.Value)
		return
	}
	l.acked++
	if f.settled != nil {
		f.before = append(f.before, *f.settled)
	}
	f.settled, f.open = &n.Value, nil
}

// settled calls fn for everything of a kind that was acknowledged and has changed since a note.
func (l *ledger) settled(kind string, since int, fn func(id string, f *fate)) {
	for id, f := range l.fates[kind] {
		if f.settled != nil && f.since > since {
			fn(id, f)
		}
	}
}
