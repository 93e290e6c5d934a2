// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/envelope"
)

// TestMetersKept: a bolus at the keypad while the guard is started again is counted when the
// pump reports its total; what happened longer ago than a report holds is not given now.
func TestMetersKept(t *testing.T) {
	began := envelope.Reading{Wall: 1772517600e9, Uptime: int64(time.Hour), Boot: "1"}
	for name, x := range map[string]struct {
		after  time.Duration
		wall   time.Duration // more than that
		boot   string
		damage bool
		total  string
		want   string
	}{
		"a minute later":                {after: time.Minute, boot: "1", total: "107", want: "5.000000 mL"},
		"nothing at the keypad":         {after: time.Minute, boot: "1", total: "102"},
		"with the clock set forward":    {after: time.Minute, wall: 48 * time.Hour, boot: "1", total: "107", want: "5.000000 mL"},
		"with the clock set back":       {after: time.Minute, wall: -48 * time.Hour, boot: "1", total: "107", want: "6.000000 mL"},
		"six minutes later":             {after: 6 * time.Minute, boot: "1", total: "150"},
		"after a start of the machine":  {after: time.Minute, boot: "2", total: "107"},
		"after the file was damaged":    {after: time.Minute, boot: "1", damage: true, total: "107"},
		"after its counters were reset": {after: time.Minute, boot: "1", total: "3", want: "2.000000 mL"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newListener(t)
			now := began
			clock := func() envelope.Reading { return now }
			l.f.clock = clock
			k := l.f.keepMeters(l.f.policy.Load())
			pass := func(d time.Duration) { now.Wall += int64(d); now.Uptime += int64(d) }
			hears := func(after time.Duration, control, total string) (told []envelope.Report) {
				t.Helper()
				pass(after)
				for _, r := range l.hears(after, report(control, "RX-1", flows("60"), delivered(total))) {
					told = append(told, r)
					k.keep(l.f, &reported{"pump-3", r})
				}
				return told
			}
			hears(0, "1", "100")
			if told := hears(time.Minute, "2", "101"); len(told) != 1 || !told[0].Amount.IsNone() {
				t.Fatalf("%+v", told)
			}
			k.close() // or is killed: each is on the disk
			state, was := l.f.env.State, l.now
			if x.damage {
				path := filepath.Join(state, "gw-icu.meters")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				b[20] ^= 1
				os.WriteFile(path, b, 0o600)
			}
			l = newListener(t)
			l.f.env.State, l.f.clock, l.now = state, clock, was
			pass(x.after)
			l.now = l.now.Add(x.after)
			now.Wall += int64(x.wall)
			now.Boot = x.boot
			if x.boot != "1" {
				now.Uptime = int64(time.Second)
			}
			k = l.f.keepMeters(l.f.policy.Load())
			defer k.close()
			told := hears(0, "3", x.total)
			if len(told) != 1 {
				t.Fatalf("%+v", told)
			}
			got := ""
			if !told[0].Amount.IsNone() {
				got = told[0].Amount.String()
			}
			if got != x.want {
				t.Errorf("told %q, want %q", got, x.want)
			}
			if trouble := l.f.env.Trouble(); x.damage != strings.Contains(trouble, "damaged") {
				t.Errorf("in trouble because of %q", trouble)
			}
		})
	}
}
