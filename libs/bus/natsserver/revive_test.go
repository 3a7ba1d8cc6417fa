package natsserver

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// After a full disk the server is started again, at the same address, and knows what it was told before.
func TestRevival(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), Options{Dir: t.TempDir(), Addr: "127.0.0.1:0", NoSync: true, MaxStore: 1 << 30, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	before, url := s.current(), s.URL()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("before")); err != nil {
		t.Fatal(err)
	}
	log := serverLog{zerolog.Nop(), s.noteFull}
	log.Errorf("JetStream failed to store a msg: %s", "write 1.blk: no space left on device")
	for deadline := time.Now().Add(time.Minute); s.current() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server was not started again")
		}
	}
	if s.URL() != url {
		t.Errorf("it listens at %s now, no longer at %s", s.URL(), url)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		stream, err := js.Stream(t.Context(), "S")
		if err == nil {
			got, err := stream.GetMsg(t.Context(), 1)
			if err != nil || string(got.Data) != "before" {
				t.Errorf("the message is %v, %v", got, err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stream is gone: %v", err)
		}
	}
}

func TestOnlyWantOfSpaceRevives(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"write x: no space left on device": true,
		"write x: disk quota exceeded":     true,
		"write x: input/output error":      false,
	} {
		if isFull(message) != want {
			t.Errorf("%q: %t, want %t", message, !want, want)
		}
	}
	if err := hasSpace(t.TempDir()); err != nil {
		t.Errorf("no space: %v", err)
	}
}
