package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/libs/health"
)

const (
	healthPoll    = time.Second
	healthTimeout = 5 * time.Second
	maxHealth     = 1 << 20
)

func (a *app) health() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "health [ADMIN-URL]",
		Short: "Say whether a service is ready, and what it waits for",
		Long: "Ask the admin port of a service, or of the all-in-one, whether it is ready, and show what it waits for. The exit code is 0 when it is.\n" +
			"With --wait it asks again until it is, for so long.",
		Example: "  ragmesh health http://127.0.0.1:9080\n  ragmesh health http://ragmesh-retriever:9090 --wait 1m",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			url := "http://127.0.0.1:9080"
			if len(args) == 1 {
				url = strings.TrimSuffix(args[0], "/")
			}
			if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
				return usagef("%q is no address such as http://127.0.0.1:9080", url)
			}
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			return a.runHealth(ctx, url+"/health/ready", wait)
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "ask again until it is ready, for so long")
	return c
}

func (a *app) runHealth(ctx context.Context, url string, wait time.Duration) error {
	end := time.Now().Add(wait)
	for {
		body, ready, err := askHealth(ctx, url)
		if !ready && time.Now().Before(end) {
			select {
			case <-time.After(healthPoll):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
		if a.json {
			a.out.printf("%s\n", strings.TrimSpace(string(body)))
		} else if err := a.showHealth(body); err != nil {
			return err
		}
		if !ready {
			return errReported
		}
		return nil
	}
}

func askHealth(ctx context.Context, url string) (body []byte, ready bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, err
	}
	response, err := (&http.Client{Timeout: healthTimeout}).Do(request)
	if err != nil {
		return nil, false, fmt.Errorf("nobody answers: %w", err)
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(response.Body, maxHealth)); err != nil {
		return nil, false, err
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return nil, false, fmt.Errorf("%s answers %s; is it the admin port?", url, response.Status)
	}
	return body, response.StatusCode == http.StatusOK, nil
}

func (a *app) showHealth(body []byte) error {
	var report health.Report
	if err := json.Unmarshal(body, &report); err != nil || report.Phase == "" {
		return errors.Join(errors.New("the answer is no readiness report; is it the admin port?"), err)
	}
	a.out.printf("%s\n", report.Phase)
	for _, c := range report.Components {
		mark := a.out.style(green, "✓")
		if !c.Ready {
			mark = a.out.style(yellow, "✗")
		}
		a.out.printf("%s %-20s %s\n", mark, c.Name, a.out.style(dim, oneLine(c.Detail, 0)))
	}
	return nil
}
