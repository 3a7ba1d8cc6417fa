package rpc

import (
	"net"
	"sync"
)

// door hands a listener's connections to the server until that stops listening, and after that to the one that refuses: who
// knocks while calls finish is told to come back elsewhere, not left before a closed port.
type door struct {
	listener net.Listener
	front    *entrance
	back     *entrance
}

// entrance is one of the two listeners behind the door.
type entrance struct {
	addr   net.Addr
	knocks chan knock
	once   sync.Once
	closed chan struct{}
}

type knock struct {
	conn net.Conn
	err  error
}

func newDoor(l net.Listener) *door {
	return &door{listener: l, front: newEntrance(l.Addr()), back: newEntrance(l.Addr())}
}

func newEntrance(addr net.Addr) *entrance {
	return &entrance{addr: addr, knocks: make(chan knock), closed: make(chan struct{})}
}

// watch accepts until the listener is closed, or fails for good.
func (d *door) watch() {
	for {
		conn, err := d.listener.Accept()
		k := knock{conn, err}
		select {
		case d.front.knocks <- k:
		case <-d.front.closed:
			select {
			case d.back.knocks <- k:
			case <-d.back.closed:
				if conn != nil {
					_ = conn.Close()
				}
			}
		}
		if err != nil && !passing(err) {
			return
		}
	}
}

// passing says whether accepting may work again, as when too many files are open.
func passing(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// Accept implements [net.Listener].
func (e *entrance) Accept() (net.Conn, error) {
	select {
	case k := <-e.knocks:
		return k.conn, k.err
	case <-e.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (e *entrance) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

// Addr implements [net.Listener].
func (e *entrance) Addr() net.Addr { return e.addr }
