package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// root lays out an image of a program that does nothing.
func root(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(binary, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "root")
	if err := layOut(dir, binary); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLayerHoldsWhatAStaticProgramNeeds(t *testing.T) {
	t.Parallel()
	content, err := layerOf(root(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = fmt.Sprintf("%o %d:%d", h.Mode, h.Uid, h.Gid)
		if !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s has the time %s, want none", h.Name, h.ModTime)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"ragmesh": "755 0:0", "etc/ssl/certs/ca-certificates.crt": "644 0:0", "usr/share/zoneinfo.zip": "644 0:0", "etc/passwd": "644 0:0",
		"data/": "755 65532:65532", "tmp/": "1777 0:0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(files[rootsFile]) {
		t.Error("no certificate authority can be read")
	}
	if n := bytes.Count(files[rootsFile], []byte("BEGIN CERTIFICATE")); n < 50 {
		t.Errorf("%d certificate authorities, want at least 50", n)
	}
}

func TestZonesAreThere(t *testing.T) {
	t.Setenv("ZONEINFO", filepath.Join(root(t), zonesFile))
	for _, zone := range []string{"Asia/Shanghai", "Europe/Zurich", "America/New_York"} {
		if _, err := time.LoadLocation(zone); err != nil {
			t.Error(err)
		}
	}
}

func TestEqualRootsMakeEqualImages(t *testing.T) {
	t.Parallel()
	i := image{service: "dialog", tag: "ragmesh/dialog:dev", version: "v1", revision: "abc", arch: "arm64"}
	var digests []string
	var archives [][]byte
	for range 2 {
		file := filepath.Join(t.TempDir(), "dialog.tar")
		digest, err := i.write(root(t), file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		digests, archives = append(digests, digest), append(archives, data)
	}
	if digests[0] != digests[1] || !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("two archives of one root have the digests %v", digests)
	}
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archives[0])), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" || config.OS != "linux" || config.Config.User != "65532:65532" {
		t.Errorf("the image is for %s/%s and runs as %q", config.OS, config.Architecture, config.Config.User)
	}
}

// The images of the Dockerfile and the archives must not differ in how they run and what they say.
func TestDockerfileSaysTheSame(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\\\n", " ")
	text = text[strings.LastIndex(text, "\nFROM "):]
	text = strings.NewReplacer("${SERVICE}", "dialog", "${VERSION}", "v1", "${REVISION}", "abc").Replace(text)
	got := v1.Config{Labels: map[string]string{}, ExposedPorts: map[string]struct{}{}}
	pair := regexp.MustCompile(`([\w.]+)="([^"]*)"`)
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "LABEL":
			for _, m := range pair.FindAllStringSubmatch(rest, -1) {
				got.Labels[m[1]] = m[2]
			}
		case "ENV":
			got.Env = strings.Fields(rest)
		case "USER":
			got.User = rest
		case "WORKDIR":
			got.WorkingDir = rest
		case "EXPOSE":
			for port := range strings.FieldsSeq(rest) {
				got.ExposedPorts[port+"/tcp"] = struct{}{}
			}
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &got.Entrypoint); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := image{service: "dialog", version: "v1", revision: "abc"}.config()
	a, errA := json.MarshalIndent(got, "", " ")
	b, errB := json.MarshalIndent(want, "", " ")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("the Dockerfile says\n%s\nthe archives say\n%s", a, b)
	}
	if !slices.Equal(got.Entrypoint, []string{"/" + programFile}) {
		t.Errorf("the entry point is %q", got.Entrypoint)
	}
}

// Only where Docker with BuildKit runs. Nothing is pulled.
func TestDockerfileMakesEqualLayers(t *testing.T) {
	t.Parallel()
	docker := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "docker", args...)
		cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := docker("version"); err != nil {
		t.Skipf("no Docker answers: %v: %s", err, out)
	}
	var layers []string
	for i := range 2 {
		folder := t.TempDir()
		if err := os.MkdirAll(filepath.Join(folder, "build", "images"), 0o700); err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(folder, "program")
		if err := os.WriteFile(binary, []byte("program"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{"root", "-binary", binary, filepath.Join(folder, "build", "images", "dialog")}); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			time.Sleep(1100 * time.Millisecond) // layers keep times to the second
		}
		tag := fmt.Sprintf("ragmesh-images-test:%d", i)
		out, err := docker("build", "--no-cache", "-f", "../Dockerfile", "--build-arg", "SERVICE=dialog", "--build-arg", "ROOT=host", "-t", tag, folder)
		if strings.Contains(out, "buildx component is missing") {
			t.Skip("this Docker has no BuildKit")
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() {
			_ = exec.Command("docker", "image", "rm", tag).Run()
		})
		out, err = docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", tag)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		layers = append(layers, out)
	}
	if layers[0] != layers[1] {
		t.Errorf("two builds have the layers\n%s%s", layers[0], layers[1])
	}
}
