package parse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// field is one value of a record, under the keys that lead to it.
type field struct{ key, value string }

// parseRecords reads JSON: one value per line, several after one another, or one list or object. An object with a text becomes a
// section under its title or id; any other becomes a row of "key: value" cells.
func (r *Registry) parseRecords(ctx context.Context, s Source) (Document, error) {
	c := r.canon()
	w := records{canon: &c, rows: rows{c: &c, spent: s.spent}, spent: s.spent}
	decoder := json.NewDecoder(bytes.NewReader(s.Data))
	decoder.UseNumber()
	for {
		if ctx.Err() != nil {
			return Document{}, ctx.Err()
		}
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Document{}, notJSON(decoder, err)
		}
		if token == json.Delim('[') {
			for decoder.More() {
				if err := w.value(decoder); err != nil {
					return Document{}, notJSON(decoder, err)
				}
			}
			_, err = decoder.Token()
		} else {
			err = w.rest(decoder, token)
		}
		if err != nil {
			return Document{}, notJSON(decoder, err)
		}
	}
	if err := w.rows.flush(); err != nil {
		return Document{}, err
	}
	return c.document(""), nil
}

func notJSON(d *json.Decoder, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return malformed("the JSON is broken near byte %d", d.InputOffset())
	}
	return err
}

type records struct {
	canon *canon
	rows  rows
	spent *budget
}

// value reads the next value.
func (w *records) value(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	return w.rest(d, token)
}

// rest reads the value that a token begins.
func (w *records) rest(d *json.Decoder, token json.Token) error {
	fields, err := flatten(d, token, "", 0, nil)
	if err != nil {
		return err
	}
	return w.write(fields)
}

// maxFields bounds the values of one record.
const maxFields = 100_000

// flatten lists a value's scalars in their order.
func flatten(d *json.Decoder, token json.Token, key string, depth int, out []field) ([]field, error) {
	if depth > maxDepth {
		return nil, malformed("the JSON is nested more than %d deep", maxDepth)
	}
	if len(out) > maxFields {
		return nil, tooLarge("a record has more than %d values", maxFields)
	}
	var err error
	switch value := token.(type) {
	case json.Delim:
		for d.More() {
			inner := key
			if value == '{' {
				name, err := d.Token()
				if err != nil {
					return nil, err
				}
				inner, _ = name.(string)
				if key != "" {
					inner = key + "." + inner
				}
			}
			next, err := d.Token()
			if err != nil {
				return nil, err
			}
			if out, err = flatten(d, next, inner, depth+1, out); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return out, err
	case string:
		out = append(out, field{key, clean(value)})
	case json.Number:
		out = append(out, field{key, value.String()})
	case bool:
		word := "no"
		if value {
			word = "yes"
		}
		out = append(out, field{key, word})
	}
	return out, nil
}

// take removes the first field under one of the names and returns its value.
func take(fields []field, names ...string) (string, []field) {
	for _, name := range names {
		at := slices.IndexFunc(fields, func(f field) bool { return strings.EqualFold(f.key, name) && strings.TrimSpace(f.value) != "" })
		if at >= 0 {
			return strings.TrimSpace(fields[at].value), slices.Delete(slices.Clone(fields), at, at+1)
		}
	}
	return "", fields
}

func (w *records) write(fields []field) error {
	body, rest := take(fields, "text", "content", "contents", "body", "passage", "markdown")
	if body == "" {
		cells := make([]string, 0, len(fields))
		for _, f := range fields {
			if value := cell(f.value); value != "" && f.key != "" {
				value = cell(f.key) + ": " + value
				cells = append(cells, value)
			} else if value != "" {
				cells = append(cells, value)
			}
		}
		return w.rows.add(cells[:min(len(cells), maxColumns)])
	}
	if err := errors.Join(w.rows.flush(), w.spent.row()); err != nil {
		return err
	}
	title, rest := take(rest, "title", "heading", "headline", "name", "subject", "question")
	if title == "" {
		title, rest = take(rest, "id", "_id", "doc_id", "key", "url")
	}
	if err := w.canon.add(Heading, 1, cell(title)); err != nil {
		return err
	}
	var about strings.Builder
	for _, f := range rest {
		if value := cell(f.value); value != "" && f.key != "" {
			about.WriteString(cell(f.key) + ": " + value + "\n")
		}
	}
	if err := w.canon.add(Paragraph, 0, about.String()); err != nil {
		return err
	}
	return w.canon.paragraphs(body)
}
