package token

import (
	"encoding/json"
	"errors"
	"fmt"
)

// postProcessor says what stands around texts.
type postProcessor struct {
	Type string `json:"type"`

	// BertProcessing and RobertaProcessing: a token and its id.
	Sep named `json:"sep"`
	Cls named `json:"cls"`

	// TemplateProcessing.
	Single  []piece                 `json:"single"`
	Pair    []piece                 `json:"pair"`
	Special map[string]specialToken `json:"special_tokens"`

	Processors []postProcessor `json:"processors"`
}

// piece is a part of a template; one of its fields is set.
type piece struct {
	Token *struct {
		ID   string `json:"id"`
		Type int32  `json:"type_id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID   string `json:"id"`
		Type int32  `json:"type_id"`
	} `json:"Sequence"`
}

type specialToken struct {
	IDs []int32 `json:"ids"`
}

// named is ["token", id].
type named struct {
	token string
	id    int32
}

// UnmarshalJSON reads the pair.
func (n *named) UnmarshalJSON(raw []byte) error {
	pair := []any{&n.token, &n.id}
	if err := json.Unmarshal(raw, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("a special token is a text and its id")
	}
	return nil
}

// frames returns what stands around one text and around two.
func (p *postProcessor) frames(vocab map[string]int32) (single, pair frame, err error) {
	if p == nil {
		if single, err = newFrame([]part{{text: 1}}); err == nil {
			pair, err = newFrame([]part{{text: 1}, {text: 2, kind: 1}})
		}
		return single, pair, err
	}
	switch p.Type {
	case "BertProcessing", "RobertaProcessing":
		if vocab[p.Cls.token] != p.Cls.id || vocab[p.Sep.token] != p.Sep.id {
			return frame{}, frame{}, fmt.Errorf("%q or %q has another id in the vocabulary", p.Cls.token, p.Sep.token)
		}
		cls, sep := part{id: p.Cls.id}, part{id: p.Sep.id}
		between, second := []part{sep}, int32(1)
		if p.Type == "RobertaProcessing" {
			between, second = []part{sep, sep}, 0
		}
		last := part{id: p.Sep.id, kind: second}
		if single, err = newFrame([]part{cls, {text: 1}, sep}); err == nil {
			pair, err = newFrame(append(append([]part{cls, {text: 1}}, between...), part{text: 2, kind: second}, last))
		}
		return single, pair, err
	case "TemplateProcessing":
		if single, err = p.frame(p.Single, 1); err == nil {
			pair, err = p.frame(p.Pair, 2)
		}
		return single, pair, err
	case "Sequence":
		for i := range p.Processors {
			if t := p.Processors[i].Type; t != "ByteLevel" { // which only says where tokens came from
				return p.Processors[i].frames(vocab)
			}
		}
	}
	return frame{}, frame{}, fmt.Errorf("%q is not supported", p.Type)
}

// frame makes a frame of a template for a number of texts.
func (p *postProcessor) frame(pieces []piece, texts int) (frame, error) {
	var parts []part
	seen := map[string]int{}
	for _, one := range pieces {
		switch {
		case one.Token != nil:
			special, ok := p.Special[one.Token.ID]
			if !ok || len(special.IDs) > maxSpecial {
				return frame{}, fmt.Errorf("special token %q has no ids", one.Token.ID)
			}
			for _, id := range special.IDs {
				parts = append(parts, part{id: id, kind: kind(one.Token.Type)})
			}
		case one.Sequence != nil:
			n := map[string]int{"A": 1, "B": 2}[one.Sequence.ID]
			if n == 0 || n > texts {
				return frame{}, fmt.Errorf("text %q is not of this template", one.Sequence.ID)
			}
			seen[one.Sequence.ID]++
			parts = append(parts, part{text: n, kind: kind(one.Sequence.Type)})
		}
		if len(parts) > 2*maxSpecial {
			return frame{}, errors.New("more tokens around a text than any model has")
		}
	}
	if len(seen) != texts || seen["A"] != 1 || texts == 2 && seen["B"] != 1 {
		return frame{}, errors.New("a template does not name each text once")
	}
	return newFrame(parts)
}

// kind is a type id of those that models have.
func kind(n int32) int32 { return min(max(n, 0), 1) }
