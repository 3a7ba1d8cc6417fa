// Package bedrock is the adapter for Amazon Bedrock, through langchaingo: its client writes the requests of every family of
// models there in the family's own format, over Amazon's library, which signs them with whatever identity the process has and
// reads the binary streams. That library reports failures with their status and headers, which become faults here.
//
// langchaingo streams Anthropic's models and has the others answer as a whole; it tells no calls of tools in a stream and
// knows no JSON Schema, so that both are refused. An error may overtake the last text before it.
package bedrock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/smithy-go"
	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/llms/bedrock"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Config is where Bedrock is. The identity is the process's: from the environment, a web identity token, a container's or a
// machine's role.
type Config struct {
	Region string
	// BaseURL is an endpoint of one's own, as in a private network; empty for the region's.
	BaseURL        string
	MaxConnections int
}

// Provider speaks to Bedrock in one region. Safe for concurrent use.
type Provider struct {
	llm    *bedrock.LLM
	client *http.Client
	clock  func() time.Time
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider for the region. It does not speak to it yet.
func New(ctx context.Context, cfg Config, clock func() time.Time) (*Provider, error) {
	client := exchange.Client(cfg.MaxConnections, nil)
	shared, err := config.LoadDefaultConfig(ctx, config.WithRegion(cfg.Region))
	if err != nil {
		return nil, fmt.Errorf("key: load Amazon's configuration: %w", err)
	}
	api := bedrockruntime.NewFromConfig(shared, func(o *bedrockruntime.Options) {
		o.HTTPClient = sender{client}
		o.Retryer = aws.NopRetryer{} // routes decide that
		if cfg.BaseURL != "" {
			o.BaseEndpoint = aws.String(cfg.BaseURL)
		}
	})
	llm, err := bedrock.NewWithContext(ctx, bedrock.WithClient(api))
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Provider{llm: llm, client: client, clock: clock}, nil
}

// sender sends requests from memory. Amazon's library closes a request's body as soon as the answer begins: where that is
// before the transport has seen the body's end, it takes it for a failure and closes the connection under the answer.
type sender struct{ client *http.Client }

// Do implements bedrockruntime.HTTPClient.
func (s sender) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, fmt.Errorf("read request: %w", err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := s.client.Do(req)
	if err == nil && resp.StatusCode == http.StatusOK && strings.HasSuffix(req.URL.Path, "/invoke-with-response-stream") {
		resp.Body = newFrames(resp.Body)
	}
	return resp, err
}

// Close lets go of idle connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Generate asks for one answer.
func (p *Provider) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	told, err := messages(r)
	if err != nil {
		return provider.Result{}, err
	}
	teller := exchange.NewTeller(r, emit)
	streams := strings.Contains(r.Model, "anthropic.")
	options := options(r)
	if streams {
		options = append(options, llms.WithStreamingFunc(func(_ context.Context, text []byte) error {
			if len(text) == 0 {
				return teller.Alive()
			}
			return errors.Join(teller.Text(text), teller.Pause())
		}))
	}
	answer, err := p.llm.GenerateContent(ctx, told, options...)
	if _, asked := errors.AsType[*smithy.OperationError](err); asked && ctx.Err() == nil {
		return provider.Result{}, p.explain(err) // refused, or not reached
	}
	finish, used := end(answer)
	switch {
	case err != nil && ctx.Err() != nil:
		err = ctx.Err()
	case err != nil:
		err = p.explain(err)
	case finish == 0:
		err = exchange.Cut(nil)
	case !streams:
		err = whole(answer, teller)
	}
	return teller.Result(finish, used, err)
}

func options(r provider.Request) []llms.CallOption {
	out := []llms.CallOption{llms.WithModel(r.Model), llms.WithMaxTokens(r.MaxTokens), llms.WithStopWords(r.Stop)}
	if r.Temperature != nil {
		out = append(out, llms.WithTemperature(max(*r.Temperature, least)))
	}
	if r.TopP != nil {
		out = append(out, llms.WithTopP(max(*r.TopP, least)))
	}
	return out
}

// least stands for 0, which langchaingo takes for nothing.
const least = 1e-6

// messages are r's in langchaingo's terms: one of the system, and none that is empty.
func messages(r provider.Request) ([]llms.MessageContent, error) {
	if len(r.Tools) > 0 {
		return nil, exchange.Cannot("providers of type bedrock have no tools; give the model a target of another type")
	}
	if r.Schema != nil {
		return nil, exchange.Cannot("providers of type bedrock can't keep to a JSON Schema; give the model a target of another type")
	}
	var system []string
	var out []llms.MessageContent
	for _, m := range ask.Plain(r.Messages) {
		switch {
		case strings.TrimSpace(m.Content) == "":
		case m.Role == ask.System:
			system = append(system, m.Content)
		case m.Role == ask.Assistant:
			out = append(out, llms.TextParts(llms.ChatMessageTypeAI, m.Content))
		default:
			out = append(out, llms.TextParts(llms.ChatMessageTypeHuman, m.Content))
		}
	}
	if len(system) > 0 {
		out = append([]llms.MessageContent{llms.TextParts(llms.ChatMessageTypeSystem, strings.Join(system, "\n\n"))}, out...)
	}
	return out, nil
}

// whole tells an answer that came at once.
func whole(answer *llms.ContentResponse, t *exchange.Teller) error {
	for _, c := range answer.Choices {
		if err := t.Text([]byte(c.Content)); err != nil {
			return err
		}
	}
	return t.Pause()
}

// end says how an answer ended; 0 where it did not.
func end(answer *llms.ContentResponse) (provider.Finish, provider.Usage) {
	if answer == nil || len(answer.Choices) == 0 {
		return 0, provider.Usage{}
	}
	c := answer.Choices[0]
	tokens := func(key string) int { n, _ := c.GenerationInfo[key].(int); return n }
	used := provider.Usage{Prompt: tokens("input_tokens"), Completion: tokens("output_tokens")}
	switch strings.ToLower(c.StopReason) {
	case "":
		return 0, used
	case "max_tokens", "length", "max_length", "model_context_window_exceeded":
		return provider.Length, used
	case "refusal", "content_filtered", "guardrail_intervened", "error_toxic":
		return provider.Filtered, used
	default:
		return provider.Stop, used
	}
}

// explain turns the library's errors into faults.
func (p *Provider) explain(err error) error {
	var code, message string
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	response, answered := errors.AsType[*awshttp.ResponseError](err)
	_, asked := errors.AsType[*smithy.OperationError](err)
	switch {
	case answered && response.HTTPStatusCode() > 0 && response.HTTPStatusCode() != http.StatusOK:
		return exchange.Refused(response.HTTPStatusCode(), response.Response.Header, code, message, p.clock())
	case code != "" && !asked: // in a stream
		return exchange.Reported(code, message)
	case asked:
		return fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider does not answer")
	case errors.Is(err, errTooLarge):
		return exchange.TooLarge(err)
	case errors.Is(err, errTorn):
		return exchange.Cut(err)
	default:
		return exchange.Unreadable(err)
	}
}
