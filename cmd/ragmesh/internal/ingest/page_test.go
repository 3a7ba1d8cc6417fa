package ingest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	changed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", changed, strings.NewReader("<!DOCTYPE html><title>Fees</title><p>5 EUR"))
	})
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = io.WriteString(w, "# Fees")
	})
	mux.HandleFunc("/wrong", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "%PDF-1.7 and so on")
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/text", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "200000000") })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	taken := func(at time.Time) *retrieverv1.Document {
		return &retrieverv1.Document{State: retrieverv1.DocumentState_DOCUMENT_STATE_READY, Sequence: uint64(at.UnixMicro())}
	}
	for path, test := range map[string]struct {
		before    *retrieverv1.Document
		kind      string
		unchanged bool
		fails     string
	}{
		"/page":     {kind: "text/html"},
		"/page?a=1": {before: taken(changed.Add(time.Hour)), unchanged: true},
		"/page?a=2": {before: taken(changed.Add(time.Second)), kind: "text/html"}, // it may have been fetched before
		"/text":     {kind: "text/markdown"},
		"/wrong":    {kind: "application/pdf"},
		"/moved":    {kind: "text/markdown"},
		"/round":    {fails: "redirects"},
		"/file":     {fails: "only http"},
		"/large":    {fails: "100 MiB"},
		"/none":     {fails: "404"},
	} {
		item, unchanged, err := NewPages(nil).Fetch(t.Context(), s.URL+path, test.before)
		switch {
		case test.fails != "":
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: %v", path, err)
			}
		case err != nil || unchanged != test.unchanged || item.ContentType != test.kind:
			t.Errorf("%s: %+v, unchanged %t, %v", path, item, unchanged, err)
		case !unchanged && item.URI != s.URL+path:
			t.Errorf("%s has the URI %s", path, item.URI)
		}
	}
}

func TestPageURI(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"https://example.com/a?b=c#d": "https://example.com/a?b=c", "ftp://example.com/a": "", "https://u:p@example.com/": "", "https:///x": "",
		"https://example.com/" + strings.Repeat("x", maxURL): "",
	} {
		if got, err := PageURI(arg); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", arg, got, err)
		}
	}
	for arg, want := range map[string]bool{"https://x": true, "ftp://x": true, "docs/a.md": false, "./a://b": false, "C:/x": false, "://": false} {
		if IsURL(arg) != want {
			t.Errorf("%s is a URL: %t", arg, !want)
		}
	}
}
