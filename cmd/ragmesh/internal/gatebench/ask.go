package gatebench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// reply is what a caller saw of one answer.
type reply struct {
	took, first time.Duration
	err         error
}

// asker asks a target for one answer.
type asker func(ctx context.Context, stream bool) reply

// overHTTP asks as an application does. It reads without decoding: what is measured is the other side.
func overHTTP(client *http.Client, base, key, model, prompt string) asker {
	bodies := map[bool][]byte{
		false: fmt.Appendf(nil, `{"model":%q,"messages":[{"role":"user","content":%q}]}`, model, prompt),
		true:  fmt.Appendf(nil, `{"model":%q,"messages":[{"role":"user","content":%q}],"stream":true}`, model, prompt),
	}
	buffers := sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}
	return func(ctx context.Context, stream bool) reply {
		begin := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", bytes.NewReader(bodies[stream]))
		if err != nil {
			return reply{err: err}
		}
		req.Header.Set("Content-Type", "application/json")
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := client.Do(req)
		if err != nil {
			return reply{err: err}
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			words, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			return reply{err: fmt.Errorf("%s: %s", resp.Status, words)}
		}
		var r reply
		buf, _ := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		var last []byte
		for {
			n, err := resp.Body.Read(*buf)
			if n > 0 && r.first == 0 && (!stream || seen((*buf)[:n])) {
				r.first = time.Since(begin)
			}
			if n > 0 {
				last = (*buf)[max(0, n-16):n]
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return reply{err: err}
			}
		}
		r.took = time.Since(begin)
		if end := bytes.TrimSpace(last); stream && !bytes.HasSuffix(end, []byte("[DONE]")) || !stream && !bytes.HasSuffix(end, []byte("}")) {
			r.err = errors.New("the answer has no end")
		}
		return r
	}
}

// seen says whether there is text in some events.
func seen(p []byte) bool {
	for {
		i := bytes.Index(p, []byte(`"content":"`))
		if i < 0 {
			return false
		}
		if p = p[i+len(`"content":"`):]; len(p) > 0 && p[0] != '"' {
			return true
		}
	}
}

// overConnect asks a procedure, as dialog does.
func overConnect(client llmv1connect.LLMServiceClient, model, prompt string) asker {
	return func(ctx context.Context, _ bool) reply {
		begin := time.Now()
		stream, err := client.Generate(ctx, &llmv1.GenerateRequest{Workspace: "default", Model: model, Question: prompt})
		if err != nil {
			return reply{err: err}
		}
		defer stream.Close()
		var r reply
		for stream.Receive() {
			if r.first == 0 && stream.Msg().GetDelta().GetText() != "" {
				r.first = time.Since(begin)
			}
		}
		r.took, r.err = time.Since(begin), stream.Err()
		return r
	}
}

// phase is a stretch of load.
type phase struct {
	replies []reply
	wall    time.Duration
}

// load has workers ask until d is over or n answers were asked for, whichever comes first; n is 0 for no bound.
func load(ctx context.Context, workers int, d time.Duration, n int, ask func(context.Context) reply) phase {
	begin := time.Now()
	var mu sync.Mutex
	var group sync.WaitGroup
	var begun atomic.Int64
	var p phase
	for range workers {
		group.Go(func() {
			var own []reply
			for ctx.Err() == nil && time.Since(begin) < d && (n == 0 || begun.Add(1) <= int64(n)) {
				own = append(own, ask(ctx))
			}
			mu.Lock()
			defer mu.Unlock()
			p.replies = append(p.replies, own...)
		})
	}
	group.Wait()
	p.wall = time.Since(begin)
	return p
}
