package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// rolesSet are the values of a retriever whose roles are apart, over the Weaviate of the flags.
func (r *run) rolesSet() string {
	return fmt.Sprintf(",retriever.replicas=2,retriever.resources.memory=512Mi,retriever.ingest.separate=true,retriever.ingest.replicas=2,retriever.ingest.resources.cpu=%s"+
		",retriever.config.store=weaviate,retriever.config.weaviate.url=%s,retriever.config.weaviate.grpc_url=%s,retriever.config.weaviate.collection=Try%d", cpu, r.weaviate, r.weaviateGRPC, r.seed)
}

// roles installs everything with a retriever that serves in two pods and takes documents in in two others. Pods of both are killed under
// load, and nobody notices; what is sent while none takes documents in waits.
func (r *run) roles(ctx context.Context) error {
	if r.weaviate == "" || r.weaviateGRPC == "" {
		return errors.New("needs a Weaviate that lets everyone in: -weaviate http://HOST:PORT -weaviate-grpc http://HOST:PORT")
	}
	r.apart, r.installed = true, false
	defer func() { r.apart, r.installed = false, false }() // other steps want the one pod
	if err := r.ensure(ctx); err != nil {
		return err
	}
	if _, err := r.helm(ctx, "test", "ragmesh", "--timeout", "3m"); err != nil {
		return err
	}
	r.note("helm test succeeded")
	if err := r.onlyServingIsCalled(ctx); err != nil {
		return err
	}
	if err := r.waitsForIngestion(ctx); err != nil {
		return err
	}
	l, err := r.under(ctx, "roles, delete --force", r.rate, time.Minute, r.inTurn([]string{"retriever"}, r.forceDelete))
	if err := errors.Join(err, l.unharmed()); err != nil {
		return err
	}
	return r.together(ctx)
}

// onlyServingIsCalled checks that the Service leads to the two pods that serve.
func (r *run) onlyServingIsCalled(ctx context.Context) error {
	names := func(args ...string) (string, error) {
		out, err := r.in(ctx, append([]string{"get"}, args...)...)
		return strings.Join(slices.Sorted(strings.FieldsSeq(string(out))), " "), err
	}
	called, err := names("endpointslices", "-l", "kubernetes.io/service-name=ragmesh-retriever", "-o", "jsonpath={.items[*].endpoints[*].targetRef.name}")
	if err != nil {
		return err
	}
	serving, err := names("pods", "-l", "app.kubernetes.io/name=retriever,app.kubernetes.io/component=retriever", "-o", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		return err
	}
	if called != serving || len(strings.Fields(called)) != 2 {
		return fmt.Errorf("calls go to %q, and %q serve", called, serving)
	}
	r.note("calls go to the two pods that serve")
	return nil
}

// waitsForIngestion sends a document while no pod takes any in, and finds it taken in once there is one.
func (r *run) waitsForIngestion(ctx context.Context) error {
	const ingesting = "deployment/ragmesh-retriever-ingest"
	if _, err := r.in(ctx, "scale", ingesting, "--replicas=0"); err != nil {
		return err
	}
	if _, err := r.in(ctx, "wait", "pods", "-l", "app.kubernetes.io/component=retriever-ingest", "--for=delete", "--timeout=3m"); err != nil {
		return err
	}
	paths, err := r.documents()
	if err != nil {
		return err
	}
	again := []string{"ingest", "--base", "/documents"} // the same ones under other names
	for _, path := range paths {
		again = append(again, "/documents/"+inPod(path))
	}
	if err := r.startPod(ctx, "try-late", again...); err != nil {
		return err
	}
	if err := wait(ctx, 15*time.Second); err != nil {
		return err
	}
	if phase, err := r.phase(ctx, "try-late", "Running", "Succeeded", "Failed"); err != nil || phase != "Running" {
		return fmt.Errorf("documents that nobody takes in are %s: %w", phase, err)
	}
	if _, err := r.in(ctx, "scale", ingesting, "--replicas=2"); err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.endPod(ctx, "try-late"); err != nil {
		return err
	}
	r.note("documents sent while no pod took any in waited, and were taken in %.0f s after two came", time.Since(began).Seconds())
	_, err = r.in(ctx, "rollout", "status", ingesting, "--timeout=3m")
	return err
}

// together has every pod do both again, by an upgrade.
func (r *run) together(ctx context.Context) error {
	if _, err := r.helm(ctx, "upgrade", "ragmesh", "deploy/helm/ragmesh", "--reuse-values", "--set", "retriever.ingest.separate=false", "--wait", "--timeout", "5m"); err != nil {
		return err
	}
	if out, err := r.in(ctx, "get", "deployments", "-l", "app.kubernetes.io/name=retriever", "-o", "name"); err != nil || strings.TrimSpace(string(out)) != "deployment.apps/ragmesh-retriever" {
		return fmt.Errorf("an upgrade without roles leaves %q: %w", out, err)
	}
	if _, err := r.helm(ctx, "test", "ragmesh", "--timeout", "3m"); err != nil {
		return err
	}
	r.note("together again by an upgrade, and helm test succeeded")
	return nil
}
