package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/kube"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// installTimeout bounds `keys install`. A Job tries again.
const installTimeout = time.Minute

func (a *app) keysManifest() *cobra.Command {
	var data, namespace, instance string
	c := &cobra.Command{
		Use:   "manifest",
		Short: "Print the keys of DATA/keys as Secrets for kubectl apply",
		Long: "Print the keys that `ragmesh keys init --data DATA` made as Secrets, for the charts to mount: a private key per service, the public keys,\n" +
			"the bootstrap API key, and a token for NATS. The same keys make the same Secrets. What is printed is secret.",
		Example: "  ragmesh keys init --data ./keys && ragmesh keys manifest --data ./keys --namespace ragmesh | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir := filepath.Join(data, "keys")
			keys, err := identity.LoadKeys(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("no keys in %s; make them with `ragmesh keys init --data %s`", dir, data)
			}
			if err != nil {
				return err
			}
			secrets, err := kube.Secrets(instance, keys)
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			if a.json {
				return kube.WriteManifestJSON(a.out.w, namespace, instance, secrets)
			}
			return kube.WriteManifest(a.out.w, namespace, instance, secrets)
		},
	}
	addData(c, &data)
	addInstance(c, &namespace, &instance)
	return c
}

func (a *app) keysInstall() *cobra.Command {
	var namespace, instance string
	var inCluster bool
	c := &cobra.Command{
		Use:   "install --in-cluster",
		Short: "Make the Secrets with the keys that are missing, from inside a cluster",
		Long: "Make those of the Secrets that `ragmesh keys manifest` prints that are missing in the Pod's namespace, with its service account, which must\n" +
			"be allowed to get and create Secrets. Nothing is overwritten, and running it again changes nothing. Where the Secrets that are there do\n" +
			"not belong together, nothing is made and the message says what to do.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !inCluster {
				return usagef("only --in-cluster is there; elsewhere use `ragmesh keys manifest` and kubectl")
			}
			client, err := kube.InCluster(a.getenv, "", namespace)
			if err != nil {
				return err
			}
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, installTimeout)
			defer cancel()
			done, err := client.Install(ctx, instance)
			if err != nil {
				return err
			}
			if a.json {
				return a.out.value(done)
			}
			for _, row := range []struct {
				what  string
				names []string
			}{{"made", done.Created}, {"left as they were", done.Kept}} {
				if len(row.names) > 0 {
					a.out.printf("Secrets in namespace %s %s: %s\n", done.Namespace, row.what, strings.Join(row.names, ", "))
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&inCluster, "in-cluster", false, "use the API server and the service account of the Pod it runs in")
	addInstance(c, &namespace, &instance)
	return c
}

func addInstance(c *cobra.Command, namespace, instance *string) {
	c.Flags().StringVarP(namespace, "namespace", "n", "", "namespace of the Secrets (default: that of whoever applies them, or of the Pod)")
	c.Flags().StringVar(instance, "instance", kube.DefaultInstance, "prefix of the Secrets' names: the charts' global.instance")
}
