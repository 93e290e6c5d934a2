// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"container/list"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

// A Front is one front. It is for one [Front.Run].
type Front struct {
	env     *front.Env
	policy  atomic.Pointer[Policy]
	changed chan struct{}
	answers answerer
	memory  *front.Memory // of a front that protects a server
	clock   func() envelope.Reading
	ask     func(context.Context, *gate.Ask) *gate.Answer
	report  func(string, *envelope.Report)

	delivering chan struct{} // a token for each answer under way
	reports    chan reported
	work       sync.WaitGroup
	ending     context.Context // over when the drain time is
	listening  chan net.Addr   // told where it listens; for tests
	stopping   <-chan struct{} // closed when nothing new begins

	mu      sync.Mutex
	pending map[pendingKey]*pending
	queues  map[string]*list.List    // of what is pending, by sender, the oldest first
	rates   map[string]*rate.Limiter // by sender
	gives   map[string]given         // by pump
	numbers numbers
	orders  map[string]*ordered // by pump

	heardOf   map[orderKey]bool // the reports in heardRing, of which heardNext is the oldest
	heardRing []orderKey
	heardNext int
}

// reportAge is how long a report holds: gateways report once a minute, or at each change.
const reportAge = 5 * time.Minute

// last is what a pump reported, unless that is too long ago.
func (f *Front) last(pump string) given {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.gives[pump]; f.env.Now().Sub(g.at) <= reportAge {
		return g
	}
	return given{}
}

// A reported is what a pump says that it gives.
type reported struct {
	device string
	report envelope.Report
}

// maxReports wait to be counted. What is beyond is not: no report waits itself.
const maxReports = 1024

// New makes a front.
func New(env *front.Env, p *Policy) *Front {
	f := &Front{
		env: env, changed: make(chan struct{}, 1), ask: env.Gate.Ask, report: env.Gate.Report,
		delivering: make(chan struct{}, maxDelivering), reports: make(chan reported, maxReports), ending: context.Background(),
		pending: map[pendingKey]*pending{}, queues: map[string]*list.List{}, rates: map[string]*rate.Limiter{}, gives: map[string]given{}, orders: map[string]*ordered{}, heardOf: map[orderKey]bool{},
		listening: make(chan net.Addr, 1),
	}
	var last atomic.Uint64
	last.Store(uint64(env.Now().UnixNano()))
	f.answers = answerer{now: env.Now, next: func() uint64 { return last.Add(1) }}
	f.policy.Store(p.index())
	return f
}

// Update takes over another policy: what is begun from now on follows it.
func (f *Front) Update(p front.Policy) {
	f.policy.Store(p.(*Policy).index())
	f.mu.Lock()
	clear(f.rates)
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends, and then lets what was begun end.
func (f *Front) Run(ctx context.Context) (err error) {
	p := f.policy.Load()
	if p.Server {
		f.remember(p)
		defer func() { err = errors.Join(err, f.memory.Close()) }()
	}
	ln, err := net.Listen("tcp", p.Listen.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.stopping = ctx.Done()
	var end context.CancelFunc
	f.ending, end = context.WithCancel(context.Background())
	defer end()

	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for r := range f.reports {
			f.report(r.device, &r.report)
		}
	}()
	handle := f.serve
	if !p.Server {
		handle = func(ctx context.Context, c *front.Conn) { f.pass(ctx, c, &f.policy.Load().Settings, nil) }
	}
	var returns sync.WaitGroup
	opened := make(chan error, 1)
	returns.Go(func() { f.serveReturns(ctx, opened) })
	if err = <-opened; err != nil {
		ln.Close()
		cancel()
	}
	f.listening <- ln.Addr()
	l := front.Listener{Env: f.env, Settings: func() *front.Settings { return f.policy.Load().Common() }, Handle: handle}
	err = errors.Join(err, l.Serve(ctx, ln))
	cancel() // a listener that failed ends the rest
	returns.Wait()
	stop := time.AfterFunc(f.policy.Load().Limits.Drain, end)
	defer stop.Stop()
	f.forget()
	end()
	f.work.Wait()
	close(f.reports)
	<-counted
	return err
}

// serveReturns listens for the device's own connections to the senders' side, where
// the policy that holds now has them. Opened is told once whether all of them could
// be opened at first.
func (f *Front) serveReturns(ctx context.Context, opened chan<- error) {
	open := map[string]context.CancelFunc{} // by name and address
	var failed error
	var all sync.WaitGroup
	defer all.Wait()
	for {
		p := f.policy.Load()
		wanted := map[string]bool{}
		for name, ret := range p.Returns {
			key := name + " " + ret.Listen.Address
			wanted[key] = true
			if _, ok := open[key]; ok {
				continue
			}
			ln, err := net.Listen("tcp", ret.Listen.Address)
			if err != nil {
				f.env.Log.Error("no way back", "front", p.Name, "returns", name, "err", err)
				failed = errors.Join(failed, err)
				continue
			}
			own, stop := context.WithCancel(ctx)
			open[key] = stop
			last := ret
			settings := func() *Return {
				if now, ok := f.policy.Load().Returns[name]; ok {
					return &now
				}
				return &last // it is being stopped
			}
			l := front.Listener{Env: f.env, Settings: func() *front.Settings { return &settings().Settings }, Handle: func(ctx context.Context, c *front.Conn) {
				ret := settings()
				f.pass(ctx, c, &ret.Settings, ret)
			}}
			all.Go(func() {
				defer stop()
				l.Serve(own, ln)
			})
		}
		for key, stop := range open {
			if !wanted[key] {
				stop()
				delete(open, key)
			}
		}
		if opened != nil {
			opened <- failed
			opened = nil
		}
		select {
		case <-f.changed:
		case <-ctx.Done():
			return
		}
	}
}

// protected is the device behind the front, for events about nobody else.
func (f *Front) protected() device.Address { return f.policy.Load().Protected() }

// limiter is the rate of a sender's orders.
func (f *Front) limiter(p *Policy, sender string) *rate.Limiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.rates[sender]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(p.OrderRate), p.OrderBurst)
		f.rates[sender] = l
	}
	return l
}

// tap listens to what the device answers.
func (f *Front) tap() tap {
	return tap{heard: func(msg []byte) bool { return f.heard(msg, true) }, odd: func(why string) {
		f.env.Unjudged(&f.policy.Load().Settings, f.protected(), "message", why+"; it passes as it is")
	}}
}

// heard takes a message that has passed from the device, and reports whether it can
// be read. When it is believed, what it says of orders and of what is given counts.
func (f *Front) heard(msg []byte, believed bool) bool {
	m, err := hl7.Parse(msg)
	if err != nil {
		return false
	}
	p := f.policy.Load()
	h := m.Header()
	kind := m.Kind()
	f.env.Metrics.Message(p.Name, false, kind.String())
	if !believed {
		return true
	}
	if a, ok := m.Answer(); ok {
		f.answered(pendingKey{string(h.ReceivingApplication.Namespace.Raw()), string(a.ControlID.Raw())}, string(a.Code.Raw()))
	}
	f.reportOf(p, &m, &h, msg)
	return true
}

// reportOf counts what a message says that pumps give, and gave.
func (f *Front) reportOf(p *Policy, m *hl7.Message, h *hl7.Header, msg []byte) {
	if kind := m.Kind(); kind != hl7.PCD01 && kind != hl7.PCD10 || len(p.Pumps) == 0 || f.again(h, msg) {
		return
	}
	devices := hl7.Devices(m, nil)
	for _, d := range hl7.Deliveries(m, devices, nil) {
		id, doubt := p.pump(devices[d.Device].ID)
		if id == "" || doubt != "" {
			continue
		}
		f.delivered(p, id, &d)
	}
}

// word is a code as text, or "": what is no code may be a patient's name.
func word(b []byte) string {
	const most = 48
	if len(b) > most {
		return ""
	}
	for _, c := range b {
		if c |= 0x20; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return ""
		}
	}
	return string(b)
}
