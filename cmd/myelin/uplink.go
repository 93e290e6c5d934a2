// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/watch"
)

// A serverFlags says to which server what is found goes.
type serverFlags struct {
	url, token, tokenFile, authority, state string
}

func (f *serverFlags) register(v *cobra.Command) {
	v.Flags().StringVar(&f.url, "server", "", "send what is found to the server at `URL`")
	v.Flags().StringVar(&f.authority, "server-ca", "", "`FILE` of the authority of its certificate")
	v.Flags().StringVar(&f.state, "state", "", "`DIR` of what waits to be sent, and the key")
}

// open opens the way to the server, and enrols there the first time. Without a server it is nil.
func (f *serverFlags) open(ctx context.Context, c *console, health func() (uint64, string)) (*uplink.Client, error) {
	if f.url == "" {
		if f.token != "" || f.tokenFile != "" || f.authority != "" || f.state != "" {
			return nil, usageError{errors.New("which server? name it: --server URL")}
		}
		return nil, nil
	}
	if name, ok := strings.CutPrefix(f.token, "@"); ok {
		f.token, f.tokenFile = "", name
	}
	if f.state == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("%w; name a folder: --state DIR", err)
		}
		u, err := url.Parse(f.url)
		if err != nil || u.Host == "" {
			return nil, usageError{fmt.Errorf("--server %s: want https://host:port", f.url)}
		}
		f.state = filepath.Join(dir, "myelin", strings.ReplaceAll(u.Host, ":", "-"))
	}
	conf := uplink.Config{Server: f.url, Token: f.token, CA: f.authority, Version: version(), Health: health, Log: slog.New(slog.NewTextHandler(c.err, nil))}
	if f.tokenFile != "" {
		var err error
		if conf.Token, err = tokenIn(f.tokenFile); err != nil {
			return nil, err
		}
	}
	client, err := uplink.Open(f.state, conf)
	if err != nil {
		return nil, err
	}
	if id, ok := client.Enrolled(); ok {
		c.hint("sending to %s as %s", f.url, report.Plain(id.Name))
		return client, nil
	}
	if conf.Token == "" {
		client.Close()
		return nil, usageError{fmt.Errorf("%s is not enrolled at %s; its page Settings gives a token for that", f.state, f.url)}
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	if err := client.Enrol(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("%s: %w", f.url, err)
	}
	id, _ := client.Enrolled()
	c.hint("enrolled at %s as %s", f.url, report.Plain(id.Name))
	return client, nil
}

// pseudonyms is the key of pseudonyms of a sensor that is given none: without one they
// would be numbers in the order of appearance, which a server would take for the same
// device whenever they are the same number.
func pseudonyms(state string) ([]byte, error) {
	file := filepath.Join(state, "pseudonyms.key")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, 32)
		rand.Read(b)
		err = os.WriteFile(file, b, 0o600)
	}
	if err == nil && len(b) != 32 {
		err = fmt.Errorf("%s: damaged", file)
	}
	return b, err
}

// tokenIn reads the token of an enrolment.
func tokenIn(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if len(b) > 256 {
		return "", fmt.Errorf("%s: this is no token of an enrolment", file)
	}
	return strings.TrimSpace(string(b)), nil
}

// running runs a client until the function that it returns is called, which waits at
// most so long for what has not been sent.
func running(client *uplink.Client) (end func(ctx context.Context, wait time.Duration) error) {
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { client.Run(ctx) })
	return func(last context.Context, wait time.Duration) error {
		last, cancel := context.WithTimeout(last, wait)
		defer cancel()
		err := client.Drain(last)
		stop()
		all.Wait()
		return errors.Join(err, client.Close())
	}
}

// A forwarder sends to a server what is new since it looked last.
type forwarder struct {
	client   *uplink.Client
	live     bool      // what is seen, is seen now
	looked   time.Time // last
	talked   map[talkKey]talkSum
	findings map[string]uint64 // counts, by id
	devices  map[string]device.Device
	err      error // of the last time
}

type talkKey struct {
	client, server      device.Address
	protocol            string
	port                uint16
	encrypted, inferred bool
}

type talkSum struct{ count, bytes uint64 }

func newForwarder(client *uplink.Client, live bool) *forwarder {
	return &forwarder{client: client, live: live, looked: time.Now(), talked: map[talkKey]talkSum{}, findings: map[string]uint64{}, devices: map[string]device.Device{}}
}

// sessions sends who talked to whom since it was asked last.
func (f *forwarder) sessions(list []watch.Session) {
	now := time.Now()
	sums := map[talkKey]talkSum{}
	first := map[talkKey]int64{}
	for i := range list {
		s := &list[i]
		k := talkKey{s.Client, s.Server, cmp.Or(s.Protocol, "unknown"), s.Port, s.Encrypted, s.Inferred}
		sum := sums[k]
		sums[k] = talkSum{sum.count + s.Count, sum.bytes + s.Bytes}
		if t := s.First.Time; first[k] == 0 || t < first[k] {
			first[k] = t
		}
	}
	b := &store.Batch{}
	for k, sum := range sums {
		before := f.talked[k]
		if sum.count < before.count || sum.bytes < before.bytes { // it was forgotten, and has begun anew
			before = talkSum{}
		}
		if sum == before || sum.count == before.count && !f.live {
			continue
		}
		o := store.Observation{
			Client: k.client, Server: k.server, Protocol: k.protocol, Port: k.port, Encrypted: k.encrypted,
			Count: sum.count - before.count, Bytes: sum.bytes - before.bytes, First: first[k], Last: first[k],
		}
		if f.live {
			o.First, o.Last = max(o.First, f.looked.UnixNano()), now.UnixNano()
		}
		b.Observations = append(b.Observations, o)
	}
	f.talked, f.looked = sums, now
	f.put(b)
}

// part sends devices and findings that are new, or have changed.
func (f *forwarder) part(a *report.Assessment) {
	b := &store.Batch{}
	for _, d := range a.Devices {
		if !reflect.DeepEqual(f.devices[d.ID], d) {
			f.devices[d.ID] = d
			b.Devices = append(b.Devices, d)
		}
	}
	for _, n := range a.Findings {
		if f.findings[n.ID] != n.Count {
			f.findings[n.ID] = n.Count
			b.Findings = append(b.Findings, told(n, a.Inputs))
		}
	}
	f.put(b)
}

// told is a finding as a server has it: the inputs that its sightings name are not
// there, and are called by their names, without where they are.
func told(n finding.Finding, inputs []report.Input) finding.Finding {
	n.Sightings = append([]finding.Sighting(nil), n.Sightings...)
	for i := range n.Sightings {
		s := &n.Sightings[i]
		if s.Input < len(inputs) {
			s.Capture = report.Plain(filepath.Base(inputs[s.Input].Path))
		}
		s.Input = 0
	}
	return n
}

// put hands on what there is; what has no room is sent when it changes again.
func (f *forwarder) put(b *store.Batch) {
	if len(b.Observations)+len(b.Devices)+len(b.Findings) > 0 {
		f.err = errors.Join(f.err, f.client.Put(b))
	}
}

// A guardUplink sends what a guard decides and holds to its server, and does there what
// the server's clinicians decide.
type guardUplink struct {
	client  *uplink.Client
	guard   *guard.Guard // set before it runs
	decided atomic.Bool  // something, since the server was told what was given
}

// openGuardUplink opens the way to the server of a configuration. The guard does not
// depend on it: it is enrolled when the server is there.
func (c *console) openGuardUplink(conf *guard.Server) (*guardUplink, error) {
	u := &guardUplink{}
	cfg := uplink.Config{Server: conf.URL, CA: conf.Authority, Version: version(), Decide: u.decide, Log: slog.New(slog.NewTextHandler(c.err, nil)).With("server", conf.URL)}
	token, err := tokenIn(conf.Enrolment)
	cfg.Token = token
	client, openErr := uplink.Open(conf.State, cfg)
	if openErr != nil {
		return nil, fmt.Errorf("the server of the configuration: %w", openErr)
	}
	if _, ok := client.Enrolled(); !ok && err != nil {
		client.Close()
		return nil, fmt.Errorf("the server of the configuration: %w", err)
	}
	u.client = client
	return u, nil
}

// record hands on an event that the ledger has. It waits for nothing.
func (u *guardUplink) record(e *event.Event) {
	u.decided.Store(true)
	u.client.Put(&store.Batch{Events: []event.Event{*e}})
}

func (u *guardUplink) decide(ctx context.Context, d *bus.Decision) error {
	return u.guard.Decide(ctx, &guard.Decision{ID: d.ID, Asked: d.Asked, What: d.What, By: d.By, Role: d.Role, Reason: d.Reason})
}

// begin sends until the function that it returns is called; what is recorded before
// that is on the disk when it returns.
func (u *guardUplink) begin(g *guard.Guard) (end func()) {
	if u == nil {
		return func() {}
	}
	u.guard = g
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { u.run(ctx) })
	return func() { stop(); all.Wait() }
}

func (u *guardUplink) close() error {
	if u == nil {
		return nil
	}
	return u.client.Close()
}

const (
	heldEvery  = 250 * time.Millisecond // the server is told what waits, when that has changed
	standEvery = time.Second            // and what holds; looked at as the clock shows it
	stateEvery = time.Minute            // and what was given; after a verdict it is
	stateSoon  = 5 * time.Second        // as soon as this
)

// run sends until ctx ends.
func (u *guardUplink) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { u.client.Run(ctx) })
	var before []store.Held
	var stood []byte
	var looked, told time.Time
	tick := time.NewTicker(heldEvery)
	defer tick.Stop()
	for began := true; ctx.Err() == nil; began = false {
		if now := u.held(); began || !reflect.DeepEqual(now, before) {
			before = now
			u.client.Put(&store.Batch{Held: now, HeldToo: true})
		}
		if now := time.Now(); now.Sub(looked) >= standEvery {
			looked = now
			stands := u.stands()
			age := now.Sub(told)
			if news := !bytes.Equal(stands, stood); news || age >= stateEvery || age >= stateSoon && u.decided.Load() {
				stood, told = stands, now
				u.decided.Store(false)
				if doc, err := u.guard.State().Bytes(); err == nil {
					u.client.Put(&store.Batch{State: doc, StateNews: news})
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	all.Wait()
}

func (u *guardUplink) held() (list []store.Held) {
	for _, h := range u.guard.Held() {
		list = append(list, store.Held{
			ID: h.ID, Front: h.Front, Device: h.Device, Actor: h.Actor, Verb: h.Verb, Effect: h.Effect, Value: h.Value, Now: h.Now, Drug: h.Drug, Limit: h.Limit,
			Dose: h.Dose, Therapy: h.Therapy, Harm: h.Harm, Reason: h.Why, Asked: h.Asked.UnixNano(), Expires: h.Expires.UnixNano(),
		})
	}
	return list
}

// stands is what holds at the guard, but for its time.
func (u *guardUplink) stands() []byte {
	s := u.guard.Standing()
	s.At = time.Time{}
	doc, _ := s.Bytes()
	return doc
}
