// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/wire"
)

// Every field that can hold a name is given one that is like no other: a
// marker, which is a stem and three letters. Whatever comes out with the stem
// in it, in whatever form, was told by the field with these letters.
const (
	markerStem  = "Qvzxk"
	markerBytes = len(markerStem) + 3
)

// A leave says when a field's text may come out.
type leave uint8

const (
	// made is what equipment is: the events that say so, and the devices and the
	// products of the answer.
	made leave = iota
	// named is a name by which one finds a device: only of one that is known to be
	// medical or a part of the network, only in the list of devices and in what
	// calls it by its name, and never in an event.
	named
	// ours is named for a device that the conversation itself shows to be
	// equipment, so that nothing else need be known of it.
	ours
	// target is what a command or a report is about: its events, and the list of
	// devices.
	target
	// placed is where an order is to be carried out, and who gives it: the event
	// and the finding that say so.
	placed
	// looked is where somebody's long questions lead, in the event that says so.
	looked
)

// leaves are the only fields whose text may come out, by protocol, and why. One
// that does not come out is an error as well: the list is no longer than it
// need be.
var leaves = []struct {
	leave  leave
	reason string
	fields map[string][]string
}{
	{made, "make, model, version and, of what nobody wears, serial number: what is affected by an advisory is told by them", map[string][]string{
		"bacnet": {"vendor name", "model name", "firmware revision", "software version"},
		"dicom":  {"manufacturer", "model", "serial number", "software version"},
		"dns":    {"TXT manufacturer", "TXT model"},
		"fhir":   {"manufacturer", "model", "serial number", "version", "manufacturer of what is worn"},
		"hl7":    {"SFT-1", "SFT-2", "SFT-3", "model", "version"},
		"mqtt":   {"SFT-1", "SFT-2", "SFT-3"},
		"gatt":   {"manufacturer", "model", "firmware revision"},
		"modbus": {"vendor", "product name", "revision"},
		"radio":  {"manufacturer", "model", "model of the pump", "another model", "version"},
		"sdc":    {"manufacturer", "model", "serial number", "firmware version", "UDI device identifier"},
		"snmp":   {"model"},
		"ssdp":   {"product", "product version", "product noted"},
	}},
	{named, "the name of a device that is equipment: engineers find it by that", map[string][]string{
		"bacnet":   {"object name"},
		"coap":     {"Uri-Host"},
		"dhcp":     {"host name", "client FQDN", "FQDN of version 6"},
		"kerberos": {"computer", "NetBIOS address"},
		"netbios":  {"workstation", "file server", "name registered", "name answered", "datagram's source"},
		"rdp":      {"client name"},
		"smb":      {"calling name", "called name", "NTLM workstation", "NTLM server", "NTLM DNS server"},
		"snmp":     {"sysName", "sysName in a trap"},
		"syslog":   {"host"},
		"tls":      {"server CN", "server SAN"},
	}},
	{ours, "the same, of what the conversation shows to be an imaging system, an archive or a name server", map[string][]string{
		"dicom": {"calling AE title", "called AE title"},
		"dns":   {"address record", "mDNS host"},
	}},
	{target, "the device behind a gateway, and the part of it, in its own or its maker's words: what a command changes", map[string][]string{
		"hl7": {"equipment instance"},
		"sdc": {"operation target", "target reported"},
	}},
	{placed, "the ward and the bed, in at most twelve letters and digits each, and the system that orders: somebody has to go there, and to ask there; a word that names a person of the message is withheld", map[string][]string{
		"hl7": {"PV1-3.1", "PV1-3.3", "MSH-3.1"},
	}},
	{looked, "whose domain it is to which a tunnel leads", map[string][]string{
		"dns": {"domain of a long name"},
	}},
}

// mayLeave are the fields of leaves, as equipment or not.
func mayLeave(equipment bool) map[string]leave {
	may := map[string]leave{}
	for _, l := range leaves {
		for protocol, fields := range l.fields {
			for _, f := range fields {
				if equipment || l.leave != named {
					may[protocol+": "+f] = l.leave
				}
			}
		}
	}
	return may
}

// A marker makes the conversations of one protocol between two hosts, with a
// marker in each field.
type marker struct {
	tap            *wiretap
	ether          *ether
	id             proto.ID
	protocol       string
	client, server string
	fields, marks  map[string]string // a marker's field, by itself in lower case; a field's marker
	secrets        map[string]string // a secret's field
	harm           func([]byte) []byte
}

// mark returns the marker of a field. The same field has the same.
func (m *marker) mark(field string) string {
	field = m.protocol + ": " + field
	if mark := m.marks[field]; mark != "" {
		return mark
	}
	n := len(m.fields)
	mark := markerStem + string([]byte{'a' + byte(n%23), 'a' + byte(n/23%23), 'a' + byte(n/23/23)})
	m.fields[strings.ToLower(mark)], m.marks[field] = field, mark
	return mark
}

func says(b []byte) testpeer.Piece    { return testpeer.Piece{Bytes: b} }
func answers(b []byte) testpeer.Piece { return testpeer.Piece{FromServer: true, Bytes: b} }

// tcp writes a connection.
func (m *marker) tcp(port int, pieces ...testpeer.Piece) {
	said := slices.Clone(pieces)
	for i := range said {
		said[i].Bytes = m.harm(said[i].Bytes)
	}
	m.tap.conversation(m.client, m.server, port, &testpeer.Conversation{Pieces: said})
}

// udp writes datagrams. port is the server's; the client has another each time.
func (m *marker) udp(port int, pieces ...testpeer.Piece) {
	m.tap.port++
	m.between(int(m.tap.port), port, pieces...)
}

func (m *marker) between(client, server int, pieces ...testpeer.Piece) {
	for _, p := range pieces {
		b := m.harm(p.Bytes)
		from, to, sport, dport := m.client, m.server, client, server
		if p.FromServer {
			from, to, sport, dport = to, from, dport, sport
		}
		m.tap.packet(netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4(), wire.ProtoUDP,
			cat(be16(sport), be16(dport), be16(8+len(b)), be16(0), b))
	}
}

// whole harms nothing.
func whole(b []byte) []byte { return b }

// converse writes the conversations of every protocol, n times. equipment makes
// each host known as a medical device before.
func converse(t *testing.T, n int, equipment bool, harm func([]byte) []byte) (files []string, markers []*marker) {
	t.Helper()
	tap := newWiretap(t)
	fields, marks, secrets := map[string]string{}, map[string]string{}, map[string]string{}
	ether := newEther(t, receiverNames(&marker{protocol: proto.Radio.String(), fields: fields, marks: marks})...)
	for i := range conversations {
		c := &conversations[i]
		m := &marker{
			tap: tap, ether: ether, id: c.id, protocol: c.id.String(), fields: fields, marks: marks, secrets: secrets, harm: harm,
			client: fmt.Sprintf("10.20.%d.1", 100+int(c.id)), server: fmt.Sprintf("10.20.%d.2", 100+int(c.id)),
		}
		for range n {
			if equipment && !m.onRadio() {
				m.monitors()
			}
			c.play(m)
		}
		markers = append(markers, m)
	}
	return append(ether.save(), tap.save()), markers
}

// onRadio reports whether a protocol is spoken on a radio, where nobody has a
// host.
func (m *marker) onRadio() bool { return m.id == proto.GATT || m.id == proto.Radio }

// speaks reports whether an address is one of those that speak.
func (m *marker) speaks(a device.Address) bool {
	switch m.id {
	case proto.GATT:
		return a.Kind == device.BLE
	case proto.Radio:
		return a.Kind == device.Radio
	}
	return a.Value == m.client || a.Value == m.server
}

// monitors says that both hosts are patient monitors.
func (m *marker) monitors() {
	hello := soap("Hello", `<d:Hello><d:Types>p:MedicalDevice</d:Types><d:Scopes>sdc.cdc.type:/urn%3Aoid%3A1.2.840.10004.1.1.1.0.0.1//69965</d:Scopes></d:Hello>`)
	for _, host := range []string{m.client, m.server} {
		m.tap.packet(netip.MustParseAddr(host).As4(), [4]byte{239, 255, 255, 250}, wire.ProtoUDP, cat(be16(49710), be16(3702), be16(8+len(hello)), be16(0), hello))
	}
}

// A hit is a place where a marker, or a part of one, came out.
type hit struct {
	form string
	mark string // "" when it is none of ours: a part, or another form
	part string // of a marker that was cut where a page has no more room
	near string
}

// markerForms are the forms in which the stem is looked for, besides as it is.
var markerForms = func() map[string][]string {
	forms := map[string][]string{}
	for _, stem := range []string{markerStem, strings.ToLower(markerStem), strings.ToUpper(markerStem)} {
		add := func(form, text string) { forms[form] = append(forms[form], text) }
		var little, big, percent, escaped, numbers, odd string
		for _, c := range utf16.Encode([]rune(stem)) {
			little += string([]byte{byte(c), 0})
			big += string([]byte{0, byte(c)})
			percent += fmt.Sprintf("%%%02x", c)
			escaped += fmt.Sprintf(`\u%04x`, c)
			numbers += fmt.Sprintf("%d ", c)
			odd += string(rune(c)) + "?"
		}
		add("UTF-16, least byte first", little[:2*len(stem)-1])
		add("UTF-16, greatest byte first", big[1:])
		add("UTF-16 with signs for its zeros", odd[:2*len(stem)-1])
		add("UTF-16 with escapes for its zeros", strings.ReplaceAll(little[:2*len(stem)-1], "\x00", `\u0000`))
		for _, x := range []string{percent, strings.ToUpper(percent)} {
			add("URL", x)
		}
		add("JSON", escaped)
		add("numbers", strings.TrimSpace(numbers))
		half := ""
		for i := range len(stem) {
			half += string([]byte{'A' + stem[i]>>4, 'A' + stem[i]&15})
		}
		add("NetBIOS", half)
		for _, text := range []string{stem, little} {
			digits := hex.EncodeToString([]byte(text))
			spaced := fmt.Sprintf("% x", text)
			for _, x := range []string{digits, spaced, strings.ReplaceAll(spaced, " ", ":")} {
				add("hex", x)
				add("hex", strings.ToUpper(x))
			}
			for front := range 3 { // the signs that follow from text alone, wherever it stands
				code := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:front] + text))
				add("base64", code[(8*front+5)/6:(8*(front+len(text)))/6])
			}
		}
	}
	return forms
}()

// find returns every place with the stem of markers.
func findMarkers(m *marker, b []byte) (hits []hit) {
	near := func(i int) string { return string(b[max(i-50, 0):min(i+50, len(b))]) }
	lower := bytes.ToLower(b)
	stem := []byte(strings.ToLower(markerStem))
	for i := 0; ; {
		at := bytes.Index(lower[i:], stem)
		if at < 0 {
			break
		}
		i += at
		h := hit{form: "text", mark: string(lower[i:min(i+markerBytes, len(lower))]), near: near(i)}
		if m.fields[h.mark] == "" {
			part, _, cut := strings.Cut(string(lower[i:min(i+markerBytes+len("…"), len(lower))]), "…")
			if !cut {
				part = ""
			}
			h.mark, h.part = "", part
		}
		hits = append(hits, h)
		i += len(stem)
	}
	for form, texts := range markerForms {
		for _, text := range texts {
			if i := bytes.Index(b, []byte(text)); i >= 0 {
				hits = append(hits, hit{form: form, near: near(i)})
			}
		}
	}
	return hits
}

// TestMarkers has every protocol spoken with a marker in every field that can
// hold a name or a secret, and searches everything that comes out. That each
// conversation was read and understood is held as well: what is not read tells
// nothing.
func TestMarkers(t *testing.T) {
	for id := proto.None + 1; id < proto.Count; id++ {
		if !slices.ContainsFunc(conversations, func(c conversation) bool { return c.id == id }) {
			t.Errorf("nobody speaks %s", id)
		}
	}
	for _, equipment := range []bool{false, true} {
		t.Run(map[bool]string{false: "stations", true: "equipment"}[equipment], func(t *testing.T) {
			files, markers := converse(t, 1, equipment, whole)
			came := map[string]bool{}
			for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
				searchAnswer(t, files, markers, key, equipment, came)
			}
			for field := range mayLeave(equipment) {
				if !came[field] {
					t.Errorf("%s may come out, and does not", field)
				}
			}
		})
	}
}

func searchAnswer(t *testing.T, files []string, markers []*marker, key []byte, equipment bool, came map[string]bool) {
	t.Helper()
	may := mayLeave(equipment)
	told := map[string]bool{}
	secrets := markers[0].spelledSecrets()
	// search looks through one output; where are the ways by which a text may
	// come out there.
	search := func(what string, b []byte, where ...leave) {
		for _, h := range findMarkers(markers[0], b) {
			field := markers[0].fields[h.mark]
			for f, l := range may {
				if h.part != "" && slices.Contains(where, l) && strings.HasPrefix(strings.ToLower(markers[0].marks[f]), h.part) {
					field = f // cut; where there is room it is said whole
				}
			}
			l, ok := may[field]
			came[field] = true
			if id := what + h.form + field; (!ok || !slices.Contains(where, l)) && (!told[id] || field == "") {
				told[id] = true
				t.Errorf("%s: %s, as %s, in %q", what, field, h.form, h.near)
			}
		}
		for _, h := range findSecrets(secrets, b) {
			if id := what + h.mark; !told[id] {
				told[id] = true
				t.Errorf("%s: %s, as %s, in %q", what, h.mark, h.form, h.near)
			}
		}
	}
	var events []event.Event
	a, err := Run(context.Background(), files, Config{Key: key, Dialects: []*radio.Dialect{markedDialect()}, Record: func(e *event.Event) error {
		events = append(events, *e)
		line := fmt.Appendf(nil, "%s %s %s %+v", e.Kind, e.Device, e.Peer, e.Attrs())
		switch e.Kind {
		case event.IdentitySeen:
			search("event "+e.Kind.String(), line, made, target)
		case event.CommandSeen, event.CommandAnswered, event.ReportSeen, event.TherapySeen:
			search("event "+e.Kind.String(), line, target)
		case event.OrderSeen:
			search("event "+e.Kind.String(), line, placed)
		case event.NameQueried:
			search("event "+e.Kind.String(), line, looked)
		default:
			search("event "+e.Kind.String(), line)
		}
		return nil
	}})
	for what := range a.Stats.Lost {
		if strings.HasPrefix(what, "messages of a radio whose opcode is unknown") { // one that no dialect names
			delete(a.Stats.Lost, what)
		}
	}
	if err != nil || damaged(a) || len(a.Stats.Lost) > 0 {
		t.Fatalf("%v; %+v; lost %v", err, a.Inputs, a.Stats.Lost)
	}
	for i := range a.Inputs {
		a.Inputs[i].Path = filepath.Base(a.Inputs[i].Path) // the name of a folder is nobody's secret
	}
	for name, write := range formats {
		var b bytes.Buffer
		if err := write(&b, a); err != nil {
			t.Fatal(err)
		}
		search(name, b.Bytes(), made, named, ours, target, placed)
	}
	for what, part := range map[string]any{"findings": a.Findings, "sessions": a.Sessions, "stats": a.Stats} {
		b, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		search(what, b, made, placed) // a product is of what make and model
	}
	for i, m := range markers {
		understood(t, &conversations[i], m, a, events)
	}
}

// understood holds that a conversation was read to its end, and said what it
// has to say.
func understood(t *testing.T, c *conversation, m *marker, a *report.Assessment, events []event.Event) {
	t.Helper()
	if !slices.ContainsFunc(a.Sessions, func(s report.Session) bool {
		return s.Protocol == m.protocol && (m.onRadio() || s.Client == m.client && s.Server == m.server)
	}) {
		t.Errorf("%s: there is no such session", m.protocol)
	}
	seen := map[event.Kind]bool{}
	for i := range events {
		e := &events[i]
		if !m.speaks(e.Device) && !m.speaks(e.Peer) {
			continue
		}
		seen[e.Kind] = true
		if e.Kind == event.MalformedSeen || e.Kind == event.BoundReached {
			t.Errorf("%s was not understood: %s %+v in packet %d", m.protocol, e.Kind, e.Attrs(), e.Sighting.Packet)
		}
	}
	for _, k := range c.tells {
		if !seen[k] {
			t.Errorf("%s: no %s", m.protocol, k)
		}
	}
}

func damaged(a *report.Assessment) bool {
	return slices.ContainsFunc(a.Inputs, func(in report.Input) bool { return in.Error != "" })
}

// TestMarkersInErrors breaks the conversations at random, outside the markers,
// and searches what is said to be wrong with them.
func TestMarkersInErrors(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 3))
	harm := func(b []byte) []byte {
		at := random.IntN(len(b) + 1)
		switch random.IntN(4) {
		case 0:
			return b[:max(at, 1)]
		case 1:
			return slices.Concat(b[:at], []byte{byte(random.Uint32())}, b[at:])
		case 2:
			b = bytes.Clone(b)
			b[min(at, len(b)-1)] ^= byte(1 + random.IntN(255))
		}
		return b
	}
	files, markers := converse(t, 12, false, harm)
	secrets := markers[0].spelledSecrets()
	broken := map[string]bool{}
	words := []error{
		device.ErrSyntax, device.ErrUnit, wire.ErrTruncated, wire.ErrReserved, wire.ErrInvalid, wire.ErrTooLong, wire.ErrTooDeep, wire.ErrTrailing,
		errors.New("two servers may disagree about it"),
	}
	a, err := Run(context.Background(), files, Config{Dialects: []*radio.Dialect{markedDialect()}, Record: func(e *event.Event) error {
		if e.Kind != event.MalformedSeen && e.Kind != event.BoundReached {
			return nil
		}
		broken[e.Text(event.Protocol)] = true
		if reason := e.Text(event.Reason); reason != "" && !slices.ContainsFunc(words, func(err error) bool { return err.Error() == reason }) {
			t.Errorf("%s: an error in words of its own: %q", e.Text(event.Protocol), reason)
		}
		for _, h := range findMarkers(markers[0], fmt.Appendf(nil, "%+v", e.Attrs())) {
			t.Errorf("%s as %s: %q", markers[0].fields[h.mark], h.form, h.near)
		}
		for _, h := range findSecrets(secrets, fmt.Appendf(nil, "%+v", e.Attrs())) {
			t.Errorf("%s as %s: %q", h.mark, h.form, h.near)
		}
		return nil
	}})
	if err != nil || damaged(a) {
		t.Fatal(err, a.Inputs)
	}
	// What is wrong with a frame of a proprietary radio is noise, and counted only.
	for what := range a.Stats.Lost {
		broken[proto.Radio.String()] = broken[proto.Radio.String()] || strings.HasPrefix(what, report.Misfit)
	}
	for i := range a.Findings {
		if f := &a.Findings[i]; f.Kind == finding.MalformedMessage {
			for _, h := range findMarkers(markers[0], fmt.Appendf(nil, "%s %s %+v", f.Title, f.Advice, f.Sightings)) {
				t.Errorf("%s as %s: %q", markers[0].fields[h.mark], h.form, h.near)
			}
		}
	}
	for i := range conversations {
		if id := conversations[i].id; !broken[id.String()] && id != proto.Telnet { // in which no bytes are wrong
			t.Errorf("nothing of %s was broken", id)
		}
	}
}
