package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

const (
	chat      = "/ragmesh.dialog.v1.DialogService/Chat"
	getTurn   = "/ragmesh.dialog.v1.DialogService/GetTurn"
	listTurns = "/ragmesh.dialog.v1.DialogService/ListTurns"
	search    = "/ragmesh.retriever.v1.RetrieverService/Search"
)

// soonEnough is within how much time bad input is answered, on a busy machine.
const soonEnough = 30 * time.Second

// refusal is what a caller is told.
type refusal struct {
	Code, Reason, Message string
}

type wireError struct {
	Code, Message string
	Details       []struct {
		Type  string
		Debug struct{ Reason string }
	}
}

func (e wireError) refusal() refusal {
	r := refusal{Code: e.Code, Message: e.Message}
	for _, d := range e.Details {
		if d.Type == "google.rpc.ErrorInfo" {
			r.Reason = d.Debug.Reason
		}
	}
	return r
}

// send calls a procedure with a body as it is, over Connect's JSON, and returns what it was told; a zero refusal when the
// call went well. A turn that ends with failed counts as refused with its reason.
func send(t *testing.T, s *e2e.System, procedure, body string) refusal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soonEnough)
	defer cancel()
	stream := procedure == chat
	contentType, payload := "application/json", []byte(body)
	if stream {
		contentType = "application/connect+json"
		payload = binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
		payload = append(payload, body...)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Server+procedure, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("the answer stops: %v", err)
	}
	var told wireError
	if !stream || response.StatusCode != http.StatusOK {
		if response.StatusCode == http.StatusOK {
			return refusal{}
		}
		if err := json.Unmarshal(answer, &told); err != nil {
			t.Fatalf("status %d, %q", response.StatusCode, answer)
		}
		return told.refusal()
	}
	for len(answer) >= 5 {
		n := int(binary.BigEndian.Uint32(answer[1:5]))
		var message struct {
			Error  *wireError
			Failed *struct{ Reason, Message string }
		}
		if err := json.Unmarshal(answer[5:5+n], &message); err != nil {
			t.Fatal(err)
		}
		switch {
		case message.Error != nil:
			return message.Error.refusal()
		case message.Failed != nil:
			return refusal{"failed", message.Failed.Reason, message.Failed.Message}
		}
		answer = answer[5+n:]
	}
	return refusal{}
}

// healthy wants the process alive, ready, and what it knew still known.
func healthy(t *testing.T, s *e2e.System) {
	t.Helper()
	for _, path := range []string{"/health/live", "/health/ready"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s says %s", path, body)
		}
	}
	if a := put(t, s, "", wantsBoth); !strings.Contains(a.turn.GetAnswer(), "12 euros") {
		t.Errorf("the answer is now %q", a.turn.GetAnswer())
	}
}

func TestBadInput(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	dir := documents(t)
	s := e2e.StartAllInOne(t)
	must(t, s, "ingest", "--base", dir, dir)

	t.Run("requests", func(t *testing.T) {
		for name, test := range map[string]struct {
			procedure, body    string
			code, reason, says string // what is told; none for a call that goes well
		}{
			"empty question":           {chat, `{"question": ""}`, "invalid_argument", "INVALID_REQUEST", "question"},
			"white space":              {chat, `{"question": " \n\t 　"}`, "invalid_argument", "INVALID_REQUEST", "ask something"},
			"10 MB question":           {chat, `{"question": "` + strings.Repeat("a", 10<<20) + `"}`, "resource_exhausted", "REQUEST_TOO_LARGE", "4194304"},
			"40 KB question":           {chat, `{"question": "` + strings.Repeat("a", 40<<10) + `"}`, "invalid_argument", "INVALID_REQUEST", "question"},
			"invalid UTF-8":            {chat, "{\"question\": \"card \xff\xfe cost\"}", "invalid_argument", "INVALID_REQUEST", "UTF-8"},
			"control characters":       {chat, `{"question": "What does a \u0000\u0007\u001b[31m replacement card\u0008 cost?"}`, "", "", ""},
			"a lone surrogate":         {chat, `{"question": "What does a \ud800 card cost?"}`, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"unknown workspace":        {chat, `{"workspace": "nope", "question": "Why?"}`, "not_found", "WORKSPACE_NOT_FOUND", "workspace"},
			"impossible workspace":     {chat, `{"workspace": "../../etc", "question": "Why?"}`, "not_found", "WORKSPACE_NOT_FOUND", "workspace"},
			"unknown session":          {chat, `{"session_id": "01ABC", "question": "Why?"}`, "not_found", "SESSION_NOT_FOUND", "session_id"},
			"impossible session":       {chat, `{"session_id": "*.>", "question": "Why?"}`, "invalid_argument", "INVALID_REQUEST", "session_id"},
			"unknown prompt":           {chat, `{"prompt_id": "nope", "question": "` + wantsBoth + `"}`, "failed", "PROMPT_NOT_FOUND", "nope"},
			"unknown strategy":         {chat, `{"strategy": "nope", "question": "` + wantsBoth + `"}`, "failed", "STRATEGY_NOT_FOUND", "nope"},
			"unknown model":            {chat, `{"model": "nope", "question": "` + wantsBoth + `"}`, "failed", "MODEL_NOT_FOUND", "nope"},
			"unknown turn":             {getTurn, `{"turn_id": "01ABC"}`, "not_found", "TURN_NOT_FOUND", "01ABC"},
			"unknown session's list":   {listTurns, `{"session_id": "01ABC"}`, "not_found", "SESSION_NOT_FOUND", "01ABC"},
			"page token":               {listTurns, `{"session_id": "01ABC", "page_token": "%%%"}`, "invalid_argument", "INVALID_REQUEST", "page token"},
			"tools at the edge":        {"/ragmesh.tools.v1.ToolsService/Call", `{"tool": "nope"}`, "permission_denied", "ROLE_TOO_LOW", "not served here"},
			"number for a string":      {search, `{"query": 5}`, "invalid_argument", "INVALID_REQUEST", "query"},
			"string for a number":      {search, `{"query": "card", "top_k": "many"}`, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"negative count":           {search, `{"query": "card", "top_k": -1}`, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"array for a message":      {search, `[]`, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"truncated":                {search, `{"query": "ca`, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"truncated stream":         {chat, `{"question": "ca`, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"no body":                  {search, ``, "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"nested without end":       {search, strings.Repeat(`{"filter":`, 100_000), "invalid_argument", "INVALID_REQUEST", "can't be read"},
			"unknown procedure":        {"/ragmesh.dialog.v1.DialogService/Nope", `{}`, "unimplemented", "UNIMPLEMENTED", "no procedure"},
			"unknown service":          {"/ragmesh.dialog.v9.DialogService/Chat", `{}`, "unimplemented", "UNIMPLEMENTED", "no procedure"},
			"unknown strategy, search": {search, `{"query": "card", "strategy": "nope"}`, "not_found", "STRATEGY_NOT_FOUND", "nope"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				checkRefusal(t, send(t, s, test.procedure, test.body), refusal{test.code, test.reason, test.says})
			})
		}
	})
	t.Run("a body that stops", func(t *testing.T) { stoppedBody(t, s) })
	t.Run("uploads", func(t *testing.T) { badUploads(t, s) })
	t.Run("files", func(t *testing.T) { badFiles(t, s) })
	healthy(t, s)
}

func checkRefusal(t *testing.T, got, want refusal) {
	t.Helper()
	if got.Code != want.Code || got.Reason != want.Reason || !strings.Contains(got.Message, want.Message) {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// stoppedBody announces more than it sends, and goes: nothing may wait for the rest for ever.
func stoppedBody(t *testing.T, s *e2e.System) {
	t.Helper()
	reader, writer := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), soonEnough)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Server+search, reader)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = 1000
	request.Header.Set("Content-Type", "application/json")
	go func() {
		_, _ = io.WriteString(writer, `{"query":`)
		_ = writer.CloseWithError(io.ErrUnexpectedEOF)
	}()
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_ = response.Body.Close()
		t.Errorf("half a request was answered with %s", response.Status)
	}
}

// badUploads sends parts that are not what was announced. The good upload among them goes through all the same.
func badUploads(t *testing.T, s *e2e.System) {
	t.Helper()
	const (
		create = "/ragmesh.retriever.v1.RetrieverService/CreateUpload"
		part   = "/ragmesh.retriever.v1.RetrieverService/PutPart"
		commit = "/ragmesh.retriever.v1.RetrieverService/CommitUpload"
	)
	content := []byte("# Loans\n\n" + strings.Repeat("A student loan has an interest of 3 percent in its first year.\n\n", 20_000))
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	client := retrieverv1connect.NewRetrieverServiceClient(http.DefaultClient, s.Server)
	up, err := client.CreateUpload(t.Context(), &retrieverv1.CreateUploadRequest{Workspace: "default", SourceUri: "loans.md", SizeBytes: uint64(len(content)), Sha256: hash})
	if err != nil {
		t.Fatal(err)
	}
	size := int(up.GetPartSizeBytes())
	if up.GetPartCount() != 2 {
		t.Fatalf("%d parts, the test wants 2", up.GetPartCount())
	}
	put := func(number int, data []byte) string {
		return fmt.Sprintf(`{"upload_id": %q, "part_number": %d, "data": %q}`, up.GetUploadId(), number, base64.StdEncoding.EncodeToString(data))
	}
	committing := fmt.Sprintf(`{"upload_id": %q}`, up.GetUploadId())
	wrong := bytes.Repeat([]byte("x"), size)
	for _, test := range []struct{ name, procedure, body, code, reason, says string }{
		{"announced at 200 MB", create, fmt.Sprintf(`{"source_uri": "big.md", "size_bytes": %d, "sha256": %q}`, 200<<20, hash), "invalid_argument", "REQUEST_TOO_LARGE", "at most"},
		{"announced without a hash", create, `{"source_uri": "big.md", "size_bytes": 5}`, "invalid_argument", "INVALID_REQUEST", "sha256"},
		{"announced without a name", create, fmt.Sprintf(`{"size_bytes": 5, "sha256": %q}`, hash), "invalid_argument", "INVALID_REQUEST", "source_uri"},
		{"unknown upload", part, `{"upload_id": "00000000-0000-0000-0000-000000000000", "part_number": 1, "data": "aGk="}`, "not_found", "UPLOAD_NOT_FOUND", "create it again"},
		{"part too big for a message", part, put(1, bytes.Repeat([]byte("x"), 5<<20)), "resource_exhausted", "REQUEST_TOO_LARGE", "in parts"},
		{"part too big", part, put(1, append(bytes.Clone(wrong), 'x')), "invalid_argument", "INVALID_REQUEST", "data"},
		{"part too small", part, put(1, []byte("short")), "invalid_argument", "INVALID_REQUEST", "must have"},
		{"part 0", part, put(0, wrong), "invalid_argument", "INVALID_REQUEST", "part"},
		{"part 3 of 2", part, put(3, wrong), "invalid_argument", "INVALID_REQUEST", "no part 3"},
		{"the second part first", part, put(2, content[size:]), "", "", ""},
		{"committed with a part missing", commit, committing, "failed_precondition", "UPLOAD_INCOMPLETE", "part 1 of 2 is missing"},
		{"another file's first part", part, put(1, wrong), "", "", ""},
		{"committed with another hash", commit, committing, "invalid_argument", "CONTENT_MISMATCH", "SHA-256"},
		{"the right first part", part, put(1, content[:size]), "", "", ""},
		{"committed", commit, committing, "", "", ""},
		{"committed again", commit, committing, "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkRefusal(t, send(t, s, test.procedure, test.body), refusal{test.code, test.reason, test.says})
		})
	}
	if d := ended(t, s, up.GetDocumentId()); d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("the document is %v", d)
	}
}

// ended waits until a document is through.
func ended(t *testing.T, s *e2e.System, id string) *retrieverv1.Document {
	t.Helper()
	client := retrieverv1connect.NewRetrieverServiceClient(http.DefaultClient, s.Server)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got, err := client.GetDocument(t.Context(), &retrieverv1.GetDocumentRequest{Workspace: "default", DocumentId: id})
		if err != nil {
			t.Fatal(err)
		}
		d := got.GetDocument()
		switch d.GetState() {
		case retrieverv1.DocumentState_DOCUMENT_STATE_READY, retrieverv1.DocumentState_DOCUMENT_STATE_FAILED:
			return d
		}
		if time.Now().After(deadline) {
			t.Fatalf("the document stays %v", d)
		}
	}
}

// badFiles are not what their names say. Each ends failed, with what is wrong, and the others don't wait for it.
func badFiles(t *testing.T, s *e2e.System) {
	t.Helper()
	client := retrieverv1connect.NewRetrieverServiceClient(http.DefaultClient, s.Server)
	for name, test := range map[string]struct{ file, content, reason, says string }{
		"an image":        {"picture.md", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "UNSUPPORTED_FORMAT", "an image"},
		"a PDF":           {"paper.txt", "%PDF-1.7\n...", "MALFORMED_DOCUMENT", "PDF"},
		"UTF-16":          {"utf16.txt", "\xff\xfeh\x00i\x00", "", ""},
		"NUL bytes":       {"nul.md", "# Text\n\nwith \x00 in it", "UNSUPPORTED_FORMAT", "binary"},
		"Latin-1":         {"latin1.txt", "caf\xe9 au lait", "", ""},
		"two GBK signs":   {"gbk.txt", "\xbd\xda\xb5\xe3", "UNKNOWN_ENCODING", "UTF-8"},
		"nothing":         {"empty.md", "", "EMPTY_DOCUMENT", "no text"},
		"white space":     {"blank.md", " \n\n\t\n", "EMPTY_DOCUMENT", "no text"},
		"a program":       {"tool.exe", "MZ\x90\x00\x03", "UNSUPPORTED_FORMAT", "program"},
		"only controls":   {"controls.txt", "\x01\x02\x03\x07", "EMPTY_DOCUMENT", "no text"},
		"one long line":   {"long.txt", strings.Repeat("word", 1<<19), "", ""},
		"deep Markdown":   {"deep.md", strings.Repeat("> ", 20_000) + "hi\n\n" + strings.Repeat("[", 20_000), "MALFORMED_DOCUMENT", "nested"},
		"a strange name":  {"../../etc/pass wd\u202e.md", "# Fine\n\nThis is text.", "", ""},
		"a name of NULs":  {"a\x00b.md", "# Fine\n\nThis is text, too.", "", ""},
		"a lying type":    {"note.md", "# Fine\n\nThis is text, also.", "", ""},
		"escape commands": {"escape.md", "# \x1b[31mRed\n\nThe fee is \x1b[0m5 euros.", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sum := sha256.Sum256([]byte(test.content))
			request := &retrieverv1.CreateUploadRequest{Workspace: "default", SourceUri: test.file, SizeBytes: uint64(len(test.content)), Sha256: hex.EncodeToString(sum[:])}
			if name == "a lying type" {
				request.ContentType = "application/pdf"
			}
			up, err := client.CreateUpload(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			for n := range int(up.GetPartCount()) {
				size := int(up.GetPartSizeBytes())
				data := []byte(test.content)[n*size : min((n+1)*size, len(test.content))]
				if _, err := client.PutPart(t.Context(), &retrieverv1.PutPartRequest{Workspace: "default", UploadId: up.GetUploadId(), PartNumber: uint32(n + 1), Data: data}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := client.CommitUpload(t.Context(), &retrieverv1.CommitUploadRequest{Workspace: "default", UploadId: up.GetUploadId()}); err != nil {
				t.Fatal(err)
			}
			d := ended(t, s, up.GetDocumentId())
			if test.reason == "" {
				if d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
					t.Errorf("the document is %v", d)
				}
				return
			}
			if f := d.GetFailure(); f.GetReason() != test.reason || !strings.Contains(f.GetMessage(), test.says) || f.GetStage() == 0 {
				t.Errorf("failed with %v, want %s: %s", f, test.reason, test.says)
			}
		})
	}
}

// The data folder can't be written: nothing starts, and the reason is said.
func TestReadOnlyDataFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(data, nil, 0o600); err != nil { // a file where the folder should be: holds for root, too
		t.Fatal(err)
	}
	s := &e2e.System{Binary: filepath.Join(e2e.Binaries(t), "ragmesh")}
	code, stdout, stderr := s.Run(t, "", "up", "--data", data, "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, data) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
