package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// The bounds of what is fetched.
const (
	MaxPage      = 100 << 20 // bytes
	pageTimeout  = 2 * time.Minute
	maxRedirects = 5
	maxURL       = 2048 // bytes; what a source URI may have
	// pageMargin is taken off the time at which a page was taken in: it was fetched somewhat earlier.
	pageMargin = 5 * time.Minute
)

// IsURL says whether an argument names a page of the web and not a path.
func IsURL(arg string) bool {
	scheme, _, ok := strings.Cut(arg, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, `/\.`)
}

// Pages fetches pages of the web.
type Pages struct{ client *http.Client }

// NewPages returns a fetcher that goes through a transport; nil for the ordinary one.
func NewPages(t http.RoundTripper) *Pages {
	return &Pages{&http.Client{
		Transport: t, Timeout: pageTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			return fetchable(r.URL)
		},
	}}
}

func fetchable(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s: only http and https are fetched", u.Redacted())
	case u.Host == "":
		return fmt.Errorf("%s: there is no host", u.Redacted())
	case u.User != nil:
		return fmt.Errorf("%s: a source URI must hold no user or password", u.Redacted())
	}
	return nil
}

// PageURI returns the source URI of a page: its address without the fragment.
func PageURI(arg string) (string, error) {
	u, err := url.Parse(arg)
	if err != nil {
		return "", fmt.Errorf("fetch: %w", err)
	}
	if err := fetchable(u); err != nil {
		return "", fmt.Errorf("fetch %w", err)
	}
	u.Fragment, u.RawFragment = "", ""
	if uri := u.String(); len(uri) <= maxURL {
		return uri, nil
	}
	return "", fmt.Errorf("fetch: the address has more than %d bytes", maxURL)
}

// Fetch returns a page as an item. The document that was made of it before, if any, tells since when it must have changed; unchanged
// says that it has not.
func (p *Pages) Fetch(ctx context.Context, uri string, before *retrieverv1.Document) (item Item, unchanged bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return Item{}, false, fmt.Errorf("fetch: %w", err)
	}
	req.Header.Set("User-Agent", "ragmesh")
	req.Header.Set("Accept", "text/html, application/pdf, text/markdown, text/plain, */*;q=0.5")
	if before.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		taken := time.UnixMicro(int64(before.GetSequence())).Add(-pageMargin)
		req.Header.Set("If-Modified-Since", taken.UTC().Format(http.TimeFormat))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return Item{}, false, err // names the address
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && req.Header.Get("If-Modified-Since") != "":
		return Item{}, true, nil
	case resp.StatusCode != http.StatusOK:
		return Item{}, false, fmt.Errorf("fetch %s: the server answers %s", uri, resp.Status)
	case resp.ContentLength > MaxPage:
		return Item{}, false, tooLarge(uri)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxPage+1))
	switch {
	case err != nil:
		return Item{}, false, fmt.Errorf("fetch %s: %w", uri, err)
	case len(data) > MaxPage:
		return Item{}, false, tooLarge(uri)
	}
	return Item{URI: uri, ContentType: kindOf(resp.Header.Get("Content-Type"), data), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}, false, nil
}

func tooLarge(uri string) error {
	return fmt.Errorf("fetch %s: %w", uri, errors.New("it has more than 100 MiB"))
}

// kindOf returns the media type of a page: what its bytes show, else what the server said if that says something.
func kindOf(header string, data []byte) string {
	found, _, _ := mime.ParseMediaType(http.DetectContentType(data[:min(len(data), 512)]))
	said, _, _ := mime.ParseMediaType(header)
	switch {
	case found == "text/html", found == "application/pdf":
		return found
	case said == "application/octet-stream", said == "binary/octet-stream":
		return ""
	}
	return said
}
