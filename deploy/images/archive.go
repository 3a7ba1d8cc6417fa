package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// user runs the program: no name, so that Kubernetes can see that it is not root.
const user = 65532

// image is what an archive says about itself. deploy/Dockerfile says the same; a test compares them.
type image struct {
	service, tag, version, revision, arch string
}

func (i image) config() v1.Config {
	labels := map[string]string{
		"org.opencontainers.image.title":       i.service,
		"org.opencontainers.image.description": "ragmesh answers questions from a team's own documents: " + i.service,
		"org.opencontainers.image.source":      "https://github.com/ragmesh/ragmesh",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     i.version,
		"org.opencontainers.image.revision":    i.revision,
	}
	return v1.Config{
		User: fmt.Sprintf("%d:%d", user, user), WorkingDir: "/" + dataDir, Entrypoint: []string{"/" + programFile},
		Env: []string{"PATH=/", "ZONEINFO=/" + zonesFile}, Labels: labels,
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}},
	}
}

// write makes an archive, as `docker save` does, of a root folder, and returns the image's digest.
func (i image) write(root, file string) (digest string, err error) {
	tag, err := name.NewTag(i.tag)
	if err != nil {
		return "", fmt.Errorf("read tag: %w", err)
	}
	content, err := layerOf(root)
	if err != nil {
		return "", err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return "", fmt.Errorf("make layer: %w", err)
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "deploy/images"}})
	if err != nil {
		return "", fmt.Errorf("add layer: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	config.OS, config.Architecture, config.Config = "linux", i.arch, i.config()
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return "", fmt.Errorf("set configuration: %w", err)
	}
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		return "", fmt.Errorf("write archive: %w", err)
	}
	hash, err := img.Digest()
	return hash.String(), err
}

// layerOf returns a root folder as a tar file with fixed owners, modes and times.
func layerOf(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	defer root.Close()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	// In lexical order, folders before what is in them.
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		switch {
		case name == dataDir: // a volume put there belongs to whom it belonged before
			h.Mode, h.Uid, h.Gid = 0o755, user, user
		case name == tmpDir:
			h.Mode = 0o1777
		case info.IsDir() || info.Mode()&0o111 != 0:
			h.Mode = 0o755
		}
		if info.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			return w.WriteHeader(h)
		}
		data, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	return out.Bytes(), nil
}
