// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
)

// A verdict as the guard records it: some 350 bytes.
func verdict() *event.Event {
	e := &event.Event{
		Kind: event.VerdictGiven, Time: time.Date(2026, 3, 3, 6, 9, 0, 123456789, time.UTC).UnixNano(),
		Device: device.Address{Kind: device.Host, Value: "pump-3"}, Peer: device.Address{Kind: device.IP, Value: "10.20.8.11"},
	}
	e.Add(event.Text(event.Front, "gw-icu-front"), event.Int(event.Verb, device.SetInfusionRate), event.Int(event.Effect, device.Increases),
		event.Text(event.Value, "4 ug/kg/min"), event.Text(event.Actor, "CastorEHR"), event.Int(event.Verdict, device.Deny),
		event.Text(event.Reason, "envelope line 12: set-infusion-rate max 1.0 ug/kg/min"), event.Bool(event.Enforced, true))
	return e
}

func TestRecord(t *testing.T) {
	dir, k := t.TempDir(), newKey(t, "events", false)
	l := open(t, dir, k)
	if err := l.Record(verdict()); err != nil {
		t.Fatal(err)
	}
	l.Close()
	r, err := Read(dir, k.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Entry(0)
	const want = `{"kind":"verdict-given","time":"2026-03-03T06:09:00.123456789Z","device":{"kind":"host","value":"pump-3"},"peer":{"kind":"ip","value":"10.20.8.11"},` +
		`"attributes":{"actor":"CastorEHR","effect":"increases","enforced":1,"front":"gw-icu-front","reason":"envelope line 12: set-infusion-rate max 1.0 ug/kg/min","value":"4 ug/kg/min","verb":"set-infusion-rate","verdict":"deny"}}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if n := testing.AllocsPerRun(100, func() { b = event.Append(b[:0], verdictOnce) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var verdictOnce = verdict()

// TestEventRoundTrip: what any event says is read back as it was.
func TestEventRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		b := event.Append(nil, &e)
		if !json.Valid(b) || bytes.ContainsAny(b, "\n\r") {
			t.Fatalf("%s is not one line of JSON", b)
		}
		back, err := event.Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if got := event.Append(nil, &back); !bytes.Equal(got, b) {
			t.Fatalf("%s, then %s", b, got)
		}
		if back.Kind != e.Kind || back.Time != e.Time || back.Device != e.Device || back.Peer != e.Peer || back.Sighting != e.Sighting {
			t.Fatalf("%+v, want %+v", back, e)
		}
		for _, a := range e.Attrs() {
			if back.Int(a.Key) != e.Int(a.Key) || back.Text(a.Key) != e.Text(a.Key) {
				t.Fatalf("%v: %+v, want %+v", a.Key, back, e)
			}
		}
	})
}

func drawEvent(t *rapid.T) event.Event {
	address := func(name string) device.Address {
		return device.Address{Kind: device.AddressKind(rapid.IntRange(0, int(device.Radio)).Draw(t, name)), Value: rapid.String().Draw(t, name)}
	}
	e := event.Event{
		Kind: event.Kind(rapid.IntRange(0, len(event.Kinds)-1).Draw(t, "kind")), Time: rapid.Int64Range(-9e18, 9e18).Draw(t, "time"),
		Device: address("device"), Peer: address("peer"),
	}
	if rapid.Bool().Draw(t, "seen") {
		e.Sighting = event.Sighting{Input: rapid.Int().Draw(t, "input"), Packet: rapid.Uint64().Draw(t, "packet"), Offset: rapid.Int().Draw(t, "offset")}
	}
	for range rapid.IntRange(0, event.MaxAttrs).Draw(t, "attributes") {
		k := event.Key(rapid.IntRange(1, len(event.Keys)-1).Draw(t, "key"))
		if event.Keys[k].Text {
			e.Add(event.Text(k, rapid.String().Draw(t, "text")))
		} else {
			e.Add(event.Int(k, rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 40)).Draw(t, "number")))
		}
	}
	return e
}

// Each word of an enumeration is read back as the number it was.
func TestWords(t *testing.T) {
	for k := range event.Keys {
		if event.Keys[k].Word == nil {
			continue
		}
		for _, n := range []int64{-1, 0, 1, 2, 3, 4, 5, 6, 100, 255, 256, math.MaxInt64, math.MinInt64} {
			e := event.Event{Kind: event.VerdictGiven}
			e.Add(event.Int(event.Key(k), n))
			b := event.Append(nil, &e)
			back, err := event.Parse(b)
			if err != nil || back.Int(event.Key(k)) != n {
				t.Errorf("%s: %d, %v", b, back.Int(event.Key(k)), err)
			}
		}
	}
}

func TestWrongEvents(t *testing.T) {
	good := string(event.Append(nil, verdict()))
	for old, bad := range map[string]string{
		`{"kind"`:             ` {"kind"`,
		`"verdict-given"`:     `"verdict-givem"`,
		`"2026-03`:            `"1526-03`,
		`456789Z`:             `456789+00:00`,
		`"kind":"host"`:       `"kind":"hosts"`,
		`"enforced":1`:        `"enforced":01`,
		`"enforced":1,`:       `"enforced":"1",`,
		`"enforced":`:         `"enforce":`,
		`"verdict":"deny"`:    `"verdict":3`,
		`"verb":"set-inf`:     `"verb":"unset-inf`,
		`"effect":"inc`:       `"effect":"\u0069nc`,
		`"attributes":{"a`:    `"attributes":{"actor":"EHR","a`,
		`"deny"}}`:            `"deny"}} `,
		`"value":"4 ug`:       `"value":4,"x":"ug`,
		`"actor":"CastorEHR"`: `"actor":null`,
	} {
		b := strings.Replace(good, old, bad, 1)
		if _, err := event.Parse([]byte(b)); err == nil || b == good {
			t.Errorf("%s is read", b)
		}
	}
	for _, b := range []string{"", "null", "{}", "[]", `{"kind":1}`, "entry 7"} {
		if _, err := event.Parse([]byte(b)); err == nil && b != "" {
			t.Errorf("%s is read", b)
		}
	}
	// Bytes that are no text become what says so.
	e := event.Event{Kind: event.VerdictGiven, Device: device.Address{Kind: device.Host, Value: "a\xffb\x00\"\\\u2028"}}
	if b := event.Append(nil, &e); !strings.Contains(string(b), `"a`+"\ufffd"+`b\u0000\"\\`+"\u2028"+`"`) || !json.Valid(b) {
		t.Errorf("%s", b)
	}
	// The first of two is what the event itself answers.
	e.Add(event.Int(event.Count, 1), event.Int(event.Count, 2))
	if b := event.Append(nil, &e); !strings.Contains(string(b), `{"count":1}`) {
		t.Errorf("%s", b)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add(event.Append(nil, verdict()))
	f.Add([]byte(`{"kind":"","time":"1970-01-01T00:00:00Z","device":{"kind":"","value":""},"attributes":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := event.Parse(b)
		if err == nil && !bytes.Equal(event.Append(nil, &e), b) {
			t.Fatalf("%s has another form", b)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	k, w := newKey(f, "a", false), newKey(f, "w", true)
	c, err := sign(7, (&tree{}).root(), k.Signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Note)
	f.Add([]byte("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— a AAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCheckpoint(b, k.Verifier); err == nil && (c.Size != 7 || c.Origin != "a") {
			t.Fatalf("%q is signed", b)
		}
		if c, err := ParseCheckpoint(b, k.Verifier, w.Verifier); err == nil {
			t.Fatal(c)
		}
		parseTree(string(b))
		ParseVerifier(string(b))
		ParseSigner(string(b), nil)
	})
}

func FuzzParseProof(f *testing.F) {
	k := newKey(f, "a", false)
	c, err := sign(3, (&tree{}).root(), k.Signer)
	if err != nil {
		f.Fatal(err)
	}
	p, _ := (&Proof{Index: 1, Entry: []byte("x"), Hashes: nil, Checkpoint: c.Note}).AppendText(nil)
	g, _ := (&Growth{Old: 2, Checkpoint: c.Note}).AppendText(nil)
	f.Add(p)
	f.Add(g)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, g, err := ParseProof(b)
		if err != nil {
			return
		}
		var back []byte
		if p != nil {
			back, _ = p.AppendText(nil)
			_, err = p.Verify(k.Verifier)
		} else {
			back, _ = g.AppendText(nil)
			_, err = g.Verify(Checkpoint{Origin: "a", Size: g.Old}, k.Verifier)
		}
		if err == nil || !bytes.Equal(back, b) {
			t.Fatalf("%q, %q, %v", b, back, err)
		}
	})
}

func FuzzParseSegment(f *testing.F) {
	dir, k := f.TempDir(), newKey(f, "a", false)
	l := open(f, dir, k)
	bulk(f, l, [][]byte{nil, []byte("x")})
	bulk(f, l, [][]byte{[]byte("y")})
	l.crash()
	b, err := folder(dir).read(segmentPath(0), maxSegment)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		count := int64(0)
		s, err := parseSegment(b, func(g group) {
			if g.first != count || len(g.entries) > len(b) {
				t.Fatal(g.first, count)
			}
			count += int64(g.count)
		})
		if err == nil && (s.next-s.first != count || s.end > len(b) || s.end < journalHeader) {
			t.Fatal(s, count)
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'x', 0, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		if count < 0 || count > tileWidth {
			return
		}
		var again []byte
		end, err := parseBundle(b, count, func(_ int, entry []byte) error {
			again = appendEntry(again, entry)
			return nil
		})
		if !bytes.Equal(again, b[:end]) || err == nil && count == 0 && end != 0 {
			t.Fatalf("%q, then %q", b[:end], again)
		}
	})
}

// FuzzFiles: whatever stands in the files of a ledger, who reads them gets what was
// signed or an error.
func FuzzFiles(f *testing.F) {
	dir, k := f.TempDir(), newKey(f, "a", false)
	l := open(f, dir, k)
	entries := make([][]byte, 300)
	for i := range entries {
		entries[i] = fmt.Append(nil, i)
	}
	bulk(f, l, entries)
	l.Close()
	paths := []string{"checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44", segmentPath(0)}
	files := make([][]byte, len(paths))
	for i, path := range paths {
		var err error
		if files[i], err = folder(dir).read(path, 1<<30); err != nil {
			f.Fatal(path, err)
		}
		f.Add(uint(i), uint(40), []byte("other"))
	}
	f.Fuzz(func(t *testing.T, file, at uint, with []byte) {
		file %= uint(len(paths))
		b := bytes.Clone(files[file])
		at %= uint(len(b) + 1)
		b = append(b[:at:at], append(with, b[min(len(b), int(at)+len(with)):]...)...)
		write(t, dir, paths[file], b)
		defer write(t, dir, paths[file], files[file])
		changed := !bytes.Equal(b, files[file])
		v, err := Verify(dir, VerifyConfig{Ledger: k.Verifier})
		if err != nil || v.OK() && changed && !(paths[file] == segmentPath(0) && v.Torn > 0 || file == 0) || !v.OK() && !changed {
			t.Fatalf("%s, %d: changed %v, %v, %v", paths[file], at, changed, v, err)
		}
		r, err := Read(dir, k.Verifier)
		if err != nil {
			return
		}
		r.Entries(0, r.Checkpoint.Size, func(i int64, e []byte) error {
			if !bytes.Equal(e, entries[i]) {
				t.Fatalf("entry %d is %q", i, e)
			}
			return nil
		})
	})
}

func write(t *testing.T, dir, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, path), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
