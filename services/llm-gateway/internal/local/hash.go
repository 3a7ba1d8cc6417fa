package local

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/token"
)

// hash names what a model's results depend on.
func hash(dir string, spec manifest.Model) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, spec.Kind, spec.Family, spec.Pooling, spec.Normalize, spec.MaxTokens, spec.Heads, spec.Offset, spec.Epsilon)
	for _, path := range []string{spec.Weights, filepath.Join(dir, token.File)} {
		if err := add(sum, path); err != nil {
			return "", fmt.Errorf("hash model: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func add(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "\n%d\n", info.Size()) // so that no two files can share bytes out
	_, err = io.Copy(to, f)
	return err
}
