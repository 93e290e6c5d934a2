// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
)

// What files looked like: the configuration and all that it names.
type watched struct {
	at     map[string]stamp
	unlike bool // since the time before last: somebody may still be writing
	looks  int
}

// again is after how many looks a configuration that was refused is tried
// again: what it lacks may be a file that only it names.
const again = 15

type stamp struct {
	modified time.Time
	size     int64
}

func look(c *Configuration) watched {
	w := watched{at: map[string]stamp{}}
	for _, f := range append([]string{c.File}, c.named...) {
		if st, err := os.Stat(f); err == nil {
			w.at[f] = stamp{st.ModTime(), st.Size()}
		}
	}
	return w
}

// watch reads the configuration again when a file of it has changed and then
// stayed as it is from one look to the next.
func (g *Guard) watch(ctx context.Context) {
	now := look(g.conf.Load())
	changed := !maps.Equal(now.at, g.seen.at)
	now.unlike, now.looks = changed, g.seen.looks+1
	g.mu.Lock()
	retry := g.refused != "" && now.looks%again == 0
	g.mu.Unlock()
	settled := !changed && (g.seen.unlike || retry)
	g.seen = now
	if settled {
		g.reload(ctx, false)
	}
}

// reload takes over the configuration as its files have it now, or refuses all
// of it and says why. Asked is whether somebody wants to hear of it when nothing changed.
func (g *Guard) reload(ctx context.Context, asked bool) {
	old := g.conf.Load()
	next, err := Load(old.File)
	if err == nil && next.Digest == old.Digest {
		g.mu.Lock()
		g.refused = ""
		g.mu.Unlock()
		if asked {
			g.cfg.Log.Info("the configuration is as it was")
		}
		return
	}
	if err == nil {
		err = g.takeOver(ctx, old, next)
	}
	if err == nil {
		return
	}
	g.mu.Lock()
	known := g.refused == err.Error()
	g.refused = err.Error()
	g.mu.Unlock()
	if known && !asked {
		return
	}
	g.cfg.Log.Error("the new configuration is refused; the old one goes on", "err", err)
	e := &event.Event{Kind: event.ConfigurationChanged, Time: g.cfg.Now().UnixNano()}
	e.Add(event.Text(event.Name, "refused"), event.Int(event.Digest, short(old.Digest)), event.Text(event.Reason, "refused, and the old one goes on: "+err.Error()))
	if err := g.record(e); err != nil {
		g.cfg.Log.Error("not recorded", "err", err)
	}
}

// A change is what becomes of the fronts.
type change struct {
	keep  []front.Policy // the same place: updated
	begin []front.Policy // new, or at another place
	end   []string       // no longer, or no longer there
}

// same reports whether a running front can take over a policy without being
// started anew.
func same(old, next front.Policy) bool {
	a, b := old.Common(), next.Common()
	if r, ok := next.(interface{ Restarts(old front.Policy) bool }); ok && a.Kind == b.Kind && r.Restarts(old) {
		return false
	}
	return a.Kind == b.Kind && a.Listen.Address == b.Listen.Address && a.Server == b.Server
}

// compare says what becomes of the fronts.
func compare(old, next *Configuration) (c change) {
	before := map[string]front.Policy{}
	for _, p := range old.Fronts {
		before[p.Common().Name] = p
	}
	for _, p := range next.Fronts {
		name := p.Common().Name
		b, ok := before[name]
		switch {
		case !ok:
			c.begin = append(c.begin, p)
		case same(b, p):
			c.keep = append(c.keep, p)
		default:
			c.begin = append(c.begin, p)
			c.end = append(c.end, name)
		}
		delete(before, name)
	}
	c.end = append(c.end, slices.Sorted(maps.Keys(before))...)
	return c
}

// takeOver does all of a change, or nothing of it.
func (g *Guard) takeOver(ctx context.Context, old, next *Configuration) error {
	if next.State != old.State || next.Ledger != old.Ledger {
		return errors.New("the folders of state and ledger change with a restart only")
	}
	c := compare(old, next)
	var ours []string // where fronts of ours listen that end, or may listen again
	for _, p := range old.Fronts {
		if name := p.Common().Name; slices.Contains(c.end, name) || slices.ContainsFunc(c.keep, func(q front.Policy) bool { return q.Common().Name == name }) {
			ours = append(ours, listensOf(p)...)
		}
	}
	for _, p := range slices.Concat(c.begin, c.keep) {
		if err := free(p, ours); err != nil {
			return fmt.Errorf("front %s: %w", p.Common().Name, err)
		}
	}
	moved, err := g.page.move(next.Page)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if err := g.announce(old, next, c.String()); err != nil {
		moved(false)
		return fmt.Errorf("it cannot be recorded: %w", err)
	}
	moved(true)
	g.gate.Update(next.gated())
	g.conf.Store(next)
	g.seen = look(next)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused, g.taken = "", g.cfg.Now()
	g.changedDevices(old, next)
	for _, p := range c.keep {
		r := g.fronts[p.Common().Name]
		r.policy = p
		r.front.Update(p)
	}
	ending := map[string]*running{}
	for _, name := range c.end {
		ending[name] = g.fronts[name]
		delete(g.fronts, name)
	}
	for _, p := range c.begin { // before the old one is told to stop, where that can be
		var after <-chan struct{}
		for name, r := range ending {
			here := slices.ContainsFunc(listensOf(r.policy), func(a string) bool { return slices.Contains(listensOf(p), a) })
			same := name == p.Common().Name && kinds[p.Common().Kind].alone(p)
			if here || same {
				r.cancel() // it gives up its place at once, and drains
			}
			if same {
				after = r.done
			}
		}
		g.start(ctx, p, after)
	}
	for _, r := range ending {
		r.cancel()
	}
	g.cfg.Log.Info("the new configuration holds", "change", c.String())
	return nil
}

// changedDevices keeps since when a device is enforced or observed. The caller
// holds the lock.
func (g *Guard) changedDevices(old, next *Configuration) {
	since := map[string]time.Time{}
	for _, d := range next.Devices {
		since[d.ID] = g.taken
		if before, ok := old.Device(d.ID); ok {
			was, _ := before.Envelope.Enforcing()
			is, _ := d.Envelope.Enforcing()
			if was == is {
				since[d.ID] = g.since[d.ID]
			}
		}
	}
	g.since = since
}

// String says what changes, in words.
func (c change) String() string {
	var parts []string
	say := func(word string, names []string) {
		if len(names) > 0 {
			parts = append(parts, word+" "+strings.Join(names, ", "))
		}
	}
	names := func(ps []front.Policy) (out []string) {
		for _, p := range ps {
			out = append(out, p.Common().Name)
		}
		return out
	}
	say("fronts that begin:", names(c.begin))
	say("fronts that drain:", c.end)
	say("fronts that go on:", names(c.keep))
	return strings.Join(parts, "; ")
}
