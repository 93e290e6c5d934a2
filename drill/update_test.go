// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
)

// TestUpdatePromises holds the update column to what was agreed: these rows, by this many attacks on the update itself, all
// of which are tried on both sides.
func TestUpdatePromises(t *testing.T) {
	var promised []string
	for _, r := range Catalogue() {
		if r.Promises["update"] == "Y" {
			promised = append(promised, r.ID)
		}
		if r.Promises["update"] != "-" && r.SBOM == (Parts{}) {
			t.Errorf("%s has no releases", r.ID)
		}
	}
	if got, want := strings.Join(promised, " "), "A22 A23 A25 A28 A32 A33 A34 A35 A38 A41 A42"; got != want {
		t.Errorf("promised are %s, want %s", got, want)
	}
	for _, name := range []string{"altered", "downgraded", "wrong-model", "swapped", "frozen", "mixed"} {
		found := false
		for i := range legacy.UpdateAttacks {
			found = found || legacy.UpdateAttacks[i].Name == name
		}
		if !found || updateAttacks[name] == nil {
			t.Errorf("%s: on the unprotected updater %v, on Myelin's way %v", name, found, updateAttacks[name] != nil)
		}
	}
}

// A blind flash shows what was written to it, and not what is there.
type blind struct {
	*agent.Memory
	written *agent.Memory
}

func newBlind(m *agent.Memory) blind {
	return blind{m, agent.NewMemory(slotBytes, blockBytes, pageBytes)}
}

func (b blind) ReadAt(p []byte, off int64) (int, error) { return b.written.ReadAt(p, off) }

func (b blind) Erase(off int64) error {
	if err := b.written.Erase(off); err != nil {
		return err
	}
	return b.Memory.Erase(off)
}

func (b blind) Write(off int64, p []byte) error {
	if err := b.written.Write(off, p); err != nil {
		return err
	}
	return b.Memory.Write(off, p)
}

// TestBrokenUpdate takes from an agent what makes it refuse, one thing after another, and holds that the drill sees it.
func TestBrokenUpdate(t *testing.T) {
	t.Cleanup(func() { weaken = nil })
	rows, err := Choose(Catalogue(), []string{"A32"})
	if err != nil {
		t.Fatal(err)
	}
	made := func(t *testing.T, b *bed, p legacy.Program, image []byte, sequence uint64) *release {
		t.Helper()
		r, err := b.maker.release(p, image, sequence)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, test := range []struct {
		name, how string
		weaken    func(t *testing.T, b *bed, c *agent.Config)
	}{
		{"whoever signs is the maker", "altered: an envelope that somebody else signed: a program that nobody signed runs", func(_ *testing.T, b *bed, c *agent.Config) {
			c.Makers = append(c.Makers, b.thief.public)
		}},
		{"what was confirmed is not kept", "downgraded: 0.1.0 runs", func(_ *testing.T, b *bed, _ *agent.Config) {
			b.weak.sequence = 1
		}},
		{"all devices are one class", "wrong-model: the device was started again", func(t *testing.T, b *bed, _ *agent.Config) {
			p := b.other.Program
			p.Model = b.weak.Model
			b.other = made(t, b, p, b.other.image, 40)
		}},
		{"it believes what it wrote", "swapped: before the switch: a program that nobody signed runs", func(_ *testing.T, b *bed, c *agent.Config) {
			for i := range c.Layout.Slots {
				c.Layout.Slots[i] = newBlind(c.Layout.Slots[i].(*agent.Memory))
			}
		}},
		{"whoever answers is the server", "frozen: somebody else's answers: the device does not say why", func(_ *testing.T, b *bed, c *agent.Config) {
			c.Answers = append(c.Answers, b.thief.public)
		}},
		{"two releases of one number", "mixed: the old release under the new one's name: the device was started again", func(t *testing.T, b *bed, _ *agent.Config) {
			b.weak.envelope = made(t, b, b.mended.Program, b.weak.image, 30).envelope
		}},
		{"a clock that stands still", "frozen: the device does not say why", func(t *testing.T, b *bed, _ *agent.Config) {
			if b.voucher == nil {
				return
			}
			for i, p := range []*publisher{b.repositories.maker, b.repositories.hospital} {
				c, err := follow(t.TempDir(), p.root, &b.voucher.mirrors[i], func() time.Time { return story })
				if err != nil {
					t.Fatal(err)
				}
				b.voucher.clients[i] = c
			}
		}},
		{"nobody vouches", "altered: 2.3.0 runs, and 2.2.0 ran before", func(_ *testing.T, _ *bed, c *agent.Config) {
			c.Vouch = nil
		}},
		{"whoever offers is the hospital's server, but for the hospital", "2.3.0 is not installed", func(_ *testing.T, b *bed, c *agent.Config) {
			c.Offers[0] = b.thief.public
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			weaken = func(b *bed, c *agent.Config) { test.weaken(t, b, c) }
			d, err := Run(context.Background(), Config{Rows: rows, Parts: []string{"update"}})
			if err != nil {
				t.Fatal(err)
			}
			if c := d.Rows[0].Parts["update"]; c.Result != report.DrillFailed || !strings.Contains(c.How, test.how) {
				t.Errorf("%+v", c)
			}
			if broken, _ := d.Broken(); strings.Join(broken, ",") != "A32 update" {
				t.Errorf("broken: %v", broken)
			}
		})
	}
}
