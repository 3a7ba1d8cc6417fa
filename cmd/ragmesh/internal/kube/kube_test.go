package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/libs/identity"
)

// all are the Secrets of an instance called rm, in the order in which they are made.
var all = []string{
	"rm-identity-dialog", "rm-identity-retriever", "rm-identity-tools", "rm-identity-llm-gateway", "rm-identity-eval", "rm-identity-jwks", "rm-bootstrap", "rm-nats",
}

// apiServer keeps Secrets as the real one does, as far as a client sees.
type apiServer struct {
	mu      sync.Mutex
	secrets map[string]object
	// refuse answers a request by itself when it returns a status.
	refuse func(method, name string) int
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	say := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	const path = "/api/v1/namespaces/team/secrets"
	name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, path), "/")
	if r.Header.Get("Authorization") != "Bearer let-me-in" || !strings.HasPrefix(r.URL.Path, path) {
		say(http.StatusUnauthorized, map[string]string{"kind": "Status", "message": "Unauthorized"})
		return
	}
	var in object
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &in); err != nil {
			say(http.StatusBadRequest, map[string]string{"message": err.Error()})
			return
		}
		name = in.Metadata.Name
	}
	if a.refuse != nil {
		if status := a.refuse(r.Method, name); status != 0 {
			say(status, map[string]string{"message": "secrets is forbidden"})
			return
		}
	}
	found, ok := a.secrets[name]
	switch {
	case r.Method == http.MethodGet && !ok:
		say(http.StatusNotFound, map[string]string{"message": "not found"})
	case r.Method == http.MethodGet:
		say(http.StatusOK, found)
	case r.Method == http.MethodPost && ok:
		say(http.StatusConflict, map[string]string{"message": "already exists"})
	case r.Method == http.MethodPost:
		a.secrets[name] = in
		say(http.StatusCreated, in)
	default:
		say(http.StatusMethodNotAllowed, nil)
	}
}

func (a *apiServer) names() []string {
	var got []string
	for _, name := range all {
		if _, ok := a.secrets[name]; ok {
			got = append(got, name)
		}
	}
	return got
}

// pod returns a client made from what a Pod finds.
func pod(t *testing.T, a *apiServer) *Client {
	t.Helper()
	if a.secrets == nil {
		a.secrets = map[string]object{}
	}
	server := httptest.NewTLSServer(a)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, data := range map[string][]byte{"ca.crt": authority, "namespace": []byte("team\n"), "token": []byte("let-me-in\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
	c, err := InCluster(func(name string) string { return env[name] }, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// belong checks that the private keys an API server keeps are those of the public ones.
func belong(t *testing.T, a *apiServer) {
	t.Helper()
	public, err := a.secrets["rm-identity-jwks"].secret()
	if err != nil {
		t.Fatal(err)
	}
	set, err := identity.ParseJWKS(public.Value)
	if err != nil {
		t.Fatal(err)
	}
	verifier := identity.NewVerifier(set, nil)
	for _, service := range identity.Services() {
		s, err := a.secrets["rm-identity-"+service].secret()
		if err != nil {
			t.Fatal(err)
		}
		private, err := identity.ParsePrivateKey(s.Value)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := identity.NewSigner(service, private, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signer.Token(t.Context(), identity.Background(service, "default"), identity.Dialog)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Verify(token, identity.Dialog); err != nil {
			t.Errorf("a token of %s is refused: %v", service, err)
		}
	}
}

func TestInstallMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	a := &apiServer{}
	c := pod(t, a)
	done, err := c.Install(t.Context(), "rm")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Installed{Namespace: "team", Created: all}, done); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	belong(t, a)
	for _, without := range []string{"", "rm-bootstrap", "rm-nats", "rm-identity-jwks"} {
		before := a.secrets
		a.secrets = map[string]object{}
		for name, o := range before {
			if name != without {
				a.secrets[name] = o
			}
		}
		want := 0
		if without != "" {
			want = 1
		}
		if done, err = c.Install(t.Context(), "rm"); err != nil || len(done.Created) != want || len(done.Kept) != len(all)-want {
			t.Errorf("without %q: %+v, %v", without, done, err)
		}
		belong(t, a)
		for name, o := range before {
			if name != without && !cmp.Equal(o, a.secrets[name]) {
				t.Errorf("without %q, %s was overwritten", without, name)
			}
		}
	}
}

func TestInstallGoesOnAfterItWasCutShort(t *testing.T) {
	t.Parallel()
	for made := range all {
		a := &apiServer{}
		c := pod(t, a)
		creations := 0
		a.refuse = func(method, _ string) int {
			if method == http.MethodPost {
				if creations++; creations > made {
					return http.StatusInternalServerError
				}
			}
			return 0
		}
		if _, err := c.Install(t.Context(), "rm"); err == nil {
			t.Errorf("after %d: no error", made)
		}
		if got := a.names(); len(got) != made {
			t.Errorf("after %d: %q are there", made, got)
		}
		a.refuse = nil
		if done, err := c.Install(t.Context(), "rm"); err != nil || len(done.Created) != len(all)-made {
			t.Errorf("after %d, again: %+v, %v", made, done, err)
		}
		belong(t, a)
	}
}

func TestSeveralInstallAtOnce(t *testing.T) {
	t.Parallel()
	a := &apiServer{}
	c := pod(t, a)
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() { _, errs[i] = c.Install(t.Context(), "rm") })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	belong(t, a)
}

func TestInstallRefusesHalfASet(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(t *testing.T, a *apiServer)
		says   string
	}{
		"a private key is missing": {
			change: func(_ *testing.T, a *apiServer) { delete(a.secrets, "rm-identity-eval") },
			says:   "rm-identity-eval is missing",
		},
		"a private key is another one": {
			change: func(t *testing.T, a *apiServer) {
				t.Helper()
				keys, err := identity.GenerateKeys()
				if err != nil {
					t.Fatal(err)
				}
				secrets, err := Secrets("rm", keys)
				if err != nil {
					t.Fatal(err)
				}
				a.secrets["rm-identity-tools"] = secrets[2].object("team", "rm")
			},
			says: "rm-identity-tools is not among them",
		},
		"the public keys can't be read": {
			change: func(_ *testing.T, a *apiServer) {
				a.secrets["rm-identity-jwks"] = Secret{"rm-identity-jwks", jwksKey, []byte("{}")}.object("team", "rm")
			},
			says: "parse JWKS",
		},
		"a Secret is somebody else's": {
			change: func(_ *testing.T, a *apiServer) {
				a.secrets["rm-bootstrap"] = Secret{"rm-bootstrap", "other", []byte("x")}.object("team", "rm")
			},
			says: "not one of ours",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &apiServer{}
			c := pod(t, a)
			if _, err := c.Install(t.Context(), "rm"); err != nil {
				t.Fatal(err)
			}
			tt.change(t, a)
			before := a.names()
			done, err := c.Install(t.Context(), "rm")
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want that %q is said", err, tt.says)
			}
			if len(done.Created) > 0 || !slices.Equal(before, a.names()) {
				t.Errorf("made %q", done.Created)
			}
		})
	}
}

func TestInstallSaysWhatTheServerSays(t *testing.T) {
	t.Parallel()
	a := &apiServer{refuse: func(string, string) int { return http.StatusForbidden }}
	c := pod(t, a)
	if _, err := c.Install(t.Context(), "rm"); err == nil || !strings.Contains(err.Error(), "403 Forbidden: secrets is forbidden") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Install(ctx, "rm"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestOutsideAPod(t *testing.T) {
	t.Parallel()
	if _, err := InCluster(func(string) string { return "" }, t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "this is no Pod") {
		t.Errorf("got %v", err)
	}
	if _, err := InCluster(func(string) string { return "1" }, t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "automountServiceAccountToken") {
		t.Errorf("got %v", err)
	}
}

func TestManifestIsWhatInstallMakes(t *testing.T) {
	t.Parallel()
	keys, err := identity.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	var manifest, list, again bytes.Buffer
	for _, w := range []*bytes.Buffer{&manifest, &again} {
		secrets, err := Secrets("rm", keys)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteManifest(w, "team", "rm", secrets); err != nil {
			t.Fatal(err)
		}
		list.Reset()
		if err := WriteManifestJSON(&list, "team", "rm", secrets); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(manifest.Bytes(), again.Bytes()) {
		t.Error("the same keys make different manifests")
	}
	a := &apiServer{secrets: map[string]object{}}
	var items struct{ Items []object }
	if err := json.Unmarshal(list.Bytes(), &items); err != nil {
		t.Fatal(err)
	}
	for d, i := yaml.NewDecoder(&manifest), 0; ; i++ {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		a.secrets[o.Metadata.Name] = o
		if diff := cmp.Diff(o, items.Items[i]); diff != "" {
			t.Errorf("YAML and JSON differ:\n%s", diff)
		}
	}
	if done, err := pod(t, a).Install(t.Context(), "rm"); err != nil || len(done.Created) > 0 {
		t.Errorf("an installation on top of the manifest: %+v, %v", done, err)
	}
	keys.Bootstrap = ""
	if _, err := Secrets("rm", keys); err == nil {
		t.Error("no error without a bootstrap key")
	}
	delete(keys.Private, identity.Eval)
	if _, err := Secrets("rm", keys); err == nil || !strings.Contains(err.Error(), "eval") {
		t.Errorf("got %v, want that eval's key is missing", err)
	}
}
