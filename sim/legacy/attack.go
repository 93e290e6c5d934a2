// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Realism says how much of an attack truly happens.
type Realism string

// The realisms.
const (
	Wire     Realism = "wire"     // bytes on a wire do it
	Modelled Realism = "modelled" // the device has a flag for what would have happened: no memory of a Go program is overwritten
)

// An Attack is a row of the attack catalogue against one of [Models], or a part of
// a row. It knows no more of a device than an attacker would.
type Attack struct {
	Row     string // A01 to A43, or a step of the ward's story
	Name    string // tells the attacks of a row apart
	Device  string // model that it is against
	Realism Realism
	About   string

	// Run attacks what is at env.Target. Its error says that it could not be run at all. Where
	// the device defends itself, or does not answer, the attack only did not succeed.
	Run func(ctx context.Context, env *Env) (Result, error)

	// use is what those do who may, while the attacker listens; nil: it is not needed.
	use func(ctx context.Context, env *Env) error

	// hurt says what has happened to the device, or was taken from it, and "" where
	// nothing was.
	hurt func(before, after any, loot []byte) string
}

// A Result is how an attack went, as the attacker sees it.
type Result struct {
	Succeeded bool
	How       string // in words, without anything of a patient

	loot []byte // what was taken: patient data, keys
}

// A Target is where an attack goes.
type Target interface {
	// Dial opens a way to the device: datagrams or a byte pipe, as it has them.
	Dial(ctx context.Context) (net.Conn, error)
}

type address struct {
	network, addr string
	tap           *Tap
	by            Party // as the tap hears
}

// At is what listens at an address of this machine's loopback; the network is udp or tcp.
func At(network, addr string) (Target, error) {
	if network != "udp" && network != "tcp" {
		return nil, fmt.Errorf("legacy: network %q: want udp or tcp", network)
	}
	if err := hereText(addr); err != nil {
		return nil, err
	}
	return address{network: network, addr: addr}, nil
}

func (a address) Dial(ctx context.Context) (net.Conn, error) {
	return a.tap.dial(ctx, a.by, a.network, a.addr)
}

// An Env is what an attack has.
type Env struct {
	Target Target

	// Overheard are the messages that went to the device while those used it who may, in
	// their order: by [Attack.Record], or in whatever channel they used.
	Overheard [][]byte

	// Clock is the story's. Nil: the machine's, and nobody waits.
	Clock *Clock

	// Patience is how long an answer is waited for; 0 is five seconds.
	Patience time.Duration

	// Log is where a receiver near by writes what it hears of a proprietary radio, as
	// lines of a frame log (package capture). Nil: there is none.
	Log io.Writer

	// Rand is the attacker's chance. Nil is crypto/rand's.
	Rand io.Reader
}

// A Clock goes on when it is told to. Several goroutines may use it.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock returns a clock that shows t.
func NewClock(t time.Time) *Clock { return &Clock{t: t} }

// Now is what it shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Advance sets it forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (e *Env) now() time.Time {
	if e.Clock == nil {
		return time.Now()
	}
	return e.Clock.Now()
}

// pause lets time pass in the story.
func (e *Env) pause(d time.Duration) {
	if e.Clock != nil {
		e.Clock.Advance(d)
	}
}

func (e *Env) random(n int) ([]byte, error) {
	r := e.Rand
	if r == nil {
		r = rand.Reader
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func (e *Env) patience() time.Duration {
	if e.Patience == 0 {
		return 5 * time.Second
	}
	return e.Patience
}

// Why an attack goes no further.
var (
	errSilent  = errors.New("no answer")
	errRefused = errors.New("refused")
)

// A channel carries messages to a device and back.
type channel struct {
	net.Conn
	env     *Env
	framing framing
	r       *bufio.Reader // of a byte pipe; nil where datagrams are
}

// dial opens a channel to the target, which is on this machine.
func (e *Env) dial(ctx context.Context, f framing) (*channel, error) {
	c, err := e.Target.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := here(c.RemoteAddr()); err != nil {
		c.Close()
		return nil, err
	}
	ch := &channel{Conn: c, env: e, framing: f}
	if c.RemoteAddr().Network() != "udp" {
		ch.r = bufio.NewReaderSize(c, MaxMessage+1)
	}
	return ch, nil
}

func (c *channel) send(message []byte) error {
	if c.r != nil {
		message = appendMessage(nil, c.framing, message)
	}
	_, err := c.Write(message)
	return broken(err)
}

// receive waits for a message. It fails with errSilent when none comes.
func (c *channel) receive() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.env.patience())); err != nil {
		return nil, err
	}
	var b []byte
	var err error
	if c.r != nil {
		b, err = readMessage(c.r, c.framing)
	} else {
		b = make([]byte, MaxMessage)
		var n int
		n, err = c.Read(b)
		b = b[:n]
	}
	if err != nil {
		return nil, broken(err)
	}
	return bytes.Clone(b), nil
}

// broken makes of an error of the network what an attacker makes of it: nobody answers.
func broken(err error) error {
	var network net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return errSilent
	}
	return err
}

// ask sends a message and waits for the answer.
func (c *channel) ask(message []byte) ([]byte, error) {
	if err := c.send(message); err != nil {
		return nil, err
	}
	return c.receive()
}

// result makes a result of how far an attack came.
func result(how string, loot []byte, err error) (Result, error) {
	switch {
	case errors.Is(err, errSilent), errors.Is(err, errRefused):
		return Result{How: err.Error(), loot: loot}, nil
	case err != nil:
		return Result{}, err
	}
	return Result{Succeeded: true, How: how, loot: loot}, nil
}

// Record uses the unprotected device at env.Target as those do who may, and keeps in
// env.Overheard what went to it.
func (a *Attack) Record(ctx context.Context, env *Env) error {
	if a.use == nil {
		return nil
	}
	heard := &tapped{Target: env.Target}
	user := *env
	user.Target = heard
	err := a.use(ctx, &user)
	env.Overheard = heard.messages
	return err
}

// A tapped target is one that somebody listens to. Messages are datagrams.
type tapped struct {
	Target
	messages [][]byte
}

func (t *tapped) Dial(ctx context.Context) (net.Conn, error) {
	c, err := t.Target.Dial(ctx)
	return &tappedConn{c, t}, err
}

type tappedConn struct {
	net.Conn
	t *tapped
}

func (c *tappedConn) Write(b []byte) (int, error) {
	m := bytes.Clone(b)
	if c.RemoteAddr().Network() != "udp" && len(m) > 2 {
		m = m[2:] // frames on a pipe are counted
	}
	c.t.messages = append(c.t.messages, m)
	return c.Conn.Write(b)
}

// Hurt says what has come of an attack, by the state of the device before and after it,
// and by what was taken; ok is false where nothing has.
func (a *Attack) Hurt(before, after any, r *Result) (how string, ok bool) {
	how = a.hurt(before, after, r.loot)
	return how, how != ""
}

// An Outcome is what came of an attack on a device.
type Outcome struct {
	Result Result // as the attacker sees it
	Hurt   bool   // as the device's state shows
	How    string
	Device Device
}

// Try makes a device, serves it on loopback, and attacks it. Cfg has a clock of the story, or
// none. Env, which may be nil, says how; its target is set.
func (a *Attack) Try(ctx context.Context, cfg Config, env *Env) (Outcome, error) {
	if env == nil {
		env = new(Env)
	}
	if env.Clock != nil && cfg.Now == nil {
		cfg.Now = env.Clock.Now
	}
	d, err := New(a.Device, cfg)
	if err != nil {
		return Outcome{}, err
	}
	return a.TryOn(ctx, d, cfg.Tap, env)
}

// TryOn is [Attack.Try] on a device that there is already.
func (a *Attack) TryOn(ctx context.Context, d Device, tap *Tap, env *Env) (Outcome, error) {
	o := Outcome{Device: d}
	err := served(ctx, NetworkOf(a.Device), d, func(ctx context.Context, network, addr string) error {
		env.Target = address{network, addr, tap, User}
		if p, ok := d.(interface{ sealed() bool }); ok && p.sealed() {
			env.Overheard = nil // its link is a short wire, to which nobody listens
		} else if err := a.Record(ctx, env); err != nil && !errors.Is(err, errSilent) && !errors.Is(err, errRefused) {
			return err
		}
		env.Target = address{network, addr, tap, Attacker}
		before := d.State()
		var err error
		if o.Result, err = a.Run(ctx, env); err != nil {
			return err
		}
		o.How, o.Hurt = a.Hurt(before, d.State(), &o.Result)
		return nil
	})
	return o, err
}

// served serves a device on loopback while do runs.
func served(ctx context.Context, network string, d Device, do func(ctx context.Context, network, addr string) error) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		wg.Go(func() { _ = ServeListener(ctx, l, d) })
		return do(ctx, network, l.Addr().String())
	}
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	wg.Go(func() { _ = d.Serve(ctx, s) })
	return do(ctx, network, s.LocalAddr().String())
}
