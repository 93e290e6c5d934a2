// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// Every opcode of the Command Control Point in IDS 1.0.2 is known, and between
// the first and the last nothing else is.
func TestIDDOps(t *testing.T) {
	for w := 0; w <= 0xffff; w++ {
		op := IDDOp(w)
		switch listed := slices.Contains(commandOpcodes, uint16(w)); {
		case w >= 0x0f55 && op.known() != listed:
			t.Errorf("%04x: known %v, listed %v", w, op.known(), listed)
		case op.known() && !hamming(uint16(w)):
			t.Errorf("%04x is no word of the code", w)
		case op.known() && w < 0x0f55 && (w < 0x0303 || w > 0x0f3c):
			t.Errorf("%04x is outside the Status Reader's range", w)
		}
	}
	for op, info := range iddOps {
		verb := iddVerb(op)
		switch {
		case op.FromServer() && verb != device.NoVerb:
			t.Errorf("%v asks for %v", op, verb)
		case !op.FromServer() && verb == device.NoVerb && op != IDDResetStatus:
			t.Errorf("%v asks for nothing", op)
		case info.answers != 0 && (info.answers.FromServer() || !info.answers.known()):
			t.Errorf("%v answers %v", op, info.answers)
		}
	}
}

// Written byte by byte from the layouts of IDS 1.0.2, with the field names of the document.
var controls = []struct {
	hex  string
	want IDDControl
}{
	{"5a0f 33", IDDControl{Op: IDDSetTherapyControlState, State: TherapyStop}},
	{"660f", IDDControl{Op: IDDSetFlightMode}},
	{"690f 0102", IDDControl{Op: IDDSnoozeAnnunciation, ID: 0x0201}},
	{"960f 0102", IDDControl{Op: IDDSnoozeAnnunciationResponse, ID: 0x0201}},
	{"990f 0102", IDDControl{Op: IDDConfirmAnnunciation, ID: 0x0201}},
	{"550f 4b11 73", IDDControl{Op: IDDResponseCode, Request: IDDSetBolus, Code: 0x73}},
	{"aa0f 02", IDDControl{Op: IDDReadBasal, Template: 2}},
	{"c30f 03 02 01 3c00 0af0 7800 08f0 b400 0cf0", IDDControl{
		Op: IDDReadBasalResponse, Template: 2, First: 1, N: 3,
		Blocks: [3]Block{{60, 0xf00a, 0}, {120, 0xf008, 0}, {180, 0xf00c, 0}},
	}},
	{"cc0f 03 02 01 3c00 0af0 7800 08f0", IDDControl{
		Op: IDDWriteBasal, Template: 2, First: 1, Done: true, N: 2, Blocks: [3]Block{{60, 0xf00a, 0}, {120, 0xf008, 0}},
	}},
	{"f00f 01 02 01", IDDControl{Op: IDDWriteBasalResponse, Done: true, Template: 2, First: 1}},
	{"ff0f 00 33 05f0 3c00", IDDControl{Op: IDDSetTBR, TBR: TBR{Type: TBRAbsolute, Value: 0xf005, Duration: 60}}},
	{"ff0f 07 3c 0ff0 1e00 04 0f", IDDControl{Op: IDDSetTBR, TBR: TBR{
		Type: TBRRelative, Value: 0xf00f, Duration: 30, Change: true, HasTemplate: true, Template: 4, Context: 0x0f,
	}}},
	{"1111", IDDControl{Op: IDDCancelTBR}},
	{"2211 04 3c 0ff0 1e00", IDDControl{Op: IDDGetTBRTemplateResponse, Template: 4, TBR: TBR{Type: TBRRelative, Value: 0xf00f, Duration: 30}}},
	{"4b11 00 33 28f0 0000 0000", IDDControl{Op: IDDSetBolus, Bolus: Bolus{Type: BolusFast, Fast: 0xf028}}},
	{"4b11 10 3c 0000 1e00 7800", IDDControl{Op: IDDSetBolus, Bolus: Bolus{Type: BolusExtended, Extended: 30, Duration: 120, Meal: true}}},
	{"4b11 0f 55 28f0 0f00 3c00 0500 07 3c", IDDControl{Op: IDDSetBolus, Bolus: Bolus{
		Type: BolusMultiwave, Fast: 0xf028, Extended: 15, Duration: 60, HasDelay: true, Delay: 5, HasTemplate: true, Template: 7,
		Activation: ActivationRecommended, Correction: true,
	}}},
	{"7711 0900", IDDControl{Op: IDDSetBolusResponse, ID: 9}},
	{"7811 0900", IDDControl{Op: IDDCancelBolus, ID: 9}},
	{"b411 07", IDDControl{Op: IDDGetAvailableBolusesResponse, Bits: 7}},
	{"2e12 03 010204", IDDControl{Op: IDDActivateTemplates, Numbers: []byte{1, 2, 4}}},
	{"7b12 0a00", IDDControl{Op: IDDStartPriming, Amount: 10}},
	{"8412", IDDControl{Op: IDDStopPriming}},
	{"8b12 2c01", IDDControl{Op: IDDSetReservoirFill, Amount: 300}},
	{"4114 01 03 01 a005 4600 b400 a005 5000 a000", IDDControl{
		Op: IDDReadTargetResponse, Template: 3, First: 1, N: 2, Blocks: [3]Block{{1440, 70, 180}, {1440, 80, 160}},
	}},
	{"4e14 01 03 01 a005 4600 b400", IDDControl{Op: IDDWriteTarget, Template: 3, First: 1, Done: true, N: 1, Blocks: [3]Block{{1440, 70, 180}}}},
	{"8214 0f00", IDDControl{Op: IDDGetMaxBolusResponse, Amount: 15}},
	{"8d14 1900", IDDControl{Op: IDDSetMaxBolus, Amount: 25}},
	{"c30f", IDDControl{Op: IDDReadBasalResponse}}, // the control point's own, without what IDD Command Data has
	{"4114", IDDControl{Op: IDDReadTargetResponse}},
	{"1212", IDDControl{Op: IDDGetTemplateStatusResponse}},
	{"1212 33 01 05 18 ff 03", IDDControl{Op: IDDGetTemplateStatusResponse, Selection: 0x33, Template: 1, Bits: 5, First: 24, Numbers: []byte{0xff, 3}}},
	{"0c03 0800", IDDControl{Op: IDDResetStatus, Bits: 8}},
	{"3f03 02 0900 0a00", IDDControl{Op: IDDGetActiveBolusIDsResponse, Numbers: []byte{9, 0, 10, 0}}},
	{"5603 0900 33", IDDControl{Op: IDDGetActiveBolus, ID: 9, Selection: 0x33}},
	{"5903 01 0900 33 28f0 0000 0000 0500", IDDControl{Op: IDDGetActiveBolusResponse, ID: 9, Bolus: Bolus{Type: BolusFast, Fast: 0xf028, HasDelay: true, Delay: 5}}},
	{"6a03 07 01 0af0 33 05f0 3c00 2800 02 0f", IDDControl{
		Op: IDDGetActiveBasalResponse, Template: 1, Amount: 0xf00a, HasTBR: true,
		TBR: TBR{Type: TBRAbsolute, Value: 0xf005, Duration: 60, Remaining: 40, HasTemplate: true, Template: 2, Context: 0x0f},
	}},
	{"9a03 0a00 1400 1e00", IDDControl{Op: IDDGetTotalDailyResponse, Totals: [3]SFLOAT{10, 20, 30}}},
	{"a903 55 33 ffffffff", IDDControl{Op: IDDGetCounterResponse, Counter: 0x55, Selection: 0x33, Minutes: -1}},
	{"cf03 010000ff 020000ff", IDDControl{Op: IDDGetDeliveredInsulinResponse, Delivered: [2]FLOAT{0xff000001, 0xff000002}}},
	{"fc03 01 1900 b400", IDDControl{Op: IDDGetInsulinOnBoardResponse, Bits: 1, Amount: 25, Minutes: 180}},
	{"dd11 02 06 33 28f0 0000 0000", IDDControl{Op: IDDSetBolusTemplate, Template: 2, Bolus: Bolus{Type: BolusFast, Fast: 0xf028, Correction: true, Meal: true}}},
	{"d211 02 01 33 28f0 0000 0000 0500", IDDControl{Op: IDDGetBolusTemplateResponse, Template: 2, Bolus: Bolus{Type: BolusFast, Fast: 0xf028, HasDelay: true, Delay: 5}}},
}

func TestIDDControl(t *testing.T) {
	for _, tt := range controls {
		b := unhex(t, tt.hex)
		var x IDDControl
		if err := x.Parse(b); err != nil {
			t.Errorf("%s: %v", tt.hex, err)
		}
		if fmt.Sprint(x) != fmt.Sprint(tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.hex, x, tt.want)
		}
		if out := tt.want.Append(nil); !bytes.Equal(out, b) {
			t.Errorf("%s: appended as %x", tt.hex, out)
		}
		// Cut anywhere but before an operand of IDD Command Data, or longer, it is wrong.
		for n := range len(b) {
			if err := x.Parse(b[:n]); err == nil && (n != 2 || !iddOps[x.Op].form.inCommandData()) {
				t.Errorf("%s: cut at %d", tt.hex, n)
			}
		}
		if err := x.Parse(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: longer", tt.hex)
		}
	}
}

func TestIDDRefused(t *testing.T) {
	for _, tt := range []struct {
		hex, field string
		off        int
		err        error
	}{
		{"", "Op Code", 0, wire.ErrTruncated},
		{"8e14", "Op Code", 0, wire.ErrInvalid}, // prohibited, and a vendor's
		{"5b0f 33", "Op Code", 0, wire.ErrInvalid},
		{"b114", "Op Code", 0, wire.ErrReserved}, // the next word of the code
		{"0f00", "Op Code", 0, wire.ErrReserved},
		{"5a0f 0f", "Therapy Control State", 2, wire.ErrReserved},
		{"5a0f 5a", "Therapy Control State", 2, wire.ErrReserved},
		{"5a0f 32", "Therapy Control State", 2, wire.ErrInvalid}, // a bit away from stop
		{"5a0f 00", "Therapy Control State", 2, wire.ErrReserved},
		{"ff0f 00 55 05f0 3c00", "TBR Type", 3, wire.ErrReserved},
		{"ff0f 00 34 05f0 3c00", "TBR Type", 3, wire.ErrInvalid},
		{"ff0f 02 33 05f0 3c00 00", "TBR Delivery Context", 8, wire.ErrInvalid},
		{"4b11 00 77 28f0 0000 0000", "Bolus Type", 3, wire.ErrInvalid},
		{"4b11 00 33 ff07 0000 0000", "Bolus Fast Amount", 4, wire.ErrInvalid},     // NaN
		{"4b11 00 33 fe07 0000 0000", "Bolus Fast Amount", 4, wire.ErrInvalid},     // infinity
		{"4b11 00 33 0008 0000 0000", "Bolus Fast Amount", 4, wire.ErrInvalid},     // NRes
		{"4b11 00 33 0108 0000 0000", "Bolus Fast Amount", 4, wire.ErrReserved},    // reserved
		{"4b11 00 55 0100 0208 0000", "Bolus Extended Amount", 6, wire.ErrInvalid}, // -infinity
		{"4b11 04 33 28f0 0000 0000 34", "Bolus Activation Type", 10, wire.ErrInvalid},
		{"8d14 ff07", "Amount", 2, wire.ErrInvalid},
		{"cc0f 01 02 01 3c00 ff07", "Value", 7, wire.ErrInvalid},
		{"4e14 01 03 01 a005 4600 ff07", "Upper Target Glucose Limit", 9, wire.ErrInvalid},
		{"550f 4b11 10", "Response Code Value", 4, wire.ErrInvalid},
		{"550f 4c11 0f", "Request Op Code", 2, wire.ErrInvalid},
		{"2e12 04 010204", "Template Numbers", 3, wire.ErrTruncated},
		{"660f 00", "Value", 2, wire.ErrTrailing},
		{"5603 0900 32", "Bolus Value Selection", 4, wire.ErrInvalid},
	} {
		var x IDDControl
		err := x.Parse(unhex(t, tt.hex))
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s at %d: %v", tt.hex, err, tt.field, tt.off, tt.err)
		}
	}
}

// A flipped bit in an opcode or an enumeration never makes another command.
func TestIDDBits(t *testing.T) {
	for _, tt := range controls {
		b := unhex(t, tt.hex)
		for i := range 16 {
			b[i/8] ^= 1 << (i % 8)
			var x IDDControl
			if x.Parse(b) == nil {
				t.Errorf("%s: bit %d makes %v", tt.hex, i, x.Op)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
}

func TestIDDValues(t *testing.T) {
	b := unhex(t, "55 96 90e1 01")
	var s IDDStatus
	if err := s.Parse(b); err != nil || s != (IDDStatus{TherapyRun, 0x96, 0xe190, 1}) || !bytes.Equal(s.Append(nil), b) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, h := range []string{"54 96 90e1 01", "55 97 90e1 01", "55 96 90e1", "55 96 90e1 01 00", "5a 96 90e1 01"} {
		if s.Parse(unhex(t, h)) == nil {
			t.Errorf("%s: parsed", h)
		}
	}

	b = unhex(t, "ffff 00 6400 fe0f00")
	var f IDDFeatures
	if err := f.Parse(b); err != nil || f != (IDDFeatures{0, 100, 0x0ffe}) || !bytes.Equal(f.Append(nil), b) {
		t.Errorf("%+v, %v", f, err)
	}
	f = IDDFeatures{Counter: 3, Concentration: 100, Features: FeatureE2E | FeatureBasal | FeatureFastBolus}
	b = f.Append(nil)
	if binary.LittleEndian.Uint16(b) != CRC(b[2:]) || !bytes.Equal(b[2:], unhex(t, "03 6400 230000")) {
		t.Errorf("%x", b)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if f.Parse(b) == nil {
			t.Errorf("bit %d", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}

	b = unhex(t, "07 0201 3c00 33 1100 2200")
	var x IDDAnnunciation
	if err := x.Parse(b); err != nil || x != (IDDAnnunciation{true, 0x0102, 0x003c, 0x33, [5]uint16{0x11, 0x22}, 3}) || !bytes.Equal(x.Append(nil), b) {
		t.Errorf("%+v, %v", x, err)
	}
	if err := x.Parse([]byte{0}); err != nil || x != (IDDAnnunciation{}) || !bytes.Equal(x.Append(nil), []byte{0}) {
		t.Errorf("%+v, %v", x, err)
	}
	for _, h := range []string{"", "00 00", "01 0201 3d00 33", "01 0201 3c00 32", "03 0201 3c00 33 11"} {
		if x.Parse(unhex(t, h)) == nil {
			t.Errorf("%s: parsed", h)
		}
	}

	b = unhex(t, "9600 01000000 1e00 0102")
	var h IDDHistory
	if err := h.Parse(b); err != nil || h.Type != 0x96 || h.Sequence != 1 || h.Offset != 30 || !bytes.Equal(h.Append(nil), b) {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestIDDTherapy(t *testing.T) {
	dialogue(t, new(Decoder), svcInsulin, `
		r 2B23 ffff 00 6400 fe0f00 => setting "IDD Features"
		r 2B21 55 96 90e1 01       => status "IDD Status" fields 01
		r 2B21 54 96 90e1 01       => status "IDD Status" fields 01 ! Therapy Control State at 0
		i 2B20 0800                => status "IDD Status Changed"
		i 2B22 01 0201 3c00 33     => annunciation "Occlusion Detected" fields 01
		i 2B22 01 0201 f0f0 33     => annunciation "IDD Annunciation Status" fields 01
		w 2B25 690f 0201           => command "Snooze Annunciation" fields 02 acknowledge-alarm (masks)
		i 2B25 960f 0201           => response "Snooze Annunciation Response" fields 01 acknowledge-alarm succeeded 00
		w 2B25 990f 0201           => command "Confirm Annunciation" fields 02 acknowledge-alarm (masks)
		i 2B25 550f 990f 74        => response "Response Code" acknowledge-alarm failed 74
		w 2B24 0c03 0800           => setting "Reset Status"
		i 2B24 0303 0c03 0f        => response "Response Code" succeeded 0f

		w 2B25 5a0f 33             => command "Set Therapy Control State" fields 02 suspend (interrupts)
		i 2B25 550f 5a0f 0f        => response "Response Code" suspend succeeded 0f
		w 2B25 5a0f 3c             => command "Set Therapy Control State" fields 02 suspend (interrupts)
		w 2B25 5a0f 55             => command "Set Therapy Control State" fields 02 resume (restores)
		i 2B25 550f 5a0f 0f        => response "Response Code" resume succeeded 0f
		w 2B25 5a0f 32             => command "Set Therapy Control State" fields 02 suspend (interrupts) ! Therapy Control State at 2
		w 2B25 660f                => command "Set Flight Mode" fields 02 disable-radio (masks)

		w 2B25 4b11 00 33 28f0 0000 0000 => command "Set Bolus" fields 02 deliver-bolus (increases) 4.0 [iU]
		i 2B25 7711 0900           => response "Set Bolus Response" fields 01 deliver-bolus succeeded 00
		w 2B25 4b11 00 33 1900 0000 0000 => command "Set Bolus" fields 02 deliver-bolus (increases) 25 [iU]
		i 2B25 550f 4b11 73        => response "Response Code" deliver-bolus failed 73
		w 2B25 4b11 01 55 28f0 0f00 3c00 0500 => command "Set Bolus" fields 02 deliver-bolus (increases) 19.0 [iU] for 60 min
		w 2B25 4b11 00 33 ff07 0000 0000 => command "Set Bolus" fields 02 deliver-bolus (increases) ! Bolus Fast Amount at 4
		w 2B25 4b11 00 32 28f0 0000 0000 => command "Set Bolus" fields 02 deliver-bolus (increases) ! Bolus Type at 3
		w 2B25 7811 0900           => command "Cancel Bolus" fields 02 cancel-bolus (rescues)
		i 2B25 8711 0900           => response "Cancel Bolus Response" fields 01 cancel-bolus succeeded 00
		w 2B25 8811                => command "Get Available Boluses" read-settings (reads)
		i 2B25 b411 07             => response "Get Available Boluses Response" fields 01 read-settings succeeded 00

		w 2B25 7b12 0a00           => command "Start Priming" fields 02 prime (increases) 10 [iU]
		w 2B25 8412                => command "Stop Priming" fields 02 stop-priming (rescues)
		w 2B25 8b12 2c01           => command "Set Initial Reservoir Fill Level" fields 02 calibrate (steers) 300 [iU]
		w 2B25 b712                => command "Reset Reservoir Insulin Operation Time" fields 02 acknowledge-alarm (masks)

		w 2B25 8d14 1900           => command "Set Max Bolus Amount" fields 02 set-limit (loosens) 25 [iU]
		w 2B25 7d14                => command "Get Max Bolus Amount" read-settings (reads)
		i 2B25 8214 0f00           => response "Get Max Bolus Amount Response" fields 01 read-settings succeeded 00
		w 2B25 8d14 1900           => command "Set Max Bolus Amount" fields 02 set-limit (loosens) 25 [iU] now 15 [iU]
		i 2B25 550f 8d14 73        => response "Response Code" set-limit failed 73
		w 2B25 8d14 0a00           => command "Set Max Bolus Amount" fields 02 set-limit (decreases) 10 [iU] now 15 [iU]
		i 2B25 550f 8d14 0f        => response "Response Code" set-limit succeeded 0f
		w 2B25 8d14 0f00           => command "Set Max Bolus Amount" fields 02 set-limit (loosens) 15 [iU] now 10 [iU]

		w 2B25 cc0f 07 02 01 3c00 0af0 7800 14f0 b400 0cf0 => command "Write Basal Rate Profile Template" fields 02 set-profile (increases) 2.0 [iU]/h
		i 2B26 f00f 01 02 01       => response "Write Basal Rate Profile Template Response" fields 01 set-profile succeeded 00
		w 2B25 aa0f 02             => command "Read Basal Rate Profile Template" read-settings (reads)
		n 2B26 c30f 00 02 01 3c00 0af0 => response "Read Basal Rate Profile Template Response" fields 01 read-settings succeeded 00
		w 2B25 2e12 01 02          => command "Activate Profile Templates" fields 02 set-profile (increases)
		w 2B25 2d11 04 3c 0ff0 1e00 => command "Set TBR Template" fields 02 set-profile (increases) 1.5 1 for 30 min
		w 2B25 dd11 02 00 33 28f0 0000 0000 => command "Set Bolus Template" fields 02 set-profile (increases) 4.0 [iU]
		w 2B25 de12 01 02 01 3c00 3200 => command "Write ISF Profile Template" fields 02 set-profile (increases)
		w 2B25 4e14 01 03 01 a005 4600 b400 => command "Write Target Glucose Range Profile Template" fields 02 set-profile (increases)
		w 2B25 1d12 01 02          => command "Reset Template Status" fields 02 set-profile (increases)

		w 2B25 8e14                => command "IDD Command Control Point" ! Op Code at 0
		w 2B25 5b0f                => command "IDD Command Control Point" ! Op Code at 0
		w 2B25 7711 0900           => command "Set Bolus Response" ! Op Code at 0
		i 2B25 4b11 00 33 28f0 0000 0000 => response "Set Bolus" failed 00 ! Op Code at 0
		w 2B25                     => command "IDD Command Control Point" ! Op Code at 0

		w 2B27 33 33               => command "Report Stored Records" read-telemetry (reads)
		w 2B27 33 3c 0f 07000000   => command "Report Stored Records" read-telemetry (reads)
		w 2B27 5a 5a 33 01000000 07000000 => command "Report Number of Stored Records" read-telemetry (reads)
		w 2B27 33 5a 33 01000000   => command "Report Stored Records" read-telemetry (reads) ! Maximum at 7
		w 2B27 33 55 0e 01000000   => command "Report Stored Records" read-telemetry (reads) ! Filter Type at 2
		w 2B27 33 0f               => command "Report Stored Records" read-telemetry (reads) ! Operator at 1
		w 2B27 55 0f               => command "Abort Operation" read-telemetry (reads)
		w 2B27 3c 33               => command "Delete Stored Records" delete-records (masks)
		i 2B27 0f 0f 3c 0f         => response "Response Code" delete-records failed 0f
		i 2B27 0f 0f 3c f0         => response "Response Code" delete-records succeeded f0
		i 2B27 66 0f 07000000      => response "Number of Stored Records Response" read-telemetry succeeded 00
		w 2B27 3d 33               => command "IDD Record Access Control Point" ! Op Code at 0
		w 2B27 0f 0f 3c f0         => command "Response Code" ! Op Code at 0
		n 2B28 9600 01000000 1e00 0102 => measurement "Bolus Delivered Part 2 of 2" fields 01 records 1
		n 2B28 9600 01000000 1e00 0102030405060708090a0b => measurement "Bolus Delivered Part 2 of 2" fields 01 records 1 ! Event Data at 8
		n 2B28 9700 01000000 1e00 0102 => measurement "IDD History Data" fields 01 records 1 ! Event Type at 0
	`)
}

func TestIDDTemporaryBasal(t *testing.T) {
	dialogue(t, new(Decoder), svcInsulin, `
		# What holds now is not known: more is assumed.
		w 2B25 ff0f 00 33 05f0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (increases) 0.5 [iU]/h for 60 min
		i 2B25 550f ff0f 73         => response "Response Code" set-temporary-basal failed 73
		w 2B25 1111                 => command "Cancel TBR Adjustment" fields 02 cancel-temporary-basal (increases)
		# Relative ones need no more than themselves.
		w 2B25 ff0f 00 3c 05f0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (decreases) 0.5 1 now 100 % for 60 min
		w 2B25 ff0f 00 3c 0ff0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (increases) 1.5 1 now 100 % for 60 min
		w 2B25 ff0f 00 3c 0000 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (interrupts) 0 1 now 100 % for 60 min
		i 2B25 550f ff0f 0f         => response "Response Code" set-temporary-basal succeeded 0f
		w 2B25 1111                 => command "Cancel TBR Adjustment" fields 02 cancel-temporary-basal (increases) 100 % now 0 1
		w 2B25 ff0f 04 3c 05f0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (increases) 0.5 1 now 0 1 for 60 min
		wait 61
		w 2B25 ff0f 00 3c 05f0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (decreases) 0.5 1 now 100 % for 60 min

		w 2B24 6503                 => command "Get Active Basal Rate Delivery" read-telemetry (reads)
		i 2B24 6a03 00 01 0af0      => response "Get Active Basal Rate Delivery Response" fields 01 read-telemetry succeeded 00
		w 2B25 ff0f 00 33 05f0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (decreases) 0.5 [iU]/h now 1.0 [iU]/h for 60 min
		i 2B25 550f ff0f 0f         => response "Response Code" set-temporary-basal succeeded 0f
		w 2B25 ff0f 04 33 07f0 3c00 => command "Set TBR Adjustment" fields 02 set-temporary-basal (increases) 0.7 [iU]/h now 0.5 [iU]/h for 60 min
		w 2B25 1111                 => command "Cancel TBR Adjustment" fields 02 cancel-temporary-basal (increases) 1.0 [iU]/h now 0.5 [iU]/h
		i 2B25 550f 1111 0f         => response "Response Code" cancel-temporary-basal succeeded 0f
		w 2B25 1111                 => command "Cancel TBR Adjustment" fields 02 cancel-temporary-basal (increases)
		i 2B24 6a03 01 01 0af0 33 14f0 3c00 0a00 => response "Get Active Basal Rate Delivery Response" fields 01 read-telemetry succeeded 00
		w 2B25 1111                 => command "Cancel TBR Adjustment" fields 02 cancel-temporary-basal (decreases) 1.0 [iU]/h now 2.0 [iU]/h
		wait 11
		w 2B25 1111                 => command "Cancel TBR Adjustment" fields 02 cancel-temporary-basal (increases)
	`)
}

func TestIDDProtected(t *testing.T) {
	d := new(Decoder)
	script := `
		# Before the features are read a check value that fits says that it is one.
		w 2B25 4b11 00 33 28f0 0000 0000 +e2e 1 => command "Set Bolus" fields 02 deliver-bolus (increases) 4.0 [iU] good fresh 1
		i 2B25 7711 0900 +e2e 1 => response "Set Bolus Response" fields 01 deliver-bolus succeeded 00 good fresh 1
		w 2B25 4b11 00 33 28f0 0000 0000 +e2e 1 => command "Set Bolus" fields 02 deliver-bolus (increases) 4.0 [iU] good fresh 1 repeated
		w 2B25 4b11 00 33 28f0 0000 0000 02 0000 => command "Set Bolus" fields 02 deliver-bolus (increases) 4.0 [iU] bad ! E2E-CRC at 11
		w 2B25 660f => command "Set Flight Mode" fields 02 disable-radio (masks)
		r 2B21 55 96 90e1 01 +e2e 1 => status "IDD Status" fields 01 good fresh 1
	`
	dialogue(t, d, svcInsulin, script)
	d.Reconnect()
	dialogue(t, d, svcInsulin, script)

	f := IDDFeatures{Concentration: 100, Features: FeatureE2E | FeatureFastBolus, Counter: 1}
	dialogue(t, d, svcInsulin, `
		r 2B23 `+hex.EncodeToString(f.Append(nil))+` => setting "IDD Features" good
		w 2B25 660f => command "Set Flight Mode" fields 02 disable-radio (masks) bad ! E2E-CRC at 0
		w 2B25 660f 05 0000 => command "Set Flight Mode" fields 02 disable-radio (masks) bad ! E2E-CRC at 3
		w 2B25 8d14 1900 +e2e 6 => command "Set Max Bolus Amount" fields 02 set-limit (loosens) 25 [iU] good fresh 6
		w 2B25 8d14 1900 +e2e 255 => command "Set Max Bolus Amount" fields 02 set-limit (loosens) 25 [iU] good fresh 255
		i 2B25 550f 8d14 0f 01 0000 => response "Response Code" set-limit succeeded 0f bad ! E2E-CRC at 6
		w 2B25 8d14 1900 +e2e 1 => command "Set Max Bolus Amount" fields 02 set-limit (loosens) 25 [iU] good fresh 1
		n 2B28 9600 01000000 1e00 0102 +crc => measurement "Bolus Delivered Part 2 of 2" fields 01 records 1 good
		n 2B28 9600 01000000 1e00 0102 0000 => measurement "IDD History Data" fields 01 records 1 bad ! E2E-CRC at 10
	`)
}

func TestDecoderAllocatesNothing(t *testing.T) {
	var d Decoder
	var r Reading
	var accesses []Access
	for _, s := range samples() {
		if s.characteristic == chrCGMFeature {
			continue // then the others would have to be protected
		}
		op := Notify
		if s.op == ble.WriteRequest {
			op = Write
		}
		accesses = append(accesses, Access{Op: op, Service: UUID16(s.service), Characteristic: UUID16(s.characteristic), Value: s.value})
	}
	for _, tt := range controls {
		a := Access{Op: Write, Service: UUID16(svcInsulin), Characteristic: UUID16(chrIDDCommand), Value: AppendE2E(unhex(t, tt.hex), 0, 1)}
		var x IDDControl
		if _ = x.Parse(unhex(t, tt.hex)); x.Op.FromServer() {
			a.Op = Indicate
		}
		accesses = append(accesses, a)
	}
	accesses = append(accesses,
		Access{Op: Notify, Service: UUID16(svcInsulin), Characteristic: UUID16(chrIDDStatus), Value: unhex(t, "55 96 90e1 01")},
		Access{Op: Write, Service: UUID16(0xfdfb), Characteristic: known("7B83FFFC" + tandem), Value: []byte{1, 2}},
	)
	if n := testing.AllocsPerRun(100, func() {
		for i := range accesses {
			if err := d.Decode(&accesses[i], &r); err != nil {
				t.Fatal(err, accesses[i].Value)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInsulin(f *testing.F) {
	for _, tt := range controls {
		b := unhex(f, tt.hex)
		f.Add(uint16(chrIDDCommand), b)
		f.Add(uint16(chrIDDStatusReader), AppendE2E(b, 0, 7))
	}
	f.Add(uint16(chrIDDFeatures), unhex(f, "ffff 00 6400 fe0f00"))
	f.Add(uint16(chrIDDAnnunciation), unhex(f, "07 0201 3c00 33 1100 2200"))
	f.Add(uint16(chrIDDHistory), unhex(f, "9600 01000000 1e00 0102"))
	f.Add(uint16(chrIDDRecordAccess), unhex(f, "3c 33"))
	f.Fuzz(func(t *testing.T, n uint16, b []byte) {
		n = chrIDDStatusChanged + n%9
		decodeTwice(t, n, b)
		var status IDDStatus
		back(t, b, status.Parse, status.Append, &status)
		var features IDDFeatures
		back(t, b, features.Parse, features.Append, &features)
		var annunciation IDDAnnunciation
		back(t, b, annunciation.Parse, annunciation.Append, &annunciation)
		var x IDDControl
		if x.Parse(b) == nil {
			var again IDDControl
			out := x.Append(nil)
			if err := again.Parse(out); err != nil || fmt.Sprint(again) != fmt.Sprint(x) {
				t.Fatalf("%+v came back as %+v, %v", x, again, err)
			}
			if len(out) != len(b) && !strings.HasPrefix(x.Op.String(), "Get ") {
				t.Fatalf("%x came back as %x", b, out)
			}
		}
	})
}

func FuzzMeasurement(f *testing.F) {
	var numbers []uint16
	for i := range characteristics {
		if n, ok := characteristics[i].UUID.Short(); ok {
			numbers = append(numbers, n)
		}
	}
	for _, s := range samples() {
		for i, n := range numbers {
			if n == s.characteristic {
				f.Add(uint16(i), s.value)
			}
		}
	}
	f.Fuzz(func(t *testing.T, i uint16, b []byte) {
		decodeTwice(t, numbers[int(i)%len(numbers)], b)
		var g GlucoseMeasurement
		back(t, b, g.Parse, g.Append, &g)
		var h HeartRate
		if h.Parse(b) == nil {
			var again HeartRate
			if err := again.Parse(h.Append(nil)); err != nil || fmt.Sprint(again) != fmt.Sprint(h) {
				t.Fatalf("%+v came back as %+v, %v", h, again, err)
			}
		}
	})
}
