// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/proto/radio"
)

// An ether is what receivers write down of the radio: the log of a phone's host,
// two sniffers, a frame log and a receiver of proprietary radios.
type ether struct {
	t     testing.TB
	now   time.Time
	phone []byte      // btsnoop
	log   []byte      // frame log
	files [3]struct { // sniffers, receiver
		b bytes.Buffer
		w *capture.Writer
	}
}

// The files of an ether that are pcap or pcapng, in its order.
const (
	sniffed = iota // with a header for the radio
	bare           // without
	receiver
)

// receiverNames are the interfaces of the receiver: the dialect, or what
// somebody called it.
func receiverNames(m *marker) []string { return []string{"tessel-calm", m.mark("interface name")} }

func newEther(t testing.TB, names ...string) *ether {
	e := &ether{t: t, now: time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)}
	e.phone = cat("btsnoop\x00", be32(1), be32(1002))
	var err [3]error
	e.files[sniffed].w, err[sniffed] = capture.NewWriter(&e.files[sniffed].b, capture.LinkBluetoothLELLPHDR)
	e.files[bare].w, err[bare] = capture.NewWriter(&e.files[bare].b, capture.LinkBluetoothLELL)
	interfaces := make([]capture.Interface, len(names))
	for i, name := range names {
		interfaces[i] = capture.Interface{Link: capture.LinkUser0, Name: name}
	}
	e.files[receiver].w, err[receiver] = capture.NewInterfaceWriter(&e.files[receiver].b, interfaces...)
	for _, err := range err {
		if err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e *ether) tick() int64 {
	e.now = e.now.Add(3 * time.Millisecond)
	return e.now.UnixNano()
}

// write writes a frame to one of the files.
func (e *ether) write(file, on int, link capture.LinkType, data []byte) {
	if err := e.files[file].w.WriteFrame(&capture.Frame{Data: data, Time: e.tick(), OrigLen: len(data), Link: link, Interface: on}); err != nil {
		e.t.Fatal(err)
	}
}

// hci writes a packet, from its indicator on, to the phone's log.
func (e *ether) hci(flags int, b []byte) {
	const epoch = 0x00dcddb30f2f8000 // 1970 in microseconds of btsnoop
	micros := uint64(e.tick()/1000 + epoch)
	e.phone = cat(e.phone, be32(len(b)), be32(len(b)), be32(flags), be32(0), be32(micros>>32), be32(micros), b)
}

func (e *ether) event(x ble.Event)     { e.hci(3, x.Append([]byte{ble.H4Event})) }
func (e *ether) command(x ble.Command) { e.hci(2, x.Append([]byte{ble.H4Command})) }

// save returns the names of the files.
func (e *ether) save() (names []string) {
	dir := e.t.TempDir()
	for name, b := range map[string][]byte{
		"phone.btsnoop": e.phone, "frames.jsonl": e.log,
		"sniffed.pcap": e.files[sniffed].b.Bytes(), "bare.pcap": e.files[bare].b.Bytes(), "receiver.pcapng": e.files[receiver].b.Bytes(),
	} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			e.t.Fatal(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Secrets are what is no text: addresses, serial numbers, keys. They may come
// out in no spelling.

// secret returns n bytes that are like no others. The same field has the same.
func (m *marker) secret(field string, n int) []byte {
	sum := sha256.Sum256([]byte(m.protocol + field))
	for i := range sum {
		sum[i] |= 0x10 // no zeros at the front of a spelling
	}
	return m.keep(field, sum[:n])
}

// keep makes b a secret.
func (m *marker) keep(field string, b []byte) []byte {
	m.secrets[string(b)] = m.protocol + ": " + field
	return b
}

// address returns an address of a kind, and keeps it secret.
func (m *marker) address(field string, kind ble.AddressKind) ble.Address {
	a := ble.Address{Kind: kind, Bytes: [6]byte(m.secret(field, 6))}
	delete(m.secrets, string(a.Bytes[:]))
	switch a.Bytes[0] &= 0x3f; kind {
	case ble.StaticRandom:
		a.Bytes[0] |= 0xc0
	case ble.Public:
		a.Bytes[0] &= 0x3c // of one maker
	}
	m.keep(field, a.Bytes[:])
	return a
}

// resolvable returns an address that an identity resolving key makes (Vol 3
// Part H section 2.2.2). irk is as it is sent, the least significant byte first.
func (m *marker) resolvable(field string, irk []byte) ble.Address {
	a := ble.Address{Kind: ble.Resolvable}
	copy(a.Bytes[:3], m.secret(field, 3))
	delete(m.secrets, string(a.Bytes[:3]))
	a.Bytes[0] = a.Bytes[0]&0x3f | 0x40
	key := slices.Clone(irk)
	slices.Reverse(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	var in, out [16]byte
	copy(in[13:], a.Bytes[:3])
	block.Encrypt(out[:], in[:])
	copy(a.Bytes[3:], out[13:])
	m.keep(field, a.Bytes[:])
	return a
}

// spellings returns how bytes may be written, in lower case.
func spellings(secret []byte) (all []string) {
	back := slices.Clone(secret)
	slices.Reverse(back)
	for _, b := range [][]byte{secret, back} {
		pairs := make([]string, len(b))
		numbers := make([]string, len(b))
		for i, c := range b {
			pairs[i], numbers[i] = hex.EncodeToString([]byte{c}), fmt.Sprint(c)
		}
		for _, between := range []string{"", ":", "-", " ", ".", ", 0x", `\x`, "%"} {
			all = append(all, strings.Join(pairs, between))
		}
		for _, between := range []string{" ", ",", ", ", "."} {
			all = append(all, strings.Join(numbers, between))
		}
		all = append(all, string(bytes.ToLower(b)), new(big.Int).SetBytes(b).String(), new(big.Int).SetBytes(b).Text(36))
		for _, code := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, strings.ToLower(code.EncodeToString(b)))
		}
		if len(b) == 6 { // 0000.5e00.5301, and as an EUI-64
			h := hex.EncodeToString(b)
			all = append(all, h[:4]+"."+h[4:8]+"."+h[8:], h[:6]+"fffe"+h[6:])
		}
		if len(b) == 16 { // a UUID
			h := hex.EncodeToString(b)
			all = append(all, strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
		}
	}
	return all
}

// A spelled is one spelling of a secret.
type spelled struct{ field, text string }

// spelledSecrets are all spellings of all secrets.
func (m *marker) spelledSecrets() (all []spelled) {
	for b, field := range m.secrets {
		for _, text := range spellings([]byte(b)) {
			all = append(all, spelled{field, text})
		}
	}
	return all
}

// findSecrets returns the secrets that came out. A short one counts where
// nothing that could be a part of it stands beside.
func findSecrets(all []spelled, b []byte) (hits []hit) {
	b = bytes.ToLower(b)
	word := func(i int) bool {
		return i >= 0 && i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] >= 'a' && b[i] <= 'z')
	}
	for _, s := range all {
		for from := 0; ; {
			i := bytes.Index(b[from:], []byte(s.text))
			if i < 0 {
				break
			}
			i += from
			from = i + 1
			if end := i + len(s.text); len(s.text) >= 12 || !word(i-1) && !word(end) {
				hits = append(hits, hit{form: fmt.Sprintf("%q", s.text), mark: s.field, near: string(b[max(i-50, 0):min(end+50, len(b))])})
				break
			}
		}
	}
	return hits
}

// A talk is one connection, as somebody writes it down.
type talk struct {
	m       *marker
	send    func(from ble.Side, cid uint16, payload []byte)
	control func(from ble.Side, c ble.Control) // in the air
}

func (k *talk) att(from ble.Side, parts ...any) { k.send(from, ble.CIDATT, k.m.harm(cat(parts...))) }

func (k *talk) smp(from ble.Side, s ble.SMP) {
	b, err := s.Append(nil)
	if err != nil {
		k.m.ether.t.Fatal(err)
	}
	k.send(from, ble.CIDSMP, b)
}

// hosted is a connection in the phone's log, whose central it is.
func (m *marker) hosted(handle uint16) *talk {
	return &talk{m: m, send: func(from ble.Side, cid uint16, payload []byte) {
		received := from == ble.Peripheral
		flags := 0
		if received {
			flags = 1
		}
		m.ether.hci(flags, ble.AppendACL([]byte{ble.H4ACL}, handle, true, received, ble.AppendL2CAP(nil, cid, payload)))
	}}
}

// heard is a connection in the air. decrypted says that the sniffer had its key.
func (m *marker) heard(access uint32, decrypted *bool) *talk {
	var sent [3]uint8
	send := func(from ble.Side, llid uint8, payload []byte) {
		flags := sent[from]<<3 | sent[from.Other()]<<2
		sent[from] ^= 1
		pdu := ble.AppendData(nil, llid, flags, payload)
		m.ether.write(sniffed, 0, capture.LinkBluetoothLELLPHDR, ble.AppendAir(ble.AppendRadio(nil, 7, -50, from, *decrypted), access, 0x123456, pdu))
	}
	return &talk{
		m:       m,
		send:    func(from ble.Side, cid uint16, b []byte) { send(from, ble.LLIDStart, ble.AppendL2CAP(nil, cid, b)) },
		control: func(from ble.Side, c ble.Control) { send(from, ble.LLIDControl, c.Append(nil)) },
	}
}

// advertisingCRC is what CRCs of advertising begin with (Vol 6 Part B section 3.1.1).
const advertisingCRC = 0x555555

// onAir writes what is advertised for both sniffers.
func (m *marker) onAir(pdu []byte) {
	m.ether.write(sniffed, 0, capture.LinkBluetoothLELLPHDR, ble.AppendAir(ble.AppendRadio(nil, 37, -50, ble.UnknownSide, false), ble.AdvertisingAccess, advertisingCRC, pdu))
	m.ether.write(bare, 0, capture.LinkBluetoothLELL, ble.AppendAir(nil, ble.AdvertisingAccess, advertisingCRC, pdu))
}

// backwards is a UUID as it is sent.
func backwards(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// vendorUUID returns one as it is sent.
func vendorUUID(s string) []byte {
	u, err := gatt.ParseUUID(s)
	if err != nil {
		panic(err)
	}
	return backwards(u[:])
}

// A served is one characteristic of a server, in the service that was named
// last. A service alone has no type.
type served struct {
	service, uuid []byte
	value         any
}

func short(n int) []byte { return cat(le16(n)) }

// explore has a client find and read what a server has. It returns the handles
// of the values.
func (k *talk) explore(client ble.Side, list []served) (handles []uint16) {
	server := client.Other()
	k.att(client, 0x02, le16(247))
	k.att(server, 0x03, le16(247))
	handle := uint16(1)
	type range16 struct{ first, last uint16 }
	var services []range16
	for i := range list {
		s := &list[i]
		if s.service != nil {
			services = append(services, range16{handle, handle})
			handle++
		}
		handle += 2 // declaration, value
		handles = append(handles, handle-1)
		services[len(services)-1].last = handle - 1
	}
	n := 0
	for i := range list {
		s := &list[i]
		if s.service == nil {
			continue
		}
		r := services[n]
		n++
		k.att(client, 0x10, le16(r.first), le16(0xffff), le16(0x2800))
		k.att(server, 0x11, 4+len(s.service), le16(r.first), le16(r.last), s.service)
		for j := i; j < len(list) && (j == i || list[j].service == nil); j++ {
			h := handles[j]
			k.att(client, 0x08, le16(h-1), le16(r.last), le16(0x2803))
			k.att(server, 0x09, 5+len(list[j].uuid), le16(h-1), 0x0a|0x10, le16(h), list[j].uuid)
		}
	}
	for i := range list {
		if list[i].value != nil {
			k.att(client, 0x0a, le16(handles[i]))
			k.att(server, 0x0b, list[i].value)
		}
	}
	return handles
}

// pair exchanges a pairing that nobody helps with, and the keys of both sides.
// encrypted is what begins encryption.
func (k *talk) pair(name string, encrypted func(), irks [3][]byte, identities [3]ble.Address) {
	m := k.m
	features := func(code ble.SMPCode, io ble.IOCapability) ble.SMP {
		return ble.SMP{Code: code, PairingFeatures: ble.PairingFeatures{IOCapability: io, AuthReq: ble.AuthBonding, MaxKeySize: 16, InitiatorKeys: 7, ResponderKeys: 7}}
	}
	k.smp(ble.Central, features(ble.PairingRequest, ble.KeyboardDisplay))
	k.smp(ble.Peripheral, features(ble.PairingResponse, ble.NoInputNoOutput))
	for _, code := range []ble.SMPCode{ble.PairingConfirm, ble.PairingRandom} {
		for _, from := range []ble.Side{ble.Central, ble.Peripheral} {
			k.smp(from, ble.SMP{Code: code, Value: m.secret(fmt.Sprint(name, " pairing value ", code, from), 16)})
		}
	}
	encrypted()
	for _, from := range []ble.Side{ble.Peripheral, ble.Central} {
		of := fmt.Sprint(name, " of side ", from)
		k.smp(from, ble.SMP{Code: ble.EncryptionInformation, Value: m.secret("LTK "+of, 16)})
		k.smp(from, ble.SMP{Code: ble.CentralIdentification, EDIV: 0x1234, Rand: binary.LittleEndian.Uint64(m.secret("random number "+of, 8))})
		k.smp(from, ble.SMP{Code: ble.IdentityInformation, Value: irks[from]})
		k.smp(from, ble.SMP{Code: ble.IdentityAddressInformation, Address: identities[from]})
		k.smp(from, ble.SMP{Code: ble.SigningInformation, Value: m.secret("CSRK "+of, 16)})
	}
}

// sayGATT has a phone pair with an insulin pump, which it then knows again by
// its key, and use everything that the pump has; and with a toy that is no
// medical device. A sniffer hears the same of another pump.
func sayGATT(m *marker) {
	const central, peripheral = ble.Central, ble.Peripheral
	e := m.ether
	vendor, opaque := m.secret("UUID of a service", 16), m.secret("UUID of a characteristic", 16)
	irks := [3][]byte{central: m.secret("IRK of the phone", 16), peripheral: m.secret("IRK of the pump", 16)}
	identities := [3]ble.Address{central: m.address("identity of the phone", ble.Public), peripheral: m.address("identity of the pump", ble.StaticRandom)}
	passing := m.resolvable("resolvable address of the pump", irks[peripheral])
	later := m.resolvable("later resolvable address of the pump", irks[peripheral])

	pump := []served{
		{service: short(0x1800), uuid: short(0x2a00), value: m.mark("device name")},
		{service: short(0x180a), uuid: short(0x2a29), value: m.mark("manufacturer")},
		{uuid: short(0x2a24), value: m.mark("model")},
		{uuid: short(0x2a26), value: m.mark("firmware revision")},
		{uuid: short(0x2a25), value: m.mark("serial number")},
		{uuid: short(0x2a27), value: m.mark("hardware revision")},
		{uuid: short(0x2a28), value: m.mark("software revision")},
		{uuid: short(0x2a23), value: m.secret("system ID", 8)},
		{uuid: short(0x2a2a), value: m.mark("regulatory data")},
		{uuid: short(0x2bff), value: cat(0x0f, m.mark("UDI"), 0, m.mark("UDI issuer"), 0)},
		{service: short(0x183a), uuid: short(0x2b25)}, // which cannot be read
		{service: short(0x181c), uuid: short(0x2a8a), value: m.mark("first name")},
		{uuid: short(0x2a90), value: m.mark("last name")},
		{uuid: short(0x2a87), value: m.mark("e-mail") + "@example.org"},
		{uuid: short(0x2a85), value: m.secret("birth date", 4)},
		{service: short(0x183c), uuid: short(0x2b2d), value: m.mark("emergency ID")},
		{service: short(0xfdfb), uuid: vendorUUID("7B83FFF6-9F77-4E5C-8064-AAE2C24838B9"), value: m.mark("sealed value")},
		{service: vendor, uuid: opaque, value: m.mark("unknown value")},
		{uuid: short(0xabcd), value: m.mark("unknown value of 16 bits")},
	}
	toy := []served{
		{service: short(0x1800), uuid: short(0x2a00), value: m.mark("name of a toy")},
		{service: short(0x180a), uuid: short(0x2a29), value: m.mark("manufacturer of a toy")},
		{uuid: short(0x2a24), value: m.mark("model of a toy")},
		{uuid: short(0x2a26), value: m.mark("firmware of a toy")},
		{uuid: short(0x2a25), value: m.mark("serial number of a toy")},
		{service: m.secret("UUID of a toy's service", 16), uuid: m.secret("UUID of a toy's characteristic", 16), value: m.mark("value of a toy")},
	}
	phone := []served{
		{service: short(0x1800), uuid: short(0x2a00), value: m.mark("name of the phone")},
		{service: short(0x180a), uuid: short(0x2a29), value: m.mark("manufacturer of the phone")},
		{uuid: short(0x2a24), value: m.mark("model of the phone")},
	}

	advertised := func(a ble.Address) (list []ble.Advertisement) {
		name := m.mark("local name") + "\u2019s pump"
		for _, data := range [][]byte{
			cat(ble.AppendAD(nil, ble.ADFlags, []byte{6}), ble.AppendAD(nil, ble.ADAllServices16, short(0x183a)), ble.AppendAD(nil, ble.ADName, []byte(name))),
			ble.AppendAD(nil, ble.ADShortName, []byte(m.mark("short name")+"12345")),
			cat(ble.AppendAD(nil, ble.ADManufacturerData, cat(le16(0x00cd), m.mark("manufacturer data"))), ble.AppendAD(nil, ble.ADServiceData16, cat(le16(0x180a), m.mark("service data")))),
			ble.AppendAD(nil, ble.ADServices128, backwards(m.secret("UUID advertised", 16))),
		} {
			list = append(list, ble.Advertisement{Advertiser: a, Connectable: true, Scannable: true, Data: data})
		}
		list = append(list, ble.Advertisement{Advertiser: a, ScanResponse: true, Data: ble.AppendAD(nil, ble.ADName, []byte(m.mark("name in a scan response")))},
			ble.Advertisement{Advertiser: a, Target: identities[central], Connectable: true})
		return list
	}
	extended := ble.Advertisement{Advertiser: identities[peripheral], Extended: true, Connectable: true, Data: cat(ble.AppendAD(nil, ble.ADName, []byte(m.mark("name in extended advertising"))),
		ble.AppendAD(nil, ble.ADServiceData128, cat(backwards(m.secret("UUID of service data", 16)), m.mark("service data of 128 bits"))))}

	// The phone's own log.
	e.event(ble.Event{Code: ble.EventCommandComplete, Opcode: ble.CommandReadBDADDR, Data: backwards(identities[central].Bytes[:])})
	e.command(ble.Command{Opcode: ble.CommandLESetRandomAddress, Address: m.resolvable("resolvable address of the phone", irks[central])})
	e.command(ble.Command{Opcode: 0x0c13, Data: cat(m.mark("local name of the host"), zero(248-markerBytes))})                                     // Write Local Name
	e.command(ble.Command{Opcode: 0x2008, Data: cat(20, ble.AppendAD(nil, ble.ADName, []byte(m.mark("advertising data of the host"))), zero(21))}) // LE Set Advertising Data
	e.command(ble.Command{Opcode: 0x2027, Data: cat(1, backwards(identities[peripheral].Bytes[:]), irks[peripheral], irks[central])})              // LE Add Device To Resolving List
	headset := m.address("address of a headset", ble.Public)
	classic := backwards(headset.Bytes[:])
	e.event(ble.Event{Code: 0x07, Data: cat(0, classic, m.mark("remote name"), zero(248-markerBytes))}) // Remote Name Request Complete
	e.event(ble.Event{Code: 0x18, Data: cat(classic, m.secret("link key", 16), 5)})                     // Link Key Notification
	e.event(ble.Event{Code: 0x3b, Data: cat(classic, m.secret("passkey", 4))})                          // User Passkey Notification
	e.command(ble.Command{Opcode: 0x040d, Data: cat(classic, 7, m.mark("PIN"), zero(8))})               // PIN Code Request Reply
	for _, a := range slices.Concat(advertised(identities[peripheral]), advertised(passing), []ble.Advertisement{extended}) {
		e.hci(3, a.AppendReport([]byte{ble.H4Event}))
	}
	e.command(ble.Command{Opcode: ble.CommandLECreateConnection, Address: passing})
	e.event(ble.Event{Code: ble.EventLEEnhancedConnection, Handle: 0x40, Local: central, Peer: passing, Interval: 24, Timeout: 500})
	k := m.hosted(0x40)
	k.explore(central, pump[:9]) // before anything says that it is a pump
	at := k.explore(central, pump)
	k.use(at)
	k.pair("pairing", func() {
		e.command(ble.Command{Opcode: ble.CommandLEEnableEncryption, Handle: 0x40, Key: m.secret("STK", 16)})
		e.event(ble.Event{Code: ble.EventEncryptionChange, Handle: 0x40, Enabled: 1})
	}, irks, identities)
	k.use(at)
	k.explore(peripheral, phone)
	e.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x40, Reason: 0x13})

	// It comes again, under another address.
	e.event(ble.Event{Code: ble.EventLEConnectionComplete, Handle: 0x41, Local: central, Peer: later, Interval: 24, Timeout: 500})
	e.command(ble.Command{Opcode: ble.CommandLEEnableEncryption, Handle: 0x41, EDIV: 0x1234, Rand: 5, Key: m.secret("LTK pairing of side 2", 16)})
	e.event(ble.Event{Code: ble.EventEncryptionChange, Handle: 0x41, Enabled: 1})
	m.hosted(0x41).use(at)
	e.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x41, Reason: 0x13})
	e.event(ble.Event{Code: ble.EventLEEnhancedConnection, Handle: 0x43, Local: central, Peer: identities[peripheral], Identity: true, PeerRPA: later, Interval: 24, Timeout: 500})
	e.command(ble.Command{Opcode: ble.CommandLELongTermKeyReply, Handle: 0x43, Key: m.secret("LTK in a reply", 16)})
	m.hosted(0x43).use(at)
	e.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x43, Reason: 0x13})

	e.event(ble.Event{Code: ble.EventLEConnectionComplete, Handle: 0x42, Local: central, Peer: m.address("address of the toy", ble.NonResolvable), Interval: 24, Timeout: 500})
	m.hosted(0x42).explore(central, toy)
	e.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x42, Reason: 0x13})

	// In the air.
	seen, from := m.address("address of a pump in the air", ble.Public), m.address("address of a phone in the air", ble.StaticRandom)
	for _, a := range advertised(seen) {
		m.onAir(a.AppendPDU(nil))
	}
	m.onAir((&ble.ScanRequest{Scanner: m.address("address of who scans", ble.NonResolvable), Advertiser: seen}).AppendPDU(nil))
	const access = 0x71764129
	m.onAir((&ble.ConnectRequest{Initiator: from, Advertiser: seen, Access: access, CRCInit: 0x123456, WinSize: 1, Interval: 24, Timeout: 500, Channels: [5]byte{255, 255, 255, 255, 31}, Hop: 9}).AppendPDU(nil))
	decrypted := false
	k = m.heard(access, &decrypted)
	k.use(k.explore(central, pump))
	k.pair("pairing in the air", func() {
		for i, c := range []ble.Control{{Opcode: ble.LLEncReq, SKD: 1, IV: 2}, {Opcode: ble.LLEncRsp, SKD: 3, IV: 4}, {Opcode: ble.LLStartEncReq}, {Opcode: ble.LLStartEncRsp}, {Opcode: ble.LLStartEncRsp}} {
			decrypted = i > 2
			k.control([]ble.Side{central, peripheral, peripheral, central, peripheral}[i], c)
		}
	}, irks, [3]ble.Address{central: from, peripheral: seen})
	k.use(at)
}

// use writes to the pump and hears of it: in one piece, in parts, signed, of
// what nobody knows; and gives insulin.
func (k *talk) use(at []uint16) {
	const client, server = ble.Central, ble.Peripheral
	m := k.m
	value := func(i int) le16 { return le16(at[i]) } // see sayGATT
	const control, sealed, unknown, last = 10, 16, 17, 18
	k.att(client, 0x12, value(control), "\x4b\x11\x00\x33\x28\xf0\x00\x00\x00\x00") // Set Bolus
	k.att(server, 0x13)
	k.att(client, 0x12, value(sealed), m.mark("opaque write"))
	k.att(server, 0x13)
	k.att(client, 0x12, value(unknown), m.mark("unknown write"))
	k.att(server, 0x13)
	k.att(client, 0x52, value(last), m.mark("write without response"))
	k.att(client, 0xd2, value(last), m.mark("signed write"), m.secret("signature", 12))
	k.att(client, 0x16, value(unknown), le16(0), m.mark("write in parts"))
	k.att(server, 0x17, value(unknown), le16(0), m.mark("write in parts"))
	k.att(client, 0x16, value(unknown), le16(markerBytes), m.secret("rest of a write in parts", 6))
	k.att(server, 0x17, value(unknown), le16(markerBytes), m.secret("rest of a write in parts", 6))
	k.att(client, 0x18, 1)
	k.att(server, 0x19)
	for _, i := range []int{sealed, unknown, last} {
		k.att(server, 0x1b, value(i), m.mark("notification"))
		k.att(server, 0x1d, value(i), m.mark("indication"))
		k.att(client, 0x1e)
	}
	k.att(server, 0x1b, le16(0x0ff0), m.mark("notification of what is not known"))
	k.att(client, 0x06, le16(1), le16(0xffff), le16(0x2a00), m.mark("value searched for"))
	k.att(server, 0x01, 0x06, le16(1), 0x0a)
	k.att(client, 0x0a, value(last))
	k.att(server, 0x01, 0x0a, value(last), 0x05)
	k.att(client, 0x08, le16(1), le16(0xffff), le16(0x2a00))
	k.att(server, 0x09, 2+markerBytes, value(0), m.mark("name read by its type"))
	k.att(client, 0x20, value(0), value(last))
	k.att(server, 0x21, le16(markerBytes), m.mark("one of several values"), le16(markerBytes), m.mark("another of several values"))
}

// markedDialect has what the samples have not: texts of every kind, opcodes
// and addresses of many bits.
var markedDialect = sync.OnceValue(func() *radio.Dialect {
	d, err := radio.Load("marked.yaml", []byte(`
dialect: 1
name: marked
device: {manufacturer: Okapi Health, model: Marked, therapy: insulin infusion}
frame:
  sync: 5a c3 96
  fields:
    - {name: serial, kind: address, bytes: 8, of: device}
    - {name: accessory, kind: address, bytes: 6, of: peer, worn: true}
    - {name: counter, kind: counter, bytes: 4}
    - {name: opcode, kind: opcode, bytes: 4}
    - {kind: data}
    - {name: crc, kind: checksum, bytes: 2, algorithm: crc, polynomial: 0x1021, over: [serial, data]}
opcodes:
  - opcode: 0x10000001
    name: identity
    means: identity
    manufacturer: maker
    model: model
    version: version
    serial: number
    fields:
      - {name: maker, kind: text, bytes: 12, patient: none}
      - {name: model, kind: text, bytes: 12, patient: none}
      - {name: version, kind: text, bytes: 12, patient: none}
      - {name: number, kind: text, bytes: 12, patient: device-identity}
  - opcode: 0x10000002
    name: patient
    means: report
    fields:
      - {name: name, kind: text, bytes: 12, patient: name}
      - {name: born, kind: text, bytes: 12, patient: birth-date}
      - {name: sex, kind: text, bytes: 12, patient: sex}
      - {name: record, kind: text, bytes: 12, patient: record-number}
      - {name: home, kind: text, bytes: 12, patient: address}
      - {name: telephone, kind: text, bytes: 12, patient: telephone}
      - {name: visit, kind: text, bytes: 12, patient: visit}
      - {name: national, kind: text, bytes: 12, patient: national-id}
      - {name: result, kind: text, bytes: 12, patient: result}
      - {name: order, kind: text, bytes: 12, patient: order}
      - {name: staff, kind: text, bytes: 12, patient: staff-name}
      - {name: device, kind: text, bytes: 12, patient: device-identity}
      - {name: note, kind: text, bytes: 12, patient: none}
      - {name: dump, kind: bytes, bytes: rest}
  - opcode: 0x10000003
    name: bolus
    means: command
    verb: deliver-bolus
    value: amount
    fields:
      - {name: amount, kind: unsigned, bytes: 2, scale: 0.025, unit: "[iU]"}
      - {name: key, kind: nonce, bytes: 8}
      - {name: token, kind: tag, bytes: 8}
      - {name: note, kind: text, bytes: 12, patient: none}
  - opcode: 0x10000004
    name: sealed
    means: command
    verb: deliver-bolus
    fields:
      - {name: message, kind: ciphertext, bytes: rest}
`))
	if err != nil {
		panic(err)
	}
	return d
})

// A radioFrame is one frame of a dialect: the fields that are set, by name, to
// numbers or bytes.
type radioFrame struct {
	dialect, opcode string
	fields          map[string]any
}

func (m *marker) frame(f radioFrame) []byte {
	for _, d := range append(radio.Samples(), markedDialect()) {
		if d.Name != f.dialect {
			continue
		}
		x, err := d.Message(f.opcode)
		for name, v := range f.fields {
			if err != nil {
				break
			}
			switch v := v.(type) {
			case int:
				err = x.Set(name, int64(v))
			case uint64:
				err = x.Set(name, int64(v))
			case string:
				err = x.SetBytes(name, []byte(v))
			case []byte:
				err = x.SetBytes(name, v)
			}
		}
		if err != nil {
			m.ether.t.Fatal(f.dialect, f.opcode, err)
		}
		return d.Append(nil, x)
	}
	m.ether.t.Fatal("no dialect ", f.dialect)
	return nil
}

// number returns a secret of so many bytes as a number.
func (m *marker) number(field string, n int) uint64 {
	return new(big.Int).SetBytes(m.secret(field, n)).Uint64()
}

// sayRadio sends frames of the samples and of markedDialect, to a frame log and
// to a receiver. Some are said to be of dialects that nobody knows.
func sayRadio(m *marker) {
	serial := func(dialect, field string, n int) uint64 { return m.number(field+" of "+dialect, n) }
	frame := func(dialect, opcode string, fields map[string]any) radioFrame {
		return radioFrame{dialect, opcode, merged(map[string]map[string]any{
			"halden-mics":           {"device": serial(dialect, "address", 4), "session": m.secret("session", 2)},
			"halden-mics-protected": {"session": serial(dialect, "session", 4), "counter": serial(dialect, "counter", 4), "tag": m.secret("tag", 8)},
			"okapi-classic":         {"serial": serial(dialect, "serial", 3)},
			"okapi-patch":           {"pod": serial(dialect, "pod", 4), "token": m.secret("token", 4)},
			"tessel-calm":           {"serial": serial(dialect, "serial", 4)},
			"marked":                {"serial": serial(dialect, "serial", 8), "accessory": serial(dialect, "accessory", 6), "counter": serial(dialect, "counter", 4)},
		}[dialect], fields)}
	}
	text := func(fields ...string) map[string]any {
		all := map[string]any{}
		for _, f := range fields {
			all[f] = m.mark(f)
		}
		return all
	}
	frames := []radioFrame{
		frame("halden-mics", "wake", nil),
		frame("halden-mics", "settings", merged(text("record"), map[string]any{"patient-name": m.mark("patient name")})),
		frame("halden-mics", "identity", map[string]any{"model": m.mark("model"), "serial": m.mark("serial number")}),
		frame("halden-mics", "write-memory", map[string]any{"contents": m.mark("memory written")}),
		frame("halden-mics", "memory", map[string]any{"contents": m.mark("memory read")}),
		frame("halden-mics", "therapies", nil),
		frame("halden-mics-protected", "shock", map[string]any{"message": m.mark("ciphertext")}),
		frame("okapi-classic", "bolus", map[string]any{"amount": 160}),
		frame("okapi-classic", "glucose", map[string]any{"sensor": m.number("number of the sensor", 3), "glucose": 130}),
		frame("okapi-classic", "paired", map[string]any{"accessory": m.number("number of the remote control", 3), "key": m.secret("pairing key", 4)}),
		frame("okapi-classic", "history", map[string]any{"records": m.mark("history")}),
		frame("okapi-classic", "identity", map[string]any{"model": m.mark("model of the pump")}),
		frame("okapi-patch", "set-up", map[string]any{"handheld": m.number("number of the handheld", 4)}),
		frame("okapi-patch", "version", map[string]any{"sequence-number": m.number("serial number of the pod", 4)}),
		frame("okapi-patch", "alerts", map[string]any{"settings": m.mark("settings")}),
		frame("tessel-calm", "patient", map[string]any{"patient-name": m.mark("name of the patient"), "born": 19540817}),
		frame("tessel-calm", "program", map[string]any{"target": m.mark("target")}),
		frame("tessel-calm", "amplitude", map[string]any{"amplitude": 250}),
		frame("marked", "identity", map[string]any{"maker": m.mark("manufacturer"), "model": m.mark("another model"), "version": m.mark("version"), "number": m.mark("number")}),
		frame("marked", "patient", merged(text("name", "born", "sex", "record", "home", "telephone", "visit", "national", "result", "order", "staff", "device", "note"), map[string]any{"dump": m.mark("dump")})),
		frame("marked", "bolus", map[string]any{"amount": 160, "key": m.secret("nonce", 8), "token": m.secret("tag of a bolus", 8), "note": m.mark("note of a bolus")}),
		frame("marked", "sealed", map[string]any{"message": m.mark("another ciphertext")}),
	}
	names := receiverNames(m)
	for i, f := range frames {
		b := m.harm(m.frame(f))
		for _, called := range []string{f.dialect, "", m.mark("name of a dialect")} {
			m.ether.log = capture.AppendLogLine(m.ether.log, &capture.Frame{Data: b, Time: m.ether.tick(), Flags: capture.RadioFlags(uint16(i), -60), Link: capture.LinkFrameLog}, called)
		}
		on := 1
		if f.dialect == names[0] {
			on = 0
		}
		m.ether.write(receiver, on, capture.LinkUser0, b)
	}
	// An opcode that nobody knows, and where somebody's number may stand.
	odd := m.frame(frame("marked", "sealed", map[string]any{"serial": m.number("serial number of another", 8)}))
	n := len(odd)
	copy(odd[n-6:], m.secret("unknown opcode", 4))
	binary.BigEndian.PutUint16(odd[n-2:], crcXMODEM(odd[3:n-2]))
	m.ether.log = capture.AppendLogLine(m.ether.log, &capture.Frame{Data: m.harm(odd), Time: m.ether.tick(), Link: capture.LinkFrameLog}, "marked")
}

// crcXMODEM is the CRC of markedDialect.
func crcXMODEM(b []byte) (crc uint16) {
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			top := crc >> 15
			crc = crc<<1 ^ 0x1021*top
		}
	}
	return crc
}
