package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

// cluster runs three NATS servers that share every stream, and returns their addresses.
func cluster(t *testing.T) string {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 { // who is to come must be known beforehand
		addr := netip.MustParseAddrPort(bustest.FreeAddr(t))
		routes, ports = append(routes, &url.URL{Scheme: "nats-route", Host: addr.String()}), append(ports, int(addr.Port()))
	}
	var servers []*server.Server
	var addresses []string
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			JetStreamMaxStore: 4 << 30, Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start() // it waits for the others
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server does not start")
		}
		addresses = append(addresses, s.ClientURL())
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		peers, leaders := 0, 0
		for _, s := range servers {
			peers = max(peers, len(s.JetStreamClusterPeers()))
			if s.JetStreamIsLeader() {
				leaders++
			}
		}
		if peers == 3 && leaders == 1 {
			return strings.Join(addresses, ",")
		}
		if time.Now().After(deadline) {
			t.Fatal("the servers do not find each other")
		}
	}
}

// clustered connects to a cluster and, unless it is to be passive, makes the streams, three copies of each.
func clustered(t *testing.T, addresses string, passive bool) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{Name: "test", URL: addresses, Replicas: 3, Passive: passive, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := b.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if passive {
		return b
	}
	for {
		// A request that came before its leader was elected is not answered.
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := b.EnsureTopology(attempt)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	return b
}

// depose has the streams of documents and their originals elect new leaders, which leaves requests unanswered meanwhile.
func depose(t *testing.T, addresses string) {
	t.Helper()
	conn, err := nats.Connect(addresses)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, stream := range []string{bus.ObjectStream(bus.Originals), bus.KeyValueStream(bus.Documents)} {
		// One that comes while they elect is lost: then they are doing what is wanted.
		if _, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second); err != nil && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrTimeout) {
			t.Fatal(err)
		}
	}
}

// Replicas may answer that are behind, or nobody, while they elect a leader. What was acknowledged is in the archive all the same, and goes into a cluster again.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts six servers")
	}
	t.Parallel()
	addresses := cluster(t)
	from := clustered(t, addresses, false)
	sessions := table(t, from, bus.Sessions)
	const keys = 10
	acknowledged := 0
	write := func(ctx context.Context, i int) error {
		if err := from.Publish(ctx, bus.TurnSubject("w", "s", fmt.Sprintf("t%05d", i)), fmt.Sprint(i), []byte("turn")); err != nil {
			return err
		}
		_, err := sessions.Put(ctx, fmt.Sprintf("w.s%d", i%keys), []byte("x"))
		return err
	}
	for i := range keys {
		if err := write(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		acknowledged++
	}
	var archives [][]byte
	var wants []int
	for range 5 {
		for range 20 {
			if err := write(t.Context(), acknowledged); err != nil {
				t.Fatal(err)
			}
			acknowledged++
		}
		ctx, cancel := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		begun := acknowledged
		writer.Go(func() {
			for ctx.Err() == nil && write(ctx, acknowledged) == nil {
				acknowledged++
			}
		})
		depose(t, addresses)
		archives, wants = append(archives, take(t, from)), append(wants, begun)
		cancel()
		writer.Wait()
		acknowledged++ // it may have been written without its writer knowing
	}
	for i, archive := range archives {
		turns, seen := map[string]bool{}, map[string]bool{}
		if _, _, err := backup.Read(bytes.NewReader(archive), func(stream string, m bus.Archived) error {
			switch stream {
			case bus.Turns:
				turns[m.Subject] = true
			case bus.KeyValueStream(bus.Sessions):
				seen[m.Subject] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != keys {
			t.Errorf("archive %d has %d of %d sessions", i, len(seen), keys)
		}
		for n := range keys { // written first, by anybody's account acknowledged
			if !turns[bus.TurnSubject("w", "s", fmt.Sprintf("t%05d", n))] {
				t.Errorf("archive %d lacks turn %d", i, n)
			}
		}
		if len(turns) < wants[i]-i { // each round may have left one number unused
			t.Errorf("archive %d has %d turns, %d were acknowledged", i, len(turns), wants[i])
		}
	}
	checked, err := backup.Check(bytes.NewReader(archives[len(archives)-1]))
	if err != nil {
		t.Fatal(err)
	}
	if checked.Header.Replicas != 3 {
		t.Errorf("the archive says there were %d copies", checked.Header.Replicas)
	}
	to := clustered(t, cluster(t), true)
	ctx := t.Context()
	// A cluster that has just begun leaves requests unanswered, and takes its own servers for away; running it again is what people do.
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := checked.Into(ctx, to, nil)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if n, err := to.Replicas(ctx, bus.Turns); n != 3 || err != nil {
		t.Errorf("restored with %d copies, %v", n, err)
	}
	if n, err := table(t, to, bus.Sessions).Keys(ctx, ""); len(n) != keys || err != nil {
		t.Errorf("restored with %d sessions, %v", len(n), err)
	}
}
