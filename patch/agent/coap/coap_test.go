// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/proto/coap"
)

// A depot has one file, and answers a poll with what was asked, backwards.
type depot struct {
	file []byte
	fail error
}

func (d *depot) Poll(_ context.Context, b []byte) ([]byte, error) {
	b = bytes.Clone(b)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b, d.fail
}

func (d *depot) ReadAt(_ context.Context, path string, p []byte, off int64) (int, error) {
	if path != "flow500/2.2.0/firmware.bin" {
		return 0, fs.ErrNotExist
	}
	if d.fail != nil {
		return 0, d.fail
	}
	return bytes.NewReader(d.file).ReadAt(p, off)
}

func newDepot(size int) *depot {
	d := &depot{file: make([]byte, size)}
	rand.Read(d.file)
	return d
}

// air carries messages in memory, and loses some.
type air struct {
	in, out chan []byte
	done    chan struct{}
	once    *sync.Once
	mu      sync.Mutex
	random  *mathrand.Rand
	lose    float64
}

func onAir(seed uint64, lose float64) (a, b *air) {
	ab, ba, done, once := make(chan []byte, 256), make(chan []byte, 256), make(chan struct{}), new(sync.Once)
	end := func(in, out chan []byte, n uint64) *air {
		return &air{in: in, out: out, done: done, once: once, random: mathrand.New(mathrand.NewPCG(seed, n)), lose: lose}
	}
	return end(ba, ab, 1), end(ab, ba, 2)
}

func (l *air) Send(b []byte) error {
	l.mu.Lock()
	lost := l.random.Float64() < l.lose
	l.mu.Unlock()
	if lost {
		return nil
	}
	select {
	case l.out <- bytes.Clone(b):
	case <-l.done:
	}
	return nil
}

func (l *air) Receive(b []byte) (int, error) {
	select {
	case m := <-l.in:
		return copy(b, m), nil
	case <-l.done:
		return 0, io.EOF
	}
}

func (l *air) Close() error { l.once.Do(func() { close(l.done) }); return nil }
func (l *air) Peer() string { return "air" }

// two are the configurations of who begins and who answers.
func two(t *testing.T, h link.Handler) (client, server link.Config) {
	t.Helper()
	enrol := func(subject string, kid byte) *edhoc.Authenticator {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, err := cose.NewECDHKey(key.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		cred, err := edhoc.NewCCS(public, subject, []byte{kid})
		if err != nil {
			t.Fatal(err)
		}
		own, err := edhoc.NewStaticDH(key, cred)
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	a, b := enrol("monitor", 2), enrol("pump", 3)
	party := func(own, peer *edhoc.Authenticator) *edhoc.Config {
		return &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(peer.Credential())}
	}
	return link.Config{EDHOC: party(a, b)}, link.Config{EDHOC: party(b, a), Handler: h}
}

// over runs f with a client of a handler, over a link that loses so many messages.
func over(t *testing.T, lose float64, h link.Handler, f func(t *testing.T, connect func(context.Context) (*link.Conn, *link.Session, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, s := two(t, h)
		client, err := link.New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := link.New(s)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		seed := uint64(0)
		f(t, func(ctx context.Context) (*link.Conn, *link.Session, error) {
			seed++
			a, b := onAir(seed, lose)
			server.Attach(b)
			conn := client.Attach(a)
			session, err := conn.Handshake(ctx)
			return conn, session, err
		})
	})
}

// A file comes whole, and so does an answer, over a link that loses every tenth
// message, and over one that is cut off now and then.
func TestClient(t *testing.T) {
	for _, lose := range []float64{0, 0.1} {
		d := newDepot(30_000)
		over(t, lose, Handler(t.Context(), d), func(t *testing.T, connect func(context.Context) (*link.Conn, *link.Session, error)) {
			c := &Client{Connect: connect}
			defer c.Close()
			for _, size := range []int{300, patch.MaxMessage} {
				state := make([]byte, size)
				rand.Read(state)
				want, _ := d.Poll(t.Context(), state)
				var got []byte
				var err error
				for range 20 {
					if got, err = c.Poll(t.Context(), state); err == nil {
						break
					}
				}
				if !bytes.Equal(got, want) {
					t.Errorf("losing %v: %d bytes of an answer: %v", lose, len(got), err)
				}
			}
			var file []byte
			p := make([]byte, 4000)
			for tries := 0; ; tries++ {
				n, err := c.ReadAt(t.Context(), "flow500/2.2.0/firmware.bin", p, int64(len(file)))
				file = append(file, p[:n]...)
				if err == io.EOF {
					break
				}
				if len(file)%7 == 0 {
					c.Close() // cut off
				}
				if tries > 200 {
					t.Fatalf("losing %v: %d bytes, and %v", lose, len(file), err)
				}
			}
			if !bytes.Equal(file, d.file) {
				t.Errorf("losing %v: another file, of %d bytes", lose, len(file))
			}
		})
	}
}

func TestHandler(t *testing.T) {
	d := newDepot(100)
	over(t, 0, Handler(t.Context(), d), func(t *testing.T, connect func(context.Context) (*link.Conn, *link.Session, error)) {
		conn, session, err := connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			m    coap.Message
			code coap.Code
		}{
			{link.Request(coap.GET, "/update", 0, nil), coap.NotFound}, // there was no answer
			{link.Request(coap.PUT, "/update", 0, nil), coap.MethodNotAllowed},
			{link.Request(coap.GET, "/therapy", 0, nil), coap.NotFound},
			{link.Request(coap.POST, "/update", formatSign1, make([]byte, patch.MaxMessage+1)), coap.RequestEntityTooLarge},
			{withQuery(link.Request(coap.GET, "/update/x", 0, nil), "from=0", "size=10"), coap.NotFound},
			{withQuery(link.Request(coap.GET, "/update/../x", 0, nil), "from=0", "size=10"), coap.BadRequest},
			{withQuery(link.Request(coap.GET, "/update/x", 0, nil), "from=-5", "size=10"), coap.BadRequest},
			{withQuery(link.Request(coap.GET, "/update/x", 0, nil), "from=0"), coap.BadRequest},
			{withQuery(link.Request(coap.GET, "/update/flow500/2.2.0/firmware.bin", 0, nil), "from=0", "size=999999999999"), coap.Content},
		} {
			a, err := conn.Do(t.Context(), session, c.m)
			if err != nil || a.Code != c.code {
				t.Errorf("%v %s: %v, %v; want %v", c.m.Code, link.Path(&c.m), a.Code, err, c.code)
			}
		}
		d.fail = errors.New("no way to the server")
		client := &Client{Connect: func(context.Context) (*link.Conn, *link.Session, error) { return conn, session, nil }}
		if _, err := client.Poll(t.Context(), []byte{1}); err == nil {
			t.Error("a gateway that cannot reach its server says nothing")
		}
		if _, err := client.ReadAt(t.Context(), "elsewhere", make([]byte, 5), 0); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	// Nothing for who is not proven.
	if a := Handler(t.Context(), d)(&link.Session{}, &coap.Message{Code: coap.GET}); a.Code != coap.Unauthorized {
		t.Errorf("a stranger is answered %v", a.Code)
	}
}

// What an agent asks on a device that is only asked itself, is brought.
func TestPush(t *testing.T) {
	depot := newDepot(20_000)
	var device *Device
	handler := func(_ *link.Session, m *coap.Message) coap.Message { return device.Handle(m) }
	over(t, 0.05, handler, func(t *testing.T, connect func(context.Context) (*link.Conn, *link.Session, error)) {
		began := time.Now()
		clock := func() time.Duration { return time.Since(began) }
		device = NewDevice(clock)
		var answer, file []byte
		steps := 0
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() {
			ran <- device.Run(ctx, func(ctx context.Context) (time.Duration, error) {
				if steps++; steps == 1 {
					var err error
					answer, err = device.Poll(ctx, []byte("state"))
					return time.Second, err
				}
				p := make([]byte, 5000)
				if _, err := device.ReadAt(ctx, "flow500/2.2.0/2.1.4.delta", p, 0); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("of what is not there: %v", err)
				}
				for {
					n, err := device.ReadAt(ctx, "flow500/2.2.0/firmware.bin", p, int64(len(file)))
					file = append(file, p[:n]...)
					if err == io.EOF {
						return time.Hour, nil
					}
					if err != nil {
						return 0, err
					}
				}
			}, func(err error) { t.Error(err) })
		}()
		conn, session, err := connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := Push(t.Context(), conn, session, depot, time.Minute, nil); err != nil {
			t.Fatal(err)
		}
		if string(answer) != "etats" || !bytes.Equal(file, depot.file) || steps != 2 {
			t.Errorf("%d steps, an answer %q, and %d bytes of the file", steps, answer, len(file))
		}
		// Within the hour it wants nothing, and what nobody asked for it does not take.
		if err := Push(t.Context(), conn, session, depot, time.Minute, nil); err != nil || steps != 2 {
			t.Errorf("%d steps, %v", steps, err)
		}
		for _, n := range []uint64{0, device.number, device.number + 1} {
			if device.bring(n, brought{bytes: []byte{1}}) == nil {
				t.Errorf("it takes what it does not want, under %d", n)
			}
		}
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// What an agent waits for in vain ends with its context; what is too long is not taken.
func TestDevice(t *testing.T) {
	d := NewDevice(func() time.Duration { return 0 })
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := d.ReadAt(ctx, "x", make([]byte, 10), 0)
		asked <- err
	}()
	for {
		w, err := parseWant(d.wants())
		if err != nil {
			t.Fatal(err)
		}
		if w.path == "x" {
			if d.bring(w.number, brought{bytes: make([]byte, 11)}) == nil {
				t.Error("more is taken than there is room for")
			}
			break
		}
	}
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if w, err := parseWant(d.wants()); err != nil || w.path != "" {
		t.Errorf("%+v, %v", w, err)
	}
}

func FuzzWant(f *testing.F) {
	d := NewDevice(func() time.Duration { return 0 })
	f.Add(d.wants())
	f.Add(cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 2), 1), []byte{1}))
	f.Add(cbor.AppendInt(cbor.AppendInt(cbor.AppendText(cbor.AppendUint(cbor.AppendArray(nil, 4), 1), "a/b"), 5), 6))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := parseWant(b)
		if err == nil && (w.off < 0 || w.size < 0 || w.wait < 0 || w.wait > longest) {
			t.Errorf("%+v", w)
		}
	})
}

var (
	_ agent.Server = (*Client)(nil)
	_ agent.Server = (*Device)(nil)
)
