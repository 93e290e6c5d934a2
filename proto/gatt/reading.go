// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"bytes"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// A Kind is what a value is about.
type Kind uint8

// The kinds of reading.
const (
	NoKind       Kind = iota // nothing that this package reads
	Measurement              // of a body, or the history of a therapy
	Command                  // changes a therapy, an alarm or a record, or reads them
	Response                 // what came of a command
	Status                   // the state of the device
	Annunciation             // an alarm or a reminder
	Identity                 // who the device, or its user, is
	Setting                  // features, and configuration that no therapy depends on
)

var kinds = [...]string{"", "measurement", "command", "response", "status", "annunciation", "identity", "setting"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// Fields are the kinds of patient data in a value.
type Fields uint8

// The kinds of patient data.
const (
	FieldResult     Fields = 1 << iota // a measurement, or what was given
	FieldOrder                         // what is to be given, or warned of
	FieldName                          // of a person
	FieldBirthDate                     // or age
	FieldSex                           //
	FieldContact                       // e-mail address
	FieldIdentifier                    // serial number, system id, UDI: of a body-worn device a person's
	FieldSecret                        // a code that lets in
)

// An Outcome is what came of a command.
type Outcome uint8

// The outcomes.
const (
	NoOutcome Outcome = iota
	Succeeded
	Failed
)

// An Integrity is what the check value of end-to-end protection says.
type Integrity uint8

// The integrities. A good one is no proof of who sent it: the check has no key.
const (
	Unchecked Integrity = iota // no check value, or one that could not be told from other bytes
	Good
	Bad
)

// A Reading is what a value means. It holds no measured value, name or code.
type Reading struct {
	Kind      Kind
	Operation string // the profile's own word: of a control point's opcode, else of the characteristic
	Fields    Fields
	Records   int // measurements in the value

	// Command is what is asked for; of a Response, what was. Its Stage says so:
	// proposed, or accepted. Value, Now and Limit are settings; the value of a
	// calibration, which is a measurement, is left out. For any Kind Therapy is
	// that of the service. Of a Measurement by a glucose sensor the verb is
	// device.ReportGlucose: it is an input of each closed loop that listens.
	Command device.Command

	// Level and LevelNow are of a command that sets at which glucose an alert
	// sounds, where Command.Value and Now are how much passes in silence. Off is 0 in
	// the unit 1.
	Level, LevelNow device.Quantity

	Outcome Outcome
	Code    uint8 // the profile's own, of a Response

	Identity Identifiers

	// Of end-to-end protection. Fresh is the counter, 0 when there is none;
	// Repeated: it is the one before, so that the PDU was sent again.
	Integrity Integrity
	Fresh     uint8
	Repeated  bool

	// Opaque: bytes of a vendor that protects them above the link, by means that
	// a capture does not show.
	Opaque bool
}

// Identifiers are what a device says of itself. The texts alias the value and
// are cut at 64 bytes; the flags say that something was there which of a
// body-worn device nobody may print.
type Identifiers struct {
	Manufacturer, Model, Firmware, Hardware, Software []byte
	Serial, SystemID, UDI, Name                       bool
}

const maxText = 64

// A Decoder says what the values of one server mean. It remembers what later
// values depend on: whether end-to-end protection is in use, limits and rates
// that hold now. The zero Decoder knows nothing and is ready; it may go on with
// the next connection of the same server after [Decoder.Reconnect].
type Decoder struct {
	cgm cgmState
	idd iddState

	// What is known of the attribute that was read last: mostly it comes again.
	service, characteristic UUID
	info                    *ServiceInfo
	known                   *CharacteristicInfo
}

// Reconnect forgets what ends with a connection: counters, and commands that
// were not answered.
func (d *Decoder) Reconnect() {
	d.cgm.asked = CGMControl{}
	d.idd.asked = IDDControl{}
	d.idd.counters = [iddCounters]uint8{}
}

// Decode says what an access means. r is made anew; on an error, a
// *wire.SyntaxError, it holds what was read before it, so that a command that
// is not well-formed is a command still. Refusals, descriptors and values of
// unknown types have NoKind. It allocates nothing but the error.
func (d *Decoder) Decode(a *Access, r *Reading) error {
	*r = Reading{}
	if a.Op < Read || a.Op > Indicate || a.Descriptor != (UUID{}) {
		return nil
	}
	if d.service != a.Service || d.characteristic != a.Characteristic {
		d.service, d.characteristic = a.Service, a.Characteristic
		d.info, d.known = of(a)
	}
	info, known, marks := d.info, d.known, Marks(0)
	if known != nil {
		marks = known.Marks
	}
	if info != nil {
		r.Command.Therapy = info.Therapy
	}
	if known != nil {
		r.Operation = known.Name
	}
	if info != nil && (info.Sealed || info.Update) {
		return vendor(a, r, info, marks)
	}
	n, ok := a.Characteristic.Short()
	if !ok || known == nil {
		return nil
	}
	if a.Partial || a.Value == nil {
		r.byMarks(a, marks)
		return nil
	}
	return d.assigned(n, a, r)
}

// of returns what is known of an access's service and characteristic.
func of(a *Access) (*ServiceInfo, *CharacteristicInfo) {
	info := serviceByUUID[a.Service]
	c := characteristicByUUID[a.Characteristic]
	if info == nil && c != nil {
		info = serviceByUUID[c.Service]
	}
	return info, c
}

// fromServer reports whether the server sent the value.
func (a *Access) fromServer() bool { return a.Op == Read || a.Op == Notify || a.Op == Indicate }

// byMarks says of a value that cannot be read as much as its type does.
func (r *Reading) byMarks(a *Access, marks Marks) {
	switch {
	case a.fromServer() && marks&MarkMeasurement != 0:
		r.Kind, r.Fields = Measurement, FieldResult
	case a.fromServer() && marks&MarkTherapy != 0:
		r.Kind = Response
	case a.fromServer():
	case marks&MarkTherapy != 0:
		r.Kind = Command
		r.Command.Stage = device.Proposed
	case marks&MarkConfiguration != 0:
		r.Kind = Setting
	}
}

// command makes r a command.
func (r *Reading) command(verb device.Verb) {
	r.Kind = Command
	r.Command.Verb, r.Command.Stage = verb, device.Proposed
}

// response makes r the answer to a command.
func (r *Reading) response(verb device.Verb, succeeded bool) {
	r.Kind, r.Outcome = Response, Failed
	r.Command.Verb, r.Command.Stage = verb, device.Proposed
	if succeeded {
		r.Outcome, r.Command.Stage = Succeeded, device.Accepted
	}
}

// otherSide is what is wrong with an opcode that only the other side may send.
func otherSide() error {
	return &wire.SyntaxError{Proto: name, Field: "Op Code", Err: wire.ErrInvalid}
}

// unproven reads a value whose last octets are not its check value: the value
// has none, or it is wrong. What can only be read without them has a wrong one.
func (r *Reading) unproven(value []byte, octets int, p protection, read func([]byte) error) error {
	base := *r
	if p == protected {
		r.Integrity = Bad
	}
	err := read(value)
	if err != nil && p != unprotected && len(value) > octets {
		first := *r
		*r = base
		r.Integrity = Bad
		if read(value[:len(value)-octets]) == nil {
			err = nil
		} else {
			*r = first
		}
	}
	if err == nil && r.Integrity == Bad {
		err = &wire.SyntaxError{Proto: name, Field: "E2E-CRC", Off: max(len(value)-crcBytes, 0), Err: wire.ErrInvalid}
	}
	return err
}

// assigned reads a characteristic with an assigned number.
func (d *Decoder) assigned(n uint16, a *Access, r *Reading) error {
	switch n {
	case chrCGMMeasurement, chrCGMFeature, chrCGMStatus, chrCGMSessionStart, chrCGMSessionRunTime, chrCGMControl:
		return d.decodeCGM(n, a, r)
	case chrIDDStatusChanged, chrIDDStatus, chrIDDAnnunciation, chrIDDFeatures, chrIDDStatusReader, chrIDDCommand,
		chrIDDCommandData, chrIDDRecordAccess, chrIDDHistory:
		return d.decodeIDD(n, a, r)
	}
	c := wire.NewCursor(name, a.Value)
	switch n {
	case chrHeartRate:
		var m HeartRate
		m.parse(&c)
		r.measurement()
	case chrGlucose:
		var m GlucoseMeasurement
		m.parse(&c)
		r.measurement()
	case chrRecordAccess:
		recordAccess(&c, a, r)
	case chrBondControl:
		bondControl(&c, a, r)
	case chrUserControl:
		userControl(&c, a, r)
	case chrCurrentTime:
		currentTime(&c, a, r)
	case chrHeartRateControl:
		r.Kind = Setting
		if v := c.Uint8("Heart Rate Control Point"); v != 1 {
			c.FailAt("Heart Rate Control Point", 0, wire.ErrReserved)
		}
	case chrInterval: // how often the thermometer measures by itself, 0 for never
		r.Kind = Setting
		c.Skip("Measurement Interval", 2)
	case chrBatteryLevel:
		r.Kind = Status
		if c.Uint8("Battery Level") > 100 {
			c.FailAt("Battery Level", 0, wire.ErrReserved)
		}
	case chrManufacturer, chrModel, chrSerial, chrFirmware, chrHardware, chrSoftware, chrSystemID, chrUDI, chrDeviceName:
		identity(n, &c, r)
	case chrFirstName, chrLastName:
		r.Kind, r.Fields = Identity, FieldName
		c.Rest()
	case chrEmail:
		r.Kind, r.Fields = Identity, FieldContact
		c.Rest()
	case chrBirthDate:
		r.Kind, r.Fields = Identity, FieldBirthDate
		c.Skip("Date of Birth", 4)
	case 0x2a80: // Age
		r.Kind, r.Fields = Identity, FieldBirthDate
		c.Skip("Age", 1)
	case chrGender:
		r.Kind, r.Fields = Identity, FieldSex
		c.Skip("Gender", 1)
	case 0x2a8e, 0x2a98: // Height, Weight
		r.measurement()
		c.Skip("Value", 2)
	case 0x2b2d: // Emergency ID
		r.Kind, r.Fields = Identity, FieldIdentifier
		c.Rest()
	default:
		if l := layoutOf(n); l != nil {
			if l.features {
				r.Kind = Setting
			} else {
				r.measurement()
			}
			l.walk(&c, nil)
		} else {
			r.byMarks(a, characteristicByUUID[a.Characteristic].Marks)
			c.Rest()
		}
	}
	return finish(&c)
}

// finish returns what is wrong with a value that should have been read to its end.
func finish(c *wire.Cursor) error {
	if c.Len() > 0 {
		c.Fail("Value", wire.ErrTrailing)
	}
	return c.Err()
}

func (r *Reading) measurement() {
	r.Kind, r.Fields, r.Records = Measurement, FieldResult, 1
}

// identity reads what a device says of itself (Device Information service 1.1).
func identity(n uint16, c *wire.Cursor, r *Reading) {
	r.Kind = Identity
	b := c.Rest()
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i] // strings are UTF-8 without an end, but C pads them
	}
	b = b[:min(len(b), maxText):min(len(b), maxText)]
	id := &r.Identity
	switch n {
	case chrManufacturer:
		id.Manufacturer = b
	case chrModel:
		id.Model = b
	case chrFirmware:
		id.Firmware = b
	case chrHardware:
		id.Hardware = b
	case chrSoftware:
		id.Software = b
	case chrDeviceName:
		id.Name = true
	case chrSerial:
		id.Serial, r.Fields = true, FieldIdentifier
	case chrSystemID: // often the address
		id.SystemID, r.Fields = true, FieldIdentifier
	case chrUDI:
		id.UDI, r.Fields = true, FieldIdentifier
	}
}

// currentTime reads the clock (Current Time service 1.1 section 3.1): date and
// time, day of the week, fraction, why it was set.
func currentTime(c *wire.Cursor, a *Access, r *Reading) {
	if a.fromServer() {
		r.Kind = Status
	} else {
		r.command(device.SetClock)
	}
	var t DateTime
	t.parse(c)
	c.Skip("Day of Week, Fractions256, Adjust Reason", 3)
}

// dfuNames are the opcodes of Nordic's control points, as far as they do more
// than move the image (nRF5 SDK: nrf_dfu_op_t, ble_dfu_buttonless_op_code_t;
// nRF51 SDK: ble_dfu.c).
var dfuNames = map[UUID]map[uint8]string{
	known("8EC90001" + nordicDFU): {1: "DFU Create", 3: "DFU Calculate Checksum", 4: "DFU Execute", 6: "DFU Select"},
	known("8EC90003" + nordicDFU): {1: "DFU Enter Bootloader", 2: "DFU Set Advertised Name"},
	known("8EC90004" + nordicDFU): {1: "DFU Enter Bootloader", 2: "DFU Set Advertised Name"},
	known("00001531" + legacyDFU): {1: "DFU Start", 2: "DFU Initialize", 3: "DFU Receive Image", 4: "DFU Validate", 5: "DFU Activate", 6: "DFU Reset"},
}

// vendor reads a service whose bytes are a vendor's.
func vendor(a *Access, r *Reading, info *ServiceInfo, marks Marks) error {
	r.Opaque = info.Sealed
	if r.Operation == "" {
		r.Operation = info.Name
	}
	if !info.Update {
		r.byMarks(a, marks)
		return nil
	}
	opcodes := dfuNames[a.Characteristic]
	switch {
	case !a.fromServer():
		r.command(device.Install)
		if len(a.Value) > 0 && opcodes[a.Value[0]] != "" {
			r.Operation = opcodes[a.Value[0]]
		}
	case opcodes != nil && a.Op != Read && len(a.Value) >= 3: // response, request, result
		r.response(device.Install, a.Value[2] == 1)
		r.Code = a.Value[2]
	}
	return nil
}
