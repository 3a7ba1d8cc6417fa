package weaviate_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate"
)

// TestConnectRefuses holds Connect to saying at once what is wrong with a server that will not do.
func TestConnectRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version string
		class   string // as the server has it
		want    string // in the message
	}{
		"too old":               {"1.32.9", `{}`, "not supported"},
		"too new":               {"2.0.0", `{}`, "not supported"},
		"no version":            {"dev", `{}`, "not supported"},
		"somebody else's":       {"1.38.0", `{"class":"P","properties":[]}`, "no tenants"},
		"without a property":    {"1.38.0", `{"class":"P","multiTenancyConfig":{"enabled":true},"properties":[]}`, "no property"},
		"tokenized differently": {"1.38.0", `{"class":"P","multiTenancyConfig":{"enabled":true},"properties":[{"name":"kind","dataType":["text"],"tokenization":"word"}]}`, "tokenized"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/meta") {
					_ = json.NewEncoder(w).Encode(map[string]string{"version": test.version})
					return
				}
				_, _ = w.Write([]byte(test.class))
			}))
			defer at.Close()
			s, err := weaviate.New(weaviate.Config{
				URL: at.URL, GRPCURL: at.URL, Collection: "P", Replicas: 1, Timeout: time.Minute, Observer: &observer{TB: t, took: map[string][]time.Duration{}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if err := s.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("connecting gives %v, want what says %q", err, test.want)
			}
			if ready, detail := s.Status(); ready || detail == "" {
				t.Errorf("status %t, %q", ready, detail)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "weaviate:80", "ftp://weaviate", "http://user:secret@weaviate", "http://weaviate/path", "http://"} {
		if _, err := weaviate.New(weaviate.Config{URL: bad, GRPCURL: "http://weaviate:50051", Timeout: time.Second}); err == nil {
			t.Errorf("%q is taken for an address", bad)
		}
	}
}
