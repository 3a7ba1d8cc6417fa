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
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

func (a *app) keys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make service keys, and create, list, rotate and revoke API keys"}
	c.AddCommand(a.keysInit(), a.keysManifest(), a.keysInstall(), a.keysCreate(), a.keysList(), a.keysRotate(), a.keysRevoke())
	return c
}

func (a *app) keysInit() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the keys of a new installation: one per service, and the bootstrap API key",
		Long: "Make the keys of a new installation in DATA/keys: a private key per service, jwks.json with the public ones, and bootstrap.key,\n" +
			"the API key that may do everything. Services run as processes of their own need them; `ragmesh up` does not. Nothing is overwritten.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir := filepath.Join(data, "keys")
			keys, err := identity.GenerateKeys()
			if err != nil {
				return err
			}
			if err := identity.WriteKeys(dir, keys); errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s holds keys already; they stay as they are. To replace those of a stopped installation, move the folder away first", dir)
			} else if err != nil {
				return err
			}
			if a.json {
				return a.out.value(map[string]string{"keys_dir": dir, "bootstrap_key_file": filepath.Join(dir, identity.BootstrapFile)})
			}
			a.out.printf("Keys are in %s. Only you may read them.\n\n", dir)
			a.out.printf("Services started with --data %s find their own key there, or with identity.keys_dir in the configuration.\n", data)
			a.out.printf("Use the bootstrap key to make keys for people and programs:\n\n")
			a.out.printf("  export RAGMESH_API_KEY=$(cat %s)\n  ragmesh keys create --name \"my key\" --role editor\n", filepath.Join(dir, identity.BootstrapFile))
			return nil
		},
	}
	addData(c, &data)
	return c
}

func (a *app) keysCreate() *cobra.Command {
	var name, role, account string
	var workspaces, scopes []string
	var lifetime time.Duration
	c := &cobra.Command{
		Use:   "create --name NAME --role ROLE",
		Short: "Create an API key and print its secret, once",
		Example: "  ragmesh keys create --name \"support bot\" --role viewer --for bank --scope ask --lifetime 720h\n" +
			"  ragmesh keys create --name \"nightly import\" --service-account importer --for bank",
		Args: cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			parsed, ok := dialogv1.AccessRole_value["ACCESS_ROLE_"+strings.ToUpper(role)]
			if !ok || parsed == 0 {
				return usagef("%q is not a role; it is one of viewer, editor, admin", role)
			}
			req := &dialogv1.CreateKeyRequest{
				Name: name, Role: dialogv1.AccessRole(parsed), Workspaces: workspaces, Scopes: scopes, ServiceAccount: strings.TrimPrefix(account, "service:"),
			}
			if lifetime > 0 {
				req.Lifetime = durationpb.New(lifetime)
			}
			resp, err := c.Keys.CreateKey(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.err.printf("Key %s for %s. This is shown once; what the server keeps is a hash.\n", resp.GetKey().GetKeyId(), oneLine(resp.GetKey().GetName(), 0))
			a.out.printf("%s\n", resp.GetSecret())
			return nil
		}),
	}
	c.Flags().StringVar(&name, "name", "", "what the key is for")
	c.Flags().StringVar(&role, "role", "viewer", "what it may do: viewer, editor or admin")
	c.Flags().StringSliceVar(&workspaces, "for", nil, "workspaces it may use; may be repeated (default: all)")
	c.Flags().StringSliceVar(&scopes, "scope", nil, "what of the role it may use: ask, read, write, eval, manage; may be repeated (default: all)")
	c.Flags().StringVar(&account, "service-account", "", "service account of the one workspace given with --for, as which it acts; its role is then the account's")
	c.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it is good, e.g. 720h (default: for ever)")
	must(c.MarkFlagRequired("name"))
	return c
}

// must is for what can only fail by a slip in this package, which the first run of any command shows.
func must(err error) {
	if err != nil {
		panic("cli: " + err.Error())
	}
}

func (a *app) keysList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List API keys, revoked ones included",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			resp, err := c.Keys.ListKeys(ctx, &dialogv1.ListKeysRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			if len(resp.GetKeys()) == 0 {
				a.out.printf("No API keys. Create one with `ragmesh keys create`.\n")
				return nil
			}
			rows := make([][]string, 0, len(resp.GetKeys()))
			for _, k := range resp.GetKeys() {
				rows = append(rows, []string{
					k.GetKeyId(), oneLine(k.GetName(), 40), roleOf(k), allOr(k.GetWorkspaces()), allOr(k.GetScopes()),
					day(k.GetCreatedAt(), "?"), day(k.GetExpiresAt(), "never"), day(k.GetRevokedAt(), ""), k.GetReplacedBy(),
				})
			}
			a.out.table([]string{"KEY", "NAME", "ROLE", "WORKSPACES", "SCOPES", "CREATED", "EXPIRES", "REVOKED", "REPLACED BY"}, rows)
			return nil
		}),
	}
}

func day(t *timestamppb.Timestamp, missing string) string {
	if !t.IsValid() || t.AsTime().IsZero() {
		return missing
	}
	return t.AsTime().Format(time.DateOnly)
}

func allOr(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ",")
}

// roleOf says what a key may do: a role of its own, or that of its service account.
func roleOf(k *dialogv1.Key) string {
	role := strings.ToLower(strings.TrimPrefix(k.GetRole().String(), "ACCESS_ROLE_"))
	if k.GetRole() == dialogv1.AccessRole_ACCESS_ROLE_UNSPECIFIED {
		role = "none"
	}
	if k.GetServiceAccount() != "" {
		role += " as service:" + oneLine(k.GetServiceAccount(), 40)
	}
	return role
}

func (a *app) keysRotate() *cobra.Command {
	var overlap time.Duration
	c := &cobra.Command{
		Use:   "rotate KEY",
		Short: "Make a key that may do the same as another one, and print its secret, once",
		Long: "Make a key that may do the same as another one, named by its id, and print its secret, once. The old key goes on for a while, so that\n" +
			"whoever uses it has time to change over. The new one lives as long as the old one was to.",
		Example: "  ragmesh keys rotate ojdxe2uxkqxvi --overlap 48h",
		Args:    cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			if overlap < 0 {
				return usagef("--overlap must be 0 or more")
			}
			resp, err := c.Keys.RotateKey(ctx, &dialogv1.RotateKeyRequest{KeyId: args[0], Overlap: durationpb.New(overlap)})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.err.printf("Key %s replaces %s, which ends at %s. This is shown once; what the server keeps is a hash.\n",
				resp.GetKey().GetKeyId(), resp.GetReplaced().GetKeyId(), resp.GetReplaced().GetExpiresAt().AsTime().Format(time.RFC3339))
			a.out.printf("%s\n", resp.GetSecret())
			return nil
		}),
	}
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old key goes on; 0 ends it at once")
	return c
}

func (a *app) keysRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke KEY",
		Short: "Revoke an API key, named by its id",
		Args:  cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			resp, err := c.Keys.RevokeKey(ctx, &dialogv1.RevokeKeyRequest{KeyId: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.out.printf("revoked %s (%s)\n", resp.GetKey().GetKeyId(), oneLine(resp.GetKey().GetName(), 0))
			return nil
		}),
	}
}
