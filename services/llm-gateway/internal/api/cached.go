package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
)

// onlyCached says whether an answer is wanted only if none has to be made.
func (r *request) onlyCached() bool {
	for word := range r.cacheControl() {
		if strings.EqualFold(word, "only-if-cached") {
			return true
		}
	}
	return false
}

// cacheControl are the words of the request's header Cache-Control.
func (r *request) cacheControl() iter.Seq[string] {
	return strings.FieldsFuncSeq(r.Header.Get("Cache-Control"), func(c rune) bool { return c == ',' || c == ' ' })
}

// mode is how a request uses the cache: as it says itself, else as its route does.
func (r *request) mode(model string) (cache.Mode, error) {
	mode, err := r.named(model)
	if err != nil || !r.onlyCached() {
		return mode, err
	}
	if mode != cache.On && mode != cache.ReadOnly {
		return cache.Off, cache.NotKept()
	}
	return cache.Only, nil
}

// named is how a request uses the cache, apart from what it does where nothing is kept.
func (r *request) named(model string) (cache.Mode, error) {
	mode := r.serving.Caching[model].Mode
	if named := r.Header.Get("X-Ragmesh-Cache"); named != "" {
		own, err := cache.ParseMode(named)
		if err != nil {
			return cache.Off, refusal.Invalid("", "Invalid header 'X-Ragmesh-Cache': %s.", refusal.Clip(err.Error(), 200))
		}
		mode = own
	}
	for word := range r.cacheControl() {
		switch {
		case strings.EqualFold(word, "no-store"):
			return cache.Off, nil
		case strings.EqualFold(word, "no-cache") && mode == cache.On:
			mode = cache.Refresh
		case strings.EqualFold(word, "no-cache") && mode == cache.ReadOnly:
			mode = cache.Off
		}
	}
	if mode == cache.Default || r.serving.Cache == nil {
		mode = cache.Off
	}
	return mode, nil
}

// cached answers from the cache, or for it.
func (a *answer) cached(mode cache.Mode, entry *account.Entry) error {
	r := a.request
	key := cache.NewKey([]byte("openai 1"), []byte(a.asked.model), []byte(r.serving.Caching[a.asked.model].Revision), []byte(strconv.FormatBool(a.asked.withUsage)), a.asked.body)
	// The work may begin, and go on, after this caller has gone away: then it is on nobody's limits, and the ledger hears of it
	// all the same.
	var begun atomic.Bool
	made := *a
	_, _, err := r.serving.Cache.Do(r.Context(), cache.Call{Workspace: r.key.Workspace, Key: key, Mode: mode}, func(ctx context.Context, out func([]byte) error) ([]byte, bool, error) {
		paying := entry
		if !begun.CompareAndSwap(false, true) {
			paying = entry.Again()
		}
		defer paying.Close()
		work := made
		work.to = recorder(out)
		err := work.ask(ctx, paying)
		return nil, work.whole, err
	}, (&player{to: a.to}).take)
	if begun.CompareAndSwap(false, true) {
		if err == nil {
			entry.Cached()
		}
		entry.Close()
	}
	return err
}

// The pieces of an answer as it is kept: its head, bytes of it, and its last bytes.
const (
	pieceHead = 'h'
	pieceData = 'd'
	pieceLast = 'l'
)

// recorder turns an answer into pieces.
type recorder func([]byte) error

func (r recorder) begin(h head, _ int) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("record answer: %w", err)
	}
	return r(append([]byte{pieceHead}, text...))
}

func (r recorder) data(p []byte, last bool) error {
	kind := byte(pieceData)
	if last {
		kind = pieceLast
	}
	return r(append([]byte{kind}, p...))
}

// player turns pieces into an answer again.
type player struct{ to output }

func (p *player) take(from cache.Origin, piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	if kind := piece[0]; kind != pieceHead {
		return p.to.data(piece[1:], kind == pieceLast)
	}
	var h head
	if err := json.Unmarshal(piece[1:], &h); err != nil {
		return fmt.Errorf("read kept answer: %w", err)
	}
	h.cached = from != cache.Made
	return p.to.begin(h, -1)
}
