// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto/dicom"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/wire"
)

// Where the peers of these tests are said to be, and their AE titles.
const (
	ctTitle   = "CT1"
	pacsTitle = "ADAPACS"
	viewTitle = "VIEW1"
	xferTitle = "XFER1"
)

// A wiretap writes recorded conversations as the frames of a capture.
type wiretap struct {
	t    testing.TB
	w    *capture.Writer
	buf  bytes.Buffer
	now  time.Time
	port uint16 // of the next client
	n    uint64 // frames written
	late bool   // capturing began when the connections were open
}

func newWiretap(t testing.TB) *wiretap {
	tap := &wiretap{t: t, now: time.Now().Truncate(time.Second), port: 61000} // behind what the kernel gives to listeners
	var err error
	if tap.w, err = capture.NewWriter(&tap.buf, capture.LinkEthernet); err != nil {
		t.Fatal(err)
	}
	return tap
}

// save returns the name of a file with the capture.
func (tap *wiretap) save() string {
	tap.t.Helper()
	name := filepath.Join(tap.t.TempDir(), "peers.pcap")
	if err := os.WriteFile(name, tap.buf.Bytes(), 0o600); err != nil {
		tap.t.Fatal(err)
	}
	return name
}

// onesSum adds 16-bit words in one's complement (RFC 1071).
func onesSum(parts ...[]byte) uint16 {
	n := uint32(0)
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			n += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			n += uint32(b[0]) << 8
		}
		for n > 0xffff {
			n = n&0xffff + n>>16
		}
	}
	return ^uint16(n)
}

// packet writes one of IPv4.
func (tap *wiretap) packet(from, to [4]byte, proto byte, b []byte) {
	ip := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(b)))
	ip = append(ip, byte(tap.n>>8), byte(tap.n), 0x40, 0, 64, proto, 0, 0)
	ip = append(append(ip, from[:]...), to[:]...)
	binary.BigEndian.PutUint16(ip[10:], onesSum(ip))

	mac := func(ip [4]byte) []byte { return []byte{0, 0, 0x5e, 0, 0x53, ip[3]} } // RFC 7042 section 2.1.2
	frame := append(append(mac(to), mac(from)...), wire.EtherTypeIPv4>>8, wire.EtherTypeIPv4&0xff)
	frame = append(append(frame, ip...), b...)
	tap.now = tap.now.Add(100 * time.Microsecond)
	tap.n++
	if err := tap.w.WriteFrame(&capture.Frame{Data: frame, Time: tap.now.UnixNano(), OrigLen: len(frame), Link: capture.LinkEthernet}); err != nil {
		tap.t.Fatal(err)
	}
}

// conversation writes one TCP connection in which was said what a proxy heard.
func (tap *wiretap) conversation(client, server string, port int, c *testpeer.Conversation) {
	type side struct {
		ip   [4]byte
		port uint16
		seq  uint32
	}
	const mss = 1460
	sides := [2]side{
		{netip.MustParseAddr(client).As4(), tap.port, rand.Uint32()},
		{netip.MustParseAddr(server).As4(), uint16(port), rand.Uint32()},
	}
	tap.port++
	segment := func(from int, flags byte, payload []byte) {
		me, peer := &sides[from], &sides[1-from]
		b := binary.BigEndian.AppendUint16(nil, me.port)
		b = binary.BigEndian.AppendUint16(b, peer.port)
		b = binary.BigEndian.AppendUint32(b, me.seq)
		ack := peer.seq
		if flags&wire.ACK == 0 {
			ack = 0
		}
		b = binary.BigEndian.AppendUint32(b, ack)
		b = append(append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0), payload...)
		pseudo := append(append(me.ip[:], peer.ip[:]...), 0, wire.ProtoTCP, byte(len(b)>>8), byte(len(b)))
		binary.BigEndian.PutUint16(b[16:], onesSum(pseudo, b))

		tap.packet(me.ip, peer.ip, wire.ProtoTCP, b)
		me.seq += uint32(len(payload))
		if flags&(wire.SYN|wire.FIN) != 0 {
			me.seq++
		}
	}
	if !tap.late {
		segment(0, wire.SYN, nil)
		segment(1, wire.SYN|wire.ACK, nil)
		segment(0, wire.ACK, nil)
	}
	for _, p := range c.Pieces {
		from := 0
		if p.FromServer {
			from = 1
		}
		for part := range slices.Chunk(p.Bytes, mss) {
			segment(from, wire.ACK|wire.PSH, part)
		}
	}
	segment(0, wire.FIN|wire.ACK, nil)
	segment(1, wire.FIN|wire.ACK, nil)
	segment(0, wire.ACK, nil)
	tap.now = tap.now.Add(time.Second)
}

// A heard is what was assessed, with every event behind it.
type heard struct {
	*report.Assessment
	events []event.Event
}

// hear assesses a file, and searches all that is said of it for what nobody
// may tell.
func hear(t *testing.T, file string) *heard {
	t.Helper()
	h := &heard{}
	var lines bytes.Buffer
	var err error
	h.Assessment, err = Run(context.Background(), []string{file}, Config{Record: func(e *event.Event) error {
		h.events = append(h.events, *e)
		fmt.Fprintln(&lines, e.Kind, e.Device, e.Peer, e.Attrs())
		return nil
	}})
	if err != nil || len(h.Inputs) != 1 || h.Inputs[0].Error != "" || len(h.Stats.Lost) != 0 {
		t.Fatalf("%v; %+v; lost %v", err, h.Inputs, h.Stats.Lost)
	}
	h.Inputs[0].Path = "peers.pcap" // the name of a folder is nobody's secret
	for name, write := range formats {
		var b bytes.Buffer
		if err := write(&b, h.Assessment); err != nil {
			t.Fatal(err)
		}
		silent(t, name, b.Bytes())
	}
	silent(t, "events", lines.Bytes())
	return h
}

// count adds up a number of the events of a kind that one station is said to
// have caused towards another, and counts them.
func (h *heard) count(kind event.Kind, from, to, operation string) (events int, sum int64) {
	for i := range h.events {
		e := &h.events[i]
		if e.Kind == kind && e.Device.Value == from && e.Peer.Value == to && e.Text(event.Operation) == operation {
			events++
			sum += e.Int(event.Count)
		}
	}
	return events, sum
}

// claims are the findings of one kind, as "device (detail of the title); subjects".
func (h *heard) claims(kind finding.Kind) (out []string) {
	name := map[string]string{}
	for i := range h.Devices {
		for _, a := range h.Devices[i].Addresses {
			if a.Kind == device.IP {
				name[h.Devices[i].ID] = a.Value
			}
		}
	}
	for i := range h.Findings {
		f := &h.Findings[i]
		if f.Kind == kind {
			out = append(out, fmt.Sprintf("%s%s; %d", name[f.Device], strings.TrimPrefix(f.Title, finding.Kinds[kind].Title), f.Subjects))
		}
	}
	slices.Sort(out)
	return out
}

// sessions are "protocol client server port count encrypted inferred".
func (h *heard) sessions() (out []string) {
	for _, s := range h.Sessions {
		out = append(out, fmt.Sprintln(s.Protocol, s.Client, s.Server, s.Port, s.Count, s.Encrypted, s.Inferred))
	}
	slices.Sort(out)
	return out
}

// A patientOf the ward, as objects have it.
type patientOf struct{ name, id, birth, sex, accession string }

var patients = [...]patientOf{
	{"Lindqvist^Anna", "STA-104233", "19580214", "F", "A104233"},
	{"Okafor^Ben", "STA-118520", "19910730", "M", "A118520"},
	{"Marchetti^Cleo", "STA-096114", "19741109", "F", "A096114"},
}

// ctImage makes an image that ct-1 took of a patient. args are dump2dcm's.
func ctImage(t testing.TB, p patientOf, n int, args ...string) string {
	study := "1.2.276.0.99999." + strings.TrimLeft(p.id[4:], "0")
	var b strings.Builder
	for _, e := range [][3]string{
		{"0008,0016", "UI", "1.2.840.10008.5.1.4.1.1.2"},
		{"0008,0018", "UI", fmt.Sprintf("%s.1.%d", study, n)},
		{"0008,0020", "DA", "20260303"},
		{"0008,0030", "TM", "065512"},
		{"0008,0050", "SH", p.accession},
		{"0008,0060", "CS", "CT"},
		{"0008,0070", "LO", "Lumen Imaging"},
		{"0008,0090", "PN", "Holm^Mira"},
		{"0008,1010", "SH", ctTitle},
		{"0008,1090", "LO", "Helia 64"},
		{"0010,0010", "PN", p.name},
		{"0010,0020", "LO", p.id},
		{"0010,0030", "DA", p.birth},
		{"0010,0040", "CS", p.sex},
		{"0018,1000", "LO", "H64-00217"},
		{"0018,1020", "LO", "11.0"},
		{"0020,000d", "UI", study},
		{"0020,000e", "UI", study + ".1"},
		{"0020,0013", "IS", strconv.Itoa(n)},
	} {
		fmt.Fprintf(&b, "(%s) %s [%s]\n", e[0], e[1], e[2])
	}
	b.WriteString("(0028,0002) US 1\n(0028,0004) CS [MONOCHROME2]\n(0028,0010) US 32\n(0028,0011) US 32\n" +
		"(0028,0100) US 16\n(0028,0101) US 12\n(0028,0102) US 11\n(0028,0103) US 0\n(7fe0,0010) OW ")
	pixels := strings.Repeat(fmt.Sprintf(`%04x\`, 100+n), 32*32)
	b.WriteString(pixels[:len(pixels)-1] + "\n")
	return testpeer.DICOMObject(t, b.String(), append([]string{"+l", "16384"}, args...)...)
}

// notShort skips what wants real peers when the tests are to be short.
func notShort(t testing.TB) {
	if testing.Short() {
		t.Skip("starts servers; not with -short")
	}
}

// TestDICOMPeers has DCMTK's clients talk with its archive and with Orthanc on
// random ports, and assesses what they said.
func TestDICOMPeers(t *testing.T) {
	notShort(t)
	t.Parallel()
	// The start of Patient ID in each transfer syntax (PS3.5 section 7.1, annex A).
	syntaxes := []struct{ dump, scu, wire string }{
		{"+ti", "-xi", "\x10\x00\x20\x00\x0a\x00\x00\x00STA-"},
		{"+te", "-xe", "\x10\x00\x20\x00LO\x0a\x00STA-"},
		{"+tb", "-xb", "\x00\x10\x00\x20LO\x00\x0aSTA-"},
		{"+td", "-xd", ""},
	}
	for _, tt := range []struct {
		name     string
		start    func(testing.TB, map[string]int) int
		deflated bool // it takes deflated data sets
	}{
		{"dcmqrscp", func(t testing.TB, peers map[string]int) int { return testpeer.Dcmqrscp(t, pacsTitle, peers) }, false},
		{"Orthanc", func(t testing.TB, peers map[string]int) int {
			port, _ := testpeer.Orthanc(t, pacsTitle, peers)
			return port
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			toView := testpeer.NewProxy(t, testpeer.Storescp(t))
			toXfer := testpeer.NewProxy(t, testpeer.Storescp(t))
			p := testpeer.NewProxy(t, tt.start(t, map[string]int{viewTitle: toView.Port, xferTitle: toXfer.Port}))
			var from []string // the stations of the associations
			call := func(station, title, program string, args ...string) {
				t.Helper()
				from = append(from, station)
				testpeer.Run(t, t.TempDir(), testpeer.DCMTK(t, program), append([]string{"-aet", title, "-aec", pacsTitle, "127.0.0.1", strconv.Itoa(p.Port)}, args...)...)
			}
			study := func(of patientOf) []string {
				return []string{"-S", "-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.276.0.99999." + strings.TrimLeft(of.id[4:], "0")}
			}
			anna, ben, cleo := patients[0], patients[1], patients[2]

			call(ct1, ctTitle, "echoscu")
			ofAnna := 0
			for _, s := range syntaxes {
				if s.dump == "+td" && !tt.deflated {
					continue
				}
				ofAnna++
				call(ct1, ctTitle, "storescu", s.scu, "-R", ctImage(t, anna, ofAnna, s.dump))
			}
			call(ct1, ctTitle, "storescu", ctImage(t, ben, 1), ctImage(t, cleo, 1), ctImage(t, cleo, 2))
			stored := ofAnna + 3
			call(view1, viewTitle, "findscu", "-S", "-k", "0008,0052=STUDY", "-k", "0010,0010=*", "-k", "0010,0020", "-k", "0010,0030", "-k", "0020,000d")
			call(view1, viewTitle, "movescu", append([]string{"-aem", viewTitle}, study(anna)...)...)
			call(view1, viewTitle, "getscu", study(cleo)...)
			call(ct1, ctTitle, "movescu", append([]string{"-aem", xferTitle}, study(ben)...)...)
			call(ct1, ctTitle, "movescu", append([]string{"-aem", xferTitle}, study(cleo)...)...)

			tap := newWiretap(t)
			said := p.Conversations()
			if len(said) != len(from) {
				t.Fatalf("%d associations, want %d", len(said), len(from))
			}
			for i, c := range said {
				tap.conversation(from[i], pacs, p.Port, c)
			}
			for i, s := range syntaxes[:ofAnna] {
				var sent []byte
				for _, piece := range said[1+i].Pieces {
					sent = append(sent, piece.Bytes...)
				}
				if !bytes.Contains(sent, []byte(s.wire)) || s.wire == "" && bytes.Contains(sent, []byte("STA-")) {
					t.Errorf("%s: not sent in this transfer syntax", s.scu)
				}
			}
			moves := 0
			for _, to := range []struct {
				p  *testpeer.Proxy
				at string
			}{{toView, view1}, {toXfer, laptop}} {
				for _, c := range to.p.Conversations() {
					tap.conversation(pacs, to.at, to.p.Port, c)
					moves++
				}
			}
			file := tap.save()
			h := hear(t, file)

			byCT, byView := 1+ofAnna+1+2, 3
			want := []string{
				fmt.Sprintln("dicom", ct1, pacs, p.Port, byCT, false, false),
				fmt.Sprintln("dicom", view1, pacs, p.Port, byView, false, false),
				fmt.Sprintln("dicom", pacs, view1, toView.Port, len(toView.Conversations()), false, false),
				fmt.Sprintln("dicom", pacs, laptop, toXfer.Port, len(toXfer.Conversations()), false, false),
			}
			slices.Sort(want)
			if d := cmp.Diff(want, h.sessions()); d != "" {
				t.Errorf("sessions: %s", d)
			}

			// Who is who.
			d := station(t, h.Assessment, ct1)
			if got := fmt.Sprint(d.Manufacturer, ", ", d.Model, ", ", d.Version, ", ", d.Serial, ", ", d.Class, ", ", d.Therapy, ", ", d.Medical); got != "Lumen Imaging, Helia 64, 11.0, H64-00217, CT scanner, imaging, true" {
				t.Errorf("the scanner is %s", got)
			}
			if !slices.Contains(d.Addresses, device.Address{Kind: device.AET, Value: ctTitle}) {
				t.Errorf("the scanner's addresses: %v", d.Addresses)
			}
			d = station(t, h.Assessment, pacs)
			if d.Class != "archive" || d.Therapy != device.Records || d.Manufacturer != "" || !slices.Contains(d.Addresses, device.Address{Kind: device.AET, Value: pacsTitle}) {
				t.Errorf("the archive is %+v", d)
			}
			for _, at := range []string{view1, laptop} { // no title of theirs may be told
				if d := station(t, h.Assessment, at); d.Medical || slices.ContainsFunc(d.Addresses, func(a device.Address) bool { return a.Kind == device.AET }) {
					t.Errorf("%s is %+v", at, d)
				}
			}

			// What was asked for, and what was moved.
			for _, w := range []struct {
				kind                event.Kind
				from, to, operation string
				events              int
				sum                 int64
			}{
				{event.RecordsMoved, ct1, pacs, "C-STORE", stored, int64(stored)},
				{event.RecordsRequested, view1, pacs, "C-FIND", 1, 0},
				{event.RecordsMoved, pacs, view1, "C-FIND", 1, 3},
				{event.RecordsRequested, view1, pacs, "C-MOVE", 1, 0},
				{event.RecordsMoved, pacs, view1, "C-MOVE", 1, int64(ofAnna)},
				{event.RecordsRequested, view1, pacs, "C-GET", 1, 0},
				{event.RecordsMoved, pacs, view1, "C-GET", 1, 2},
				{event.RecordsMoved, pacs, view1, "C-STORE", ofAnna + 2, int64(ofAnna + 2)},
				{event.RecordsRequested, ct1, pacs, "C-MOVE", 2, 0},
				{event.RecordsMoved, pacs, ct1, "C-MOVE", 2, 3},
				{event.RecordsMoved, pacs, laptop, "C-STORE", 3, 3},
				{event.RecordsMoved, ct1, pacs, "C-MOVE", 0, 0},
			} {
				if n, sum := h.count(w.kind, w.from, w.to, w.operation); n != w.events || sum != w.sum {
					t.Errorf("%s %s to %s, %s: %d of %d records, want %d of %d", w.kind, w.from, w.to, w.operation, n, sum, w.events, w.sum)
				}
			}
			subjects := map[int64]int{} // of all stores
			names := map[device.Address]int{}
			for i := range h.events {
				switch e := &h.events[i]; {
				case e.Kind == event.RecordsMoved && e.Text(event.Operation) == "C-STORE":
					subjects[e.Int(event.Subject)]++
				case e.Kind == event.NameSeen && e.Int(event.AddressKind) == int64(device.AET):
					names[e.Device]++
				case e.Kind == event.MalformedSeen, e.Kind == event.BoundReached:
					t.Errorf("packet %d: %s %v", e.Sighting.Packet, e.Kind, e.Attrs())
				}
			}
			if len(subjects) != 3 || subjects[0] != 0 {
				t.Errorf("patients of the stored objects: %v", subjects)
			}
			ip := func(s string) device.Address { return device.Address{Kind: device.IP, Value: s} }
			wantNames := map[device.Address]int{
				ip(ct1): byCT, ip(view1): byView + len(toView.Conversations()), ip(laptop): len(toXfer.Conversations()), ip(pacs): byCT + byView + moves,
			}
			if d := cmp.Diff(wantNames, names); d != "" {
				t.Errorf("AE titles: %s", d)
			}

			// What is wrong with it.
			const phi = " (name, birth date, sex, record number, visit, images, staff name, 3 patients); 3"
			for _, w := range []struct {
				kind finding.Kind
				want []string
			}{
				{finding.PHIInClear, []string{ct1 + phi, pacs + phi}},
				// That VIEW1 fetches for itself is its work.
				{finding.RecordsToUnexpectedPeer, []string{ct1 + "; 0"}},
				{finding.BulkRecordAccess, nil},
				{finding.MalformedMessage, nil},
				{finding.SegmentOverlap, nil},
			} {
				if d := cmp.Diff(w.want, h.claims(w.kind)); d != "" {
					t.Errorf("%s: %s", w.kind, d)
				}
			}
			for _, f := range h.Findings {
				if finding.Kinds[f.Kind].Group == finding.WayIn {
					t.Errorf("normal work: %s", report.FindingLine(h.Assessment, &f))
				}
			}
			againstTshark(t, file, h, p.Port, toView.Port, toXfer.Port)
			cut(t, tap.buf.Bytes())
		})
	}
}

// TestDICOMPeersMidstream begins to capture at each piece of an association,
// in which three objects are stored.
func TestDICOMPeersMidstream(t *testing.T) {
	notShort(t)
	t.Parallel()
	p := testpeer.NewProxy(t, testpeer.Storescp(t))
	testpeer.Run(t, t.TempDir(), testpeer.DCMTK(t, "storescu"), "-xe", "-aet", ctTitle, "-aec", pacsTitle, "127.0.0.1", strconv.Itoa(p.Port),
		ctImage(t, patients[0], 1), ctImage(t, patients[1], 1), ctImage(t, patients[2], 1))
	pieces := p.Conversations()[0].Pieces
	before := 3
	for i := range pieces {
		rest := pieces[i:]
		// Where no P-DATA-TF begins any more, what is left is ten bytes of release.
		last := !slices.ContainsFunc(rest, func(p testpeer.Piece) bool { return p.Bytes[0] == byte(dicom.PDataTF) })
		tap := newWiretap(t)
		tap.late = true
		tap.conversation(ct1, pacs, p.Port, &testpeer.Conversation{Pieces: rest})
		h := hear(t, tap.save())
		protocol := "dicom"
		if last {
			protocol = "unknown"
		}
		if d := cmp.Diff([]string{fmt.Sprintln(protocol, ct1, pacs, p.Port, 1, false, false)}, h.sessions()); d != "" {
			t.Errorf("from piece %d on: %s", i, d)
		}
		subjects := 0
		for _, f := range h.Findings {
			if f.Kind != finding.PHIInClear {
				t.Errorf("from piece %d on: %s", i, report.FindingLine(h.Assessment, &f))
			}
			subjects = f.Subjects
		}
		// With the negotiation all is understood; each piece later misses one patient at most.
		if hello := rest[0].Bytes[0] == byte(dicom.AssociateRQ) || rest[0].Bytes[0] == byte(dicom.AssociateAC); hello && subjects != 3 || before-subjects > 1 || subjects > before {
			t.Errorf("from piece %d on: %d patients, %d before", i, subjects, before)
		}
		before = subjects
	}
	if before != 0 {
		t.Errorf("%d patients in the last piece", before)
	}
}

// againstTshark counts the same messages with Wireshark's dissector.
func againstTshark(t *testing.T, file string, h *heard, ports ...int) {
	t.Helper()
	t.Run("tshark", func(t *testing.T) {
		args := []string{"-n", "-r", file, "-Y", "dicom", "-T", "fields", "-e", "_ws.col.Info"}
		for _, p := range ports {
			args = append(args, "-d", fmt.Sprintf("tcp.port==%d,dicom", p))
		}
		out := testpeer.Run(t, t.TempDir(), testpeer.Tool(t, "tshark", "tshark"), args...)
		ours := map[string]int{}
		for i := range h.events {
			switch e := &h.events[i]; {
			case e.Kind == event.ProtocolSeen && e.Text(event.Protocol) == "dicom":
				ours["A-ASSOCIATE request"]++
			case e.Kind == event.RecordsRequested, e.Kind == event.RecordsMoved && e.Text(event.Operation) == "C-STORE":
				ours[e.Text(event.Operation)+"-RQ "]++
			}
		}
		theirs := map[string]int{}
		for _, message := range []string{"A-ASSOCIATE request", "C-STORE-RQ ", "C-FIND-RQ ", "C-MOVE-RQ ", "C-GET-RQ "} {
			theirs[message] = strings.Count(out, message)
		}
		if d := cmp.Diff(theirs, ours); d != "" {
			t.Errorf("tshark (-) and Myelin (+) count: %s", d)
		}
	})
}

// cut assesses copies of a capture that end inside a record: what is whole is
// read, and where the rest is missing is said.
func cut(t *testing.T, b []byte) {
	t.Helper()
	ends := []int{24} // of the file's header (draft-ietf-opsawg-pcap section 4), and of each record
	for at := ends[0]; at < len(b); ends = append(ends, at) {
		at += 16 + int(binary.LittleEndian.Uint32(b[at+8:]))
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	name := filepath.Join(t.TempDir(), "cut.pcap")
	at := []int{1, 3, 4, ends[0] - 1, ends[0], ends[1] - 1, ends[1], ends[1] + 1, len(b) - 1}
	for range 25 {
		at = append(at, 1+rng.IntN(len(b)-1))
	}
	for _, n := range at {
		if err := os.WriteFile(name, b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Run(context.Background(), []string{name}, Config{})
		if err != nil || len(a.Inputs) != 1 {
			t.Fatalf("seed %d, cut at %d: %v", seed, n, err)
		}
		whole, exact := slices.BinarySearch(ends, n)
		if !exact {
			whole-- // records, of which the last is not whole
		}
		in, want := a.Inputs[0], ""
		switch {
		case whole < 0: // not even the file's header is there
			whole = 0
		case !exact:
			want = fmt.Sprintf("packet %d at byte %d", whole+1, ends[whole])
		}
		if (in.Error == "") != exact || !strings.Contains(in.Error, want) || in.Packets != uint64(whole) {
			t.Errorf("seed %d, cut at %d: %d packets, error %q; want %d and %q", seed, n, in.Packets, in.Error, whole, want)
		}
	}
}

// rsaCertificate is [testpeer.Certificate] with the kind of key that older
// cipher suites want.
func rsaCertificate(t testing.TB) (cert, key string) {
	k, err := rsa.GenerateKey(crand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pacs.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func ecdsaCertificate(t testing.TB) (cert, key string) { return testpeer.Certificate(t) }

// suites are cipher suites by OpenSSL's names, as IANA numbers them.
var suites = map[string]int64{
	"NULL-SHA": 0x0002, "AES128-SHA": 0x002f, "ECDHE-ECDSA-AES256-GCM-SHA384": 0xc02c, "TLS_AES_256_GCM_SHA384": 0x1302,
}

// TestDICOMPeersTLS is the same inside TLS, of which DCMTK says what it agreed on.
func TestDICOMPeersTLS(t *testing.T) {
	notShort(t)
	t.Parallel()
	agreed := regexp.MustCompile(`Protocol +: (TLSv[0-9.]+)\s+D: +Ciphersuite +: ([A-Z0-9_-]+)`)
	for _, tt := range []struct {
		name        string
		certificate func(testing.TB) (cert, key string)
		profile     []string // of both sides
		orthanc     bool
		want        string // version and suite
		encrypted   bool
	}{
		{"Orthanc", ecdsaCertificate, nil, true, "TLS 1.3 TLS_AES_256_GCM_SHA384", true},
		{"storescp", ecdsaCertificate, nil, false, "TLS 1.3 TLS_AES_256_GCM_SHA384", true},
		{"extended BCP 195 profile", ecdsaCertificate, []string{"+pz"}, false, "TLS 1.2 ECDHE-ECDSA-AES256-GCM-SHA384", true},
		{"AES profile", rsaCertificate, []string{"+pa"}, false, "TLS 1.2 AES128-SHA", true},
		{"unencrypted profile", rsaCertificate, []string{"+pn"}, false, "TLS 1.2 NULL-SHA", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert, key := tt.certificate(t)
			tls := append([]string{"+tls", key, cert, "+cf", cert}, tt.profile...)
			var server int
			if tt.orthanc {
				server, _ = testpeer.Orthanc(t, pacsTitle, nil, map[string]any{
					"DicomTlsEnabled": true, "DicomTlsCertificate": cert, "DicomTlsPrivateKey": key, "DicomTlsTrustedCertificates": cert,
				})
			} else {
				server = testpeer.Storescp(t, tls...)
			}
			p := testpeer.NewProxy(t, server)
			call := func(program string, args ...string) {
				t.Helper()
				args = append(append(append([]string{"-d", "-aet", ctTitle, "-aec", pacsTitle}, tls...), "127.0.0.1", strconv.Itoa(p.Port)), args...)
				out := testpeer.Run(t, t.TempDir(), testpeer.DCMTK(t, program), args...)
				m := agreed.FindStringSubmatch(out)
				if m == nil {
					t.Fatalf("%s does not say what it agreed on:\n%s", program, out)
				}
				if got := strings.Replace(m[1], "TLSv", "TLS ", 1) + " " + m[2]; got != tt.want {
					t.Fatalf("%s says %s, want %s", program, got, tt.want)
				}
			}
			call("echoscu")
			call("storescu", ctImage(t, patients[0], 1), ctImage(t, patients[1], 1))
			if tt.orthanc {
				call("findscu", "-S", "-k", "0008,0052=STUDY", "-k", "0010,0010=*", "-k", "0010,0020")
			}
			said := p.Conversations()

			for _, port := range []int{p.Port, 2762} { // PS3.15 section B.1: dicom-tls
				tap := newWiretap(t)
				for _, c := range said {
					tap.conversation(ct1, pacs, port, c)
				}
				h := hear(t, tap.save())
				calls := len(said)
				want := []string{fmt.Sprintln("tls", ct1, pacs, port, calls, tt.encrypted, false)}
				if port == 2762 {
					want = append([]string{fmt.Sprintln("dicom", ct1, pacs, port, calls, tt.encrypted, true)}, want...)
				}
				if d := cmp.Diff(want, h.sessions()); d != "" {
					t.Errorf("sessions: %s", d)
				}
				var channels []string
				certificates := map[string]int{}
				for i := range h.events {
					switch e := &h.events[i]; e.Kind {
					case event.TLSSeen:
						suite := e.Int(event.Suite)
						for name, number := range suites {
							if number == suite {
								channels = append(channels, strings.TrimSpace(e.Text(event.Version)+" "+name+" "+e.Text(event.Reason)))
							}
						}
					case event.CertificateSeen:
						if got := e.Int(event.Problems); got != event.CertificateSelfSigned {
							t.Errorf("problems of %s's certificate: %#x", e.Device, got)
						}
						certificates[e.Device.Value]++
					case event.ProtocolSeen, event.NameSeen, event.ConversationEnded:
					default:
						t.Errorf("packet %d: %s %v", e.Sighting.Packet, e.Kind, e.Attrs())
					}
				}
				channel := tt.want
				if !tt.encrypted {
					channel += " no encryption"
				}
				if d := cmp.Diff(slices.Repeat([]string{channel}, calls), channels); d != "" {
					t.Errorf("channels: %s", d)
				}
				// RFC 8446 section 4.4.2: from TLS 1.3 on certificates are encrypted.
				const selfSigned = " (self-signed); 0"
				var flawed []string
				wantCertificates := map[string]int{}
				if !strings.HasPrefix(tt.want, "TLS 1.3") {
					flawed = []string{ct1 + selfSigned, pacs + selfSigned}
					wantCertificates = map[string]int{ct1: calls, pacs: calls}
				}
				if d := cmp.Diff(wantCertificates, certificates); d != "" {
					t.Errorf("certificates: %s", d)
				}
				var weak []string
				if !tt.encrypted {
					weak = []string{pacs + "; 0"}
				}
				if d := cmp.Diff(flawed, h.claims(finding.CertificateInvalid)); d != "" {
					t.Errorf("certificate-invalid: %s", d)
				}
				if d := cmp.Diff(weak, h.claims(finding.WeakTLS)); d != "" {
					t.Errorf("weak-tls: %s", d)
				}
				if n := len(flawed) + len(weak); len(h.Findings) != n {
					t.Errorf("%d findings, want %d: %+v", len(h.Findings), n, h.Findings)
				}
				if d := station(t, h.Assessment, ct1); d.Manufacturer != "" || d.Model != "" || d.Serial != "" {
					t.Errorf("what is encrypted says who it is: %+v", d)
				}
			}
		})
	}
}
