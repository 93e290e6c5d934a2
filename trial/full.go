// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A Disk is what was seen of a guard whose disk takes no more writes for a while.
type Disk struct {
	Therapy  int      // orders and boluses that were given meanwhile
	Rescues  int      // that were answered as they should be, of asked
	Asked    int      // rescues
	Reports  int      // of the pumps, that came to those they are for
	Reasons  []string // that the guard gives at /healthz for not being ready
	Log      string   // of the guard
	Recovers error    // why it is not ready again once the disk takes writes
	Again    []string // therapy that is not given afterwards
	Ledger   []string // problems of the ledger afterwards
}

// Problems are what was wrong; nothing when nothing was.
func (d *Disk) Problems() (all []string) {
	bad := func(yes bool, format string, args ...any) {
		if yes {
			all = append(all, fmt.Sprintf("full disk: "+format, args...))
		}
	}
	reasons := strings.Join(d.Reasons, "; ")
	bad(d.Therapy > 0, "%d commands were given that could not be written down", d.Therapy)
	bad(d.Rescues < d.Asked || d.Asked == 0, "%d rescues of %d passed", d.Rescues, d.Asked)
	bad(d.Reports == 0, "no report of the pumps came")
	bad(!strings.Contains(reasons, "doses cannot be written"), "nobody is told that doses cannot be written: %q", reasons)
	bad(!strings.Contains(reasons, "ledger cannot be written"), "nobody is told that the ledger cannot be written: %q", reasons)
	bad(!strings.Contains(d.Log, "not recorded"), "the log does not have it")
	bad(d.Recovers != nil, "it does not recover: %v", d.Recovers)
	for _, what := range d.Again {
		bad(true, "%s is not given when the disk takes writes again", what)
	}
	for _, what := range d.Ledger {
		bad(true, "ledger: %s", what)
	}
	return all
}

// errNoLimit is of a machine on which no file of another process can be bounded.
var errNoLimit = errors.New("there is no prlimit (util-linux)")

// limit bounds the files of a guard, so that whatever it writes fails, or does not any more.
func (g *process) limit(bytes string) error {
	if _, err := exec.LookPath("prlimit"); err != nil {
		return errNoLimit
	}
	out, err := exec.Command("prlimit", "--pid", fmt.Sprint(g.cmd.Process.Pid), "--fsize="+bytes+":unlimited").CombinedOutput()
	if err != nil {
		return fmt.Errorf("prlimit: %w: %s", err, out)
	}
	return nil
}

// full has a guard's disk take no more writes, and then take them again.
func full(ctx context.Context, dir, binary string, out io.Writer) (*Disk, error) {
	l := newLoad(1)
	p, err := newPlace(dir, binary, false, func(e legacy.Entry) { l.took(e.Time, e.What) })
	if err != nil {
		return nil, err
	}
	defer p.close()
	l.p = p
	g, err := p.start()
	if err != nil {
		return nil, err
	}
	defer func() { g.kill() }()
	n := &life{Context: ctx}
	d := new(Disk)
	// therapy asks for an order and a bolus, and says what is not given.
	therapy := func(s *station) (refused []string, err error) {
		c, err := p.tls(p.orders)(ctx)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		o := l.order(l.random(0), passes)
		if _, err := c.Write(o.Block); err != nil {
			return nil, err
		}
		if err := l.answer(n, &reader{r: bufio.NewReader(c)}, o); err != nil {
			return nil, err
		}
		if came, _ := p.gateway.all(); len(came) == 0 || came[len(came)-1].ID != o.ID {
			refused = append(refused, "an order")
		}
		taken := l.given()
		l.bolus(n, s, 1)
		if l.given() == taken {
			refused = append(refused, "a bolus")
		}
		return refused, nil
	}
	// anew is therapy in a session that begins now.
	anew := func() ([]string, error) {
		if _, err := p.ready(g, startWithin); err != nil {
			return nil, err
		}
		s, err := p.come(ctx)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return therapy(s)
	}
	if refused, err := anew(); err != nil || len(refused) > 0 {
		return nil, errors.Join(err, fmt.Errorf("before: refused are %q", refused))
	}
	s, err := p.come(ctx) // meanwhile none can begin: the numbers that it uses up are on the disk, so that none comes twice
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := g.limit("1"); err != nil {
		return nil, err
	}
	heard, _ := p.ehr.all()
	for range 3 {
		refused, err := therapy(s)
		if err != nil {
			return nil, err
		}
		d.Therapy += 2 - len(refused)
		d.Asked++
		before := len(l.ev.Rescues)
		if l.rescue(n, s) && l.ev.Rescues[before].Class() == 2 {
			d.Rescues++
		}
		p.flowlink.Report(ctx)
	}
	if d.Reasons, err = p.unready(); err != nil {
		return nil, err
	}
	if again, _ := p.ehr.all(); len(again) > len(heard) {
		d.Reports = len(again) - len(heard)
	}
	d.Log = g.log.String()
	if err := g.limit("unlimited"); err != nil {
		return nil, err
	}
	for until := time.Now().Add(startWithin); ; pause(ctx, 50*time.Millisecond) {
		why, err := p.unready()
		if err == nil && len(why) == 0 {
			break
		}
		if time.Now().After(until) {
			d.Recovers = errors.Join(err, errors.New(strings.Join(why, "; ")))
			break
		}
	}
	if d.Again, err = anew(); err != nil {
		return nil, err
	}
	if err := g.stop(startWithin); err != nil {
		return nil, err
	}
	v, err := ledger.ParseVerifier(p.verifier)
	if err != nil {
		return nil, err
	}
	report, err := ledger.Verify(filepath.Join(dir, "ledger"), ledger.VerifyConfig{Ledger: v})
	if err != nil {
		return nil, err
	}
	for _, what := range report.Problems {
		d.Ledger = append(d.Ledger, what.Error())
	}
	fmt.Fprintf(out, "a full disk: %d of 6 commands given meanwhile, %d of %d rescues, %d reports\n", d.Therapy, d.Rescues, d.Asked, d.Reports)
	return d, nil
}

// given is how many boluses the pump took.
func (l *load) given() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ev.Taken)
}

// unready are the reasons that the guard gives.
func (p *place) unready() ([]string, error) {
	c, err := p.desk(context.Background())
	if err != nil {
		return nil, err
	}
	defer c.CloseIdleConnections()
	a, err := c.Get(c.page + "/healthz")
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	var v struct{ Reasons []string }
	err = json.NewDecoder(a.Body).Decode(&v)
	if err == nil && (a.StatusCode == http.StatusOK) != (len(v.Reasons) == 0) {
		err = errors.New(a.Status)
	}
	return v.Reasons, err
}
