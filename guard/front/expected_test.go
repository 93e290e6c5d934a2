// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/internal/journal"
)

// expecting makes an Expected with a clock, in a file if there is one.
func expecting(t *testing.T, path string) (x *Expected, now *envelope.Reading) {
	t.Helper()
	now = &envelope.Reading{Wall: day.UnixNano(), Uptime: int64(time.Hour), Boot: "1"}
	x = &Expected{clock: func() envelope.Reading { return *now }}
	if path != "" {
		if err := x.Open(path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
	}
	return x, now
}

func TestExpected(t *testing.T) {
	x, at := expecting(t, "")
	pass := func(d time.Duration) { at.Wall += int64(d); at.Uptime += int64(d) }
	e := Expectation{"pacs", "ADAPACS", "WS1", "C-STORE"}
	if x.Has(e) {
		t.Error("expected before anything")
	}
	first, second := x.Expect(e, time.Minute), x.Expect(e, time.Minute)
	first()
	pass(time.Hour)
	if !x.Has(e) || x.Has(Expectation{"pacs", "ADAPACS", "XFER1", "C-STORE"}) {
		t.Error("while the second is running")
	}
	second()
	pass(time.Minute - 1)
	if !x.Has(e) {
		t.Error("a minute afterwards")
	}
	if pass(1); x.Has(e) {
		t.Error("longer than a minute")
	}
}

// TestExpectedKept: what a device owes somebody outlives the process, killed or not, the
// machine, and a clock that is set.
func TestExpectedKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "expected")
	x, _ := expecting(t, path)
	report := Expectation{"pacs", "ADAPACS", "CT1", "N-EVENT-REPORT"}
	images := Expectation{"pacs", "ADAPACS", "WS1", "C-STORE"}
	x.Expect(report, 24*time.Hour)()
	x.Expect(images, time.Minute) // and is killed
	x.Expect(Expectation{Device: "pacs", From: string(make([]byte, 300))}, time.Hour)
	killed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, happens := range map[string]func(now *envelope.Reading){
		"at once":           func(*envelope.Reading) {},
		"23 hours later":    func(now *envelope.Reading) { now.Wall += int64(23 * time.Hour); now.Uptime += int64(23 * time.Hour) },
		"a clock set":       func(now *envelope.Reading) { now.Wall += int64(1000 * time.Hour) },
		"the machine anew":  func(now *envelope.Reading) { now.Boot, now.Uptime = "2", 0; now.Wall += int64(1000 * time.Hour) },
		"another time zone": func(now *envelope.Reading) { now.Wall -= int64(1000 * time.Hour) },
	} {
		p := filepath.Join(t.TempDir(), "expected")
		if err := os.WriteFile(p, append(killed, 0, 1, 2), 0o600); err != nil { // with a torn tail
			t.Fatal(err)
		}
		y := new(Expected)
		now := &envelope.Reading{Wall: day.UnixNano(), Uptime: int64(time.Hour), Boot: "1"}
		happens(now)
		y.clock = func() envelope.Reading { return *now }
		if err := y.Open(p); err != nil {
			t.Fatal(err)
		}
		if !y.Has(report) || !y.Has(images) || y.Has(Expectation{"pacs", "ADAPACS", "CT1", "C-STORE"}) {
			t.Errorf("%s: the report %v, the images %v", name, y.Has(report), y.Has(images))
		}
		now.Wall, now.Uptime = now.Wall+int64(25*time.Hour), now.Uptime+int64(25*time.Hour)
		if y.Has(report) || y.Has(images) {
			t.Errorf("%s: and for ever", name)
		}
		if err := y.Close(); err != nil {
			t.Error(err)
		}
	}
	// A file that is damaged is not used, and left as it is.
	killed[len(killed)/2] ^= 1
	if err := os.WriteFile(path, killed, 0o600); err != nil {
		t.Fatal(err)
	}
	y := new(Expected)
	if err := y.Open(path); !errors.Is(err, journal.ErrDamaged) {
		t.Error(err)
	}
	if y.Expect(report, time.Hour); !y.Has(report) || y.Has(images) {
		t.Error("without a file it does not go on")
	}
	if now, _ := os.ReadFile(path); string(now) != string(killed) {
		t.Error("a damaged file is written")
	}
}

// TestExpectedBound: what is over makes room first, then what ends first.
func TestExpectedBound(t *testing.T) {
	x, _ := expecting(t, "")
	row := func(i int) Expectation { return Expectation{Device: "pacs", To: strconv.Itoa(i)} }
	for i := range maxExpected {
		x.Expect(row(i), time.Hour-time.Duration(i)*time.Millisecond)()
	}
	x.Expect(row(maxExpected), time.Hour)
	if len(x.rows) != maxExpected || x.Has(row(maxExpected-1)) || !x.Has(row(0)) || !x.Has(row(maxExpected)) {
		t.Errorf("%d rows", len(x.rows))
	}
}

func FuzzExpected(f *testing.F) {
	f.Add(appendExpected(&Expectation{"pacs", "ADAPACS", "CT1", "N-EVENT-REPORT"}, &due{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		x := Expected{rows: map[Expectation]*due{}}
		if !x.read(b) {
			return
		}
		for e, d := range x.rows {
			if got := appendExpected(&e, d); b[1] < 2 && string(got) != string(b) {
				t.Fatalf("%x, then %x", b, got)
			}
		}
	})
}
