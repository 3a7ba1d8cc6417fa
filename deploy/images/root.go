package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// What is in an image. The program has one name in all of them, as an entry point in a Dockerfile can't depend on an argument.
const (
	programFile = "ragmesh"
	rootsFile   = "etc/ssl/certs/ca-certificates.crt" // where Go, and whoever mounts authorities of their own, look first
	zonesFile   = "usr/share/zoneinfo.zip"            // needs ZONEINFO in the environment
	passwdFile  = "etc/passwd"
	groupFile   = "etc/group"
	dataDir     = "data"
	tmpDir      = "tmp"
)

// layOut makes dir, whose content it replaces, the root folder of an image that runs a program.
func layOut(dir, binary string) error {
	program, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	roots, err := rootCertificates()
	if err != nil {
		return err
	}
	zones, err := timeZones()
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return fmt.Errorf("empty %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer root.Close()
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{programFile, program, 0o755},
		{rootsFile, roots, 0o644},
		{zonesFile, zones, 0o644},
		// For those who look a name up; nothing of ours does.
		{passwdFile, []byte("root:x:0:0:root:/:/nologin\nnonroot:x:65532:65532:nonroot:/data:/nologin\n"), 0o644},
		{groupFile, []byte("root:x:0:\nnonroot:x:65532:\n"), 0o644},
	} {
		if err := root.MkdirAll(path.Dir(f.name), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := root.WriteFile(f.name, f.data, f.mode); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	for _, name := range []string{dataDir, tmpDir} {
		if err := root.Mkdir(name, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := root.Chmod(tmpDir, 0o777|fs.ModeSticky); err != nil {
		return fmt.Errorf("open up %s: %w", tmpDir, err)
	}
	// Docker's layers keep the times of files.
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Chtimes(name, time.Unix(0, 0), time.Unix(0, 0))
	})
}

// rootCertificates returns the certificate authorities that Mozilla trusts without conditions. A file can't express those of the others.
func rootCertificates() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("encode certificate: %w", err)
		}
	}
	return out.Bytes(), nil
}

// timeZones returns the time zones that come with the Go that builds the programs.
func timeZones() ([]byte, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output() //nolint:noctx // it answers at once
	if err != nil {
		return nil, fmt.Errorf("ask go for its folder: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("read time zones: %w", err)
	}
	if len(data) == 0 {
		return nil, errors.New("read time zones: the file is empty")
	}
	return data, nil
}
