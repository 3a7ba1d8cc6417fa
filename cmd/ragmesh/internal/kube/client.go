package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// serviceAccountDir is where Kubernetes puts the credentials of a Pod's service account.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 3 << 20 // a Secret holds 1 MiB at most, in base64
)

// Client reads and creates the Secrets of one namespace through the API server.
type Client struct {
	// URL of the API server, such as https://10.96.0.1:443.
	URL       string
	Namespace string
	// Token of the caller; read for every request, because Kubernetes renews it.
	Token func() (string, error)
	HTTP  *http.Client
}

// InCluster returns a client for the Pod it runs in. getenv is the environment, dir where the service account's files are, empty for
// where Kubernetes puts them. An empty namespace is the Pod's.
func InCluster(getenv func(string) string, dir, namespace string) (*Client, error) {
	if dir == "" {
		dir = serviceAccountDir
	}
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no Pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	authority, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the cluster's certificate authority: %w; the Pod needs automountServiceAccountToken: true", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("read the cluster's certificate authority: no certificate in %s", filepath.Join(dir, "ca.crt"))
	}
	if namespace == "" {
		own, err := os.ReadFile(filepath.Join(dir, "namespace"))
		if err != nil {
			return nil, fmt.Errorf("read the Pod's namespace: %w", err)
		}
		namespace = strings.TrimSpace(string(own))
	}
	return &Client{
		URL: "https://" + net.JoinHostPort(host, port), Namespace: namespace,
		Token: func() (string, error) {
			token, err := os.ReadFile(filepath.Join(dir, "token"))
			return strings.TrimSpace(string(token)), err
		},
		HTTP: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}},
	}, nil
}

var (
	errNotFound = errors.New("not found")
	errExists   = errors.New("exists already")
)

// get returns a Secret, or errNotFound.
func (c *Client) get(ctx context.Context, name string) (Secret, error) {
	var o object
	if err := c.do(ctx, http.MethodGet, "/"+url.PathEscape(name), nil, &o); err != nil {
		return Secret{}, fmt.Errorf("read Secret %s: %w", name, err)
	}
	return o.secret()
}

// create makes a Secret, or answers errExists.
func (c *Client) create(ctx context.Context, instance string, s Secret) error {
	if err := c.do(ctx, http.MethodPost, "", s.object(c.Namespace, instance), nil); err != nil {
		return fmt.Errorf("create Secret %s: %w", s.Name, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL+"/api/v1/namespaces/"+url.PathEscape(c.Namespace)+"/secrets"+path, body)
	if err != nil {
		return err
	}
	token, err := c.Token()
	if err != nil {
		return fmt.Errorf("read the service account's token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	switch {
	case response.StatusCode == http.StatusNotFound && method == http.MethodGet:
		return errNotFound
	case response.StatusCode == http.StatusConflict:
		return errExists
	case response.StatusCode/100 != 2:
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &status) // an answer without a message has its status
		return fmt.Errorf("the API server answered %s: %s", response.Status, status.Message)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}
