// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package demo lives through the morning of the sample ward at a server that has just
// begun: its people sign in, sensors hear the ward's captures, its devices stand,
// simulated, behind a guard, and commands come to them, from those who may and from
// others.
//
// Nothing is put into the server but by the ways that a hospital has: the forms of its
// pages, sensors and a guard that enrol, and the verbs of the command line, which it is
// handed. All of it is on this machine's loopback, and ends with its context.
//
// This API follows the server and may change.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Password is everybody's in the demo.
const Password = "the ward wakes up at seven"

// A Person is one of St. Ada's staff.
type Person struct {
	Login, Name string
	roles       []string
	clinical    string
}

// Staff are those of the story. The first begins, and makes the second an administrator.
var Staff = []Person{
	{"ls", "Lea Sommer", []string{"clinical engineer"}, ""},
	{"te", "Tomas Eklund", []string{"analyst", "administrator"}, ""},
	{"mh", "Dr. Mira Holm", []string{"clinician"}, "prescriber"},
	{"jr", "Jon Reyes", []string{"clinician"}, "nurse"},
	{"id", "Ines Duarte", []string{"auditor"}, ""},
}

// Says is what a person does in the story, for who chooses as whom to sign in.
func (p *Person) Says() string {
	if p.clinical != "" {
		return p.clinical + ", confirms what the guard holds"
	}
	return map[string]string{
		"ls": "clinical engineer, looks after the devices", "te": "security analyst and administrator, sees all pages",
		"id": "auditor, reads the ledger",
	}[p.Login]
}

// A Config is what the demo is given.
type Config struct {
	Dir     string // of what stands around the server: guard, devices, sensors
	Data    string // the server's folder, which has what its technicians carry to devices
	Server  string // address of its pages, "http://127.0.0.1:8440"
	Sensors string // of what sends, "https://127.0.0.1:8441"
	SetUp   string // path of the link by which the first person begins

	// Verb runs a verb of the command line, as "myelin VERB ARGUMENT...", until it or ctx ends.
	Verb func(ctx context.Context, in io.Reader, out io.Writer, args ...string) error

	Did  io.Writer    // is written what the simulated devices do, a line each; nil: nobody is
	Log  *slog.Logger // nil: nothing is logged
	Told func(string) // is told what happens that somebody may wait for; nil: nobody is
}

// A demo is one that runs.
type demo struct {
	Config
	te      *browser // the administrator's
	devices *devices
	guard   *guarded
	still   atomic.Bool   // nobody orders anything for pump-3
	over    chan struct{} // closed when the morning is
	all     sync.WaitGroup
}

func newDemo(c Config) *demo {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Did == nil {
		c.Did = io.Discard
	}
	return &demo{Config: c, over: make(chan struct{})}
}

func (d *demo) told(what string) {
	if d.Told != nil {
		d.Told(what)
	}
}

// life is how long a demo goes on: as long as its certificates.
const life = 24 * time.Hour

// Run lives through the morning, and goes on with the day until ctx ends. What it began
// has ended when it returns.
func Run(ctx context.Context, c Config) error {
	d := newDemo(c)
	ctx, stop := context.WithTimeout(ctx, life)
	err := d.run(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	stop()
	d.all.Wait()
	return err
}

func (d *demo) run(ctx context.Context) error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return err
	}
	var err error
	if d.te, err = d.arrive(ctx); err != nil {
		return fmt.Errorf("the staff: %w", err)
	}
	defer func() { d.te.close() }()
	if err := d.protect(ctx); err != nil {
		return fmt.Errorf("the guard: %w", err)
	}
	heard, err := d.listen(ctx)
	if err != nil {
		return fmt.Errorf("the sensors: %w", err)
	}
	d.all.Go(func() {
		if err := d.update(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("a part of the demo has ended", "part", "updates", "err", err)
		}
	})
	if err := d.tell(ctx, heard); err != nil {
		return err
	}
	close(d.over)
	d.told("the morning is over; the day goes on")
	return d.day(ctx)
}

// update has the pumps updated, beside the rest of the day.
func (d *demo) update(ctx context.Context) error {
	began := time.Now()
	m, err := d.mend(ctx, d.devices.pumps, func() time.Duration { return time.Since(began) })
	if err != nil {
		return err
	}
	return m.run(ctx)
}

// path is a file of the demo's own.
func (d *demo) path(name string) string { return filepath.Join(d.Dir, filepath.FromSlash(name)) }

// quietly runs a verb, and drops what it says.
func (d *demo) quietly(ctx context.Context, args ...string) error {
	if err := d.Verb(ctx, nothing{}, io.Discard, args...); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// beside runs a verb until the demo ends. That it ends before is logged.
func (d *demo) beside(ctx context.Context, in io.Reader, args ...string) {
	d.all.Go(func() {
		if err := d.Verb(ctx, in, io.Discard, args...); err != nil && ctx.Err() == nil {
			d.Log.Error("a part of the demo has ended", "verb", args[0], "err", err)
		}
	})
}

// nothing is an input that has none.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// until asks again and again, as somebody at a screen does, until it is so.
func until(ctx context.Context, what string, so func() (bool, error)) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ok, err := so()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: it did not become so", what), err)
		case <-again.C:
		}
	}
}

// patience is how long anything may take on a machine that has other work.
const patience = time.Minute
