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

// sums tell models apart.
type sums struct {
	model   string // everything that a model's results depend on
	weights string // the weights alone, as their publisher states it
}

// hash reads a model's files.
func hash(dir string, spec manifest.Model) (sums, error) {
	var s sums
	all := sha256.New()
	fmt.Fprintln(all, spec.Kind, spec.Family, spec.Pooling, spec.Normalize, spec.MaxTokens, spec.Heads, spec.Offset, spec.Epsilon)
	var err error
	if s.weights, err = add(all, spec.Weights); err == nil {
		_, err = add(all, filepath.Join(dir, token.File))
	}
	if err != nil {
		return sums{}, fmt.Errorf("hash model: %w", err)
	}
	s.model = hex.EncodeToString(all.Sum(nil))
	return s, nil
}

// add adds a file's own sum to all, and returns it.
func add(all io.Writer, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	own := sha256.New()
	if _, err := io.Copy(own, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(own.Sum(nil))
	_, err = fmt.Fprintln(all, sum)
	return sum, err
}
