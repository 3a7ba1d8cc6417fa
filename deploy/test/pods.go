package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type object = map[string]any

// labels of pods that ask: the charts' network policies know them.
func askingLabels() object {
	return object{"app.kubernetes.io/name": "ragmesh-test", "app.kubernetes.io/instance": "ragmesh"}
}

// container is a restricted one that runs the command line.
func (r *run) container(args ...string) object {
	return object{
		"name": "ragmesh", "image": "ragmesh/ragmesh:" + r.tag, "args": args,
		"env": []object{
			{"name": "RAGMESH_SERVER", "value": "http://ragmesh-dialog:8080"},
			{"name": "RAGMESH_API_KEY", "valueFrom": object{"secretKeyRef": object{"name": "ragmesh-bootstrap", "key": "key"}}},
		},
		"resources": object{"requests": object{"cpu": "50m", "memory": "64Mi"}, "limits": object{"memory": "512Mi"}},
		"securityContext": object{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": object{"drop": []string{"ALL"}},
		},
	}
}

func podSpec(container object) object {
	return object{
		"containers": []object{container}, "automountServiceAccountToken": false, "enableServiceLinks": false,
		"securityContext": object{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": object{"type": "RuntimeDefault"}},
	}
}

// pod is one that runs a command of ragmesh to its end. The example's documents are mounted when they are there.
func (r *run) pod(name string, args ...string) object {
	container := r.container(args...)
	container["volumeMounts"] = []object{{"name": "documents", "mountPath": "/documents", "readOnly": true}}
	spec := podSpec(container)
	spec["restartPolicy"] = "Never"
	spec["volumes"] = []object{{"name": "documents", "configMap": object{"name": "documents", "optional": true}}}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "labels": askingLabels()}, "spec": spec}
}

// mockObjects are the model that the loads use.
func (r *run) mockObjects() object {
	labels := object{"app": "try-model"}
	container := r.container("bench", "mock", "--addr", "0.0.0.0:9999")
	container["readinessProbe"] = object{"httpGet": object{"path": "/health", "port": 9999}}
	return object{"apiVersion": "v1", "kind": "List", "items": []object{
		{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "try-model"},
			"spec": object{"selector": object{"matchLabels": labels}, "template": object{"metadata": object{"labels": labels}, "spec": podSpec(container)}},
		},
		{
			"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "try-model"},
			"spec": object{"selector": labels, "ports": []object{{"port": 9999}}},
		},
	}}
}

func (r *run) apply(ctx context.Context, o object) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = r.kubectl(ctx, bytes.NewReader(data), "-n", r.namespace, "apply", "--validate=strict", "-f", "-")
	return err
}

// podOutput runs a command of ragmesh in a pod and returns what it prints.
func (r *run) podOutput(ctx context.Context, name string, limit time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := r.startPod(ctx, name, args...); err != nil {
		return nil, err
	}
	return r.endPod(ctx, name)
}

// startPod starts a pod and returns once it runs, or has ended.
func (r *run) startPod(ctx context.Context, name string, args ...string) error {
	if _, err := r.in(ctx, "delete", "pod", name, "--ignore-not-found"); err != nil {
		return err
	}
	if err := r.apply(ctx, r.pod(name, args...)); err != nil {
		return err
	}
	_, err := r.phase(ctx, name, "Running", "Succeeded", "Failed")
	return err
}

// endPod waits for a pod's end and returns what it has printed.
func (r *run) endPod(ctx context.Context, name string) ([]byte, error) {
	phase, err := r.phase(ctx, name, "Succeeded", "Failed")
	if err != nil {
		return nil, err
	}
	out, err := r.in(ctx, "logs", name)
	if err != nil {
		return nil, err
	}
	if phase == "Failed" {
		return out, fmt.Errorf("pod %s failed: %s", name, tail(string(out)))
	}
	_, err = r.in(ctx, "delete", "pod", name, "--wait=false")
	return out, err
}

func tail(s string) string {
	return s[max(0, len(s)-1500):]
}

// phase waits until a pod is in one of the phases.
func (r *run) phase(ctx context.Context, name string, phases ...string) (string, error) {
	for {
		out, err := r.in(ctx, "get", "pod", name, "-o", "jsonpath={.status.phase}")
		if err != nil {
			return "", err
		}
		for _, phase := range phases {
			if phase == string(out) {
				return phase, nil
			}
		}
		if err := wait(ctx, 500*time.Millisecond); err != nil {
			return "", fmt.Errorf("pod %s is %s and not yet %s: %w", name, out, strings.Join(phases, " or "), err)
		}
	}
}
