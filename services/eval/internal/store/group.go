package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

const (
	// groupFor is how long an addition waits for others to share its transaction with. A commit costs the disk a sync and
	// several pages whatever is in it, and nobody sees what is added until all of a turn's spans have come anyway.
	groupFor = 100 * time.Millisecond
	// groupMost is how many additions share a transaction.
	groupMost = 128
)

// addition is work for the group's next transaction. run returns how many rows are new.
type addition struct {
	run  func(context.Context, statements) (int64, error)
	done chan result // buffered
}

type result struct {
	added int64
	err   error
}

// statements are those of additions, bound to a transaction.
type statements struct{ turn, spans *sql.Stmt }

// group commits additions that come at about the same time in one transaction. Each is told how it went once that is on disk.
type group struct {
	db       *sql.DB
	prepared statements
	notify   func()
	queue    chan *addition
	quit     chan struct{}
	done     chan struct{}
}

var errClosed = errors.New("the store is closed")

func newGroup(ctx context.Context, db *sql.DB, notify func()) (*group, error) {
	g := &group{db: db, notify: notify, queue: make(chan *addition), quit: make(chan struct{}), done: make(chan struct{})}
	var err error
	if g.prepared.turn, err = db.PrepareContext(ctx, insertTurn); err != nil {
		return nil, err
	}
	if g.prepared.spans, err = db.PrepareContext(ctx, insertSpans); err != nil {
		return nil, errors.Join(err, g.prepared.turn.Close())
	}
	go g.loop()
	return g, nil
}

// close waits for what is under way. What comes later fails.
func (g *group) close() error {
	close(g.quit)
	<-g.done
	return errors.Join(g.prepared.turn.Close(), g.prepared.spans.Close())
}

// add has run take part in a transaction, and returns what run did when that is committed, or why it could not be. run may be
// called twice, if the first transaction fails. It is waited for even when ctx ends meanwhile.
func (g *group) add(ctx context.Context, run func(context.Context, statements) (int64, error)) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	a := &addition{run: run, done: make(chan result, 1)}
	select {
	case g.queue <- a:
		r := <-a.done
		return r.added, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-g.quit:
		return 0, errClosed
	}
}

func (g *group) loop() {
	defer close(g.done)
	for {
		select {
		case <-g.quit:
			return
		case first := <-g.queue:
			g.commit(g.gather(first))
		}
	}
}

// gather waits for more, but not when the store is being closed.
func (g *group) gather(first *addition) []*addition {
	all := []*addition{first}
	timer := time.NewTimer(groupFor)
	defer timer.Stop()
	for len(all) < groupMost {
		select {
		case a := <-g.queue:
			all = append(all, a)
		case <-timer.C:
			return all
		case <-g.quit:
			return all
		}
	}
	return all
}

// commit tries all additions together, and when that fails each by itself, so that one which can't be stored does not keep
// the others away.
func (g *group) commit(all []*addition) {
	results := g.transact(all)
	if len(all) > 1 && results[0].err != nil {
		for i := range all {
			results[i] = g.transact(all[i : i+1])[0]
		}
	}
	if slices.ContainsFunc(results, func(r result) bool { return r.added > 0 }) {
		g.notify()
	}
	for i, a := range all {
		a.done <- results[i]
	}
}

// transact runs additions in one transaction: either all succeed, or all have its error.
func (g *group) transact(all []*addition) []result {
	results := make([]result, len(all))
	if err := g.try(all, results); err != nil {
		for i := range results {
			results[i] = result{err: err}
		}
	}
	return results
}

func (g *group) try(all []*addition, results []result) error {
	ctx := context.Background() // nobody's: the transaction is of many
	tx, err := g.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	bound := statements{turn: tx.StmtContext(ctx, g.prepared.turn), spans: tx.StmtContext(ctx, g.prepared.spans)}
	for i, a := range all {
		if results[i].added, err = a.run(ctx, bound); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
