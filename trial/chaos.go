// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A chaosConfig says how a guard is killed.
type chaosConfig struct {
	kills  int
	most   time.Duration // of time, after which it ends with fewer
	seed   uint64
	binary string // "" builds one
	late   bool   // orders are confirmed at the pump after a while, not at once
	forget bool   // the guard's disk forgets what was written since the kill before: all has to be found
	out    io.Writer
}

const (
	auditEvery = 5 // kills
	settleAt   = 6 // boluses without an answer
)

// chaos kills a guard under load, and returns what all sides saw.
func chaos(ctx context.Context, dir string, cfg chaosConfig) (*Evidence, error) {
	l := newLoad(cfg.seed)
	p, err := newPlace(dir, cfg.binary, cfg.late, func(e legacy.Entry) { l.took(e.Time, e.What) })
	if err != nil {
		return nil, err
	}
	defer p.close()
	l.p = p
	p.ehr.heard = l.heard
	run := &run{load: l, cfg: cfg, dir: dir}
	err = run.all(ctx)
	if err != nil {
		return nil, err
	}
	return &l.ev, nil
}

// A run is one trial.
type run struct {
	*load
	cfg  chaosConfig
	dir  string
	base struct {
		infused, before, delivered int64     // when the guard knew what ran
		at                         time.Time // then
	}
	verified [32]byte // the checkpoint seen last
}

func (r *run) all(ctx context.Context) error {
	began := time.Now()
	conf, err := guard.Load(filepath.Join(r.dir, "guard.yaml"))
	if err != nil {
		return err
	}
	g, err := r.p.start()
	if err != nil {
		return err
	}
	if _, err := r.p.ready(g, startWithin); err != nil {
		return err
	}
	if err := r.begun(ctx); err != nil {
		g.kill()
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var users sync.WaitGroup
	defer users.Wait()
	defer stop()
	const workers = 4
	for i := range uint64(workers) {
		users.Go(func() { r.orders(ctx, i+1) })
	}
	users.Go(func() { r.boluses(ctx) })
	users.Go(func() { r.rescues(ctx) })
	users.Go(func() { r.nurse(ctx) })
	users.Go(func() { r.pieces(ctx, 11, r.p.fhir, false, record) })
	users.Go(func() { r.pieces(ctx, 12, r.p.pipe, true, record) })
	users.Go(func() { r.pieces(ctx, 13, r.p.store, true, deliver) })
	users.Go(func() { r.reports(ctx) })
	if r.cfg.late {
		users.Go(func() { r.confirms(ctx) })
	}
	rng := r.random(0)
	snapshot := filepath.Join(r.dir, "snapshot")
	kills := 0
	for ; kills < r.cfg.kills && time.Since(began) < r.cfg.most && ctx.Err() == nil; kills++ {
		early := kills > 0 && rng.IntN(8) == 0 // while it starts
		end := context.CancelFunc(func() {})
		if early {
			pause(ctx, time.Duration(rng.IntN(100))*time.Millisecond)
		} else {
			took, err := r.p.ready(g, startWithin)
			if err != nil {
				g.kill()
				return fmt.Errorf("after kill %d: %w", kills, err)
			}
			r.ev.Starts = append(r.ev.Starts, took)
			r.ev.Lives++
			n := new(life)
			n.Context, end = context.WithCancel(ctx)
			r.begin(n)
			r.mu.Lock()
			lost := r.lost
			r.mu.Unlock()
			if lost >= settleAt {
				within, cancel := context.WithTimeout(n, 10*time.Second)
				err := r.settle(within)
				cancel()
				if err != nil {
					fmt.Fprintln(r.cfg.out, "the nurse could not settle what is in doubt:", err)
				}
			}
			length := time.Duration(50+rng.IntN(1100)) * time.Millisecond
			if rng.IntN(8) == 0 {
				length += time.Second // in which the time of what waits is over
			}
			for until := time.Now().Add(length); time.Now().Before(until); {
				pause(ctx, min(time.Until(until), 50*time.Millisecond))
				r.look()
				if rng.IntN(12) == 0 {
					if err := r.p.renew(g, rng.IntN(4) == 0); err != nil {
						end()
						return err
					}
				}
			}
		}
		select {
		case <-g.ended:
			end()
			return fmt.Errorf("guard %d ended by itself: %w: %s", kills, g.err, g.log.String())
		default:
		}
		g.kill()
		r.begin(nil)
		end()
		r.look()
		if kills%auditEvery == auditEvery-1 {
			if err := r.audit(kills+1, conf); err != nil {
				return err
			}
		}
		if r.cfg.forget {
			if kills > 0 {
				if err := r.restore(snapshot); err != nil {
					return err
				}
			}
			if err := r.keep(snapshot); err != nil {
				return err
			}
		}
		if g, err = r.p.start(); err != nil {
			return err
		}
	}
	stop()
	users.Wait()
	// The last one ends in order.
	took, err := r.p.ready(g, startWithin)
	if err != nil {
		g.kill()
		return err
	}
	r.ev.Starts = append(r.ev.Starts, took)
	r.ev.Lives++
	if err := g.stop(30 * time.Second); err != nil {
		return err
	}
	if err := r.audit(kills, conf); err != nil {
		return err
	}
	return r.close(kills, time.Since(began))
}

// begun waits until the guard knows what runs, from which on all is counted.
func (r *run) begun(ctx context.Context) error {
	r.base.before = r.infused()
	r.base.delivered = r.p.pump.State().(legacy.PumpState).Delivered
	r.p.flowlink.Report(ctx)
	// A report is acknowledged by who it is for when it has passed; it is counted a moment later.
	pause(ctx, 100*time.Millisecond)
	r.base.infused, r.base.at = r.infused(), time.Now()
	return nil
}

func (r *run) infused() int64 { return r.p.flowlink.State().(legacy.FlowLinkState).Pump3.Infused }

// look keeps the checkpoint that the ledger shows now.
func (r *run) look() {
	b, err := os.ReadFile(filepath.Join(r.dir, "ledger", "checkpoint"))
	if err != nil || sum(b) == r.verified {
		return
	}
	v, err := ledger.ParseVerifier(r.p.verifier)
	if err != nil {
		return
	}
	c, err := ledger.ParseCheckpoint(b, v)
	if err != nil {
		r.ev.Shrunk = append(r.ev.Shrunk, "a checkpoint that was shown is none: "+err.Error())
		return
	}
	r.verified = sum(b)
	r.ev.Seen = append(r.ev.Seen, c)
}

// audit reads a copy of the book, as a guard would that starts now, and asks the devices.
func (r *run) audit(kill int, conf *guard.Configuration) error {
	path := guard.BookPath(conf)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	copied := filepath.Join(r.dir, "audit")
	defer os.Remove(copied)
	defer os.Remove(copied + ".lock")
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		return err
	}
	infused, flow := r.infused(), r.p.flowlink.State().(legacy.FlowLinkState).Pump3.Flow
	pump := r.p.pump.State().(legacy.PumpState)
	book, err := envelope.OpenBook(envelope.Config{Path: copied})
	if err != nil {
		return fmt.Errorf("the book of doses after kill %d: %w", kill, err)
	}
	defer book.Close()
	for _, d := range conf.Devices {
		if d.Envelope == nil {
			continue
		}
		v := book.View(d.ID, d.Envelope)
		if len(v.Sums) != 1 {
			continue
		}
		s := v.Sums[0]
		a := Audit{
			Kill: kill, Device: d.ID, Delivered: s.Delivered.Coefficient, Counted: s.Counted.Coefficient, Planned: s.Planned.Coefficient,
			Highest: millionths(s.Sum.Highest), Told: -1,
		}
		for _, x := range v.Doubts {
			a.Doubts = append(a.Doubts, x.ID)
			a.Unknown += millionths(x.Value)
		}
		if d.ID == infusionPump {
			a.Unknown = 0
			// 0.2 ug/kg/min are 10.5 mL/h. The pump rounds a flow up to a microlitre an hour.
			rounded := int64(time.Since(r.base.at)/time.Hour) + 1
			weight := func(microlitres int64) int64 { return microlitres * 12_000_000 / 10_500 }
			a.Least = weight(infused - r.base.infused - rounded)
			a.Most = weight(r.infused() - r.base.before + 1)
			a.Runs, a.Rate = weight(flow-1), v.Rate[1].Coefficient
		} else {
			after := r.p.pump.State().(legacy.PumpState)
			a.Least = pump.BolusGiven * 1000
			a.Most = (after.Delivered - r.base.delivered + 1) * 1000
			a.Told = pump.Ordered * 1000
			a.Unknown += v.Rate[1].Coefficient * 4 // in the four hours to come
			a.Unknown += 1000 * 1000 / 10          // and what ran until now
		}
		r.ev.Audits = append(r.ev.Audits, a)
	}
	return nil
}

func millionths(q device.Quantity) int64 {
	n := q.Coefficient
	for e := q.Exponent; e > -6; e-- {
		n *= 10
	}
	for e := q.Exponent; e < -6; e++ {
		n /= 10
	}
	return n
}

// state are the folders that a guard writes to.
var state = []string{"state", "ledger"}

func (r *run) keep(to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	for _, s := range state {
		if err := os.CopyFS(filepath.Join(to, s), os.DirFS(filepath.Join(r.dir, s))); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) restore(from string) error {
	for _, s := range state {
		if err := os.RemoveAll(filepath.Join(r.dir, s)); err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(r.dir, s), os.DirFS(filepath.Join(from, s))); err != nil {
			return err
		}
	}
	return nil
}

// close reads the ledger, and what the devices have.
func (r *run) close(kills int, took time.Duration) error {
	r.p.close()
	v, err := ledger.ParseVerifier(r.p.verifier)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, "ledger")
	report, err := ledger.Verify(dir, ledger.VerifyConfig{Ledger: v})
	if err != nil {
		return err
	}
	for _, d := range report.Problems {
		r.ev.Ledger = append(r.ev.Ledger, d.Error())
	}
	if report.Unsigned > 0 {
		r.ev.Ledger = append(r.ev.Ledger, fmt.Sprintf("%d entries are in no checkpoint, although the guard ended in order", report.Unsigned))
	}
	read, err := ledger.Read(dir, v)
	if err != nil {
		return err
	}
	for _, c := range r.ev.Seen {
		growth, err := read.ProveGrowth(c.Size)
		if err == nil {
			_, err = growth.Verify(c, v)
		}
		if err != nil {
			r.ev.Shrunk = append(r.ev.Shrunk, fmt.Sprintf("a checkpoint of %d entries was shown, and the last one, of %d, did not grow from it: %v", c.Size, read.Checkpoint.Size, err))
		}
	}
	err = read.Entries(0, read.Checkpoint.Size, func(_ int64, b []byte) error {
		e, err := event.Parse(b)
		if err != nil {
			r.ev.Unreadable++
			return nil
		}
		r.ev.Entries = append(r.ev.Entries, e)
		return nil
	})
	s := r.p.flowlink.State().(legacy.FlowLinkState)
	r.ev.Handled = s.Orders + s.Refused
	r.ev.Given = r.p.pump.State().(legacy.PumpState).Boluses
	r.ev.Blocks, r.ev.Leftovers = r.p.gateway.all()
	r.ev.Arrivals, r.ev.Version = r.p.archive.all(), r.p.version
	sent, cut, refused, accepted := 0, 0, 0, 0
	for _, o := range r.ev.Orders {
		for n, yes := range map[*int]bool{&sent: o.Whole, &cut: !o.Whole, &refused: o.Refused, &accepted: o.Accepted} {
			if yes {
				*n++
			}
		}
	}
	stored := 0
	for _, k := range r.ev.Pieces {
		if k.Accepted {
			stored++
		}
	}
	given, no := 0, 0
	for _, b := range r.ev.Boluses {
		if b.Accepted {
			given++
		}
		if b.Refused {
			no++
		}
	}
	fmt.Fprintf(r.cfg.out, `%d kills in %v
orders: %d sent whole, %d cut; %d said to be accepted, %d refused; %d came to FlowLink, and %d unfinished
boluses: %d asked for; %d said to be accepted, %d refused; the pump took %d; %d rescues
confirmed by a second person: %d; archive: %d pieces, %d said to be stored, %d came in whole or in part; %d configurations
ledger: %d entries, %d checkpoints seen while it ran; %d audits of the book; slowest start %v
`, kills, took.Round(time.Second), sent, cut, accepted, refused, len(r.ev.Blocks), len(r.ev.Leftovers),
		len(r.ev.Boluses), given, no, len(r.ev.Taken), len(r.ev.Rescues), len(r.ev.Waited), len(r.ev.Pieces), stored, len(r.ev.Arrivals), r.ev.Version,
		read.Checkpoint.Size, len(r.ev.Seen), len(r.ev.Audits), slowest(r.ev.Starts).Round(time.Millisecond))
	if kills == 0 {
		err = errors.Join(err, errors.New("no guard was killed"))
	}
	return err
}

func slowest(all []time.Duration) (d time.Duration) {
	for _, x := range all {
		d = max(d, x)
	}
	return d
}
