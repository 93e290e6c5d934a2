// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
)

// An Op is what was done with an attribute.
type Op uint8

// The operations.
const (
	NoOp         Op = iota
	Discover        // the server said that it has the service, or the characteristic
	Read            // the server answered a read with the value
	Write           // asked for by a request, with what was prepared for it
	WriteCommand    // not answered
	Notify
	Indicate
	Refused // the server answered a request with an error
)

var ops = [...]string{"", "discover", "read", "write", "write command", "notify", "indicate", "refused"}

func (o Op) String() string {
	if int(o) < len(ops) {
		return ops[o]
	}
	return ""
}

// An Access is one operation on one attribute. It and its Value are valid
// during the callback.
type Access struct {
	Op     Op
	Asked  Op       // of Refused: Discover, Read or Write
	From   ble.Side // who sent the value, or refused
	Server ble.Side // who has the attribute
	Handle uint16
	Time   int64 // nanoseconds since 1970-01-01 UTC

	// Zero when unknown. Descriptor is zero for the characteristic's value.
	Service, Characteristic, Descriptor UUID

	// Confidence in these: high when they were discovered here, medium when later
	// or on another connection of the same server, low when guessed from the value or
	// when several requests were open. NoConfidence: the characteristic is unknown.
	Confidence device.Confidence

	Value   []byte
	Partial bool  // the value is not whole: its other parts were not captured, or cannot be told apart
	Signed  bool  // a write command with a signature under a key of the bond
	Error   uint8 // of Refused (Vol 3 Part F section 3.4.1.1)
}

// Defends reports whether the server refused because the link is not
// protected well enough: it enforces a level of security.
func (a *Access) Defends() bool {
	switch a.Error {
	case 0x05, 0x08, 0x0c, 0x0f: // insufficient authentication, authorization, key size, encryption
		return a.Op == Refused
	}
	return false
}

// Bounds of a tracker, for each of its two servers.
const (
	// maxPending: a client has one request open at a time on each bearer. Of each
	// opcode on a bearer the last is kept.
	maxPending = 8

	// maxHandles of one request to read several. More are not looked at.
	maxHandles = 16

	// maxValue is the longest value of an attribute (Vol 3 Part F section 3.2.9).
	maxValue = 512

	// maxParts and maxQueueBytes bound what is prepared to be written.
	maxParts      = 64
	maxQueueBytes = 4096

	// transaction is how long an answer may take, in nanoseconds (Vol 3 Part F
	// section 3.3.3: after 30 seconds the bearer is dead).
	transaction = 30e9
)

// Properties of a characteristic (Vol 3 Part G section 3.3.1.1).
const (
	propertyNotify   = 0x10
	propertyIndicate = 0x20
)

// A Tracker follows the attribute protocol of one connection, in both
// directions: either side may be a server. It fills the servers' Databases and
// says each access. It allocates when something is discovered or comes in
// parts, and otherwise not.
type Tracker struct {
	connection *ble.Connection
	cache      *Cache
	say        func(*Access)
	mtu        int
	mtuAsked   int
	servers    [2]server // the peripheral, the central
	shapes     shapes
	lost       int
	access     Access
}

// A server is one side's server, and what the other side as its client has
// asked and not yet been answered.
type server struct {
	Database
	moved   bool // it said that its services changed
	pending [maxPending]request
	held    held
	parts   []part
	queue   []byte // what parts point into
	value   []byte // scratch for what they make together
}

// A request that waits for its answer.
type request struct {
	opcode  ble.ATTOpcode // 0: a free place
	bearer  uint16        // it came through this one, and so will its answer
	unsure  bool          // another of the same opcode was open
	handle  uint16
	offset  uint16
	uuid    UUID // the type asked for
	service UUID // of Find By Type Value: the service asked for
	handles [maxHandles]uint16
	n       int // of handles
	time    int64
}

// held is a value read that fills its PDU, so that there may be more of it.
type held struct {
	active bool
	unsure bool
	handle uint16
	value  []byte
	time   int64
}

// A part is what one Prepare Write Request adds.
type part struct {
	handle, offset uint16
	start, end     int // in the queue
}

// NewTracker returns a tracker of a connection, which gives the addresses that
// the cache knows servers by, at the time of each access. The cache may be nil.
func NewTracker(c *ble.Connection, cache *Cache, say func(*Access)) *Tracker {
	return &Tracker{connection: c, cache: cache, say: say, mtu: ble.DefaultMTU}
}

// Reset makes t a tracker of another connection, which knows nothing of the one
// before but by the cache. It uses its memory again.
func (t *Tracker) Reset(c *ble.Connection) {
	for i := range t.servers {
		s := &t.servers[i]
		*s = server{
			Database: Database{services: s.services[:0], attributes: s.attributes[:0]},
			held:     held{value: s.held.value[:0]}, parts: s.parts[:0], queue: s.queue[:0], value: s.value[:0],
		}
	}
	*t = Tracker{connection: c, cache: t.cache, say: t.say, mtu: ble.DefaultMTU, servers: t.servers}
}

// Database returns what is known of a side as server, from this connection.
func (t *Tracker) Database(server ble.Side) *Database { return &t.servers[place(server)].Database }

// MTU returns the longest PDU in bytes that the two sides agreed on.
func (t *Tracker) MTU() int { return t.mtu }

// Lost returns how much was given up because of a bound.
func (t *Tracker) Lost() int { return t.lost + t.servers[0].Lost + t.servers[1].Lost }

func place(server ble.Side) int {
	if server == ble.Central {
		return 1
	}
	return 0
}

// Close says what is still held and hands what was discovered to the cache.
func (t *Tracker) Close() {
	for i := range t.servers {
		t.release(i)
		t.cache.learn(t.address(i), &t.servers[i].Database, t.servers[i].moved)
	}
}

func (t *Tracker) address(i int) ble.Address {
	if a := t.connection.Identity(side(i)); a.Kind != ble.NoAddress {
		return a
	}
	if i == 1 {
		return t.connection.Central
	}
	return t.connection.Peripheral
}

func side(i int) ble.Side {
	if i == 1 {
		return ble.Central
	}
	return ble.Peripheral
}

// PDU takes one PDU of the attribute protocol that from sent at a time in
// nanoseconds since 1970. Where the side is not known, the server is taken for
// the peripheral. The error is a *wire.SyntaxError.
func (t *Tracker) PDU(from ble.Side, pdu []byte, now int64) error {
	var p ble.ATT
	if err := p.Parse(pdu); err != nil {
		return err
	}
	i := place(from)
	if p.Opcode.FromClient() {
		i = place(from.Other())
	}
	s := &t.servers[i]
	t.mtu = max(t.mtu, min(len(pdu), 3+maxValue)) // where the exchange was not captured
	if p.Opcode.FromClient() && p.Opcode != ble.ReadBlobRequest && p.Opcode != ble.HandleValueConfirmation {
		t.release(i)
	}
	switch p.Opcode {
	case ble.HandleValueNotification:
		t.value(i, Notify, p.Handle, p.Value, now)
	case ble.HandleValueIndication:
		t.value(i, Indicate, p.Handle, p.Value, now)
	case ble.MultipleHandleValueNotification:
		for e := range p.Attributes() {
			t.value(i, Notify, e.Handle, e.Value, now)
		}
	case ble.WriteCommand, ble.SignedWriteCommand:
		a := t.begin(i, WriteCommand, p.Handle, now)
		a.Value, a.Signed = p.Value, p.Opcode == ble.SignedWriteCommand
		t.emit(i)
	case ble.ErrorResponse:
		t.refused(i, &p, now)
	case ble.ExchangeMTURequest:
		t.mtuAsked = int(p.MTU)
	case ble.ExchangeMTUResponse:
		if t.mtuAsked != 0 {
			t.mtu = max(ble.DefaultMTU, min(t.mtuAsked, int(p.MTU)))
		}
	case ble.HandleValueConfirmation:
	default:
		if p.Opcode.FromClient() {
			t.request(i, &p, now)
		} else if r, ok := s.answered(p.Opcode-1, t.connection.Bearer, now); ok {
			t.response(i, &p, &r, now)
		}
	}
	return nil
}

// request remembers what is asked, and says what is written.
func (t *Tracker) request(i int, p *ble.ATT, now int64) {
	s := &t.servers[i]
	r := s.open(p.Opcode, t.connection.Bearer, now)
	r.handle, r.offset, r.uuid = p.Handle, p.Offset, uuidLE(p.Type)
	switch p.Opcode {
	case ble.FindByTypeValueRequest:
		r.service = uuidLE(p.Value)
	case ble.ReadMultipleRequest, ble.ReadMultipleVariableRequest:
		for e := range p.Attributes() {
			if r.n == len(r.handles) {
				t.lost++
				break
			}
			r.handles[r.n] = e.Handle
			r.n++
		}
	case ble.WriteRequest:
		a := t.begin(i, Write, p.Handle, now)
		a.Value = p.Value
		t.emit(i)
	case ble.PrepareWriteRequest:
		t.prepare(s, p)
	case ble.ExecuteWriteRequest:
		if p.Flags == 1 {
			t.execute(i, now)
		}
		s.parts, s.queue = s.parts[:0], s.queue[:0]
	}
}

// open finds a place for a request: that of an earlier one with the same
// opcode, a free one, or the oldest.
func (s *server) open(op ble.ATTOpcode, bearer uint16, now int64) *request {
	best := &s.pending[0]
	for i := range s.pending {
		r := &s.pending[i]
		switch {
		case r.opcode == op && r.bearer == bearer:
			*r = request{opcode: op, bearer: bearer, time: now, unsure: now-r.time <= transaction}
			return r
		case best.opcode == 0:
		case r.opcode == 0 || r.time < best.time:
			best = r
		}
	}
	*best = request{opcode: op, bearer: bearer, time: now}
	return best
}

// answered takes the request with this opcode, unless it is too old.
func (s *server) answered(op ble.ATTOpcode, bearer uint16, now int64) (request, bool) {
	for i := range s.pending {
		if r := &s.pending[i]; r.opcode == op && r.bearer == bearer {
			r.opcode = 0
			return *r, now-r.time <= transaction
		}
	}
	return request{}, false
}

// response says what a server answered.
func (t *Tracker) response(i int, p *ble.ATT, r *request, now int64) {
	s := &t.servers[i]
	switch p.Opcode {
	case ble.ReadByGroupTypeResponse:
		if n, _ := r.uuid.Short(); n != uuidPrimary && n != uuidSecondary {
			return
		}
		for e := range p.Attributes() {
			t.foundService(i, service{e.Handle, e.End, uuidLE(e.Value)}, now)
		}
	case ble.FindByTypeValueResponse:
		if n, _ := r.uuid.Short(); n != uuidPrimary && n != uuidSecondary {
			return
		}
		for e := range p.Attributes() {
			t.foundService(i, service{e.Handle, e.End, r.service}, now)
		}
	case ble.ReadByTypeResponse:
		for e := range p.Attributes() {
			t.byType(i, r, e, now)
		}
	case ble.FindInformationResponse:
		for e := range p.Attributes() {
			t.foundAttribute(i, e.Handle, uuidLE(e.Value), now)
		}
	case ble.ReadResponse:
		if len(p.Value) == t.mtu-1 { // there may be more: Vol 3 Part F section 3.4.4.5
			s.hold(r, p.Value, now)
			return
		}
		t.read(i, r.handle, p.Value, r.unsure, false, now)
	case ble.ReadBlobResponse:
		t.blob(i, p, r, now)
	case ble.ReadMultipleResponse:
		// The values stand one behind the other, and only the last may have any length.
		for _, h := range r.handles[:r.n] {
			value := p.Value
			if r.n > 1 {
				value = nil
			}
			t.read(i, h, value, r.unsure, r.n > 1, now)
		}
	case ble.ReadMultipleVariableResponse:
		n := 0
		for e := range p.Attributes() {
			if n == r.n {
				break
			}
			t.read(i, r.handles[n], e.Value, r.unsure, e.Cut, now)
			n++
		}
	}
}

// byType takes one answer to Read By Type: a declaration, or a value whose type
// was asked for.
func (t *Tracker) byType(i int, r *request, e ble.Attribute, now int64) {
	switch n, _ := r.uuid.Short(); n {
	case uuidCharacteristic: // Vol 3 Part G section 3.3.1: properties, value handle, UUID
		if len(e.Value) != 5 && len(e.Value) != 19 {
			return
		}
		handle := binary.LittleEndian.Uint16(e.Value[1:])
		if t.servers[i].add(attribute{handle: handle, properties: e.Value[0], uuid: uuidLE(e.Value[3:])}) {
			t.discovered(i, handle, now)
		}
	case uuidInclude: // section 3.2: a range, and the UUID if it is short
		if len(e.Value) == 6 {
			t.foundService(i, service{
				binary.LittleEndian.Uint16(e.Value), binary.LittleEndian.Uint16(e.Value[2:]), uuidLE(e.Value[4:]),
			}, now)
		}
	default:
		if !t.foundAttribute(i, e.Handle, r.uuid, now) {
			return
		}
		t.read(i, e.Handle, e.Value, r.unsure, len(e.Value) == min(t.mtu-4, 253), now)
	}
}

func (t *Tracker) foundService(i int, s service, now int64) {
	if !t.servers[i].addService(s) {
		return
	}
	a := t.begin(i, Discover, s.first, now)
	a.Service, a.Confidence = s.uuid, device.High
	t.say(a)
}

// foundAttribute takes a handle's type, and reports whether it is that of a
// value or descriptor, and not of a declaration (Vol 3 Part G section 3.1).
func (t *Tracker) foundAttribute(i int, handle uint16, u UUID, now int64) bool {
	n, _ := u.Short()
	if n >= 0x2800 && n < 0x2900 {
		return false
	}
	descriptor := n >= 0x2900 && n < 0x2a00
	if t.servers[i].add(attribute{handle: handle, uuid: u, descriptor: descriptor}) && !descriptor {
		t.discovered(i, handle, now)
	}
	return true
}

func (t *Tracker) discovered(i int, handle uint16, now int64) {
	t.begin(i, Discover, handle, now)
	t.emit(i)
}

// begin makes the one access anew.
func (t *Tracker) begin(i int, op Op, handle uint16, now int64) *Access {
	t.access = Access{Op: op, From: side(i), Server: side(i), Handle: handle, Time: now}
	if op == Write || op == WriteCommand {
		t.access.From = side(i).Other()
	}
	return &t.access
}

// emit says the access, with what is known of its handle.
func (t *Tracker) emit(i int) {
	a := &t.access
	confidence := device.High
	known := t.servers[i].find(a.Handle, a)
	if !known {
		confidence = device.Medium
		for _, db := range t.cache.databases(t.address(i)) {
			known = known || db != nil && db.find(a.Handle, a)
		}
		known = known || t.configuration(i, a)
	}
	if !known {
		t.cache.miss(t.address(i), a.Handle)
		known, confidence = t.guess(i, a), device.Low
	}
	if known && (a.Confidence == device.NoConfidence || confidence < a.Confidence) {
		a.Confidence = confidence
	}
	if !known || a.Characteristic == (UUID{}) { // of a descriptor that stands behind no value
		a.Confidence = device.NoConfidence
	}
	t.say(a)
}

// configuration takes a write for one of a CCCD whose discovery was not
// captured: a legal value of two bytes, right behind a characteristic's value
// that can be notified or indicated (Vol 3 Part G section 3.3.3.3).
func (t *Tracker) configuration(i int, a *Access) bool {
	if a.Op != Write || len(a.Value) != 2 || a.Value[0] > 3 || a.Value[1] != 0 {
		return false
	}
	known := t.cache.databases(t.address(i))
	for _, db := range [...]*Database{&t.servers[i].Database, known[0], known[1]} {
		if db == nil {
			continue
		}
		j, ok := db.search(a.Handle - 1)
		if ok && !db.attributes[j].descriptor && db.attributes[j].properties&(propertyNotify|propertyIndicate) != 0 {
			db.find(a.Handle-1, a)
			a.Descriptor = CCCD
			return true
		}
	}
	return false
}

// value says what a server sent by itself.
func (t *Tracker) value(i int, op Op, handle uint16, value []byte, now int64) {
	a := t.begin(i, op, handle, now)
	a.Value = value
	t.emit(i)
	if n, _ := a.Characteristic.Short(); n == chrServiceChanged && len(value) == 4 { // Vol 3 Part G section 7.1
		first, last := binary.LittleEndian.Uint16(value), binary.LittleEndian.Uint16(value[2:])
		t.servers[i].drop(first, last)
		t.servers[i].moved = true
		if db := t.cache.lookup(t.address(i)); db != nil {
			db.drop(first, last)
		}
	}
}

func (t *Tracker) read(i int, handle uint16, value []byte, unsure, partial bool, now int64) {
	a := t.begin(i, Read, handle, now)
	a.Value, a.Partial = value, partial
	if unsure {
		a.Confidence = device.Low
	}
	t.emit(i)
}

// refused says an error with what it is about.
func (t *Tracker) refused(i int, p *ble.ATT, now int64) {
	s := &t.servers[i]
	r, ok := s.answered(p.Request, t.connection.Bearer, now)
	handle := p.Handle
	if handle == 0 && ok {
		handle = r.handle
	}
	asked, search := Read, false
	switch p.Request {
	case ble.ReadBlobRequest:
		if s.held.active && s.held.handle == handle { // there was no more of it
			t.release(i)
			return
		}
	case ble.FindInformationRequest, ble.FindByTypeValueRequest, ble.ReadByGroupTypeRequest:
		asked, search = Discover, true
	case ble.ReadByTypeRequest:
		search = true
		if n, _ := r.uuid.Short(); n == uuidCharacteristic || n == uuidInclude {
			asked = Discover
		}
	case ble.PrepareWriteRequest:
		asked = Write
		if n := len(s.parts); n > 0 {
			s.queue = s.queue[:s.parts[n-1].start]
			s.parts = s.parts[:n-1]
		}
	case ble.WriteRequest, ble.ExecuteWriteRequest:
		asked = Write
	}
	if p.Error == 0x0a && search {
		return // attribute not found: the end of every search
	}
	a := t.begin(i, Refused, handle, now)
	a.Asked, a.Error = asked, p.Error
	if r.unsure {
		a.Confidence = device.Low
	}
	t.emit(i)
}

// hold keeps a value that may go on.
func (s *server) hold(r *request, value []byte, now int64) {
	s.held = held{
		active: true, unsure: r.unsure, handle: r.handle, time: now,
		value: append(s.held.value[:0], value[:min(len(value), maxValue)]...),
	}
}

// blob takes a further part of a value.
func (t *Tracker) blob(i int, p *ble.ATT, r *request, now int64) {
	s := &t.servers[i]
	h := &s.held
	more := len(p.Value) == t.mtu-1
	switch {
	case r.offset == 0 && more:
		t.release(i)
		s.hold(r, p.Value, now)
	case r.offset == 0:
		t.release(i)
		t.read(i, r.handle, p.Value, r.unsure, false, now)
	case h.active && h.handle == r.handle && int(r.offset) == len(h.value):
		h.value = append(h.value, p.Value[:min(len(p.Value), maxValue-len(h.value))]...)
		h.unsure = h.unsure || r.unsure
		if !more {
			t.release(i)
		}
	default: // its beginning was not captured
		t.release(i)
		t.read(i, r.handle, nil, r.unsure, true, now)
	}
}

// release says what is held.
func (t *Tracker) release(i int) {
	h := &t.servers[i].held
	if !h.active {
		return
	}
	h.active = false
	t.read(i, h.handle, h.value, h.unsure, false, h.time)
}

// prepare queues a part of a value.
func (t *Tracker) prepare(s *server, p *ble.ATT) {
	if len(s.parts) == maxParts || len(s.queue)+len(p.Value) > maxQueueBytes {
		t.lost++
		return
	}
	start := len(s.queue)
	s.queue = append(s.queue, p.Value...)
	s.parts = append(s.parts, part{p.Handle, p.Offset, start, len(s.queue)})
}

// execute says what the queued parts write, a value for each handle in the
// order of their first parts.
func (t *Tracker) execute(i int, now int64) {
	s := &t.servers[i]
	for j, first := range s.parts {
		done := false
		for _, q := range s.parts[:j] {
			done = done || q.handle == first.handle
		}
		if done {
			continue
		}
		s.value = s.value[:0]
		whole := true
		for _, q := range s.parts[j:] { // the queue is bounded: at most 64 x 64 turns
			if q.handle != first.handle {
				continue
			}
			if int(q.offset) != len(s.value) || len(s.value)+q.end-q.start > maxValue {
				whole = false // what stands before it was not captured, or is not changed
				continue
			}
			s.value = append(s.value, s.queue[q.start:q.end]...)
		}
		a := t.begin(i, Write, first.handle, now)
		a.Value, a.Partial = s.value, !whole
		t.emit(i)
	}
}
