// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/dicom"
	"github.com/myelin-health/myelin/wire"
)

// What the tests send (PS3.8 section 9.3, PS3.7 annex E), in implicit VR little endian.

func dicomPDU(typ dicom.PDUType, body ...[]byte) []byte {
	p := bytes.Join(body, nil)
	return append(binary.BigEndian.AppendUint32([]byte{byte(typ), 0}, uint32(len(p))), p...)
}

func dicomItem(typ byte, body ...[]byte) []byte {
	p := bytes.Join(body, nil)
	return append(binary.BigEndian.AppendUint16([]byte{typ, 0}, uint16(len(p))), p...)
}

func dicomAssociate(typ dicom.PDUType, called, calling string, user ...[]byte) []byte {
	titles := fmt.Sprintf("\x00\x01\x00\x00%-16s%-16s", called, calling)
	return dicomPDU(typ, []byte(titles), make([]byte, 32), dicomItem(0x10, []byte("1.2.840.10008.3.1.1.1")),
		dicomItem(0x20+byte(typ-dicom.AssociateRQ), []byte{1, 0, 0, 0}, dicomItem(0x40, []byte("1.2.840.10008.1.2"))),
		dicomItem(0x50, user...))
}

// dicomElements writes tag, value, tag, value ...; a number is a US.
func dicomElements(tagsAndValues ...any) (out []byte) {
	for i := 0; i < len(tagsAndValues); i += 2 {
		tag, value := tagsAndValues[i].(int), ""
		switch v := tagsAndValues[i+1].(type) {
		case int:
			value = string(binary.LittleEndian.AppendUint16(nil, uint16(v)))
		case string:
			if value = v; len(v)%2 == 1 {
				value += " "
			}
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(tag>>16))
		out = binary.LittleEndian.AppendUint16(out, uint16(tag))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(value)))
		out = append(out, value...)
	}
	return out
}

// dicomMessage is a whole DIMSE message; data may be nil.
func dicomMessage(field dicom.CommandField, data []byte, command ...any) []byte {
	kind := 0x0101
	if data != nil {
		kind = 1
	}
	c := dicomElements(append([]any{0x00000100, int(field), 0x00000800, kind}, command...)...)
	c = append(dicomElements(0x00000000, string(binary.LittleEndian.AppendUint32(nil, uint32(len(c))))), c...)
	fragment := func(mch byte, p []byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(p)+2)), 1, mch), p...)
	}
	b := dicomPDU(dicom.PDataTF, fragment(3, c))
	if data != nil {
		half := len(data) / 2
		b = append(b, dicomPDU(dicom.PDataTF, fragment(0, data[:half]))...)
		b = append(b, dicomPDU(dicom.PDataTF, fragment(2, data[half:]))...)
	}
	return b
}

const (
	dicomCT    = "1.2.840.10008.5.1.4.1.1.2"
	dicomFind  = "1.2.840.10008.5.1.4.1.2.2.1"
	dicomMove  = "1.2.840.10008.5.1.4.1.2.2.2"
	dicomGet   = "1.2.840.10008.5.1.4.1.2.2.3"
	dicomSteps = "1.2.840.10008.3.1.2.3.3"
	answered   = dicom.CommandField(0x8000)
)

var dicomRelease = dicomPDU(dicom.ReleaseRQ, make([]byte, 4))

// dicomImage is an object of ct-1.
func dicomImage(station, serial, patient string) []byte {
	return dicomElements(0x00080018, "1.2.276.0.99999.1", 0x00080060, "CT", 0x00080070, "Lumen Imaging", 0x00080090, "Holm^Mira",
		0x00081010, station, 0x00081090, "Helia 64", 0x00100010, "Lindqvist^Anna", 0x00100020, patient, 0x00100030, "19610412", 0x00100040, "F",
		0x00181000, serial, 0x00181020, "11.0", 0x7FE00010, strings.Repeat("p", 1000))
}

func dicomStore(object []byte, command ...any) []byte {
	return dicomMessage(dicom.CStoreRQ, object, append([]any{0x00000002, dicomCT, 0x00000110, 1, 0x00001000, "1.2.276.0.99999.1"}, command...)...)
}

func dicomStored() []byte {
	return dicomMessage(dicom.CStoreRQ|answered, nil, 0x00000002, dicomCT, 0x00000120, 1, 0x00000900, 0)
}

// dicomLines writes events for comparison: kind, side and attributes without
// their keys, patients as numbers in the order of appearance.
func dicomLines(events []event.Event) (lines []string) {
	subjects := map[int64]string{0: "-"}
	for i := range events {
		e := &events[i]
		side := "client"
		if e.Device.Value == "10.20.3.10" {
			side = "server"
		}
		line := e.Kind.String() + " " + side
		for _, a := range e.Attrs() {
			switch {
			case a.Key == event.Protocol:
			case a.Key == event.Subject:
				if subjects[a.Int] == "" {
					subjects[a.Int] = "patient" + strconv.Itoa(len(subjects))
				}
				line += " " + subjects[a.Int]
			case a.Text != "":
				line += fmt.Sprintf(" %q", a.Text)
			default:
				line += fmt.Sprintf(" %d", a.Int)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestDICOMObserver(t *testing.T) {
	request := client(dicomAssociate(dicom.AssociateRQ, "ADAPACS", "CT1", dicomItem(0x52, []byte("1.2.276.0.7230010"))))
	accept := server(dicomAssociate(dicom.AssociateAC, "ADAPACS", "CT1"))
	release := client(dicomRelease)
	image := dicomImage("CT1", "LH-0042", "ADA-0001")
	const (
		n1       = `name-seen client 5 "CT1"`
		n2       = `name-seen server 5 "ADAPACS"`
		fields   = event.FieldName | event.FieldRecordNumber | event.FieldBirthDate | event.FieldSex | event.FieldImage | event.FieldStaffName
		archive  = `identity-seen server "archive" 15`
		scanner  = `identity-seen client "Lumen Imaging" "Helia 64" "LH-0042" "11.0" "CT scanner" 12`
		maker    = `maker-seen client "Lumen Imaging" "Helia 64" "CT scanner" 12`
		passes   = `maker-seen client`
		maxField = event.FieldRecordNumber
	)
	phi := func(side, patient string) string {
		return fmt.Sprintf(`patient-data-seen %s %d %s 0 "C-STORE"`, side, fields, patient)
	}
	moved := func(side, patient string) string {
		return fmt.Sprintf(`records-moved %s "C-STORE" %s 1 %d`, side, patient, len(image))
	}
	find := dicomMessage(dicom.CFindRQ, dicomElements(0x00080052, "STUDY", 0x00100010, "*", 0x00100020, "ada-0001", 0x00100030, ""),
		0x00000002, dicomFind, 0x00000110, 7)
	match := func(patient string) []byte {
		return dicomMessage(dicom.CFindRQ|answered, dicomElements(0x00100010, "Lindqvist^Anna", 0x00100020, patient), 0x00000002, dicomFind, 0x00000120, 7, 0x00000900, 0xff00)
	}
	matches := len(dicomElements(0x00100010, "Lindqvist^Anna", 0x00100020, "ADA-0001"))
	move := func(field dicom.CommandField, class string) []byte {
		return dicomMessage(field, dicomElements(0x00080052, "STUDY", 0x0020000D, "1.2.3"), 0x00000002, class, 0x00000110, 8, 0x00000600, "XFER1")
	}
	for _, tt := range []struct {
		name string
		in   []piece
		want []string
	}{
		{
			"a scanner stores",
			[]piece{request, accept, client(dicomStore(image)), server(dicomStored()), client(dicomStore(image)), server(dicomStored()), release},
			[]string{n1, n2, phi("client", "patient1"), moved("client", "patient1"), archive, moved("client", "patient1"), scanner},
		},
		{
			"the same, seen from one side",
			[]piece{request, client(dicomStore(image)), release},
			[]string{n1, n2, phi("client", "patient1"), moved("client", "patient1"), scanner},
		},
		{
			"a station name that is not the title",
			[]piece{request, accept, client(dicomStore(dicomImage("MR7", "LH-0042", "ADA-0001"))), release},
			[]string{n1, n2, phi("client", "patient1"), moved("client", "patient1"), maker},
		},
		{
			"two serial numbers",
			[]piece{request, accept, client(dicomStore(image)), client(dicomStore(dicomImage("CT1", "LH-0043", "ADA-0002"))), release},
			[]string{n1, n2, phi("client", "patient1"), moved("client", "patient1"), phi("client", "patient2"), moved("client", "patient2"), passes},
		},
		{
			"for somebody's C-MOVE",
			[]piece{request, accept, client(dicomStore(image, 0x00001030, "XFER1", 0x00001031, 8)), server(dicomStored()), release},
			[]string{n1, n2, phi("client", "patient1"), moved("client", "patient1"), passes, `maker-seen server`},
		},
		{
			"refused",
			[]piece{client(dicomAssociate(dicom.AssociateRQ, "ADAPACS", "CT1")), server(dicomPDU(dicom.AssociateRJ, []byte{0, 1, 1, 7}))},
			[]string{n1},
		},
		{
			"a search",
			[]piece{
				request, accept, client(find), server(match("ADA-0001")), server(match("ADA-0001")),
				server(dicomMessage(dicom.CFindRQ|answered, nil, 0x00000002, dicomFind, 0x00000120, 7, 0x00000900, 0)), release,
			},
			[]string{
				n1, n2,
				fmt.Sprintf(`patient-data-seen client %d patient1 0 "C-FIND"`, event.FieldRecordNumber),
				`records-requested client "C-FIND" 0 patient1`,
				archive,
				fmt.Sprintf(`patient-data-seen server %d patient1 0 "C-FIND"`, event.FieldName|event.FieldRecordNumber),
				fmt.Sprintf(`records-moved server "C-FIND" 2 %d 0`, 2*matches),
			},
		},
		{
			"a search for all",
			[]piece{request, accept, client(dicomMessage(dicom.CFindRQ, dicomElements(0x00100010, "*", 0x00100020, ""), 0x00000002, dicomFind, 0x00000110, 7)), release},
			[]string{n1, n2, `records-requested client "C-FIND" 0 -`},
		},
		{
			"records moved elsewhere",
			[]piece{
				request, accept, client(move(dicom.CMoveRQ, dicomMove)),
				server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, 8, 0x00000900, 0xff00, 0x00001020, 10, 0x00001021, 390)),
				server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, 8, 0x00000900, 0, 0x00001021, 400)), release,
			},
			[]string{n1, n2, `records-requested client "C-MOVE" "XFER1" -`, archive, `records-moved server "C-MOVE" 400 0 "XFER1"`, passes},
		},
		{
			"the last answer without a count",
			[]piece{
				request, accept, client(move(dicom.CMoveRQ, dicomMove)),
				server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, 8, 0x00000900, 0xff00, 0x00001021, 399)),
				server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, 8, 0x00000900, 0xfe00)), release,
			},
			[]string{n1, n2, `records-requested client "C-MOVE" "XFER1" -`, archive, `records-moved server "C-MOVE" 399 0 "XFER1"`, passes},
		},
		{
			"no last answer",
			[]piece{
				request, accept, client(move(dicom.CMoveRQ, dicomMove)),
				server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, 8, 0x00000900, 0xff00, 0x00001021, 3)),
			},
			[]string{n1, n2, `records-requested client "C-MOVE" "XFER1" -`, archive, `records-moved server "C-MOVE" 3 0 "XFER1"`, passes},
		},
		{
			"records fetched",
			[]piece{
				request, accept, client(move(dicom.CGetRQ, dicomGet)), server(dicomStore(image)), client(dicomStored()),
				server(dicomMessage(dicom.CGetRQ|answered, nil, 0x00000120, 8, 0x00000900, 0, 0x00001021, 1)), release,
			},
			[]string{n1, n2, `records-requested client "C-GET" "XFER1" -`, phi("server", "patient1"), moved("server", "patient1"), archive, `records-moved server "C-GET" 1 0 "XFER1"`, passes},
		},
		{
			"refused search",
			[]piece{request, accept, client(find), server(dicomMessage(dicom.CFindRQ|answered, nil, 0x00000002, dicomFind, 0x00000120, 7, 0x00000900, 0xa700)), release},
			[]string{n1, n2, fmt.Sprintf(`patient-data-seen client %d patient1 0 "C-FIND"`, event.FieldRecordNumber), `records-requested client "C-FIND" 0 patient1`, `maker-seen server`},
		},
		{
			"a procedure step",
			[]piece{
				request, accept, client(dicomMessage(dicom.NCreateRQ, dicomElements(0x00400241, "CT1"), 0x00000002, dicomSteps)),
				client(dicomMessage(dicom.NCreateRQ, dicomElements(0x00400241, "CT1"), 0x00000002, dicomSteps)), release,
			},
			[]string{n1, n2, `report-seen client "N-CREATE"`},
		},
		{
			"a data set that is not one",
			[]piece{request, accept, client(dicomStore(append(dicomElements(0x00100010, "Lindqvist^Anna"), "\xfe\xff\x0d\xe0\x00\x00\x00\x00"...))), release},
			[]string{n1, n2, `malformed-seen client "Item" "invalid value"`, fmt.Sprintf(`patient-data-seen client %d - 0 "C-STORE"`, event.FieldName), `records-moved client "C-STORE" - 1 30`},
		},
		{
			"seen from the middle",
			[]piece{client(dicomStore(image)[500:]), client(dicomStore(image)), server(dicomStored()), release},
			[]string{phi("client", "patient1"), moved("client", "patient1"), archive, maker},
		},
	} {
		for _, cut := range []string{"whole", "bytes", "random"} {
			var in []piece
			for _, p := range tt.in {
				for b := p.b; len(b) > 0; {
					n := len(b)
					switch cut {
					case "bytes":
						n = 1
					case "random":
						n = 1 + rand.IntN(n)
					}
					in = append(in, piece{p.from, b[:n]})
					b = b[n:]
				}
			}
			if d := cmp.Diff(tt.want, dicomLines(observe(t, newDICOMObserver(), in...))); d != "" {
				t.Errorf("%s, %s: %s", tt.name, cut, d)
			}
		}
	}
}

func TestDICOMLogin(t *testing.T) {
	identity := func(typ byte, passcode string) []byte {
		return dicomItem(0x58, []byte{typ, 0, 0, 5}, []byte("svc01"), []byte{0, byte(len(passcode))}, []byte(passcode))
	}
	accept, reject := dicomAssociate(dicom.AssociateAC, "ADAPACS", "CT1"), dicomPDU(dicom.AssociateRJ, []byte{0, 1, 1, 1})
	for _, tt := range []struct {
		name   string
		user   []byte
		answer []byte
		want   string
	}{
		{"accepted", identity(dicom.UserNamePasscode, "secret"), accept, `login-seen client "user-identity" 1 0`},
		{"refused", identity(dicom.UserNamePasscode, "secret"), reject, `login-seen client "user-identity" 2 0`},
		{"not answered", identity(dicom.UserNamePasscode, "secret"), nil, `login-seen client "user-identity" 0 0`},
		{"name only", identity(dicom.UserName, ""), accept, ""},
		{"empty passcode", identity(dicom.UserNamePasscode, ""), accept, ""},
	} {
		got := ""
		for _, line := range dicomLines(observe(t, newDICOMObserver(), client(dicomAssociate(dicom.AssociateRQ, "ADAPACS", "CT1", tt.user)), server(tt.answer))) {
			if strings.HasPrefix(line, "login") {
				got += line
			}
			if strings.Contains(line, "svc01") || strings.Contains(line, "secret") {
				t.Errorf("%s: %s", tt.name, line)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What is remembered of an association is bounded, and what is forgotten is
// said again rather than left out.
func TestDICOMObserverBounds(t *testing.T) {
	in := []piece{client(dicomAssociate(dicom.AssociateRQ, "ADAPACS", "CT1"))}
	store := func(patient int) {
		in = append(in, client(dicomStore(dicomImage("CT1", "LH-0042", fmt.Sprintf("ADA-%04d", patient)))))
	}
	for range 3 {
		for i := range maxDICOMSubjects {
			store(i)
		}
	}
	count := func() (n int) {
		for _, line := range dicomLines(observe(t, newDICOMObserver(), in...)) {
			if strings.HasPrefix(line, "patient-data-seen") {
				n++
			}
		}
		return n
	}
	if n := count(); n != maxDICOMSubjects {
		t.Errorf("%d patients were told %d times", maxDICOMSubjects, n)
	}
	store(maxDICOMSubjects)
	store(0)
	if n := count(); n != maxDICOMSubjects+2 {
		t.Errorf("one patient more, and the forgotten first: told %d times", n)
	}

	in = in[:1]
	for i := range 2 * maxDICOMRequests {
		in = append(in, client(dicomMessage(dicom.CMoveRQ, dicomElements(0x0020000D, "1.2.3"), 0x00000002, dicomMove, 0x00000110, i, 0x00000600, "XFER1")))
	}
	in = append(in, server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, 2*maxDICOMRequests-1, 0x00000900, 0, 0x00001021, 5)))
	got := dicomLines(observe(t, newDICOMObserver(), in...))
	if last := got[len(got)-2]; last != `records-moved server "C-MOVE" 5 0 "XFER1"` {
		t.Errorf("more requests at a time than are remembered: %q", got)
	}
}

func TestDICOMOrganisation(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"1.2.840.113619.6.55", "1.2.840.113619.2.55.3", true},
		{"1.3.12.2.1107.5.1.4", "1.3.12.2.1107.5.2", true},
		{"1.3.12.2.1107.5.1.4", "1.3.12.2.1108.5.2", false},
		{"1.2.276.0.7230010.3.0.3.6.7", "1.2.276.0.7230010.3.1.4.1", true},
		{"1.2.276.0.7230010.3", "1.2.276.0.7230011.3", false},
		{"1.2.840.10008.1", "1.2.840.10008.5", false},
		{"1.2.840", "1.2.840", false},
		{"", "", false},
	} {
		if got := sameRoot(tt.a, tt.b); got != tt.want {
			t.Errorf("%s and %s: %t", tt.a, tt.b, got)
		}
	}
	for _, tt := range []struct {
		title, station string
		want           bool
	}{{"CT1", "CT1", true}, {"ct-1", "CT1", true}, {"AE_CT66123", "CT66123", true}, {"CT", "CT", false}, {"ADAPACS", "CT1", false}, {"", "", false}, {"CT1", "", false}} {
		if got := sameStation(tt.title, tt.station); got != tt.want {
			t.Errorf("%s and %s: %t", tt.title, tt.station, got)
		}
	}
}

// replayDICOM hands a capture to DICOM observers, one for each TCP conversation.
func replayDICOM(t *testing.T, name string) []event.Event {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "captures", name))
	if err != nil {
		t.Skipf("the captures beside the repository (../shared/captures) are not here: %v", err)
	}
	defer f.Close()
	r, err := capture.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []stamped
	s := newShard([]byte("the key of tests"))
	var ends []ended
	s.out, s.ends, s.verbose = &out, &ends, true
	s.opened = func(x *exchange) { x.id, x.obs = proto.DICOM, newDICOMObserver() }
	var frame capture.Frame
	for {
		if err := r.ReadFrame(&frame); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		var p wire.Packet
		p.Decode(frame.Link, frame.Data)
		s.packet(&item{packet: p, place: flow.Place{Time: frame.Time, Packet: frame.Packet}})
	}
	for ok := true; ok; _, ok = s.table.Oldest() {
		s.table.FlushOldest()
	}
	var events []event.Event
	for i := range out {
		if k := out[i].e.Kind; k != event.ConversationEnded && k != event.BindingSeen {
			events = append(events, out[i].e)
		}
	}
	return events
}

func TestDICOMCaptures(t *testing.T) {
	for _, tt := range []struct {
		file string
		want map[string]int // how often an event's line begins so
	}{
		{"real-dcmtk-echo-store-plain.pcap", map[string]int{
			`name-seen client 5 "CTROOM1"`: 2, `name-seen client 5 "MYSTORE"`: 2, `records-moved client "C-STORE" patient1 1`: 1, `records-moved client "C-STORE" patient2 1`: 1,
			`patient-data-seen`: 2, `identity-seen client "Acme Imaging" "Scanner 9000" "SN-12345"`: 1, `identity-seen client "archive"`: 1, `malformed-seen`: 0,
		}},
		{"real-dcmtk-bulk-ct.pcap", map[string]int{
			`records-moved client "C-STORE"`: 5, `patient-data-seen`: 5, `identity-seen client "Acme Imaging"`: 1, `malformed-seen`: 0,
		}},
		{"real-dcmtk-reject-abort.pcap", map[string]int{
			`name-seen client 5 "CTROOM1"`: 3, `name-seen client 5 "OTHER"`: 2, `name-seen client 5 "NOTHERE"`: 0, `records-moved`: 1, `malformed-seen`: 0,
		}},
		{"tapirx-dicom_arq_1_find_testclient.pcap", map[string]int{`name-seen client 5 "testclient"`: 1, `malformed-seen`: 0}},
		{"tapirx-dicom_arq_2_get_testclient.pcap", map[string]int{`name-seen client 5 "testclient"`: 1, `malformed-seen`: 0}},
	} {
		lines := dicomLines(replayDICOM(t, tt.file))
		for prefix, want := range tt.want {
			n := 0
			for _, line := range lines {
				if strings.HasPrefix(line, prefix) {
					n++
				}
			}
			if n != want {
				t.Errorf("%s: %q %d times, want %d:\n%s", tt.file, prefix, n, want, strings.Join(lines, "\n"))
			}
		}
		for _, line := range lines {
			for _, secret := range []string{"Doe", "Roe", "Curie", "PID-", "19700101", "19481231"} {
				if strings.Contains(line, secret) {
					t.Errorf("%s: patient data in %q", tt.file, line)
				}
			}
		}
	}
	// Where to look: the packet in which the C-STORE's data set ends.
	for _, e := range replayDICOM(t, "real-dcmtk-reject-abort.pcap") {
		if e.Kind == event.RecordsMoved && e.Sighting.Packet != 20 {
			t.Errorf("C-STORE seen in packet %d, want 20", e.Sighting.Packet)
		}
	}
}

// wardImage is an object of ct-1 as dump2dcm reads it.
const wardImage = `(0002,0010) UI =LittleEndianExplicit
(0008,0016) UI =CTImageStorage
(0008,0018) UI [1.2.276.0.99999.1.%[1]d]
(0008,0060) CS [CT]
(0008,0070) LO [Lumen Imaging]
(0008,0090) PN [Holm^Mira]
(0008,1010) SH [CT1]
(0008,1090) LO [Helia 64]
(0010,0010) PN [Lindqvist^Anna]
(0010,0020) LO [ADA-000%[1]d]
(0010,0030) DA [19610412]
(0010,0040) CS [F]
(0018,1000) LO [LH-0042]
(0018,100a) SQ
(fffe,e000) -
(0018,1009) UT [(01)09512345678901(21)LH-0042]
(fffe,e00d) -
(fffe,e0dd) -
(0018,1020) LO [11.0]
(0020,000d) UI [1.2.276.0.99999.2]
(0020,000e) UI [1.2.276.0.99999.3]
(0020,0010) SH [S1]
(0028,0002) US 1
(0028,0004) CS [MONOCHROME2]
(0028,0010) US 2
(0028,0011) US 2
(0028,0100) US 8
(0028,0101) US 8
(0028,0102) US 7
(0028,0103) US 0
(7fe0,0010) OB 01\02\03\04
`

// dicomRecorded are the lines of what an observer of each recorded association says.
func dicomRecorded(t *testing.T, p *testpeer.Proxy) (all [][]string) {
	t.Helper()
	for _, c := range p.Conversations() {
		var whole, bytewise []piece
		for _, part := range c.Pieces {
			from := flow.Client
			if part.FromServer {
				from = flow.Server
			}
			whole = append(whole, piece{from, part.Bytes})
			for i := range part.Bytes {
				bytewise = append(bytewise, piece{from, part.Bytes[i : i+1]})
			}
		}
		if len(whole) > 0 && dicom.Recognise(whole[0].b) != wire.SureMatch {
			t.Errorf("not recognised: first %d bytes", len(whole[0].b))
		}
		lines := dicomLines(observe(t, newDICOMObserver(), whole...))
		if d := cmp.Diff(lines, dicomLines(observe(t, newDICOMObserver(), bytewise...))); d != "" {
			t.Errorf("in single bytes: %s", d)
		}
		all = append(all, lines)
	}
	return all
}

// want checks that lines with these beginnings come in this order.
func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	i := 0
	for _, line := range got {
		if strings.HasPrefix(line, "malformed-seen") || strings.Contains(line, "Lindqvist") || strings.Contains(line, "ADA-0001") {
			t.Errorf("%s: %s", what, line)
		}
		if i < len(want) && strings.HasPrefix(line, want[i]) {
			i++
		}
	}
	if i < len(want) {
		t.Errorf("%s: no %q in:\n%s", what, want[i], strings.Join(got, "\n"))
	}
}

// DCMTK's storescu to its storescp, in every transfer syntax that PS3.5 annex
// A gives to plain data sets.
func TestDICOMWithDCMTK(t *testing.T) {
	storescu := testpeer.DCMTK(t, "storescu")
	const (
		implicit  = "\x10\x00\x20\x00\x08\x00\x00\x00ADA-0001"
		explicit  = "\x10\x00\x20\x00LO\x08\x00ADA-0001"
		bigEndian = "\x00\x10\x00\x20LO\x00\x08ADA-0001"
	)
	for _, tt := range []struct {
		name           string
		dump, scu, scp []string
		wire           string // how the patient's number is encoded; "" when it is not in clear
	}{
		{"implicit", []string{"+ti"}, []string{"-xi"}, []string{"+xi"}, implicit},
		{"explicit", []string{"+te"}, []string{"-xe"}, []string{"+xe"}, explicit},
		{"big endian", []string{"+tb"}, []string{"-xb"}, []string{"+xb"}, bigEndian},
		{"deflated", []string{"+td"}, []string{"-xd"}, []string{"+xd"}, ""},
		{"sequences of undefined length, small PDUs", []string{"+te", "-e"}, []string{"-xe", "--max-send-pdu", "4096"}, []string{"+xe", "-pdu", "4096"}, explicit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			object := testpeer.DICOMObject(t, fmt.Sprintf(wardImage, 1), tt.dump...)
			p := testpeer.NewProxy(t, testpeer.Storescp(t, tt.scp...))
			testpeer.Run(t, t.TempDir(), storescu, append(tt.scu, "-aet", "CT1", "-aec", "ADAPACS", "127.0.0.1", strconv.Itoa(p.Port), object)...)
			got := dicomRecorded(t, p)
			if len(got) != 1 {
				t.Fatalf("%d associations", len(got))
			}
			var sent []byte
			for _, part := range p.Conversations()[0].Pieces {
				sent = append(sent, part.Bytes...)
			}
			if i := bytes.Index(sent, []byte("ADA-0001")); (i >= 0) != (tt.wire != "") || !bytes.Contains(sent, []byte(tt.wire)) {
				t.Error("not sent in this transfer syntax")
			}
			wantLines(t, tt.name, got[0], `name-seen client 5 "CT1"`, `name-seen server 5 "ADAPACS"`, `patient-data-seen client`,
				`records-moved client "C-STORE" patient1 1`, `identity-seen server "archive"`,
				`identity-seen client "Lumen Imaging" "Helia 64" "LH-0042" "11.0" "CT scanner" 12 "09512345678901"`)
		})
	}
}

// DCMTK's clients with its archive and with Orthanc: echo, store, search,
// move to somebody else, fetch, log in.
func TestDICOMArchives(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(testing.TB, map[string]int) int
	}{
		{"dcmqrscp", func(t testing.TB, peers map[string]int) int { return testpeer.Dcmqrscp(t, "ADAPACS", peers) }},
		{"orthanc", func(t testing.TB, peers map[string]int) int {
			port, _ := testpeer.Orthanc(t, "ADAPACS", peers)
			return port
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tool := func(name string) string { return testpeer.DCMTK(t, name) }
			elsewhere := testpeer.NewProxy(t, testpeer.Storescp(t))
			p := testpeer.NewProxy(t, tt.start(t, map[string]int{"XFER1": elsewhere.Port}))
			first, second := testpeer.DICOMObject(t, fmt.Sprintf(wardImage, 1)), testpeer.DICOMObject(t, fmt.Sprintf(wardImage, 2))
			run := func(name string, args ...string) {
				testpeer.Run(t, t.TempDir(), tool(name), append([]string{"-aet", "CT1", "-aec", "ADAPACS", "127.0.0.1", strconv.Itoa(p.Port)}, args...)...)
			}
			study := []string{"-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.276.0.99999.2"}
			run("echoscu")
			run("storescu", first, second)
			run("findscu", "-S", "-k", "0008,0052=STUDY", "-k", "0010,0010=*", "-k", "0010,0020", "-k", "0020,000d")
			run("movescu", append([]string{"-S", "-aem", "XFER1"}, study...)...)
			run("getscu", append([]string{"-S"}, study...)...)
			testpeer.Try(t, t.TempDir(), tool("storescu"), "-aet", "CT1", "-aec", "ADAPACS", "-usr", "svc01", "-pwd", "secret", "127.0.0.1", strconv.Itoa(p.Port), first)

			got := dicomRecorded(t, p)
			if len(got) != 6 {
				t.Fatalf("%d associations", len(got))
			}
			const archive = `identity-seen server "archive" 15`
			wantLines(t, "echo", got[0], `name-seen client 5 "CT1"`, `name-seen server 5 "ADAPACS"`)
			wantLines(t, "store", got[1], `records-moved client "C-STORE" patient1 1`, archive, `records-moved client "C-STORE" patient2 1`, `identity-seen client "Lumen Imaging"`)
			wantLines(t, "find", got[2], `records-requested client "C-FIND" 0 -`, archive, `patient-data-seen server`, `records-moved server "C-FIND"`)
			wantLines(t, "move", got[3], `records-requested client "C-MOVE" "XFER1"`, archive, `records-moved server "C-MOVE" 2 0 "XFER1"`)
			wantLines(t, "get", got[4], `records-requested client "C-GET"`, `patient-data-seen server`, `records-moved server "C-STORE"`, archive, `records-moved server "C-GET" 2`)
			wantLines(t, "login", got[5], `name-seen client 5 "CT1"`, `login-seen client "user-identity" 1 0`)
			moved := dicomRecorded(t, elsewhere)
			if len(moved) == 0 {
				t.Fatal("nothing was moved")
			}
			for _, lines := range moved { // the archive is nobody's scanner
				wantLines(t, "moved", lines, `name-seen client 5 "ADAPACS"`, `name-seen server 5 "XFER1"`, `records-moved client "C-STORE"`)
				for _, line := range lines {
					if strings.HasPrefix(line, "identity-seen") {
						t.Errorf("moved: %s", line)
					}
				}
			}
		})
	}
}

// Under TLS nothing of it looks like DICOM.
func TestDICOMUnderTLS(t *testing.T) {
	cert, key := testpeer.Certificate(t)
	storescu := testpeer.DCMTK(t, "storescu")
	tls := []string{"+tls", key, cert, "-ic"}
	p := testpeer.NewProxy(t, testpeer.Storescp(t, tls...))
	testpeer.Run(t, t.TempDir(), storescu, append(tls, "-aet", "CT1", "127.0.0.1", strconv.Itoa(p.Port), testpeer.DICOMObject(t, fmt.Sprintf(wardImage, 1)))...)
	for _, c := range p.Conversations() {
		for _, part := range c.Pieces {
			if m := dicom.Recognise(part.Bytes); m == wire.SureMatch || bytes.Contains(part.Bytes, []byte("Lindqvist")) {
				t.Error("DICOM is seen under TLS")
			}
		}
	}
}

func FuzzDICOMObserver(f *testing.F) {
	f.Add(append(dicomAssociate(dicom.AssociateRQ, "ADAPACS", "CT1"), dicomStore(dicomImage("CT1", "LH-0042", "ADA-0001"))...),
		append(dicomAssociate(dicom.AssociateAC, "ADAPACS", "CT1"), dicomStored()...))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, e := range observe(t, newDICOMObserver(), client(a), server(b), client(b), server(a)) {
			if len(e.Attrs()) > event.MaxAttrs {
				t.Error(errors.New("too many attributes"))
			}
		}
	})
}
