// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	wire "github.com/myelin-health/myelin/proto/coap"
)

// A clinic issues tokens to those who may command a device: a clinician, a
// technician who may only read, and nobody else.
type clinic struct {
	authority *cwt.Authority
	anchors   []cwt.Anchor
	device    *edhoc.Authenticator // who is behind the channel: the device, or the guard before it
	it        holder               // whose that is
	people    map[device.Role]holder
}

// A holder has a key, and may have a token.
type holder struct {
	key   cose.Key
	own   *edhoc.Authenticator
	token []byte
}

const audience = "drill-device"

// newHolder makes a key and its credential.
func newHolder(id string) (holder, error) {
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		return holder{}, err
	}
	k.ID = []byte(id)
	public := k.Public()
	public.ID = nil
	var kid []byte // people send their credential, devices are known by a name
	if id == "!" {
		kid = k.ID
	}
	cred, err := edhoc.NewCCS(public, "", kid)
	if err != nil {
		return holder{}, err
	}
	private, err := k.PrivateECDH()
	if err != nil {
		return holder{}, err
	}
	own, err := edhoc.NewStaticDH(private, cred)
	return holder{key: k, own: own}, err
}

// newClinic enrols a clinician and a technician, with tokens for a day.
func newClinic(verbs ...device.Verb) (*clinic, error) {
	root, err := newHolder("clinic")
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(root.key)
	if err != nil {
		return nil, err
	}
	c := &clinic{
		authority: &cwt.Authority{Name: "clinic.example", KID: root.key.ID, Signer: signer, Random: rand.Reader},
		people:    map[device.Role]holder{},
	}
	c.anchors = []cwt.Anchor{{
		Name: c.authority.Name, Key: root.key.Public(), Uses: cwt.Issues | cwt.Revokes | cwt.TellsTime,
		Roles: []device.Role{device.Clinician, device.Technician},
	}}
	it, err := newHolder("!")
	if err != nil {
		return nil, err
	}
	c.device, c.it = it.own, it
	reads := []cwt.VerbGrant{{Verb: device.ReadSettings}, {Verb: device.ReadTelemetry}}
	for role, grants := range map[device.Role][]cwt.VerbGrant{device.Technician: reads, device.Clinician: reads} {
		h, err := newHolder(role.String())
		if err != nil {
			return nil, err
		}
		if err := c.authority.Enrol(cwt.Holder{Subject: role.String(), Role: role, Key: h.key}); err != nil {
			return nil, err
		}
		if role == device.Clinician {
			for _, v := range verbs {
				grants = append(grants, cwt.VerbGrant{Verb: v})
			}
		}
		now := time.Now().Unix()
		h.token, err = c.authority.Issue(role.String(), &cwt.Terms{
			Audience: audience, Verbs: grants, IssuedAt: now, NotBefore: now - 3600, Expires: now + 24*3600,
		})
		if err != nil {
			return nil, err
		}
		c.people[role] = h
	}
	return c, nil
}

// trusting is the configuration of a party that has one credential and knows others.
func trusting(own *edhoc.Authenticator, peers ...*edhoc.Authenticator) *edhoc.Config {
	creds := make([]*edhoc.Credential, len(peers))
	for i, p := range peers {
		creds[i] = p.Credential()
	}
	return &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(creds...)}
}

// A tap is a socket at which somebody listens.
type tap struct {
	net.PacketConn
	mu         sync.Mutex
	came, went [][]byte
}

func listenTapped() (*tap, error) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	return &tap{PacketConn: socket}, err
}

func (t *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := t.PacketConn.ReadFrom(b)
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.came = append(t.came, bytes.Clone(b[:n]))
	}
	return n, addr, err
}

func (t *tap) WriteTo(b []byte, addr net.Addr) (int, error) {
	t.mu.Lock()
	t.went = append(t.went, bytes.Clone(b))
	t.mu.Unlock()
	return t.PacketConn.WriteTo(b, addr)
}

// heard returns what came and went until now.
func (t *tap) heard() (came, went [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([][]byte(nil), t.came...), append([][]byte(nil), t.went...)
}

// again sends every protected request of a list once more from somewhere else, as it is, and
// returns how many there were.
func again(addr string, datagrams [][]byte) (int, error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	n := 0
	b := make([]byte, coap.MaxMessage)
	for _, d := range datagrams {
		var m wire.Message
		if m.Parse(d) != nil || !m.Protected() {
			continue
		}
		if _, err := c.Write(d); err != nil {
			return n, err
		}
		// An answer, if one comes, is read so that the next is not taken for it.
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = c.Read(b)
		n++
	}
	return n, nil
}

// A programmer is somebody's end of the channel, with a session.
type programmer struct {
	*coap.Endpoint
	conn    *coap.Conn
	session *coap.Session
}

// connect makes a session with what listens at addr, held to be who it should be, and hands
// over a token if there is one. It has to be closed.
func connect(ctx context.Context, addr string, own, it *edhoc.Authenticator, token []byte) (*programmer, error) {
	e, err := coap.New(coap.Config{EDHOC: trusting(own, it), AckTimeout: 500 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	p := &programmer{Endpoint: e}
	if p.conn, err = e.Dial(ctx, addr); err == nil {
		if p.session, err = p.conn.Handshake(ctx); err == nil && token != nil {
			var m wire.Message
			if m, err = p.conn.Post(ctx, p.session, "/authz-info", 0, token); err == nil && m.Code != wire.Created {
				err = errors.New("the token was refused")
			}
		}
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return p, nil
}

// order posts a command, and returns the code of the answer.
func (p *programmer) order(ctx context.Context, command []byte) (wire.Code, error) {
	m, err := p.conn.Post(ctx, p.session, "/therapy", cborFormat, command)
	return m.Code, err
}

// passes orders what has to be taken.
func (p *programmer) passes(ctx context.Context, q *therapy.Request) error {
	if code, err := p.order(ctx, q.Append(nil)); err != nil || code != wire.Changed {
		return unwanted(q.Verb.String()+" itself", code, err)
	}
	return nil
}

const cborFormat = 60 // application/cbor (RFC 7252 section 12.3)

// quantity is one of ours.
func quantity(s string) device.Quantity {
	if s == "" {
		return device.Quantity{}
	}
	q, err := device.ParseQuantity(s)
	if err != nil {
		panic(err)
	}
	return q
}

// A relay is a path between two, at which somebody listens.
type relay struct {
	addr   string
	outer  *tap
	closed chan struct{}
}

// newRelay relays datagrams of one peer to an address of this machine.
func newRelay(to string) (*relay, error) {
	outer, err := listenTapped()
	if err != nil {
		return nil, err
	}
	inner, err := net.Dial("udp", to)
	if err != nil {
		outer.Close()
		return nil, err
	}
	r := &relay{addr: outer.LocalAddr().String(), outer: outer, closed: make(chan struct{})}
	var mu sync.Mutex
	var peer net.Addr
	var wg sync.WaitGroup
	wg.Go(func() {
		defer inner.Close()
		b := make([]byte, coap.MaxMessage)
		for {
			n, addr, err := outer.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			peer = addr
			mu.Unlock()
			_, _ = inner.Write(b[:n])
		}
	})
	wg.Go(func() {
		b := make([]byte, coap.MaxMessage)
		for {
			n, err := inner.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			mu.Lock()
			addr := peer
			mu.Unlock()
			if err == nil && addr != nil {
				_, _ = outer.WriteTo(b[:n], addr)
			}
		}
	})
	go func() { wg.Wait(); close(r.closed) }()
	return r, nil
}

// heard is what went towards the subject.
func (r *relay) heard() [][]byte { came, _ := r.outer.heard(); return came }

// heardBoth is what went in both directions.
func (r *relay) heardBoth() [][]byte { came, went := r.outer.heard(); return append(came, went...) }

func (r *relay) close() { r.outer.Close(); <-r.closed }

// strange asks for a command without a proof, and with a key that nobody enrolled. An error is that
// one of them was let in.
func strange(ctx context.Context, addr string, it *edhoc.Authenticator, q *therapy.Request) error {
	thief, err := newHolder("x")
	if err != nil {
		return err
	}
	open, err := coap.New(coap.Config{EDHOC: trusting(thief.own, it)})
	if err != nil {
		return err
	}
	defer open.Close()
	conn, err := open.Dial(ctx, addr)
	if err != nil {
		return err
	}
	m, err := conn.DoUnprotected(ctx, coap.Request(wire.POST, "/therapy", cborFormat, q.Append(nil)))
	if err == nil && m.Code.Class() == 2 {
		return errors.New("a command without protection was answered with success")
	}
	if p, err := connect(ctx, addr, thief.own, it, nil); err == nil {
		p.Close()
		return errors.New("a key that is not enrolled has a session")
	}
	return nil
}
