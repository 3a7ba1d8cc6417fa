package refusal_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	type said struct {
		Status                           int
		Type, Param, Code, After, Repeat string
	}
	for name, test := range map[string]struct {
		err  error
		want said
	}{
		"a parameter":     {refusal.Invalid("n", "no"), said{Status: 400, Type: "invalid_request_error", Param: "n"}},
		"a request":       {refusal.Invalid("", "no"), said{Status: 400, Type: "invalid_request_error"}},
		"no model":        {refusal.NoModel("x"), said{Status: 404, Type: "invalid_request_error", Param: "model", Code: "model_not_found"}},
		"no key":          {fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "no"), said{Status: 401, Type: "invalid_request_error", Code: "invalid_api_key"}},
		"too large":       {fault.New(fault.Invalid, fault.RequestTooLarge, "no"), said{Status: 413, Type: "invalid_request_error", Code: "request_too_large"}},
		"too often":       {fault.New(fault.Exhausted, fault.RateLimited, "no").WithRetryAfter(1500 * time.Millisecond), said{Status: 429, Type: "rate_limit_error", Code: "rate_limited", After: "2"}},
		"too dear":        {fault.New(fault.Exhausted, fault.BudgetExceeded, "no"), said{Status: 429, Type: "insufficient_quota", Code: "insufficient_quota", Repeat: "false"}},
		"provider gone":   {fault.New(fault.Unavailable, fault.ProviderUnavailable, "no"), said{Status: 503, Type: "server_error", Code: "provider_unavailable"}},
		"somebody's slip": {errors.New("secret"), said{Status: 500, Type: "server_error", Code: "internal"}},
	} {
		w := httptest.NewRecorder()
		refusal.Write(w, test.err)
		var body refusal.Error
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Message == "" || body.Error.Message == "secret" {
			t.Errorf("%s: %v, %s", name, err, w.Body)
		}
		text := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		got := said{w.Code, body.Error.Type, text(body.Error.Param), text(body.Error.Code), w.Header().Get("Retry-After"), w.Header().Get("X-Should-Retry")}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
