package e2e_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// canary begins every word that is looked for. It survives whatever is done to words: no stemming, one token.
const canary = "zqcanary"

// secret is a word that some may see.
type secret struct {
	word string
	// workspace it belongs to; kind says to whom there.
	workspace string
	kind      secretKind
	owner     string // of a conversation
}

type secretKind int

const (
	open         secretKind = iota // everybody in the workspace
	listed                         // who is named in the document's access list, and administrators
	conversation                   // who asked; administrators; and who reads traces of others: editors
	private                        // who asked, and administrators
	management                     // administrators
	told                           // said to us, and shown to nobody
)

func (k secretKind) String() string {
	return [...]string{"open", "for readers", "a question", "private", "for administrators", "told"}[k]
}

// person is somebody who calls.
type person struct {
	name      string
	token     string
	subject   string
	workspace string // "" is all of them
	role      string // "" may do nothing
	scopes    string // "" is all of them
	reads     bool   // is named in the access lists of the workspace
	everybody bool   // is the owner of the installation
}

// sees says whether a person may see a secret by any way at all.
func (p person) sees(s secret) bool {
	switch {
	case p.role == "" || p.workspace != "" && p.workspace != s.workspace:
		return false
	case p.role == "admin":
		return true
	case p.subject != "" && s.owner == p.subject:
		return s.kind != listed || p.reads
	case s.kind == open:
		return true
	case s.kind == listed:
		return p.reads
	case s.kind == conversation:
		return p.role == "editor"
	default:
		return false
	}
}

// place is something that requests are about.
type place struct {
	name string
	values
	workspace string
	secret    string // the word of the document
}

// world is an installation with two workspaces, documents everybody and documents few may read, conversations about them, and
// people who may see some of it.
type world struct {
	*e2e.System
	owner   string // token
	people  map[string]person
	places  map[string]place
	secrets []secret
}

func (w *world) ask(t *testing.T, token, procedure string, request map[string]any) json.RawMessage {
	t.Helper()
	r := call(t, w.Server, token, procedure, request)
	if r.code != "" || len(r.messages) == 0 {
		t.Fatalf("%s: %s", procedure, r.all)
	}
	return r.messages[len(r.messages)-1]
}

const (
	dialogService    = "/ragmesh.dialog.v1.DialogService/"
	workspaceService = "/ragmesh.dialog.v1.WorkspaceService/"
	keyService       = "/ragmesh.dialog.v1.KeyService/"
	retrieverService = "/ragmesh.retriever.v1.RetrieverService/"
)

// hide makes a word and notes who may see it.
func (w *world) hide(workspace string, kind secretKind, owner string) string {
	// Letters only: the last ones tell them apart.
	n := len(w.secrets)
	word := canary + string(rune('a'+n/26)) + string(rune('a'+n%26)) + "x"
	w.secrets = append(w.secrets, secret{word: word, workspace: workspace, kind: kind, owner: owner})
	return word
}

// key makes a person with a key.
func (w *world) key(t *testing.T, p person, more map[string]any) {
	t.Helper()
	request := map[string]any{"name": p.name, "role": "ACCESS_ROLE_" + strings.ToUpper(p.role)}
	if p.workspace != "" {
		request["workspaces"] = []string{p.workspace}
		request["name"] = p.name + " " + w.hide(p.workspace, management, "")
	}
	if p.scopes != "" {
		request["scopes"] = strings.Split(p.scopes, ",")
	}
	for k, v := range more {
		request[k] = v
	}
	var made struct {
		Secret string
		Key    struct{ KeyID string }
	}
	if err := json.Unmarshal(w.ask(t, w.owner, keyService+"CreateKey", request), &made); err != nil {
		t.Fatal(err)
	}
	p.token = made.Secret
	if p.subject == "" {
		p.subject = "key:" + made.Key.KeyID
	}
	w.people[p.name] = p
	where := cmp.Or(p.workspace, "default")
	w.places["keys of "+where] = place{name: "keys of " + where, workspace: where, values: values{"workspace": where, "key_id": made.Key.KeyID}}
}

// document puts one into a workspace and waits until it can be found.
func (w *world) document(t *testing.T, workspace, uri, title, text string, readers []string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	request := map[string]any{
		"workspace": workspace, "sourceUri": uri, "title": title, "contentType": "text/markdown", "sizeBytes": len(text), "sha256": hex.EncodeToString(sum[:]),
	}
	if readers != nil {
		request["access"] = map[string]any{"readers": readers}
	}
	var upload struct{ UploadID, DocumentID string }
	if err := json.Unmarshal(w.ask(t, w.owner, retrieverService+"CreateUpload", request), &upload); err != nil {
		t.Fatal(err)
	}
	w.ask(t, w.owner, retrieverService+"PutPart", map[string]any{
		"workspace": workspace, "uploadId": upload.UploadID, "partNumber": 1, "data": base64.StdEncoding.EncodeToString([]byte(text)),
	})
	w.ask(t, w.owner, retrieverService+"CommitUpload", map[string]any{"workspace": workspace, "uploadId": upload.UploadID})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var got struct{ Document struct{ State string } }
		if err := json.Unmarshal(w.ask(t, w.owner, retrieverService+"GetDocument", map[string]any{"workspace": workspace, "documentId": upload.DocumentID}), &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Document.State == "DOCUMENT_STATE_READY":
			return upload.DocumentID
		case time.Now().After(deadline):
			t.Fatalf("%s is still %s", uri, got.Document.State)
		}
	}
}

// converse has a person ask about a document, name the session and judge the answer, and returns where that is.
func (w *world) converse(t *testing.T, name string, p person, subject, word, document string) place {
	t.Helper()
	question := fmt.Sprintf("What does the %s tariff cost, says %s?", subject, w.hide(p.workspace, conversation, p.subject))
	var done struct {
		Completed struct {
			Turn struct{ TurnID, SessionID, Answer, Outcome string }
		}
	}
	if err := json.Unmarshal(w.ask(t, p.token, dialogService+"Chat", map[string]any{"workspace": p.workspace, "question": question}), &done); err != nil {
		t.Fatal(err)
	}
	turn := done.Completed.Turn
	if !strings.Contains(turn.Answer, word) {
		t.Fatalf("%s got %q (%s), which tests nothing", p.name, turn.Answer, turn.Outcome)
	}
	w.ask(t, p.token, dialogService+"RenameSession", map[string]any{"workspace": p.workspace, "sessionId": turn.SessionID, "title": "About " + w.hide(p.workspace, private, p.subject)})
	w.ask(t, p.token, dialogService+"SendFeedback", map[string]any{"workspace": p.workspace, "turnId": turn.TurnID, "verdict": "VERDICT_DOWN", "comment": "wrong, says " + w.hide(p.workspace, told, p.subject)})
	return place{name: name, workspace: p.workspace, secret: word, values: values{
		"workspace": p.workspace, "session_id": turn.SessionID, "turn_id": turn.TurnID, "document_id": document, "document_ids": []string{document},
		"query": "What does the " + subject + " tariff cost?", "question": "What does the " + subject + " tariff cost?",
	}}
}

func newWorld(t *testing.T, s *e2e.System, owner string) *world {
	t.Helper()
	w := &world{System: s, owner: owner, people: map[string]person{}, places: map[string]place{}}
	for _, workspace := range []string{"north", "south"} {
		w.ask(t, owner, workspaceService+"CreateWorkspace", map[string]any{"workspace": workspace, "displayName": "The " + w.hide(workspace, open, "")})
		w.ask(t, owner, workspaceService+"SetMember", map[string]any{"workspace": workspace, "member": "user:" + w.hide(workspace, management, ""), "role": "ACCESS_ROLE_EDITOR"})
		for _, p := range []person{
			{name: workspace + " viewer", role: "viewer"},
			{name: workspace + " reader", role: "viewer", reads: true},
			{name: workspace + " editor", role: "editor"},
			{name: workspace + " admin", role: "admin"},
		} {
			p.workspace = workspace
			w.key(t, p, nil)
		}
	}
	w.key(t, person{name: "north asker", role: "viewer", workspace: "north", scopes: "ask"}, nil)
	w.key(t, person{name: "viewer of all", role: "viewer"}, nil)
	w.key(t, person{name: "admin of all", role: "admin"}, nil)
	w.ask(t, owner, workspaceService+"SetMember", map[string]any{"workspace": "north", "member": "service:robot", "role": "ACCESS_ROLE_VIEWER"})
	w.key(t, person{name: "north robot", role: "viewer", workspace: "north", subject: "service:robot"}, map[string]any{"serviceAccount": "robot"})
	w.key(t, person{name: "revoked", role: "viewer", workspace: "north"}, nil)
	revoked := w.people["revoked"]
	w.ask(t, owner, keyService+"RevokeKey", map[string]any{"keyId": strings.TrimPrefix(revoked.subject, "key:")})
	revoked.role = ""
	w.people["revoked"] = revoked
	w.people["nobody"] = person{name: "nobody"}
	w.people["guesser"] = person{name: "guesser", token: "rmk_aaaaaaaaaaaaa_" + strings.Repeat("A", 43)}

	for _, workspace := range []string{"north", "south"} {
		for kind, subject := range map[secretKind]string{open: "plain", listed: "hidden"} {
			var readers []string
			asks, name := w.people[workspace+" viewer"], workspace+", open"
			if kind == listed {
				asks, name = w.people[workspace+" reader"], workspace+", listed"
				readers = []string{asks.subject, "group:nobody-is-in-it"}
			}
			word, title, path := w.hide(workspace, kind, ""), w.hide(workspace, kind, ""), w.hide(workspace, kind, "")
			id := w.document(t, workspace, path+".md", "The "+subject+" tariff "+title,
				fmt.Sprintf("# The %s tariff\n\nThe %s tariff costs 7 euros with %s every month.\n", subject, subject, word), readers)
			w.places[name] = w.converse(t, name, asks, subject, word, id)
			w.places[name].values["source_uri"] = path + ".md"
		}
	}
	// Ids of one workspace under the name of another, and a workspace that there is not.
	crossed := place{name: "south's ids in north", workspace: "south", values: values{}}
	none := place{name: "no such workspace", workspace: "nowhere", values: values{}}
	for field, value := range w.places["south, open"].values {
		crossed.values[field], none.values[field] = value, value
	}
	crossed.values["workspace"], none.values["workspace"] = "north", "nowhere"
	w.places[crossed.name], w.places[none.name] = crossed, none
	return w
}
