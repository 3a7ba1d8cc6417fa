// Package dataset reads retrieval test collections: a folder with corpus.jsonl (id, title, text), queries.jsonl (id, text)
// and qrels.tsv (query id, document id, grade; tab separated, no header). It refuses what is malformed with file and line,
// and never holds more than its bounds.
package dataset

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of a collection. They keep a wrong file from filling the memory; collections of this layout are far smaller.
const (
	maxLineBytes = 4 << 20
	maxBytes     = 1 << 30
	maxRecords   = 1_000_000
	maxIDBytes   = 512
	// maxGrade is above what any collection uses.
	maxGrade = 100
)

// Document is one text to find.
type Document struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

// Query is one question.
type Query struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Judgements holds grades by query id and document id. A document that is not listed has grade 0.
type Judgements map[string]map[string]int

// Dataset is a whole collection.
type Dataset struct {
	Documents  []Document
	Queries    []Query
	Judgements Judgements
}

// Read reads the collection in dir.
func Read(dir string) (*Dataset, error) {
	d := &Dataset{}
	for _, part := range []struct {
		name string
		read func(io.Reader) error
	}{
		{"corpus.jsonl", func(r io.Reader) (err error) { d.Documents, err = ReadDocuments(r); return err }},
		{"queries.jsonl", func(r io.Reader) (err error) { d.Queries, err = ReadQueries(r); return err }},
		{"qrels.tsv", func(r io.Reader) (err error) { d.Judgements, err = ReadJudgements(r); return err }},
	} {
		if err := readFile(filepath.Join(dir, part.name), part.read); err != nil {
			return nil, err
		}
	}
	return d, d.check()
}

func readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read dataset: %w", err)
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	return nil
}

// check refuses judgements about things that are not there: scores computed from them would be wrong without a sign.
func (d *Dataset) check() error {
	documents := make(map[string]bool, len(d.Documents))
	for _, doc := range d.Documents {
		documents[doc.ID] = true
	}
	queries := make(map[string]bool, len(d.Queries))
	for _, q := range d.Queries {
		queries[q.ID] = true
	}
	for query, grades := range d.Judgements {
		if !queries[query] {
			return fmt.Errorf("qrels.tsv judges query %q, which queries.jsonl does not have", query)
		}
		for document := range grades {
			if !documents[document] {
				return fmt.Errorf("qrels.tsv judges document %q, which corpus.jsonl does not have", document)
			}
		}
	}
	return nil
}

// ReadDocuments reads corpus.jsonl.
func ReadDocuments(r io.Reader) ([]Document, error) {
	var documents []Document
	seen := map[string]bool{}
	err := lines(r, func(line []byte) error {
		var d Document
		if err := json.Unmarshal(line, &d); err != nil {
			return fmt.Errorf("not a JSON document: %w", err)
		}
		if err := identify(d.ID, seen); err != nil {
			return err
		}
		if strings.TrimSpace(d.Text) == "" {
			return errors.New("text is empty")
		}
		documents = append(documents, d)
		return nil
	})
	return documents, err
}

// ReadQueries reads queries.jsonl.
func ReadQueries(r io.Reader) ([]Query, error) {
	var queries []Query
	seen := map[string]bool{}
	err := lines(r, func(line []byte) error {
		var q Query
		if err := json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("not a JSON query: %w", err)
		}
		if err := identify(q.ID, seen); err != nil {
			return err
		}
		if strings.TrimSpace(q.Text) == "" {
			return errors.New("text is empty")
		}
		queries = append(queries, q)
		return nil
	})
	return queries, err
}

// ReadJudgements reads qrels.tsv.
func ReadJudgements(r io.Reader) (Judgements, error) {
	judgements := Judgements{}
	err := lines(r, func(line []byte) error {
		fields := strings.Split(string(line), "\t")
		if len(fields) != 3 {
			return fmt.Errorf("%d tab separated fields, want query id, document id and grade", len(fields))
		}
		for _, id := range fields[:2] {
			if err := identify(id, map[string]bool{}); err != nil {
				return err
			}
		}
		grade, err := strconv.Atoi(fields[2])
		if err != nil || grade < 0 || grade > maxGrade {
			return fmt.Errorf("grade %.20q is not a number from 0 to %d", fields[2], maxGrade)
		}
		if judgements[fields[0]] == nil {
			judgements[fields[0]] = map[string]int{}
		}
		judgements[fields[0]][fields[1]] = grade
		return nil
	})
	return judgements, err
}

// identify refuses ids that are empty, used twice, or could not stand in a run file, whose columns end at white space.
func identify(id string, seen map[string]bool) error {
	switch {
	case id == "":
		return errors.New("id is missing")
	case len(id) > maxIDBytes:
		return fmt.Errorf("id has %d bytes, at most %d are allowed", len(id), maxIDBytes)
	case strings.ContainsAny(id, " \t\r\n\v\f\u0085\u00a0"):
		return fmt.Errorf("id %q holds white space", id)
	case seen[id]:
		return fmt.Errorf("id %q is used twice", id)
	}
	seen[id] = true
	return nil
}

// lines calls f for each line that is not blank. Errors begin with the line's number, as in "7: id is missing".
func lines(r io.Reader, f func([]byte) error) error {
	limited := &io.LimitedReader{R: r, N: maxBytes + 1}
	scanner := bufio.NewScanner(limited)
	scanner.Buffer(make([]byte, 64<<10), maxLineBytes)
	number, records := 0, 0
	for scanner.Scan() {
		number++
		line := scanner.Bytes()
		if number == 1 {
			line = []byte(strings.TrimPrefix(string(line), "\ufeff"))
		}
		if len(strings.TrimSpace(string(line))) == 0 {
			continue
		}
		if records++; records > maxRecords {
			return fmt.Errorf("%d: more than %d records", number, maxRecords)
		}
		if !utf8.Valid(line) {
			return fmt.Errorf("%d: not UTF-8", number)
		}
		if err := f(line); err != nil {
			return fmt.Errorf("%d: %w", number, err)
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%d: line of more than %d bytes", number+1, maxLineBytes)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("%d: %w", number+1, err)
	}
	if limited.N == 0 {
		return fmt.Errorf("%d: more than %d bytes", number, maxBytes)
	}
	return nil
}
