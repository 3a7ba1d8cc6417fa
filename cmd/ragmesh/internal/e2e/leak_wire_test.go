package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect" // whatever is served has a descriptor
	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	_ "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
)

// procedures returns every procedure of ragmesh's contract, by its path.
func procedures() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				if strings.HasPrefix(string(s.FullName()), "ragmesh.") {
					all[fmt.Sprintf("/%s/%s", s.FullName(), s.Methods().Get(j).Name())] = s.Methods().Get(j)
				}
			}
		}
		return true
	})
	return all
}

// values are what a request's fields get, by their names.
type values map[string]any

// filled returns the request of a procedure with the fields that there are values for.
func filled(message protoreflect.MessageDescriptor, v values) map[string]any {
	request := map[string]any{}
	for i := range message.Fields().Len() {
		f := message.Fields().Get(i)
		if value, ok := v[string(f.Name())]; ok {
			request[f.JSONName()] = value
		}
	}
	return request
}

// reply is what came back: the code of an error, empty for none, and everything that was said, headers included.
type reply struct {
	code, all string
	messages  []json.RawMessage
}

// call calls a procedure with a bearer token, over Connect's JSON.
func call(t *testing.T, server, token, procedure string, request map[string]any) reply {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	stream := procedures()[procedure].IsStreamingServer()
	if stream {
		header.Set("Content-Type", "application/connect+json")
		body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	}
	status, answer := exchange(t, server, token, http.MethodPost, procedure, header, body)
	r := reply{all: string(answer)}
	if status != http.StatusOK || !stream {
		if status == http.StatusOK {
			r.messages = []json.RawMessage{answer}
			return r
		}
		var told wireError
		if err := json.Unmarshal(answer, &told); err != nil || told.Code == "" {
			t.Fatalf("%s: status %d, %q", procedure, status, answer)
		}
		r.code = told.Code
		return r
	}
	for len(answer) >= 5 {
		n := int(binary.BigEndian.Uint32(answer[1:5]))
		var end struct{ Error *wireError }
		if err := json.Unmarshal(answer[5:5+n], &end); err != nil {
			t.Fatalf("%s: %v in %q", procedure, err, answer[5:5+n])
		}
		if answer[0]&2 == 0 {
			r.messages = append(r.messages, slices.Clone(answer[5:5+n]))
			var file struct{ Data []byte }
			if json.Unmarshal(answer[5:5+n], &file) == nil {
				r.all += string(file.Data)
			}
		} else if end.Error != nil {
			r.code = end.Error.Code
		}
		answer = answer[5+n:]
	}
	return r
}

// exchange sends a request and returns the status and the body, with the answer's header before it for whoever looks for words.
func exchange(t *testing.T, server, token, method, path string, header http.Header, body []byte) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, server+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer []byte
	for piece := make([]byte, 64<<10); ; {
		n, err := response.Body.Read(piece)
		answer = append(answer, piece[:n]...)
		if errors.Is(err, io.EOF) || bytes.Contains(answer, []byte(`{"seq":`)) && bytes.Contains(answer, []byte(`"synced":`)) {
			break // a watch does not end, but says when it has shown what there is
		}
		if err != nil || len(answer) > 32<<20 {
			t.Fatalf("%s: %v after %d bytes", path, err, len(answer))
		}
	}
	for name, values := range response.Header {
		if strings.Contains(strings.Join(values, " "), canary) {
			t.Errorf("%s: header %s has a canary: %q", path, name, values)
		}
	}
	return response.StatusCode, answer
}
