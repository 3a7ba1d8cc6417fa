package mockllm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Reply is what a caller saw of one answer.
type Reply struct {
	FirstToken time.Duration
	Tokens     int
}

// Ask calls the server at base (with /v1) as the plainest client would: it streams one answer and reads it to its end. That
// is the floor which everything in between is measured against.
func Ask(ctx context.Context, client *http.Client, base, model, prompt string) (Reply, error) {
	begin := time.Now()
	body, err := json.Marshal(map[string]any{
		"model": model, "stream": true, "stream_options": map[string]any{"include_usage": true},
		"messages": []map[string]string{{"role": "user", "content": prompt}},
	})
	if err != nil {
		return Reply{}, fmt.Errorf("ask model: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return Reply{}, fmt.Errorf("ask model: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return Reply{}, fmt.Errorf("ask model: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // so that the connection can be used again
		return Reply{}, fmt.Errorf("ask model: %s", resp.Status)
	}
	return read(resp.Body, begin)
}

// read takes a stream to its end.
func read(body io.Reader, begin time.Time) (Reply, error) {
	var reply Reply
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			_, err := io.Copy(io.Discard, io.LimitReader(body, maxBody))
			return reply, err
		}
		var event completion
		if err := json.Unmarshal(data, &event); err != nil {
			return reply, fmt.Errorf("read answer: %w", err)
		}
		if len(event.Choices) == 1 && event.Choices[0].Delta != nil && event.Choices[0].Delta.Content != nil && *event.Choices[0].Delta.Content != "" {
			if reply.Tokens == 0 {
				reply.FirstToken = time.Since(begin)
			}
			reply.Tokens++
		}
	}
	if err := lines.Err(); err != nil {
		return reply, fmt.Errorf("read answer: %w", err)
	}
	return reply, errors.New("read answer: the stream ended without its end")
}
