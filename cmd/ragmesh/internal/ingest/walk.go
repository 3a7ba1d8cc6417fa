package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxFiles bounds one call; a larger collection is taken in folder by folder.
const maxFiles = 100_000

// contentTypes says what files a folder is searched for. A file that is named by itself is sent whatever its ending, and the
// server says what it makes of it.
var contentTypes = map[string]string{
	".md": "text/markdown", ".markdown": "text/markdown", ".mdown": "text/markdown",
	".txt": "text/plain", ".text": "text/plain",
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml", ".pdf": "application/pdf",
	".csv": "text/csv", ".tsv": "text/tab-separated-values", ".json": "application/json", ".jsonl": "application/x-ndjson", ".ndjson": "application/x-ndjson",
	".docx": office + "wordprocessingml.document", ".pptx": office + "presentationml.presentation", ".xlsx": office + "spreadsheetml.sheet",
	".zip": "application/zip",
}

const office = "application/vnd.openxmlformats-officedocument."

// File is a document to take in.
type File struct {
	// Path is where it is.
	Path string
	// URI is the source URI it gets.
	URI string
	// ContentType is its media type; empty when the ending does not say.
	ContentType string
}

// Find returns the files that paths name: files as they are, and of folders every file below that can be read, without
// hidden ones and without following symbolic links.
//
// A document's source URI is its path as it was given, cleaned and with forward slashes: "docs/cards/fees.md" for `ingest
// docs`, "/srv/docs/fees.md" for `ingest /srv/docs`. So the same command run again replaces the same documents. With a base
// folder the URI is the path relative to that instead, wherever the command is run.
func Find(base string, paths ...string) ([]File, error) {
	f := &finder{seen: map[string]string{}}
	if base != "" {
		absolute, err := filepath.Abs(base)
		if err != nil {
			return nil, fmt.Errorf("find documents: %w", err)
		}
		f.base = absolute
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("find documents: %w", err)
		}
		if info.IsDir() {
			err = f.walk(p)
		} else {
			err = f.add(p)
		}
		if err != nil {
			return nil, fmt.Errorf("find documents in %s: %w", p, err)
		}
	}
	slices.SortFunc(f.files, func(a, b File) int { return strings.Compare(a.URI, b.URI) })
	return f.files, nil
}

type finder struct {
	base  string
	files []File
	seen  map[string]string // path by URI
}

func (f *finder) walk(root string) error {
	return filepath.WalkDir(root, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && p != root
		switch {
		case entry.IsDir() && hidden:
			return fs.SkipDir
		case entry.IsDir(), hidden, !entry.Type().IsRegular(), contentType(p) == "":
			return nil
		}
		return f.add(p)
	})
}

func (f *finder) add(p string) error {
	uri, err := f.uri(p)
	if err != nil {
		return err
	}
	switch before, ok := f.seen[uri]; {
	case ok && filepath.Clean(before) == filepath.Clean(p):
		return nil // named twice, as in `ingest docs docs/fees.md`
	case ok:
		return fmt.Errorf("%s and %s would both become the document %s", before, p, uri)
	case len(f.files) == maxFiles:
		return fmt.Errorf("more than %d files; take them in folder by folder", maxFiles)
	}
	f.seen[uri] = p
	f.files = append(f.files, File{Path: p, URI: uri, ContentType: contentType(p)})
	return nil
}

func (f *finder) uri(p string) (string, error) {
	if f.base == "" {
		return path.Clean(filepath.ToSlash(p)), nil
	}
	absolute, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	relative, err := filepath.Rel(f.base, absolute)
	if err != nil {
		return "", err
	}
	if !filepath.IsLocal(relative) {
		return "", errors.New("it is not below the base folder " + f.base)
	}
	return filepath.ToSlash(relative), nil
}

func contentType(p string) string { return contentTypes[strings.ToLower(filepath.Ext(p))] }
