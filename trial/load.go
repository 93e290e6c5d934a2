// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	wire "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/ward"
)

// mostRefused is how many refusals of one front a guard is asked for in its life: of more
// than 32 alike in a minute it records how many they were, and that once the minute is over.
const mostRefused = 16

// A life is one guard, from its start to its end.
type life struct {
	context.Context
	refused [2]atomic.Int32 // answers, by front: orders, boluses
}

// A load is what those do who use the guard.
type load struct {
	p    *place
	seed uint64

	mu      sync.Mutex
	now     *life
	changed chan struct{} // closed when now changes
	ev      Evidence
	number  int
	denied  int
	held    int
	lost    int // boluses without an answer since somebody looked
}

func newLoad(seed uint64) *load {
	return &load{seed: seed, changed: make(chan struct{}), ev: Evidence{Orders: map[string]*Order{}, Pieces: map[string]*Piece{}}}
}

// begin says that another guard serves; nil that none does.
func (l *load) begin(n *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = n
	close(l.changed)
	l.changed = make(chan struct{})
}

// life waits for a guard that serves.
func (l *load) life(ctx context.Context) *life {
	for {
		l.mu.Lock()
		n, changed := l.now, l.changed
		l.mu.Unlock()
		if n != nil && n.Err() == nil {
			return n
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (l *load) random(n uint64) *rand.Rand { return rand.New(rand.NewPCG(l.seed, n)) }

// What becomes of an order, if all is well.
const (
	passes = iota
	waits
	isRefused
)

// order makes the next order. One that is refused asks for more than the limit of a
// single order, or of the sum.
func (l *load) order(rng *rand.Rand, what int) *Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	// A value of its own each: 0.04 to 0.54, from 0.55 on, and from 0.81 on.
	rate := 4000 + l.number*7%50000
	switch what {
	case isRefused:
		l.denied++
		rate = 81000 + l.denied
	case waits:
		l.held++
		rate = 55000 + l.held*7%24000
	}
	three, _ := ward.Pumps()
	m := ward.Order{ID: fmt.Sprintf("T-%d", l.number), Pump: three, Rate: fmt.Sprintf("%d.%05d", rate/100000, rate%100000), Unit: ward.MicrogPerKgM}
	if rng.IntN(10) < 3 {
		m.Accept, m.Application = "AL", "AL"
	}
	o := &Order{ID: m.ID, Block: hl7.AppendBlock(nil, m.Message(time.Now())), Value: quantity(m.Rate + " ug/kg/min").String(), Waits: what == waits}
	o.Sum = sum(o.Block)
	l.ev.Orders[o.ID] = o
	return o
}

func quantity(s string) device.Quantity {
	q, err := device.ParseQuantity(s)
	if err != nil {
		panic(err) // one of ours
	}
	return q
}

// orders is the hospital information system on one connection after the other.
func (l *load) orders(ctx context.Context, worker uint64) {
	rng := l.random(worker)
	var again *Order // without an answer, to be sent again
	for {
		n := l.life(ctx)
		if n == nil {
			return
		}
		c, err := (&tls.Dialer{Config: l.p.client}).DialContext(n, "tcp", l.p.orders)
		if err != nil {
			pause(n, 5*time.Millisecond)
			continue
		}
		stop := context.AfterFunc(n, func() { c.Close() })
		r := reader{r: c}
		for n.Err() == nil && ctx.Err() == nil {
			if n.refused[0].Load() >= mostRefused {
				pause(n, time.Second) // this guard has refused enough
				continue
			}
			what, draw := passes, rng.IntN(100)
			switch {
			case draw < 25 && n.refused[0].Load() < mostRefused/2:
				what = isRefused
			case draw > 96:
				what = waits
			}
			o := again
			if again = nil; o == nil || rng.IntN(2) == 0 {
				o = l.order(rng, what)
			}
			if rng.IntN(100) < 12 { // cut, at any byte
				if !l.whole(o) {
					at := rng.IntN(len(o.Block)-1) + 1
					_, _ = c.Write(o.Block[:at])
					if rng.IntN(2) == 0 { // what is missing comes on another connection
						c.Close()
						if d, err := (&tls.Dialer{Config: l.p.client}).DialContext(n, "tcp", l.p.orders); err == nil {
							_, _ = d.Write(o.Block[at:])
							d.Close()
						}
					}
					break
				}
			}
			l.mu.Lock()
			o.Whole = true
			l.mu.Unlock()
			if rng.IntN(4) == 0 { // in two pieces
				at := rng.IntN(len(o.Block)-1) + 1
				if _, err = c.Write(o.Block[:at]); err == nil {
					pause(n, time.Duration(rng.IntN(5))*time.Millisecond)
					_, err = c.Write(o.Block[at:])
				}
			} else {
				_, err = c.Write(o.Block)
			}
			if err == nil {
				err = l.answer(n, &r, o)
			}
			if err != nil {
				again = o
				break
			}
			pause(n, time.Duration(rng.IntN(40))*time.Millisecond)
		}
		stop()
		c.Close()
	}
}

func (l *load) whole(o *Order) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return o.Whole
}

// pause waits, or until the guard is gone.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// answer reads what the sender of an order is told.
func (l *load) answer(n *life, r *reader, o *Order) error {
	msg, err := r.next()
	if err != nil {
		return err
	}
	m, err := hl7.Parse(msg)
	if err != nil {
		return err
	}
	a, ok := m.Answer()
	if !ok || a.ControlID.Text() != o.ID {
		return errOther
	}
	l.told(n, o, a.Code.Text(), reason(&m))
	return nil
}

var errOther = errors.New("an answer to something else")

// heard takes an application's answer, which comes on a connection of its own.
func (l *load) heard(code, of, why string) {
	l.mu.Lock()
	o, n := l.ev.Orders[of], l.now
	l.mu.Unlock()
	if o != nil {
		l.told(n, o, code, why)
	}
}

// told takes an answer. CA says only that the order came, and one in doubt or that could not be sent is
// not refused by the gate.
func (l *load) told(n *life, o *Order, code, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case code == "AA":
		o.Accepted = true
	case code == "AE" && (strings.HasPrefix(why, "refused: ") || strings.HasPrefix(why, "the guard refused")):
		if n != nil && !o.Refused {
			n.refused[0].Add(1)
		}
		o.Refused, o.Why = true, why
	}
}

// A reader reads blocks.
type reader struct {
	r io.Reader
	b []byte
}

func (r *reader) next() ([]byte, error) {
	for {
		if i := bytes.Index(r.b, []byte(endOfBlock)); i >= 0 {
			msg := r.b[1:i]
			r.b = r.b[i+len(endOfBlock):]
			return msg, nil
		}
		b := make([]byte, 4096)
		n, err := r.r.Read(b)
		r.b = append(r.b, b[:n]...)
		if err != nil {
			return nil, err
		}
	}
}

// reports has the gateway report, as it does from time to time.
func (l *load) reports(ctx context.Context) {
	for n := l.life(ctx); n != nil; n = l.life(ctx) {
		l.p.flowlink.Report(n)
		pause(n, 250*time.Millisecond)
	}
}

// confirms is the nurse at the infusion pump, who starts what waits there within the second
// that the envelope gives an order to begin.
func (l *load) confirms(ctx context.Context) {
	rng := l.random(1 << 33)
	for ctx.Err() == nil {
		pause(ctx, time.Duration(rng.IntN(700))*time.Millisecond)
		_ = l.p.flowlink.Confirm(ctx, infusionPump) // perhaps nothing waits
	}
}

// A station is the clinician's end of the channel.
type station struct {
	*coap.Endpoint
	conn    *coap.Conn
	session *coap.Session
}

// come makes a session with the guard, and hands over the token.
func (p *place) come(ctx context.Context) (*station, error) {
	e, err := coap.New(coap.Config{AckTimeout: 300 * time.Millisecond, EDHOC: &edhoc.Config{
		Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Own: []*edhoc.Authenticator{p.clinician.own}, Peers: edhoc.Only(p.guardKey.Credential()),
	}})
	if err != nil {
		return nil, err
	}
	s := &station{Endpoint: e}
	if s.conn, err = e.Dial(ctx, p.radio); err == nil {
		if s.session, err = s.conn.Handshake(ctx); err == nil {
			var m wire.Message
			if m, err = s.conn.Post(ctx, s.session, "/authz-info", 61, p.clinician.token); err == nil && m.Code != wire.Created {
				err = fmt.Errorf("the token: %v", m.Code)
			}
		}
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return s, nil
}

// boluses is the clinician: small ones against the sum of four hours, one after the other, and
// some that are too large.
func (l *load) boluses(ctx context.Context) {
	rng := l.random(1 << 32)
	large := 0
	for {
		n := l.life(ctx)
		if n == nil {
			return
		}
		within, cancel := context.WithTimeout(n, 5*time.Second)
		s, err := l.p.come(within)
		cancel()
		if err != nil {
			pause(n, 20*time.Millisecond)
			continue
		}
		for n.Err() == nil && ctx.Err() == nil {
			steps := 1 + rng.IntN(2) // of 0.025 U
			if rng.IntN(100) < 15 {
				steps = 8040/25 + large%500
				large++
			}
			if n.refused[1].Load() >= mostRefused {
				pause(n, time.Second)
				continue
			}
			if !l.bolus(n, s, steps) {
				break
			}
			if rng.IntN(30) == 0 {
				l.rescue(n, s)
			}
			pause(n, time.Duration(rng.IntN(400))*time.Millisecond)
		}
		s.Close()
	}
}

const cborFormat = 60 // application/cbor (RFC 7252 section 12.3)

// bolus asks for one, and reports whether it was answered.
func (l *load) bolus(n *life, s *station, steps int) bool {
	v := quantity(fmt.Sprintf("%d.%03d [iU]", steps*25/1000, steps*25%1000))
	q := therapy.Request{Verb: device.DeliverBolus, Value: v}
	b := &Bolus{Value: v.String()}
	l.mu.Lock()
	b.From = time.Now()
	l.ev.Boluses = append(l.ev.Boluses, b)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(n, 8*time.Second)
	m, err := s.conn.Post(ctx, s.session, "/therapy", cborFormat, q.Append(nil))
	cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	b.To = time.Now()
	switch {
	case err == nil && m.Code == wire.Changed:
		b.Accepted = true
	case err == nil && m.Code == wire.Forbidden:
		b.Refused = true
		n.refused[1].Add(1)
	case err != nil || m.Code == wire.GatewayTimeout:
		l.lost++
	}
	return err == nil
}

// rescue cancels what is given, and reports whether it was answered.
func (l *load) rescue(n *life, s *station) bool {
	q := therapy.Request{Verb: device.CancelBolus}
	ctx, cancel := context.WithTimeout(n, 8*time.Second)
	defer cancel()
	m, err := s.conn.Post(ctx, s.session, "/therapy", cborFormat, q.Append(nil))
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ev.Rescues = append(l.ev.Rescues, m.Code)
	return true
}

// rescues is somebody who cancels, whatever goes on beside.
func (l *load) rescues(ctx context.Context) {
	rng := l.random(1 << 34)
	for n := l.life(ctx); n != nil; n = l.life(ctx) {
		within, cancel := context.WithTimeout(n, 5*time.Second)
		s, err := l.p.come(within)
		cancel()
		if err != nil {
			pause(n, 20*time.Millisecond)
			continue
		}
		for n.Err() == nil && l.rescue(n, s) {
			pause(n, time.Duration(100+rng.IntN(900))*time.Millisecond)
		}
		s.Close()
	}
}

// took is told what the pump notes.
func (l *load) took(at time.Time, what string) {
	if strings.HasPrefix(what, "bolus cancelled") {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ev.Cancelled++
		return
	}
	var n, milli int
	if c, err := fmt.Sscanf(what, "a bolus of %d.%03d U", &n, &milli); err != nil || c != 2 || strings.HasSuffix(what, "refused") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ev.Taken = append(l.ev.Taken, taken{at, quantity(fmt.Sprintf("%d.%03d [iU]", n, milli)).String()})
}

// A doubted dose, as the page lists it.
type doubted struct {
	ID     uint64
	Device string
	Value  string
	Since  time.Time
}

// A desk is a browser at the guard's page.
type desk struct {
	http.Client
	page string
}

// desk logs the nurse in.
func (p *place) desk(ctx context.Context) (*desk, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	config := p.client.Clone()
	config.Certificates = nil
	d := &desk{http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: config}}, "https://" + p.page}
	if _, err = d.do(ctx, http.MethodPost, "/login", url.Values{"id": {nurse}, "password": {password}}); err != nil {
		d.CloseIdleConnections()
		return nil, err
	}
	return d, nil
}

func (d *desk) do(ctx context.Context, method, path string, form url.Values) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, method, d.page+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := d.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, a.Status)
	}
	return b, err
}

// list reads one of the page's lists.
func (d *desk) list(ctx context.Context, path string, to any) error {
	b, err := d.do(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	return err
}

// settle is the nurse: at the page she says of each bolus in doubt what the pump's own
// record has of it.
func (l *load) settle(ctx context.Context) error {
	c, err := l.p.desk(ctx)
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	var list []doubted
	if err := c.list(ctx, "/doubts.json", &list); err != nil {
		return err
	}
	for _, d := range list {
		given, known := l.truth(&d)
		if d.Device != insulinPump || !known {
			continue
		}
		word := map[bool]string{true: "yes", false: "no"}[given]
		if _, err := c.do(ctx, http.MethodPost, fmt.Sprintf("/doubts/%d", d.ID), url.Values{"given": {word}, "why": {"the pump's own record"}}); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = 0
	return nil
}

// A Waiting order is one that the nurse saw at the page and confirmed, or tried to, perhaps
// after its time.
type Waiting struct {
	ID, Value      string
	Asked, Expires time.Time
}

// decide opens what waits, and presses a button there.
func (d *desk) decide(ctx context.Context, id, button string, form url.Values) error {
	b, err := d.do(ctx, http.MethodGet, "/held/"+id, nil)
	if err != nil {
		return err
	}
	_, what, _ := strings.Cut(string(b), `name="what" value="`)
	what, _, _ = strings.Cut(what, `"`)
	form.Set("what", what)
	_, err = d.do(ctx, http.MethodPost, "/held/"+id+"/"+button, form)
	return err
}

// nurse looks at the page, and confirms what waits there, at once or too late, or refuses it, or
// leaves it alone.
func (l *load) nurse(ctx context.Context) {
	rng := l.random(1 << 35)
	for n := l.life(ctx); n != nil; n = l.life(ctx) {
		c, err := l.p.desk(n)
		if err != nil {
			pause(n, 20*time.Millisecond)
			continue
		}
		seen := map[string]bool{} // true: she has decided
		for err == nil && n.Err() == nil {
			var list []*Waiting
			err = c.list(n, "/held.json", &list)
			for _, w := range list {
				done, known := seen[w.ID]
				draw := rng.IntN(10)
				seen[w.ID] = true
				switch {
				case done:
					continue
				case known && time.Now().Before(w.Expires), !known && draw < 4:
					seen[w.ID] = false // she comes back when its time is over
					continue
				case !known && draw == 4:
					err = c.decide(n, w.ID, "refuse", url.Values{"why": {"it is not what was meant"}})
					continue
				}
				l.mu.Lock()
				l.ev.Waited = append(l.ev.Waited, w)
				l.mu.Unlock()
				_ = c.decide(n, w.ID, "confirm", url.Values{})
			}
			pause(n, time.Duration(20+rng.IntN(60))*time.Millisecond)
		}
		c.CloseIdleConnections()
	}
}

// truth is whether the pump took a bolus.
func (l *load) truth(d *doubted) (given, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.ev.Boluses {
		if b.To.IsZero() || d.Since.Before(b.From) || d.Since.After(b.To) {
			continue
		}
		for _, t := range l.ev.Taken {
			given = given || !t.At.Before(b.From) && (i+1 == len(l.ev.Boluses) || t.At.Before(l.ev.Boluses[i+1].From))
		}
		return given, true
	}
	return false, false
}
