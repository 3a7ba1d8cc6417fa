package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/archive"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

// natsFlags say where a NATS is.
type natsFlags struct{ url, credentials, token string }

func (f *natsFlags) add(c *cobra.Command, what string) {
	c.Flags().StringVar(&f.url, "nats", "", what)
	c.Flags().StringVar(&f.credentials, "nats-credentials", "", "file with NATS credentials (.creds)")
	c.Flags().StringVar(&f.token, "nats-token", "", "file with the token NATS asks for")
	must(c.MarkFlagFilename("nats-credentials"))
	must(c.MarkFlagFilename("nats-token"))
}

func (f *natsFlags) options(a *app, name string) (bus.Options, error) {
	o := bus.Options{URL: f.url, Name: name, Log: telemetry.Logger(a.err.w, "error", a.err.terminal)}
	for file, into := range map[string]*string{f.credentials: &o.Credentials, f.token: &o.Token} {
		if file == "" {
			continue
		}
		secret, err := (config.Secret{File: file}).Resolve()
		if err != nil {
			return bus.Options{}, err
		}
		*into = secret
	}
	return o, nil
}

func (a *app) backup() *cobra.Command {
	var nats natsFlags
	c := &cobra.Command{
		Use:   "backup [FILE]",
		Short: "Write everything the installation keeps into one file, while it runs",
		Long: "Write everything the installation keeps into one file, while it runs: workspaces, API keys (as hashes), documents with their originals, sessions,\n" +
			"turns, feedback and the audit trail of all workspaces. What was acknowledged before the command began is in it. The index and eval's store are not:\n" +
			"they are made again from what is. Nor are secrets: the services' keys and the bootstrap key.\n\n" +
			"It needs the bootstrap key, or --nats with the right to read every stream. The file is as secret as what is in it; only you may read it.",
		Example: "  ragmesh backup\n  ragmesh backup /backups/ragmesh.tar.zst --nats nats://nats.ragmesh:4222",
		Args:    cobra.MaximumNArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		began := time.Now()
		path := "ragmesh-backup-" + began.UTC().Format("20060102T150405Z") + ".tar.zst"
		if len(args) > 0 {
			path = args[0]
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, "ragmesh-backup-"+began.UTC().Format("20060102T150405Z")+".tar.zst")
		}
		ctx, stop := a.Interruptible(cmd.Context())
		defer stop()
		tell := a.parts("backed up")
		written, err := archive.Write(path, func(to io.Writer) error {
			if nats.url != "" {
				return a.backupNATS(ctx, nats, to, tell)
			}
			return a.backupServer(ctx, to, tell)
		})
		if err != nil {
			return err
		}
		return a.showBackup(written, time.Since(began))
	}
	nats.add(c, "read from this NATS instead of asking --server: nats://host:4222")
	return c
}

func (a *app) backupNATS(ctx context.Context, nats natsFlags, to io.Writer, tell func(backup.Part)) error {
	o, err := nats.options(a, "backup")
	if err != nil {
		return err
	}
	b, err := archive.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer b.Close()
	_, _, err = backup.Take(ctx, b, to, backup.Options{Version: telemetry.Version, Progress: tell, Clock: time.Now})
	return err
}

func (a *app) backupServer(ctx context.Context, to io.Writer, tell func(backup.Part)) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return receiveBackup(ctx, c, to, tell)
}

func receiveBackup(ctx context.Context, c *client.Client, to io.Writer, tell func(backup.Part)) error {
	stream, err := c.Operations.Backup(ctx, &dialogv1.BackupRequest{})
	if err != nil {
		return err
	}
	defer stream.Close()
	completed := false
	for stream.Receive() {
		switch e := stream.Msg().GetEvent().(type) {
		case *dialogv1.BackupResponse_Data:
			if _, err := to.Write(e.Data); err != nil {
				return fmt.Errorf("write archive: %w", err)
			}
		case *dialogv1.BackupResponse_Part:
			tell(backup.Part{Stream: e.Part.GetStream(), Messages: e.Part.GetMessages(), Bytes: e.Part.GetBytes()})
		case *dialogv1.BackupResponse_Completed:
			completed = true
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	if !completed {
		return errors.New("the server ended the backup before it was complete; try again")
	}
	return nil
}

// parts returns what shows how far a backup or restore is to whoever looks on.
func (a *app) parts(done string) func(backup.Part) {
	if !a.err.terminal || a.json {
		return func(backup.Part) {}
	}
	last := ""
	return func(p backup.Part) {
		if last != "" && last != p.Stream {
			a.err.printf("\n")
		}
		last = p.Stream
		a.err.printf("\r%-28s %9d messages %9s %s", p.Stream, p.Messages, size(p.Bytes), done)
	}
}

func (a *app) showBackup(w archive.Written, took time.Duration) error {
	if a.json {
		done := &dialogv1.BackupCompleted{BeganAt: timestamppb.New(w.Header.BeganAt), Sha256: w.SHA256, SizeBytes: uint64(max(w.Size, 0))}
		for _, p := range w.Manifest.Streams {
			done.Parts = append(done.Parts, &dialogv1.BackedUp{Stream: p.Stream, Messages: p.Messages, Bytes: p.Bytes})
		}
		return a.out.message(&dialogv1.BackupResponse{Event: &dialogv1.BackupResponse_Completed{Completed: done}})
	}
	if a.err.terminal {
		a.err.printf("\n")
	}
	a.showParts(w.Manifest.Streams)
	a.out.printf("\n%s: %s, read back and good, %s\n", w.Path, size(uint64(max(w.Size, 0))), took.Round(10*time.Millisecond))
	a.out.printf("It holds what was acknowledged before %s. Restore it with\n\n  ragmesh restore %s --data NEW-FOLDER\n", w.Header.BeganAt.Format(time.RFC3339), w.Path)
	return nil
}

func (a *app) showParts(parts []backup.Part) {
	rows := make([][]string, 0, len(parts))
	for _, p := range parts {
		rows = append(rows, []string{strings.TrimPrefix(strings.TrimPrefix(p.Stream, "KV_"), "OBJ_"), fmt.Sprint(p.Messages), size(p.Bytes)})
	}
	a.out.table([]string{"STREAM", "MESSAGES", "BYTES"}, rows)
}

func (a *app) restore() *cobra.Command {
	var nats natsFlags
	var data string
	var replicas int
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Fill an empty installation from a backup, before it is started",
		Long: "Fill an empty installation from a file of `ragmesh backup`, before it is started: a new data folder (--data), or an empty NATS (--nats) whose services\n" +
			"are stopped. The file is read through first; one that is incomplete, altered or of a newer ragmesh is refused, and nothing is changed. A restore that\n" +
			"is cut off leaves nothing that could be taken for a whole one: run it again.\n\n" +
			"The services then index the documents again and read the turns, while they serve.",
		Example: "  ragmesh restore ragmesh-backup-20261120T120000Z.tar.zst --data restored && ragmesh up --data restored\n" +
			"  ragmesh restore backup.tar.zst --nats nats://nats.ragmesh:4222",
		Args: cobra.ExactArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if nats.url != "" && c.Flags().Changed("data") {
			return usagef("give --data or --nats, not both")
		}
		began := time.Now()
		file, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		checked, err := backup.Check(file)
		if err != nil {
			return fmt.Errorf("%s: %w; nothing was changed", args[0], err)
		}
		ctx, stop := a.Interruptible(cmd.Context())
		defer stop()
		tell := a.parts("restored")
		if nats.url == "" {
			err = archive.IntoFolder(ctx, checked, data, telemetry.Logger(a.err.w, "error", a.err.terminal), tell)
		} else {
			var o bus.Options
			if o, err = nats.options(a, "restore"); err == nil {
				o.Replicas = replicas
				err = archive.IntoNATS(ctx, checked, o, tell)
			}
		}
		if err != nil {
			return err
		}
		return a.showRestore(checked, data, nats.url, time.Since(began))
	}
	addData(c, &data)
	nats.add(c, "restore into this NATS instead of a data folder: nats://host:4222")
	c.Flags().IntVar(&replicas, "replicas", 0, "with --nats, copies of every stream (default: as many as there were)")
	return c
}

// restored is what `ragmesh restore --json` prints.
type restored struct {
	BeganAt  time.Time     `json:"began_at"`
	Data     string        `json:"data,omitempty"`
	NATS     string        `json:"nats,omitempty"`
	Streams  []backup.Part `json:"streams"`
	TookMS   int64         `json:"took_ms"`
	Complete bool          `json:"complete"`
}

func (a *app) showRestore(checked *backup.Checked, data, nats string, took time.Duration) error {
	if a.json {
		if nats != "" {
			data = ""
		}
		return a.out.value(restored{
			BeganAt: checked.Header.BeganAt, Data: data, NATS: nats, Streams: checked.Manifest.Streams, TookMS: took.Milliseconds(), Complete: true,
		})
	}
	if a.err.terminal {
		a.err.printf("\n")
	}
	a.showParts(checked.Manifest.Streams)
	a.out.printf("\nRestored as of %s, %s.\n", checked.Header.BeganAt.Format(time.RFC3339), took.Round(10*time.Millisecond))
	if nats != "" {
		a.out.printf("Start the services now; they index the documents again while they serve.\n")
		return nil
	}
	a.out.printf("Start it with `ragmesh up --data %s`; it indexes the documents again while it serves.\n", data)
	return nil
}
