package process

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
)

// Config is the part of a service's configuration that says where and how its process runs. Services embed it with
// yaml:",inline". None of it counts for the revision: the same service elsewhere answers the same.
type Config struct {
	Data      string        `yaml:"data" revision:"-" doc:"Folder for everything the process writes and for the keys; relative to where it was started."`
	DataWait  time.Duration `yaml:"data_wait" revision:"-" doc:"How long to wait at the start for a data folder that another process still holds, as a pod does that takes another's place. Duration, up to 10m."`
	RPC       RPC           `yaml:"rpc" revision:"-"`
	Admin     Admin         `yaml:"admin" revision:"-"`
	NATS      NATS          `yaml:"nats" revision:"-"`
	Identity  Identity      `yaml:"identity" revision:"-"`
	Log       Log           `yaml:"log" revision:"-"`
	Telemetry Telemetry     `yaml:"telemetry" revision:"-"`
	Shutdown  Shutdown      `yaml:"shutdown" revision:"-"`
}

// RPC is the port for calls.
type RPC struct {
	Addr        string `yaml:"addr" doc:"Address calls are served on, host:port."`
	MaxInFlight int    `yaml:"max_in_flight" doc:"Calls worked on at once, streams included; more are refused as overloaded. Count, 1 to 100000."`
}

// Admin is the port for probes and metrics.
type Admin struct {
	Addr  string `yaml:"addr" doc:"Address of health and metrics, host:port. Empty for the host of rpc.addr and its port + 1000."`
	Pprof bool   `yaml:"pprof" doc:"Serve /debug/pprof on the admin port. It shows memory."`
}

// NATS says where NATS is.
type NATS struct {
	URL         string        `yaml:"url" doc:"Addresses of NATS, nats://host:port, comma-separated, without user or password."`
	Credentials config.Secret `yaml:"credentials" doc:"Content of a .creds file (user JWT and seed)."`
	Token       config.Secret `yaml:"token" doc:"Token the server asks for."`
	Replicas    int           `yaml:"replicas" doc:"Copies of every stream, bucket and object store. Count, 1, 3 or 5; 3 for a cluster."`
}

// Identity says where the keys are.
type Identity struct {
	KeysDir    string        `yaml:"keys_dir" doc:"Folder with this service's private key and jwks.json. Empty for keys in the data folder."`
	JWKSFile   string        `yaml:"jwks_file" doc:"Public keys of all services, read again when the file changes. Empty for jwks.json in keys_dir."`
	SigningKey config.Secret `yaml:"signing_key" doc:"This service's Ed25519 private key in PEM. Without one, <service>.pem in keys_dir."`
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level" oneof:"debug,info,warn,error" live:"true" doc:"Least level that is logged."`
	Format string `yaml:"format" oneof:"auto,json,console" doc:"How lines look; auto is console on a terminal and json elsewhere."`
}

// Telemetry says what is traced.
type Telemetry struct {
	SampleRatio float64 `yaml:"sample_ratio" doc:"Share of traces kept where the caller has not decided. Ratio, 0 to 1."`
}

// Shutdown bounds the end.
type Shutdown struct {
	Timeout time.Duration `yaml:"timeout" doc:"How long the process gets to end. Calls under way get all of it but 5 s, and at least half; what is not done then is cut off. Duration, 1s to 1h."`
	Delay   time.Duration `yaml:"delay" doc:"Time between readiness off and the end of service, for load balancers to notice; calls are served as before, and their connections closed after them. Duration, up to 5m."`
}

// Defaults returns the configuration of a process on a laptop that serves calls on port.
func Defaults(port int) Config {
	return Config{
		Data:      ".ragmesh",
		RPC:       RPC{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), MaxInFlight: 512},
		NATS:      NATS{URL: "nats://127.0.0.1:4222", Replicas: 1},
		Log:       Log{Level: "info", Format: "auto"},
		Telemetry: Telemetry{SampleRatio: 1},
		Shutdown:  Shutdown{Timeout: 15 * time.Second},
	}
}

// Reference writes the part of the reference that all services share.
func Reference(w io.Writer) error {
	return config.ReferencePart(w, "Every service",
		"Where and how a service runs as a process of its own; the same keys in every service's file. `rpc.addr` has the service's own port: dialog 8080, "+
			"retriever 8081, tools 8082, llm-gateway 8083, eval 8084; dialog's `rpc.max_in_flight` is 1024. In the all-in-one, `rpc.addr`, `admin` and `shutdown` are dialog's, `data` is the flag "+
			"`--data`, `log.level` is warn where nothing sets it, and `log.format`, `data_wait`, `nats` and `identity` have no effect.",
		Defaults(8080), false)
}

// Validate checks what a process cannot run with.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, key, format string, a ...any) {
		if !ok {
			errs = append(errs, config.Invalid(key, format, a...))
		}
	}
	check(c.Data != "", "data", "must name a folder")
	check(c.DataWait >= 0 && c.DataWait <= 10*time.Minute, "data_wait", "must be 0s to 10m, not %v", c.DataWait)
	check(isAddr(c.RPC.Addr), "rpc.addr", `must be host:port, such as "127.0.0.1:8080", not %q`, c.RPC.Addr)
	check(c.RPC.MaxInFlight >= 1 && c.RPC.MaxInFlight <= 100_000, "rpc.max_in_flight", "must be 1 to 100000, not %d", c.RPC.MaxInFlight)
	check(c.Admin.Addr == "" || isAddr(c.Admin.Addr), "admin.addr", `must be host:port, such as "127.0.0.1:9080", not %q`, c.Admin.Addr)
	if c.Admin.Addr == "" && isAddr(c.RPC.Addr) {
		_, err := AdminAddr(c.RPC.Addr)
		check(err == nil, "admin.addr", "must be given: the port of rpc.addr + 1000 is none")
	}
	check(natsURLs(c.NATS.URL), "nats.url", "must be nats://host:port, several separated by commas, without user or password; see nats.token and nats.credentials")
	check(c.NATS.Token.IsZero() || c.NATS.Credentials.IsZero(), "nats.token", "and nats.credentials are both given; one is enough")
	check(c.NATS.Replicas == 1 || c.NATS.Replicas == 3 || c.NATS.Replicas == 5, "nats.replicas", "must be 1, 3 or 5, not %d", c.NATS.Replicas)
	check(c.Telemetry.SampleRatio >= 0 && c.Telemetry.SampleRatio <= 1, "telemetry.sample_ratio", "must be 0 to 1, not %v", c.Telemetry.SampleRatio)
	check(c.Shutdown.Timeout >= time.Second && c.Shutdown.Timeout <= time.Hour, "shutdown.timeout", "must be 1s to 1h, not %v", c.Shutdown.Timeout)
	check(c.Shutdown.Delay <= 5*time.Minute, "shutdown.delay", "must be at most 5m, not %v", c.Shutdown.Delay)
	return errors.Join(errs...)
}

// isAddr says whether s is something to listen on.
func isAddr(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n <= 65535
}

func natsURLs(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "nats" && u.Scheme != "tls" {
			return false
		}
	}
	return true
}

// AdminAddr returns where the admin port is unless it is configured: on the host of the RPC port, 1000 above it. For port 0
// it is 0 too.
func AdminAddr(rpcAddr string) (string, error) {
	host, port, err := net.SplitHostPort(rpcAddr)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", err
	}
	if n != 0 {
		n += 1000
	}
	if n > 65535 {
		return "", errors.New("port " + port + " + 1000 is no port")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// Loopback says whether only this machine can reach an address to listen on. An edge without authentication must not
// listen on any other.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
