// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// Values of the Insulin Delivery service's enumerations (IDS 1.0.2). Each is a
// word of the Hamming code.
const (
	Undetermined = 0x0f // therapy control state, operational state, context, activation, annunciation

	TherapyStop  = 0x33 // therapy control state
	TherapyPause = 0x3c
	TherapyRun   = 0x55

	TBRAbsolute = 0x33 // IU/h
	TBRRelative = 0x3c // a factor

	BolusFast      = 0x33
	BolusExtended  = 0x3c
	BolusMultiwave = 0x55

	ActivationManual      = 0x33
	ActivationRecommended = 0x3c
	ActivationChanged     = 0x55
	ActivationCommanded   = 0x5a

	IDDSuccess = 0x0f // response code
)

const (
	therapyStates    = "\x0f\x33\x3c\x55"
	annunciationEnum = "\x0f\x33\x3c\x55" // undetermined, pending, snoozed, confirmed
	tbrTypes         = "\x0f\x33\x3c"
	bolusTypes       = "\x0f\x33\x3c\x55"
	activationTypes  = "\x0f\x33\x3c\x55\x5a"
	responseCodes    = "\x0f\x70\x71\x72\x73\x74\x75\x76"
	bolusSelections  = "\x0f\x33\x3c"                 // programmed, remaining, delivered
	templateTypes    = "\x0f\x33\x3c\x55\x5a\x66\x96" // undetermined, basal, TBR, bolus, ISF, I:CHO, target range
)

// word16 reads a Hamming-coded number of two octets.
func word16(c *wire.Cursor, field string) uint16 {
	at := c.Off()
	v := c.Uint16LE(field)
	if c.Ok() && (v == 0 || !hamming(v)) {
		c.FailAt(field, at, wire.ErrInvalid)
	}
	return v
}

// word8 is word16 for one octet, whose values are not all known here.
func word8(c *wire.Cursor, field string) uint8 {
	at := c.Off()
	v := c.Uint8(field)
	if c.Ok() && (v == 0 || !hamming(uint16(v))) {
		c.FailAt(field, at, wire.ErrInvalid)
	}
	return v
}

// An IDDStatus is an IDD Status (section 4.2) without its E2E-Protection: see
// [SplitE2E] and [AppendE2E].
type IDDStatus struct {
	TherapyState     uint8
	OperationalState uint8 // 0x33 off, 0x3c standby, 0x55 preparing, 0x5a priming, 0x66 waiting, 0x96 ready
	Reservoir        SFLOAT
	Flags            uint8 // bit 0: a reservoir is attached
}

// Parse reads a value.
func (s *IDDStatus) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	s.parse(&c)
	return finish(&c)
}

func (s *IDDStatus) parse(c *wire.Cursor) {
	s.TherapyState = enum(c, "Therapy Control State", therapyStates)
	s.OperationalState = word8(c, "Operational State")
	s.Reservoir = sfloat(c, "Reservoir Remaining Amount")
	s.Flags = c.Uint8("Flags")
}

// Append writes s after dst.
func (s *IDDStatus) Append(dst []byte) []byte {
	dst = append(dst, s.TherapyState, s.OperationalState)
	return append(binary.LittleEndian.AppendUint16(dst, uint16(s.Reservoir)), s.Flags)
}

// An IDDStatusChanged is an IDD Status Changed (section 4.1) without its
// E2E-Protection: bits for therapy control state, operational state, reservoir,
// annunciation, total daily insulin, active basal rate, active bolus, history,
// from the lowest.
type IDDStatusChanged uint16

// Parse reads a value.
func (s *IDDStatusChanged) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	*s = IDDStatusChanged(c.Uint16LE("Flags"))
	return finish(&c)
}

// Append writes s after dst.
func (s IDDStatusChanged) Append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint16(dst, uint16(s))
}

// The IDD Features that this package knows. 5 to 15 are fast, extended and
// multiwave bolus, delay, templates, activation type, multiple bonds, ISF,
// I:CHO, target range and insulin on board.
const (
	FeatureE2E         = 1 << 0
	FeatureBasal       = 1 << 1
	FeatureTBRAbsolute = 1 << 2
	FeatureTBRRelative = 1 << 3
	FeatureTBRTemplate = 1 << 4
	FeatureFastBolus   = 1 << 5
)

// An IDDFeatures is an IDD Features (section 4.4). Its check value stands in
// front; without E2E-Protection it is FFFF, and the counter 0.
type IDDFeatures struct {
	Counter       uint8
	Concentration SFLOAT // IU/mL
	Features      uint32 // 24 bits
}

// Parse reads a value.
func (f *IDDFeatures) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	crc := c.Uint16LE("E2E-CRC")
	f.Counter = c.Uint8("E2E-Counter")
	f.Concentration = sfloat(&c, "Insulin Concentration")
	f.Features = uint24(&c, "Flags")
	if !c.Ok() {
		return c.Err()
	}
	want := uint16(noCRC)
	if f.Features&FeatureE2E != 0 {
		want = CRC(b[crcBytes:])
	}
	if crc != want {
		c.FailAt("E2E-CRC", 0, wire.ErrInvalid)
	}
	return finish(&c)
}

// Append writes f after dst.
func (f *IDDFeatures) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0xff, 0xff, f.Counter)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(f.Concentration))
	dst = append(dst, byte(f.Features), byte(f.Features>>8), byte(f.Features>>16))
	if f.Features&FeatureE2E != 0 {
		binary.LittleEndian.PutUint16(dst[at:], CRC(dst[at+crcBytes:]))
	}
	return dst
}

// auxInfos is how many AuxInfos an annunciation has room for (table 4.7).
const auxInfos = 5

// An IDDAnnunciation is an IDD Annunciation Status (section 4.3) without its
// E2E-Protection.
type IDDAnnunciation struct {
	Present  bool // without it the rest is not there
	Instance uint16
	Type     uint16 // a word of the Hamming code
	Status   uint8
	Aux      [auxInfos]uint16
	HasAux   uint8 // a bit for each of them
}

// annunciations are the names of types (table 4.9).
var annunciations = map[uint16]string{
	0x000f: "System Issue", 0x0033: "Mechanical Issue", 0x003c: "Occlusion Detected", 0x0055: "Reservoir Issue",
	0x005a: "Reservoir Empty", 0x0066: "Reservoir Low", 0x0069: "Priming Issue", 0x0096: "Infusion Set Incomplete",
	0x0099: "Infusion Set Detached", 0x00a5: "Power Source Insufficient", 0x00aa: "Battery Empty", 0x00c3: "Battery Low",
	0x00cc: "Battery Medium", 0x00f0: "Battery Full", 0x00ff: "Temperature Out of Range", 0x0303: "Air Pressure Out of Range",
	0x030c: "Bolus Canceled", 0x0330: "TBR Over", 0x033f: "TBR Canceled", 0x0356: "Max Delivery", 0x0359: "Date Time Issue",
	0x0365: "Temperature",
}

// Parse reads a value.
func (x *IDDAnnunciation) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	flags := c.Uint8("Flags")
	*x = IDDAnnunciation{Present: flags&1 != 0}
	if !x.Present {
		return finish(&c)
	}
	x.HasAux = flags >> 1 & (1<<auxInfos - 1)
	x.Instance = c.Uint16LE("Annunciation Instance ID")
	x.Type = word16(&c, "Annunciation Type")
	x.Status = enum(&c, "Annunciation Status", annunciationEnum)
	for i := range x.Aux {
		if x.HasAux>>i&1 != 0 {
			x.Aux[i] = c.Uint16LE("AuxInfo")
		}
	}
	return finish(&c)
}

// Append writes x after dst.
func (x *IDDAnnunciation) Append(dst []byte) []byte {
	if !x.Present {
		return append(dst, 0)
	}
	le := binary.LittleEndian
	dst = append(dst, 1|x.HasAux<<1)
	dst = append(le.AppendUint16(le.AppendUint16(dst, x.Instance), x.Type), x.Status)
	for i, v := range x.Aux {
		if x.HasAux>>i&1 != 0 {
			dst = le.AppendUint16(dst, v)
		}
	}
	return dst
}

// An IDDHistory is one record of IDD History Data (section 4.9) without its
// check value: it has no counter, so see [SplitCRC] and [AppendCRC].
type IDDHistory struct {
	Type     uint16 // a word of the Hamming code
	Sequence uint32
	Offset   uint16 // seconds from the reference time
	Data     []byte // by the type
}

// maxEventData bounds the Event Data of a record (table 4.94).
const maxEventData = 10

// historyEvents are the names of types (table 4.95).
var historyEvents = map[uint16]string{
	0x000f: "Reference Time", 0x0033: "Reference Time Base Offset", 0x003c: "Bolus Calculated Part 1 of 2", 0x0055: "Bolus Calculated Part 2 of 2",
	0x005a: "Bolus Programmed Part 1 of 2", 0x0066: "Bolus Programmed Part 2 of 2", 0x0069: "Bolus Delivered Part 1 of 2",
	0x0096: "Bolus Delivered Part 2 of 2", 0x0099: "Delivered Basal Rate Changed", 0x00a5: "TBR Adjustment Started", 0x00aa: "TBR Adjustment Ended",
	0x00c3: "TBR Adjustment Changed", 0x00cc: "Profile Template Activated", 0x00f0: "Basal Rate Profile Template Time Block Changed",
	0x00ff: "Total Daily Insulin Delivery", 0x0303: "Therapy Control State Changed", 0x030c: "Operational State Changed",
	0x0330: "Reservoir Remaining Amount Changed", 0x033f: "Annunciation Status Changed Part 1 of 2", 0x0356: "Annunciation Status Changed Part 2 of 2",
	0x0359: "ISF Profile Template Time Block Changed", 0x0365: "I:CHO Ratio Profile Template Time Block Changed",
	0x036a: "Target Glucose Range Profile Template Time Block Changed", 0x0395: "Priming Started", 0x039a: "Priming Done",
	0x03a6: "Data Corruption", 0x03a9: "Pointer Event", 0x03c0: "Bolus Template Changed Part 1 of 2", 0x03cf: "Bolus Template Changed Part 2 of 2",
	0x03f3: "TBR Template Changed", 0x03fc: "Max Bolus Amount Changed",
}

// Parse reads a value. Data aliases it.
func (h *IDDHistory) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	h.Type = word16(&c, "Event Type")
	h.Sequence = c.Uint32LE("Sequence Number")
	h.Offset = c.Uint16LE("Relative Offset")
	if c.Len() > maxEventData {
		c.Fail("Event Data", wire.ErrTooLong)
	}
	h.Data = c.Rest()
	return c.Err()
}

// Append writes h after dst.
func (h *IDDHistory) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, h.Type)
	return append(le.AppendUint16(le.AppendUint32(dst, h.Sequence), h.Offset), h.Data...)
}

// An IDDOp is an opcode of the IDD Command Control Point, of IDD Command Data,
// or of the IDD Status Reader Control Point. They are words of one Hamming code
// and do not overlap.
type IDDOp uint16

// Opcodes of the Command Control Point (section 4.6.1). One that ends in Response
// answers the one before it; what has none is answered by IDDResponseCode.
const (
	IDDResponseCode                  IDDOp = 0x0f55
	IDDSetTherapyControlState        IDDOp = 0x0f5a
	IDDSetFlightMode                 IDDOp = 0x0f66
	IDDSnoozeAnnunciation            IDDOp = 0x0f69
	IDDSnoozeAnnunciationResponse    IDDOp = 0x0f96
	IDDConfirmAnnunciation           IDDOp = 0x0f99
	IDDConfirmAnnunciationResponse   IDDOp = 0x0fa5
	IDDReadBasal                     IDDOp = 0x0faa
	IDDReadBasalResponse             IDDOp = 0x0fc3
	IDDWriteBasal                    IDDOp = 0x0fcc
	IDDWriteBasalResponse            IDDOp = 0x0ff0
	IDDSetTBR                        IDDOp = 0x0fff
	IDDCancelTBR                     IDDOp = 0x1111
	IDDGetTBRTemplate                IDDOp = 0x111e
	IDDGetTBRTemplateResponse        IDDOp = 0x1122
	IDDSetTBRTemplate                IDDOp = 0x112d
	IDDSetTBRTemplateResponse        IDDOp = 0x1144
	IDDSetBolus                      IDDOp = 0x114b
	IDDSetBolusResponse              IDDOp = 0x1177
	IDDCancelBolus                   IDDOp = 0x1178
	IDDCancelBolusResponse           IDDOp = 0x1187
	IDDGetAvailableBoluses           IDDOp = 0x1188
	IDDGetAvailableBolusesResponse   IDDOp = 0x11b4
	IDDGetBolusTemplate              IDDOp = 0x11bb
	IDDGetBolusTemplateResponse      IDDOp = 0x11d2
	IDDSetBolusTemplate              IDDOp = 0x11dd
	IDDSetBolusTemplateResponse      IDDOp = 0x11e1
	IDDGetTemplateStatus             IDDOp = 0x11ee
	IDDGetTemplateStatusResponse     IDDOp = 0x1212
	IDDResetTemplateStatus           IDDOp = 0x121d
	IDDResetTemplateStatusResponse   IDDOp = 0x1221
	IDDActivateTemplates             IDDOp = 0x122e
	IDDActivateTemplatesResponse     IDDOp = 0x1247
	IDDGetActivatedTemplates         IDDOp = 0x1248
	IDDGetActivatedTemplatesResponse IDDOp = 0x1274
	IDDStartPriming                  IDDOp = 0x127b
	IDDStopPriming                   IDDOp = 0x1284
	IDDSetReservoirFill              IDDOp = 0x128b
	IDDResetReservoirTime            IDDOp = 0x12b7
	IDDReadISF                       IDDOp = 0x12b8
	IDDReadISFResponse               IDDOp = 0x12d1
	IDDWriteISF                      IDDOp = 0x12de
	IDDWriteISFResponse              IDDOp = 0x12e2
	IDDReadICHO                      IDDOp = 0x12ed
	IDDReadICHOResponse              IDDOp = 0x1414
	IDDWriteICHO                     IDDOp = 0x141b
	IDDWriteICHOResponse             IDDOp = 0x1427
	IDDReadTarget                    IDDOp = 0x1428
	IDDReadTargetResponse            IDDOp = 0x1441
	IDDWriteTarget                   IDDOp = 0x144e
	IDDWriteTargetResponse           IDDOp = 0x1472
	IDDGetMaxBolus                   IDDOp = 0x147d
	IDDGetMaxBolusResponse           IDDOp = 0x1482
	IDDSetMaxBolus                   IDDOp = 0x148d
)

// Opcodes of the Status Reader Control Point (section 4.5.1).
const (
	IDDStatusResponseCode          IDDOp = 0x0303
	IDDResetStatus                 IDDOp = 0x030c
	IDDGetActiveBolusIDs           IDDOp = 0x0330
	IDDGetActiveBolusIDsResponse   IDDOp = 0x033f
	IDDGetActiveBolus              IDDOp = 0x0356
	IDDGetActiveBolusResponse      IDDOp = 0x0359
	IDDGetActiveBasal              IDDOp = 0x0365
	IDDGetActiveBasalResponse      IDDOp = 0x036a
	IDDGetTotalDaily               IDDOp = 0x0395
	IDDGetTotalDailyResponse       IDDOp = 0x039a
	IDDGetCounter                  IDDOp = 0x03a6
	IDDGetCounterResponse          IDDOp = 0x03a9
	IDDGetDeliveredInsulin         IDDOp = 0x03c0
	IDDGetDeliveredInsulinResponse IDDOp = 0x03cf
	IDDGetInsulinOnBoard           IDDOp = 0x03f3
	IDDGetInsulinOnBoardResponse   IDDOp = 0x03fc
	maxTemplates                         = 255
	maxBlocks                            = 3
)

// A form is what an opcode's operand looks like.
type form uint8

const (
	formNone           form = iota
	formResponse            // request opcode, response code
	formState               // therapy control state
	formInstance            // of an annunciation or bolus
	formTemplate            // its number
	formBlocks              // a time block each with a value: as read, as written
	formBlocksWrite         //
	formRanges              // a time block each with two limits
	formRangesWrite         //
	formBlocksDone          //
	formTBR                 //
	formTBRTemplate         //
	formBolus               //
	formBolusTemplate       //
	formFlags               // one octet
	formTemplates           // a count, and their numbers
	formAmount              //
	formTemplateStatus      // of all templates of a type
	formStatusBits          //
	formBolusIDs            //
	formBolusQuery          //
	formActiveBolus         //
	formBasal               //
	formTotals              //
	formCounterQuery        //
	formCounter             //
	formDelivered           //
	formOnBoard             //
)

// An iddInfo is what is known of an opcode.
type iddInfo struct {
	name    string
	form    form
	answers IDDOp // the request, of a response
}

// iddOps is the table of opcodes. A request and its answer share a row.
var iddOps = func() map[IDDOp]iddInfo {
	ops := map[IDDOp]iddInfo{}
	for _, row := range []struct {
		op       IDDOp
		name     string
		form     form
		answer   IDDOp // 0: IDDResponseCode answers it
		answered form
	}{
		{IDDResponseCode, "Response Code", formResponse, 0, 0},
		{IDDSetTherapyControlState, "Set Therapy Control State", formState, 0, 0},
		{IDDSetFlightMode, "Set Flight Mode", formNone, 0, 0},
		{IDDSnoozeAnnunciation, "Snooze Annunciation", formInstance, IDDSnoozeAnnunciationResponse, formInstance},
		{IDDConfirmAnnunciation, "Confirm Annunciation", formInstance, IDDConfirmAnnunciationResponse, formInstance},
		{IDDReadBasal, "Read Basal Rate Profile Template", formTemplate, IDDReadBasalResponse, formBlocks},
		{IDDWriteBasal, "Write Basal Rate Profile Template", formBlocksWrite, IDDWriteBasalResponse, formBlocksDone},
		{IDDSetTBR, "Set TBR Adjustment", formTBR, 0, 0},
		{IDDCancelTBR, "Cancel TBR Adjustment", formNone, 0, 0},
		{IDDGetTBRTemplate, "Get TBR Template", formTemplate, IDDGetTBRTemplateResponse, formTBRTemplate},
		{IDDSetTBRTemplate, "Set TBR Template", formTBRTemplate, IDDSetTBRTemplateResponse, formTemplate},
		{IDDSetBolus, "Set Bolus", formBolus, IDDSetBolusResponse, formInstance},
		{IDDCancelBolus, "Cancel Bolus", formInstance, IDDCancelBolusResponse, formInstance},
		{IDDGetAvailableBoluses, "Get Available Boluses", formNone, IDDGetAvailableBolusesResponse, formFlags},
		{IDDGetBolusTemplate, "Get Bolus Template", formTemplate, IDDGetBolusTemplateResponse, formBolusTemplate},
		{IDDSetBolusTemplate, "Set Bolus Template", formBolusTemplate, IDDSetBolusTemplateResponse, formTemplate},
		{IDDGetTemplateStatus, "Get Template Status and Details", formNone, IDDGetTemplateStatusResponse, formTemplateStatus},
		{IDDResetTemplateStatus, "Reset Template Status", formTemplates, IDDResetTemplateStatusResponse, formTemplates},
		{IDDActivateTemplates, "Activate Profile Templates", formTemplates, IDDActivateTemplatesResponse, formTemplates},
		{IDDGetActivatedTemplates, "Get Activated Profile Templates", formNone, IDDGetActivatedTemplatesResponse, formTemplates},
		{IDDStartPriming, "Start Priming", formAmount, 0, 0},
		{IDDStopPriming, "Stop Priming", formNone, 0, 0},
		{IDDSetReservoirFill, "Set Initial Reservoir Fill Level", formAmount, 0, 0},
		{IDDResetReservoirTime, "Reset Reservoir Insulin Operation Time", formNone, 0, 0},
		{IDDReadISF, "Read ISF Profile Template", formTemplate, IDDReadISFResponse, formBlocks},
		{IDDWriteISF, "Write ISF Profile Template", formBlocksWrite, IDDWriteISFResponse, formBlocksDone},
		{IDDReadICHO, "Read I:CHO Ratio Profile Template", formTemplate, IDDReadICHOResponse, formBlocks},
		{IDDWriteICHO, "Write I:CHO Ratio Profile Template", formBlocksWrite, IDDWriteICHOResponse, formBlocksDone},
		{IDDReadTarget, "Read Target Glucose Range Profile Template", formTemplate, IDDReadTargetResponse, formRanges},
		{IDDWriteTarget, "Write Target Glucose Range Profile Template", formRangesWrite, IDDWriteTargetResponse, formBlocksDone},
		{IDDGetMaxBolus, "Get Max Bolus Amount", formNone, IDDGetMaxBolusResponse, formAmount},
		{IDDSetMaxBolus, "Set Max Bolus Amount", formAmount, 0, 0},

		{IDDStatusResponseCode, "Response Code", formResponse, 0, 0},
		{IDDResetStatus, "Reset Status", formStatusBits, 0, 0},
		{IDDGetActiveBolusIDs, "Get Active Bolus IDs", formNone, IDDGetActiveBolusIDsResponse, formBolusIDs},
		{IDDGetActiveBolus, "Get Active Bolus Delivery", formBolusQuery, IDDGetActiveBolusResponse, formActiveBolus},
		{IDDGetActiveBasal, "Get Active Basal Rate Delivery", formNone, IDDGetActiveBasalResponse, formBasal},
		{IDDGetTotalDaily, "Get Total Daily Insulin Status", formNone, IDDGetTotalDailyResponse, formTotals},
		{IDDGetCounter, "Get Counter", formCounterQuery, IDDGetCounterResponse, formCounter},
		{IDDGetDeliveredInsulin, "Get Delivered Insulin", formNone, IDDGetDeliveredInsulinResponse, formDelivered},
		{IDDGetInsulinOnBoard, "Get Insulin On Board", formNone, IDDGetInsulinOnBoardResponse, formOnBoard},
	} {
		ops[row.op] = iddInfo{row.name, row.form, 0}
		if row.answer != 0 {
			ops[row.answer] = iddInfo{row.name + " Response", row.answered, row.op}
		}
	}
	return ops
}()

// String returns the document's name, or "".
func (o IDDOp) String() string { return iddOps[o].name }

// known reports whether this package knows the opcode.
func (o IDDOp) known() bool { return iddOps[o].name != "" }

// FromServer reports whether the pump says it.
func (o IDDOp) FromServer() bool {
	info := iddOps[o]
	return info.form == formResponse || info.answers != 0
}

// A TBR is a temporary basal rate.
type TBR struct {
	Type        uint8
	Value       SFLOAT // IU/h, or a factor
	Duration    uint16 // minutes
	Remaining   uint16 // minutes, of one that is being delivered
	Change      bool   // of one that is being delivered
	HasTemplate bool
	Template    uint8
	Context     uint8 // 0: none is given
}

// A Bolus is an amount of insulin at once, over a time, or both.
type Bolus struct {
	Type             uint8
	Fast, Extended   SFLOAT // IU
	Duration         uint16 // minutes, of the extended part
	HasDelay         bool
	Delay            uint16 // minutes
	HasTemplate      bool
	Template         uint8
	Activation       uint8 // 0: none is given
	Correction, Meal bool  // the reason
}

// A Block is a part of a day in a profile.
type Block struct {
	Duration uint16 // minutes
	Value    SFLOAT // IU/h, mg/dL per IU, g per IU; of a range the lower limit, mg/dL
	Upper    SFLOAT // of a range
}

// An IDDControl is a value of a control point of the Insulin Delivery service,
// or of IDD Command Data, without its E2E-Protection: see [SplitE2E] and
// [AppendE2E]. Which fields are valid depends on the opcode; the others are
// zero.
type IDDControl struct {
	Op        IDDOp
	Request   IDDOp // that a response code is about
	Code      uint8 // 0x0f is success
	State     uint8
	ID        uint16 // of an annunciation instance or a bolus
	Template  uint8  // its number; of a template status that of the first one
	First     uint8  // number of the first time block; of a template status how many a template can have
	Done      bool   // the transaction of writing a profile is at its end
	N         int    // of Blocks; 0 where a control point only says that IDD Command Data has them
	Blocks    [maxBlocks]Block
	TBR       TBR
	HasTBR    bool // of an active basal rate
	Bolus     Bolus
	Amount    SFLOAT // IU, IU/h
	Totals    [3]SFLOAT
	Delivered [2]FLOAT // IU: by bolus, basal
	Selection uint8    // of a counter or a bolus; of a template status the type of template
	Counter   uint8
	Minutes   int32  // of a counter, or of insulin on board
	Bits      uint16 // of Reset Status; flags; of a template status the number of templates
	Numbers   []byte // of templates; bolus IDs, two bytes each; of a template status two bits each: it can be configured, it is
}

// Parse reads a value. Numbers aliases it. On an error x holds what was read
// before it.
func (x *IDDControl) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	x.parse(&c)
	return finish(&c)
}

func (x *IDDControl) parse(c *wire.Cursor) {
	*x = IDDControl{Op: IDDOp(c.Uint16LE("Op Code"))}
	info, ok := iddOps[x.Op]
	switch {
	case ok:
		x.operand(c, info.form)
	case x.Op != 0 && hamming(uint16(x.Op)):
		c.FailAt("Op Code", 0, wire.ErrReserved)
	default: // prohibited: no word of the code
		c.FailAt("Op Code", 0, wire.ErrInvalid)
	}
}

func (x *IDDControl) operand(c *wire.Cursor, f form) {
	if f.inCommandData() && c.Len() == 0 {
		return
	}
	switch f {
	case formResponse:
		x.Request = IDDOp(word16(c, "Request Op Code"))
		x.Code = c.Uint8("Response Code Value")
		for i := range len(responseCodes) {
			if responseCodes[i] == x.Code {
				return
			}
		}
		c.FailAt("Response Code Value", 4, wire.ErrInvalid)
	case formState:
		x.State = enum(c, "Therapy Control State", therapyStates[1:])
	case formInstance:
		x.ID = c.Uint16LE("Instance ID")
	case formTemplate:
		x.Template = c.Uint8("Template Number")
	case formBlocks, formBlocksWrite, formRanges, formRangesWrite:
		x.blocks(c, f)
	case formBlocksDone:
		x.Done = c.Uint8("Flags")&1 != 0
		x.Template, x.First = c.Uint8("Template Number"), c.Uint8("First Time Block Number Index")
	case formTBR:
		flags := c.Uint8("Flags")
		x.TBR.parse(c)
		x.TBR.Change = flags&4 != 0
		if x.TBR.HasTemplate = flags&1 != 0; x.TBR.HasTemplate {
			x.TBR.Template = c.Uint8("TBR Template Number")
		}
		if flags&2 != 0 {
			x.TBR.Context = word8(c, "TBR Delivery Context")
		}
	case formTBRTemplate:
		x.Template = c.Uint8("TBR Template Number")
		x.TBR.parse(c)
	case formBolus:
		x.Bolus.parse(c, c.Uint8("Flags"))
	case formBolusTemplate:
		x.Template = c.Uint8("Bolus Template Number")
		flags := c.Uint8("Flags")
		x.Bolus.parse(c, flags&1|flags&6<<2) // table 4.66: the reasons stand where a bolus has template and activation
	case formActiveBolus:
		flags := c.Uint8("Flags")
		x.ID = c.Uint16LE("Bolus ID")
		x.Bolus.parse(c, flags)
	case formFlags:
		x.Bits = uint16(c.Uint8("Flags"))
	case formTemplates:
		x.Numbers = c.Bytes("Template Numbers", int(c.Uint8("Number of Templates")))
	case formBolusIDs:
		x.Numbers = c.Bytes("Bolus IDs", 2*int(c.Uint8("Number of Active Boluses")))
	case formAmount:
		x.Amount = amount(c, "Amount")
	case formTemplateStatus: // section 3.8.1.8
		x.Selection = enum(c, "Template Type", templateTypes)
		x.Template = c.Uint8("Starting Template Number")
		x.Bits = uint16(c.Uint8("Number of Templates"))
		x.First = c.Uint8("Max Number of Supported Time Blocks")
		x.Numbers = c.Bytes("Configurable and Configured Flags", int(x.Bits+3)/4)
	case formStatusBits:
		x.Bits = c.Uint16LE("Flags")
	case formBolusQuery:
		x.ID = c.Uint16LE("Bolus ID")
		x.Selection = enum(c, "Bolus Value Selection", bolusSelections)
	case formBasal:
		flags := c.Uint8("Flags")
		x.Template = c.Uint8("Active Basal Rate Profile Template Number")
		x.Amount = amount(c, "Active Basal Rate Current Config Value")
		if x.HasTBR = flags&1 != 0; x.HasTBR {
			x.TBR.parse(c)
			x.TBR.Remaining = c.Uint16LE("TBR Duration Remaining")
		}
		if x.TBR.HasTemplate = flags&2 != 0; x.TBR.HasTemplate {
			x.TBR.Template = c.Uint8("TBR Template Number")
		}
		if flags&4 != 0 {
			x.TBR.Context = word8(c, "Basal Delivery Context")
		}
	case formTotals:
		for i := range x.Totals {
			x.Totals[i] = sfloat(c, "Total Daily Insulin")
		}
	case formCounterQuery, formCounter:
		x.Counter = word8(c, "Counter Type")
		x.Selection = word8(c, "Counter Value Selection")
		if f == formCounter {
			x.Minutes = int32(c.Uint32LE("Counter Value"))
		}
	case formDelivered:
		for i := range x.Delivered {
			x.Delivered[i] = FLOAT(c.Uint32LE("Amount Delivered"))
		}
	case formOnBoard:
		flags := c.Uint8("Flags")
		x.Amount = sfloat(c, "Insulin On Board")
		if x.Bits = uint16(flags & 1); flags&1 != 0 {
			x.Minutes = int32(c.Uint16LE("Remaining Duration"))
		}
	}
}

// inCommandData reports whether an operand stands in IDD Command Data alone:
// the control point has the opcode without it (sections 4.6.2.9, 29, 41, 45, 49).
func (f form) inCommandData() bool {
	return f == formBlocks || f == formRanges || f == formTemplateStatus
}

// blocks reads one to three time blocks, or one or two ranges, of a profile.
// As written the flags have the end of the transaction first.
func (x *IDDControl) blocks(c *wire.Cursor, f form) {
	flags := c.Uint8("Flags")
	if f == formBlocksWrite || f == formRangesWrite {
		x.Done = flags&1 != 0
		flags >>= 1
	}
	x.Template, x.First = c.Uint8("Template Number"), c.Uint8("First Time Block Number Index")
	ranges := f == formRanges || f == formRangesWrite
	x.N = 1 + int(flags&1)
	if !ranges && flags&2 != 0 {
		x.N = maxBlocks // the third without the second is not well-formed: it is truncated
	}
	for i := range x.N {
		x.Blocks[i].Duration = c.Uint16LE("Duration")
		x.Blocks[i].Value = amount(c, "Value")
		if ranges {
			x.Blocks[i].Upper = amount(c, "Upper Target Glucose Limit")
		}
	}
}

func (t *TBR) parse(c *wire.Cursor) {
	t.Type = enum(c, "TBR Type", tbrTypes)
	t.Value = amount(c, "TBR Adjustment Value")
	t.Duration = c.Uint16LE("TBR Duration")
}

func (b *Bolus) parse(c *wire.Cursor, flags uint8) {
	b.Type = enum(c, "Bolus Type", bolusTypes)
	b.Fast = amount(c, "Bolus Fast Amount")
	b.Extended = amount(c, "Bolus Extended Amount")
	b.Duration = c.Uint16LE("Bolus Duration")
	if b.HasDelay = flags&1 != 0; b.HasDelay {
		b.Delay = c.Uint16LE("Bolus Delay Time")
	}
	if b.HasTemplate = flags&2 != 0; b.HasTemplate {
		b.Template = c.Uint8("Bolus Template Number")
	}
	if flags&4 != 0 {
		b.Activation = enum(c, "Bolus Activation Type", activationTypes)
	}
	b.Correction, b.Meal = flags&8 != 0, flags&16 != 0
}

// Append writes x after dst.
func (x *IDDControl) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, uint16(x.Op))
	f := iddOps[x.Op].form
	if f.inCommandData() && x.N == 0 && x.Selection == 0 {
		return dst
	}
	switch f {
	case formResponse:
		dst = append(le.AppendUint16(dst, uint16(x.Request)), x.Code)
	case formState:
		dst = append(dst, x.State)
	case formInstance:
		dst = le.AppendUint16(dst, x.ID)
	case formTemplate:
		dst = append(dst, x.Template)
	case formBlocks, formBlocksWrite, formRanges, formRangesWrite:
		dst = x.appendBlocks(dst, f)
	case formBlocksDone:
		dst = append(dst, bit(x.Done, 0), x.Template, x.First)
	case formTBR:
		dst = append(dst, bit(x.TBR.HasTemplate, 0)|bit(x.TBR.Context != 0, 1)|bit(x.TBR.Change, 2))
		dst = x.TBR.append(dst)
		dst = x.TBR.appendEnd(dst)
	case formTBRTemplate:
		dst = x.TBR.append(append(dst, x.Template))
	case formBolus:
		dst = x.Bolus.append(append(dst, x.Bolus.flags()))
	case formBolusTemplate:
		b := x.Bolus
		b.HasTemplate, b.Activation = false, 0
		dst = b.append(append(dst, x.Template, bit(b.HasDelay, 0)|bit(b.Correction, 1)|bit(b.Meal, 2)))
	case formActiveBolus:
		dst = x.Bolus.append(le.AppendUint16(append(dst, x.Bolus.flags()), x.ID))
	case formFlags:
		dst = append(dst, byte(x.Bits))
	case formTemplates:
		numbers := x.Numbers[:min(len(x.Numbers), maxTemplates)]
		dst = append(append(dst, byte(len(numbers))), numbers...)
	case formBolusIDs:
		n := min(len(x.Numbers)/2, maxTemplates)
		dst = append(append(dst, byte(n)), x.Numbers[:2*n]...)
	case formAmount:
		dst = le.AppendUint16(dst, uint16(x.Amount))
	case formTemplateStatus:
		dst = append(append(dst, x.Selection, x.Template, byte(x.Bits), x.First), x.Numbers...)
	case formStatusBits:
		dst = le.AppendUint16(dst, x.Bits)
	case formBolusQuery:
		dst = append(le.AppendUint16(dst, x.ID), x.Selection)
	case formBasal:
		dst = append(dst, bit(x.HasTBR, 0)|bit(x.TBR.HasTemplate, 1)|bit(x.TBR.Context != 0, 2), x.Template)
		dst = le.AppendUint16(dst, uint16(x.Amount))
		if x.HasTBR {
			dst = le.AppendUint16(x.TBR.append(dst), x.TBR.Remaining)
		}
		dst = x.TBR.appendEnd(dst)
	case formTotals:
		for _, v := range x.Totals {
			dst = le.AppendUint16(dst, uint16(v))
		}
	case formCounterQuery, formCounter:
		if dst = append(dst, x.Counter, x.Selection); f == formCounter {
			dst = le.AppendUint32(dst, uint32(x.Minutes))
		}
	case formDelivered:
		for _, v := range x.Delivered {
			dst = le.AppendUint32(dst, uint32(v))
		}
	case formOnBoard:
		dst = le.AppendUint16(append(dst, byte(x.Bits&1)), uint16(x.Amount))
		if x.Bits&1 != 0 {
			dst = le.AppendUint16(dst, uint16(x.Minutes))
		}
	}
	return dst
}

func bit(set bool, n int) byte {
	if set {
		return 1 << n
	}
	return 0
}

func (x *IDDControl) appendBlocks(dst []byte, f form) []byte {
	write := f == formBlocksWrite || f == formRangesWrite
	ranges := f == formRanges || f == formRangesWrite
	flags := bit(x.N > 1, 0) | bit(x.N > 2 && !ranges, 1)
	if write {
		flags = flags<<1 | bit(x.Done, 0)
	}
	dst = append(dst, flags, x.Template, x.First)
	le := binary.LittleEndian
	for _, b := range x.Blocks[:max(1, min(x.N, maxBlocks))] {
		dst = le.AppendUint16(le.AppendUint16(dst, b.Duration), uint16(b.Value))
		if ranges {
			dst = le.AppendUint16(dst, uint16(b.Upper))
		}
	}
	return dst
}

func (t *TBR) append(dst []byte) []byte {
	le := binary.LittleEndian
	return le.AppendUint16(le.AppendUint16(append(dst, t.Type), uint16(t.Value)), t.Duration)
}

func (t *TBR) appendEnd(dst []byte) []byte {
	if t.HasTemplate {
		dst = append(dst, t.Template)
	}
	if t.Context != 0 {
		dst = append(dst, t.Context)
	}
	return dst
}

func (b *Bolus) flags() byte {
	return bit(b.HasDelay, 0) | bit(b.HasTemplate, 1) | bit(b.Activation != 0, 2) | bit(b.Correction, 3) | bit(b.Meal, 4)
}

func (b *Bolus) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(append(dst, b.Type), uint16(b.Fast))
	dst = le.AppendUint16(le.AppendUint16(dst, uint16(b.Extended)), b.Duration)
	if b.HasDelay {
		dst = le.AppendUint16(dst, b.Delay)
	}
	if b.HasTemplate {
		dst = append(dst, b.Template)
	}
	if b.Activation != 0 {
		dst = append(dst, b.Activation)
	}
	return dst
}
