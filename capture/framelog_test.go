// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

const frameLog = `{"time":"2026-03-03T07:17:00.25+01:00","channel":3,"rssi":-61.4,"dialect":"halden-mics","hex":"2dd448"}
{"hex":"AA55","time":"2026-03-03T06:17:01Z"}

{"time":"2026-03-03T06:17:00Z","snr":7.5,"channel":65535,"rssi":-128,"dialect":"okapi-classic","hex":"00"}
{"time":"2026-03-03T06:17:02.000000001Z","dialect":"halden-mics","hex":"01"}
`

func ExampleReader_InterfaceName() {
	r, err := capture.NewReader(strings.NewReader(frameLog))
	if err != nil {
		fmt.Println(err)
		return
	}
	var f capture.Frame
	for r.ReadFrame(&f) == nil {
		channel, rssi := f.Radio()
		fmt.Printf("%s line %d: %x of %q, channel %d, %d dBm\n", r.Kind(), f.Packet, f.Data, r.InterfaceName(f.Interface), channel, rssi)
	}
	// Output:
	// frame-log line 1: 2dd448 of "halden-mics", channel 3, -61 dBm
	// frame-log line 2: aa55 of "", channel 0, 0 dBm
	// frame-log line 4: 00 of "okapi-classic", channel 65535, -128 dBm
	// frame-log line 5: 01 of "halden-mics", channel 0, 0 dBm
}

// line is a good line of a log, with the keys given in place of its own.
func line(keys string) string {
	return `{"time":"2026-03-03T06:17:01Z","hex":"aa55",` + keys + "}\n"
}

func TestFrameLog(t *testing.T) {
	var want []capture.Frame
	for _, f := range []struct {
		line uint64
		time int64
		in   int
		data string
	}{{1, 1772518620250000000, 0, "\x2d\xd4\x48"}, {2, 1772518621000000000, 1, "\xaa\x55"}, {4, 1772518620000000000, 2, "\x00"}, {5, 1772518622000000001, 0, "\x01"}} {
		want = append(want, capture.Frame{Packet: f.line, Time: f.time, Interface: f.in, Data: []byte(f.data), OrigLen: len(f.data), Link: capture.LinkFrameLog})
	}
	want[0].Flags, want[2].Flags = capture.RadioFlags(3, -61), capture.RadioFlags(65535, -128)
	for name, in := range map[string]string{
		"as it is":        frameLog,
		"no end":          strings.TrimSuffix(frameLog, "\n"),
		"lines of DOS":    strings.ReplaceAll(frameLog, "\n", "\r\n"),
		"byte-order mark": "\xef\xbb\xbf" + frameLog,
		"gzip":            string(gz(t, []byte(frameLog))),
		"zstd":            string(zst(t, []byte(frameLog))),
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			got, err := readAll(r)
			if err != io.EOF || !slices.EqualFunc(got, want, equal) {
				t.Errorf("%s: %d frames, %v", name, len(got), err)
			}
		}
	}
}

// TestFrameLogDamaged: each bad line is named, and the others are read.
func TestFrameLogDamaged(t *testing.T) {
	first := `{"time":"2026-03-03T06:17:01Z","hex":"00"}` + "\n"
	last := `{"time":"2026-03-03T06:17:02Z","hex":"01"}`
	long := func(n int) string { // a line of n bytes
		s := strings.TrimSuffix(line(`"note":""`), "\n")
		return strings.Replace(s, `"note":"`, `"note":"`+strings.Repeat("x", n-len(s)), 1)
	}
	for _, tt := range []struct {
		name, line string
		err        error
		text       string
	}{
		{"cut", `{"time":"2026-03-03T06:17:01Z","he`, wire.ErrInvalid, "not a JSON object with a frame"},
		{"not an object", `["2026-03-03T06:17:01Z","00"]`, wire.ErrInvalid, "not a JSON object with a frame"},
		{"two objects", `{"time":"2026-03-03T06:17:01Z","hex":"00"}{}`, wire.ErrInvalid, "not a JSON object with a frame"},
		{"text", `hello`, wire.ErrInvalid, "not a JSON object with a frame"},
		{"binary", "\x00\xff\xfe", wire.ErrInvalid, "not a JSON object with a frame"},
		{"no hex", `{"time":"2026-03-03T06:17:01Z"}`, wire.ErrInvalid, "no time, or no hex"},
		{"no time", `{"hex":"00"}`, wire.ErrInvalid, "no time, or no hex"},
		{"half a byte", `{"time":"2026-03-03T06:17:01Z","hex":"000"}`, wire.ErrInvalid, "half a byte of hex"},
		{"no hex digits", `{"time":"2026-03-03T06:17:01Z","hex":"0g"}`, wire.ErrInvalid, "hex"},
		{"spaces", `{"time":"2026-03-03T06:17:01Z","hex":"00 1"}`, wire.ErrInvalid, "hex"},
		{"local time", `{"time":"2026-03-03 06:17:01","hex":"00"}`, wire.ErrInvalid, "time"},
		{"1969", `{"time":"1969-12-31T23:59:59Z","hex":"00"}`, wire.ErrInvalid, "time"},
		{"2263", `{"time":"2263-01-01T00:00:00Z","hex":"00"}`, wire.ErrInvalid, "time"},
		{"channel -1", line(`"channel":-1`), wire.ErrInvalid, "not a JSON object with a frame"},
		{"channel 65536", line(`"channel":65536`), wire.ErrInvalid, "not a JSON object with a frame"},
		{"rssi 128", line(`"rssi":128`), wire.ErrInvalid, "rssi"},
		{"rssi -129", line(`"rssi":-129`), wire.ErrInvalid, "rssi"},
		{"a long name", line(`"dialect":"` + strings.Repeat("d", 33) + `"`), wire.ErrTooLong, "name of the dialect"},
		{"a long name of a receiver", line(`"receiver":"` + strings.Repeat("r", 33) + `"`), wire.ErrTooLong, "name of the receiver"},
		{"a long line", long(16<<10 + 1), wire.ErrTooLong, "a line of more than 16384 bytes"},
		{"a very long line", long(1 << 20), wire.ErrTooLong, "a line of more than 16384 bytes"},
	} {
		file := first + strings.TrimSuffix(tt.line, "\n") + "\n" + last
		for _, r := range []io.Reader{strings.NewReader(file), iotest.HalfReader(strings.NewReader(file))} {
			got, err := readAll(r)
			var d *capture.DamageError
			if !errors.As(err, &d) || !errors.Is(err, tt.err) || d.Field != "line 2" || d.Offset != int64(len(first)) || d.Packet < 3 ||
				!strings.HasSuffix(err.Error(), ": "+tt.text) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if len(got) != 2 || got[0].Packet != 1 || got[1].Packet != 3 {
				t.Errorf("%s: %d frames", tt.name, len(got))
			}
		}
	}
	for _, good := range []string{long(16 << 10), line(`"dialect":"` + strings.Repeat("d", 32) + `"`), line(`"channel":65535`), line(`"rssi":127`)} {
		if got, err := readAll(strings.NewReader(first + strings.TrimSuffix(good, "\n") + "\n" + last)); err != io.EOF || len(got) != 3 {
			t.Errorf("%.80s: %d frames, %v", good, len(got), err)
		}
	}

	_, err := readAll(strings.NewReader(first + "a\nb\n" + first + strings.Repeat("c\n", 20)))
	if want := "capture: line 2 at byte 43: invalid value: not a JSON object with a frame; 22 lines were not read: [2 3 5 6 7 8 9 10 11 12] ..."; err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	// What stands in a line is not repeated.
	_, err = readAll(strings.NewReader(first + `{"time":"Lindqvist","hex":"00"}`))
	if err == io.EOF || strings.Contains(err.Error(), "Lind") {
		t.Error(err)
	}

	var many strings.Builder
	for i := range 65 {
		many.WriteString(line(fmt.Sprintf(`"dialect":"d%d"`, i)))
	}
	got, err := readAll(strings.NewReader(many.String() + line(`"dialect":"d3"`)))
	if len(got) != 65 || got[64].Interface != 3 || err == io.EOF || !strings.Contains(err.Error(), "line 65 at") {
		t.Errorf("65 dialects: %d frames, %v", len(got), err)
	}
}

// Receivers are counted as they are named; a line without one is of none.
func TestReceivers(t *testing.T) {
	var log strings.Builder
	for _, name := range []string{"ward", "", "door", "ward"} {
		log.WriteString(line(`"channel":65535,"rssi":-1,"receiver":"` + name + `"`))
	}
	for i := range 63 {
		log.WriteString(line(fmt.Sprintf(`"receiver":"r%d"`, i)))
	}
	got, err := readAll(strings.NewReader(log.String() + line(`"receiver":"door"`)))
	if len(got) != 67 || !strings.Contains(err.Error(), "line 67 at") {
		t.Fatalf("65 receivers: %d frames, %v", len(got), err)
	}
	for i, want := range map[int]uint8{0: 1, 1: 0, 2: 2, 3: 1, 65: 64, 66: 2} {
		f := got[i]
		if channel, rssi := f.Radio(); f.Receiver() != want || i < 4 && (channel != 65535 || rssi != -1) {
			t.Errorf("frame %d: receiver %d, want %d; channel %d, %d dBm", i, f.Receiver(), want, channel, rssi)
		}
	}
	if f := (capture.Frame{Link: capture.LinkUser0, Flags: 7 << 24}); f.Receiver() != 0 {
		t.Error("a receiver of what is in no frame log")
	}
}

func TestRecogniseFrameLog(t *testing.T) {
	for _, tt := range []struct {
		name, first string
		want        bool
	}{
		{"a line", line(`"rssi":-60`), true},
		{"a line and half of one", line(`"rssi":-60`) + `{"time`, true},
		{"no end", strings.TrimSpace(line(`"rssi":-60`)), true},
		{"a wrong line", line(`"rssi":-300`), true},
		{"half a line", line(`"rssi":-60`)[:40], false},
		{"another log", `{"time":"2026-03-03T06:17:01Z","level":"INFO"}` + "\n", false},
		{"a document", "{\n \"time\": 1,\n \"hex\": \"00\"\n}\n", false},
		{"an empty object", "{}", false},
		{"a bracket", "{", false},
		{"a space before", " " + line(`"rssi":-60`), false},
		{"a long line first", line(`"note":"` + strings.Repeat("x", 16<<10) + `"`), false},
	} {
		kind, ok := capture.Recognise([]byte(tt.first))
		if tt.name != "a long line first" && (ok != tt.want || ok != (kind == "frame-log")) {
			t.Errorf("%s: %q", tt.name, kind)
		}
		r, err := capture.NewReader(iotest.OneByteReader(strings.NewReader(tt.first)))
		if (err == nil) != tt.want || err != nil && !errors.Is(err, capture.ErrFormat) || err == nil && r.Kind() != "frame-log" {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// Whoever waits for the second line has the first.
	pr, pw := io.Pipe()
	defer pr.Close()
	go pw.Write([]byte(line(`"rssi":-60`)))
	r, err := capture.NewReader(pr)
	var f capture.Frame
	if err != nil || r.ReadFrame(&f) != nil || f.Packet != 1 {
		t.Errorf("%v, %+v", err, f)
	}
}

func TestAppendLogLine(t *testing.T) {
	want := capture.Frame{Data: []byte("\x2d\xd4\x48"), Time: 1772518620250000001, Packet: 1, OrigLen: 3, Link: capture.LinkFrameLog, Flags: capture.RadioFlags(3, -61)}
	log := capture.AppendLogLine(nil, &want, "halden-mics")
	if string(log) != `{"time":"2026-03-03T06:17:00.250000001Z","channel":3,"rssi":-61,"dialect":"halden-mics","hex":"2dd448"}`+"\n" {
		t.Errorf("%s", log)
	}
	second := want
	second.Packet, second.Interface, second.Flags = 2, 1, second.Flags|1<<24
	log = capture.AppendLogLine(log, &second, "")
	got, err := readAll(bytes.NewReader(log))
	if err != io.EOF || len(got) != 2 || !equal(got[0], want) || !equal(got[1], second) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestInterfaceNames(t *testing.T) {
	var file bytes.Buffer
	w, err := capture.NewInterfaceWriter(&file, capture.Interface{Link: 147, Name: "halden-mics"}, capture.Interface{Link: 1}, capture.Interface{Link: 148, Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for i, link := range []capture.LinkType{147, 1, 148} {
		if err := w.WriteFrame(&capture.Frame{Data: []byte("abc"), Interface: i, Link: link}); err != nil {
			t.Fatal(err)
		}
	}
	// A second section numbers on; a name may end as C does.
	file.Write(join(nb.section(), nb.iface(150, 0, u16(2), u16(4), "abc\x00"), nb.packet(0, 5, "abcd")))
	r, err := capture.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var f capture.Frame
	for err = r.ReadFrame(&f); err == nil; err = r.ReadFrame(&f) {
		names = append(names, r.InterfaceName(f.Interface))
	}
	if err != io.EOF || !slices.Equal(names, []string{"halden-mics", "", "a", "abc"}) {
		t.Errorf("%q, %v", names, err)
	}
	if r.InterfaceName(-1) != "" || r.InterfaceName(4) != "" {
		t.Error("an interface that is not there has a name")
	}
	if _, err := capture.NewInterfaceWriter(io.Discard, capture.Interface{Name: strings.Repeat("n", 65)}); err == nil {
		t.Error("a name of 65 bytes")
	}
	plain, _ := sample(t, 1, false)
	if r, err := capture.NewReader(bytes.NewReader(plain)); err != nil || r.InterfaceName(0) != "" {
		t.Error("pcap has names")
	}
	// What a file may say is bounded.
	many := nl.section()
	for range 4096 {
		many = append(many, nl.iface(1, 0, u16(2), u16(4), "eth0")...)
	}
	many = join(many, nl.section(), nl.iface(1, 0, u16(2), u16(4), "eth1"), nl.packet(0, 5, "abc"))
	r, err = capture.NewReader(bytes.NewReader(many))
	if err != nil || r.ReadFrame(&f) != nil || f.Interface != 4096 || r.InterfaceName(4096) != "" || r.InterfaceName(4095) != "eth0" {
		t.Errorf("%v, interface %d", err, f.Interface)
	}
}
