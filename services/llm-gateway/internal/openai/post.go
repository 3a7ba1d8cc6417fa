package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxResponseBytes bounds an answer that comes as a whole: 256 vectors of 8,192 numbers as text are less.
const maxResponseBytes = 64 << 20

// post sends one request that is answered as a whole, and decodes the answer into out. Its errors are as those of Generate.
// langchaingo would do, but hides status, Retry-After and usage, and speaks no reranking.
func (p *Provider) post(ctx context.Context, path string, body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	key := ""
	if !p.cfg.Key.IsZero() {
		if key, err = p.cfg.Key.Resolve(); err != nil {
			return fault.Wrap(err, fault.Precondition, fault.ProviderRejected, "the provider's API key is not configured")
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ragmesh-llm-gateway")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider does not answer")
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return refused(resp, key, p.clock())
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return cut(err)
	}
	if len(answer) > maxResponseBytes {
		return unreadable(fmt.Errorf("more than %d bytes", maxResponseBytes))
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return unreadable(err)
	}
	return nil
}

// unreadable is the failure of a provider that answers what it should not.
func unreadable(cause error) *fault.Error {
	return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider answered something that is not understood")
}
