// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package coap is how an agent of patch/agent asks a server, or a gateway before it,
// over CoAP (RFC 7252) protected by OSCORE (RFC 8613), and how a device that only
// answers is pushed to.
//
// A device that asks ([Client], and [Handler] for whom it asks):
//
//	POST /update                      a patch.State, signed; 2.04 with a patch.Answer, and
//	                                  without a payload when that is too long for one message
//	GET  /update                      the last of those
//	GET  /update/PATH?from=N&size=M   a file from byte N on, at most M bytes; 2.05, and
//	                                  without a payload behind its end
//
// A device that is asked ([Device], and [Push] for whom asks it):
//
//	GET  /update           what the device wants next, and under which number
//	POST /update?want=N    that; or with &missing=1 that there is no such file
//
// A want is [number, uint], of nothing for so many milliseconds; [number, bytes], of
// the Answer to a State; or [number, text, int, int], of a file from a byte on, at most so
// many bytes of it. It is CBOR, in the strict profile. Bodies of more than a kilobyte go
// in blocks (RFC 7959).
//
// OSCORE proves who the other end is. Of what it brings an agent believes what is
// signed, so a gateway needs no more trust than a cable.
//
// This API follows the server and may change.
package coap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/proto/coap"
)

// Content formats (RFC 7252 section 12.3; RFC 9052 section 11.3).
const (
	formatOctets = 42
	formatCBOR   = 60
	formatSign1  = 18
)

// busy is how long a device that is at work is left alone.
const busy = 100 * time.Millisecond

const (
	resource = "/update"
	maxRead  = 8 << 10 // bytes of a file in one answer
	maxPath  = 512     // bytes
)

var (
	errAnswer = errors.New("coap: not an answer to what was asked")
	errWant   = errors.New("coap: not what a device wants")
)

// A Client asks over a session. It is an agent.Server, for one goroutine.
type Client struct {
	// Connect makes a connection and a session in it, the first time and after one
	// failed, which was closed then.
	Connect func(ctx context.Context) (*link.Conn, *link.Session, error)

	conn    *link.Conn
	session *link.Session
}

// Close closes the connection.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn, c.session = nil, nil
	return err
}

func (c *Client) do(ctx context.Context, m coap.Message) (coap.Message, error) {
	if c.conn == nil {
		var err error
		if c.conn, c.session, err = c.Connect(ctx); err != nil {
			return coap.Message{}, err
		}
	}
	a, err := c.conn.Do(ctx, c.session, m)
	if err != nil {
		return a, errors.Join(err, c.Close())
	}
	if a.Code == coap.NotFound {
		return a, fmt.Errorf("the server says %v: %w", a.Code, fs.ErrNotExist)
	}
	if a.Code.Class() != 2 {
		return a, fmt.Errorf("the server says %v", a.Code)
	}
	return a, nil
}

// Poll implements agent.Server.
func (c *Client) Poll(ctx context.Context, state []byte) ([]byte, error) {
	a, err := c.do(ctx, link.Request(coap.POST, resource, formatSign1, state))
	if err == nil && len(a.Payload) == 0 {
		a, err = c.do(ctx, link.Request(coap.GET, resource, 0, nil))
	}
	if err == nil && len(a.Payload) > patch.MaxMessage {
		err = patch.ErrMessage
	}
	return a.Payload, err
}

// ReadAt implements agent.Server.
func (c *Client) ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	p = p[:min(len(p), maxRead)]
	m := link.Request(coap.GET, resource+"/"+path, 0, nil)
	m = withQuery(m, "from="+strconv.FormatInt(off, 10), "size="+strconv.Itoa(len(p)))
	a, err := c.do(ctx, m)
	switch {
	case err != nil:
		return 0, err
	case len(a.Payload) > len(p):
		return 0, errAnswer
	case len(a.Payload) == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return copy(p, a.Payload), nil
}

// withQuery adds Uri-Query options to a request that has none, nor any of a higher number.
func withQuery(m coap.Message, query ...string) coap.Message {
	last := coap.OptionNumber(0)
	for o := range m.Options.All() {
		last = o.Number
	}
	for _, q := range query {
		m.Options = coap.AppendOption(m.Options, last, coap.Option{Number: coap.URIQuery, Value: []byte(q)})
		last = coap.URIQuery
	}
	return m
}

// query is the value of a name in a request's query, -1 for none that is a number.
func query(m *coap.Message, name string) int64 {
	for o := range m.Options.All() {
		if v, ok := strings.CutPrefix(string(o.Value), name+"="); ok && o.Number == coap.URIQuery {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// Handler answers clients out of a server: its own files, or the way to another
// server. Several goroutines call it at once, and so does it the server. What fails
// there is 5.02 to the client, but for what is not there.
func Handler(ctx context.Context, s agent.Server) link.Handler {
	h := &handler{ctx: ctx, server: s}
	return h.handle
}

type handler struct {
	ctx    context.Context
	server agent.Server

	mu   sync.Mutex // guards what follows
	long [maxLong]struct {
		session *link.Session
		answer  []byte
	} // answers that wait to be fetched; the oldest makes room
	next int
}

const (
	oneMessage = 1024 // bytes of an answer that goes in one message
	maxLong    = 64
)

func (h *handler) handle(session *link.Session, m *coap.Message) coap.Message {
	if session.Protection != link.OSCORE {
		return coap.Message{Code: coap.Unauthorized}
	}
	path, below := strings.CutPrefix(link.Path(m), resource+"/")
	switch here := link.Path(m) == resource; {
	case here && m.Code == coap.POST:
		return h.poll(session, m.Payload)
	case here && m.Code == coap.GET:
		h.mu.Lock()
		defer h.mu.Unlock()
		for i := range h.long {
			if h.long[i].session == session { // block by block, each time the whole
				return link.Response(coap.Content, formatSign1, h.long[i].answer)
			}
		}
		return coap.Message{Code: coap.NotFound}
	case below && m.Code == coap.GET:
		from, size := query(m, "from"), query(m, "size")
		if from < 0 || size < 0 || !fs.ValidPath(path) || len(path) > maxPath {
			return coap.Message{Code: coap.BadRequest}
		}
		b := make([]byte, min(size, maxRead))
		n, err := h.server.ReadAt(h.ctx, path, b, from)
		if err != nil && err != io.EOF && n == 0 {
			return failed(err)
		}
		return link.Response(coap.Content, formatOctets, b[:n])
	case here || below:
		return coap.Message{Code: coap.MethodNotAllowed}
	}
	return coap.Message{Code: coap.NotFound}
}

func (h *handler) poll(session *link.Session, state []byte) coap.Message {
	if len(state) > patch.MaxMessage {
		return coap.Message{Code: coap.RequestEntityTooLarge}
	}
	b, err := h.server.Poll(h.ctx, state)
	if err != nil {
		return failed(err)
	}
	if len(b) <= oneMessage {
		return link.Response(coap.Changed, formatSign1, b)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.next
	for i := range h.long {
		if h.long[i].session == session {
			at = i
		}
	}
	if at == h.next {
		h.next = (h.next + 1) % maxLong
	}
	h.long[at].session, h.long[at].answer = session, b
	return coap.Message{Code: coap.Changed}
}

func failed(err error) coap.Message {
	if errors.Is(err, fs.ErrNotExist) {
		return coap.Message{Code: coap.NotFound}
	}
	return coap.Message{Code: coap.BadGateway}
}

// A Device is the server of an agent whose device is pushed to: what the agent asks
// waits here until somebody comes and brings it. It is an agent.Server.
type Device struct {
	clock func() time.Duration
	comes chan struct{} // somebody is here, and there is something to do

	mu     sync.Mutex // guards what follows
	number uint64
	want   []byte // nil: nothing
	most   int    // bytes that may be brought
	brings chan brought
	rests  bool
	until  time.Duration
}

// NewDevice makes the server of an agent, whose steps are taken when somebody comes.
// The clock is the agent's.
func NewDevice(clock func() time.Duration) *Device {
	return &Device{clock: clock, comes: make(chan struct{}, 1), rests: true}
}

// Run takes an agent's steps until ctx ends or one of them says that the device is to
// start again, and returns that error. Steps that fail otherwise go to failed, nil is nobody.
func (d *Device) Run(ctx context.Context, step func(context.Context) (time.Duration, error), failed func(error)) error {
	for {
		select {
		case <-d.comes:
		case <-ctx.Done():
			return ctx.Err()
		}
		wait, err := step(ctx)
		if errors.Is(err, agent.ErrRestart) {
			return err
		}
		if err != nil && failed != nil {
			failed(err)
		}
		d.mu.Lock()
		d.rests, d.until = true, d.clock()+wait
		d.mu.Unlock()
	}
}

// Poll implements agent.Server.
func (d *Device) Poll(ctx context.Context, state []byte) ([]byte, error) {
	return d.ask(ctx, patch.MaxMessage, func(b []byte) []byte {
		return cbor.AppendBytes(b, state)
	}, 2)
}

// ReadAt implements agent.Server.
func (d *Device) ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	p = p[:min(len(p), maxRead)]
	b, err := d.ask(ctx, len(p), func(b []byte) []byte {
		return cbor.AppendInt(cbor.AppendInt(cbor.AppendText(b, path), off), int64(len(p)))
	}, 4)
	switch {
	case err != nil:
		return 0, err
	case len(b) == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return copy(p, b), nil
}

func (d *Device) ask(ctx context.Context, most int, what func([]byte) []byte, items int) ([]byte, error) {
	d.mu.Lock()
	d.number++
	d.want = what(cbor.AppendUint(cbor.AppendArray(nil, items), d.number))
	d.most, d.brings = most, make(chan brought, 1)
	brings := d.brings
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.want = nil
	}()
	select {
	case b := <-brings:
		if b.missing {
			return nil, fs.ErrNotExist
		}
		return b.bytes, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wants is what the device wants next. Who asks, is there to bring it.
func (d *Device) wants() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.want != nil {
		return d.want
	}
	wait := busy
	if d.rests {
		if wait = d.until - d.clock(); wait <= 0 {
			d.rests, wait = false, busy
			d.comes <- struct{}{} // which has room: Run rests
		}
	}
	return cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 2), d.number), uint64(wait.Milliseconds()))
}

// A brought is what somebody brings.
type brought struct {
	bytes   []byte
	missing bool
}

// bring hands over what was wanted under a number; another number is nobody's any more.
func (d *Device) bring(number uint64, b brought) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.want == nil || number != d.number || len(b.bytes) > d.most {
		return errAnswer
	}
	d.want = nil
	d.brings <- brought{append([]byte(nil), b.bytes...), b.missing}
	return nil
}

// Handle answers requests for /update, of somebody who may bring updates.
func (d *Device) Handle(m *coap.Message) coap.Message {
	switch m.Code {
	case coap.GET:
		return link.Response(coap.Content, formatCBOR, d.wants())
	case coap.POST:
		n := query(m, "want")
		if n < 0 || d.bring(uint64(n), brought{m.Payload, query(m, "missing") == 1}) != nil {
			return coap.Message{Code: coap.BadRequest}
		}
		return coap.Message{Code: coap.Changed}
	}
	return coap.Message{Code: coap.MethodNotAllowed}
}

// Push brings a device what it wants from a server, as long as it does not want
// nothing for more than patience. Pause waits; nil is the usual way.
func Push(ctx context.Context, conn *link.Conn, session *link.Session, s agent.Server, patience time.Duration, pause func(context.Context, time.Duration) error) error {
	if pause == nil {
		pause = sleep
	}
	for {
		a, err := conn.Get(ctx, session, resource)
		if err != nil {
			return err
		}
		if a.Code != coap.Content {
			return fmt.Errorf("the device says %v", a.Code)
		}
		w, err := parseWant(a.Payload)
		if err != nil {
			return err
		}
		var b []byte
		switch {
		case w.state != nil:
			b, err = s.Poll(ctx, w.state)
		case w.path != "":
			b = make([]byte, min(w.size, maxRead))
			var n int
			n, err = s.ReadAt(ctx, w.path, b, w.off)
			if b = b[:n]; err == io.EOF || n > 0 {
				err = nil
			}
		case w.wait > patience:
			return nil
		default:
			if err := pause(ctx, w.wait); err != nil {
				return err
			}
			continue
		}
		m := link.Request(coap.POST, resource, 0, nil)
		number := "want=" + strconv.FormatUint(w.number, 10)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			m = withQuery(m, number, "missing=1")
		case err != nil:
			return err
		default:
			m = withQuery(m, number)
			m.Payload = b
		}
		if a, err = conn.Do(ctx, session, m); err != nil {
			return err
		}
		if a.Code != coap.Changed {
			return fmt.Errorf("the device says %v", a.Code)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A want is what a device wants.
type want struct {
	number    uint64
	state     []byte
	path      string
	off, size int64
	wait      time.Duration
}

func parseWant(b []byte) (w want, err error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return w, err
	}
	n := r.Array()
	w.number = r.Uint()
	switch {
	case n == 2 && r.Next() == cbor.Bytes:
		if w.state = r.Bytes(); len(w.state) == 0 {
			r.Fail(errWant)
		}
	case n == 2:
		w.wait = time.Duration(min(r.Uint(), uint64(longest/time.Millisecond))) * time.Millisecond
	case n == 4:
		w.path, w.off, w.size = r.Text(), r.Int(), r.Int()
		if r.Err() == nil && (!fs.ValidPath(w.path) || w.path == "." || len(w.path) > maxPath || w.off < 0 || w.size <= 0) {
			r.Fail(errWant)
		}
	default:
		r.Fail(errWant)
	}
	return w, r.Done()
}

// longest is how long a device wants nothing at most.
const longest = 24 * time.Hour
