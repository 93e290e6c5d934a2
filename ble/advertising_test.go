// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/wire"
)

var flags = []byte{2, ADFlags, 6}

// The layouts are those of Vol 6 Part B section 2.3, header included.
var advertisingPDUs = []struct {
	name, hex string
	want      Advertisement
}{
	{"ADV_IND", "40 09 1514131211c4 020106", Advertisement{Advertiser: static, Connectable: true, Scannable: true, Data: flags}},
	{"ADV_IND of nothing", "00 06 030201dc1b00", Advertisement{Advertiser: public, Connectable: true, Scannable: true, Data: []byte{}}},
	{"ADV_DIRECT_IND", "c1 0c 1514131211c4 25242322215a", Advertisement{Advertiser: static, Target: resolvable, Connectable: true}},
	{"ADV_NONCONN_IND", "42 09 35343332312a 020106", Advertisement{Advertiser: passing, Data: flags}},
	{"SCAN_RSP", "44 09 1514131211c4 020106", Advertisement{Advertiser: static, ScanResponse: true, Data: flags}},
	{"ADV_SCAN_IND", "46 09 25242322215a 020106", Advertisement{Advertiser: resolvable, Scannable: true, Data: flags}},
	{"ADV_EXT_IND", "07 07 46 18 2110 000000", Advertisement{Extended: true, Connectable: true, HasADI: true, ADI: 0x1021, More: true, Data: []byte{}}},
	{"AUX_ADV_IND", "47 0d 49 09 1514131211c4 2110 020106", Advertisement{Extended: true, Advertiser: static, Connectable: true, HasADI: true, ADI: 0x1021, Data: flags}},
	{"AUX_CHAIN_IND", "07 07 03 08 2110 020106", Advertisement{Extended: true, HasADI: true, ADI: 0x1021, Data: flags}},
	{"extended, directed", "c7 0e 4d 03 1514131211c4 25242322215a", Advertisement{Extended: true, Advertiser: static, Target: resolvable, Connectable: true, Data: []byte{}}},
}

func TestAdvertising(t *testing.T) {
	for _, tt := range advertisingPDUs {
		b := unhex(t, tt.hex)
		tt.want.Identity = tt.want.Advertiser
		header := uint16(b[0]) | uint16(b[1])<<8
		checkForm(t, tt.name, b, tt.want, func(a *Advertisement) error { return a.Parse(header, b[2:]) }, func(a *Advertisement) []byte { return a.AppendPDU(nil) })
	}
}

// Fields of the extended header that are passed over, all at once.
func TestAdvertisingHeader(t *testing.T) {
	header := "7f" + "1514131211c4" + "25242322215a" + "05" + "2130" + "aabbcc" + strings.Repeat("11", 18) + "f4" + "aced"
	b := unhex(t, fmt.Sprintf("%02x", len(header)/2)+header+"020106")
	var a Advertisement
	if err := a.Parse(AdvExtInd|1<<6|1<<7, b); err != nil {
		t.Fatal(err)
	}
	want := Advertisement{Extended: true, Advertiser: static, Identity: static, Target: resolvable, HasADI: true, ADI: 0x3021, More: true, Data: flags}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if a.SID() != 3 {
		t.Errorf("SID %d", a.SID())
	}
}

func TestAdvertisingRefuses(t *testing.T) {
	parse := func(b []byte) error { return new(Advertisement).Parse(uint16(b[0]), b[1:]) }
	checkRefusals(t, []refusal{
		{"no address", "00 1514131211", "AdvA", 0, wire.ErrTruncated},
		{"data of 32 bytes", "00 1514131211c4" + strings.Repeat("00", 32), "AdvData", 6, wire.ErrTooLong},
		{"no target", "01 1514131211c4", "TargetA", 6, wire.ErrTruncated},
		{"data behind the target", "01 1514131211c4 25242322215a 00", "TargetA", 12, wire.ErrTrailing},
		{"scan request", "03 1514131211c4 25242322215a", "PDU Type", 0, wire.ErrReserved},
		{"nothing extended", "07", "Extended Header Length", 0, wire.ErrTruncated},
		{"header longer than the PDU", "07 07 01 1514131211", "Extended Header", 1, wire.ErrTruncated},
		{"address longer than the header", "07 06 01 1514131211c4", "AdvA", 2, wire.ErrTruncated},
	}, parse)
}

func TestStructures(t *testing.T) {
	b := AppendAD(AppendAD(nil, ADFlags, []byte{6}), ADServices16, []byte{0x3a, 0x18})
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"two", b, "1:06 2:3a18"},
		{"one of no data", []byte{1, ADName}, "9:"},
		{"filled up", append(b[:3:3], 0, 0, 0), "1:06"},
		{"cut", b[:6], "1:06"},
		{"nothing", nil, ""},
	} {
		got := ""
		for ad := range (&Advertisement{Data: tt.data}).Structures() {
			got += fmt.Sprintf(" %d:%x", ad.Type, ad.Data)
		}
		if strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// The layouts are those of Vol 4 Part E sections 7.7.65.2 and 7.7.65.13, header included.
var reports = []struct {
	name, hex string
	want      []Advertisement
}{
	{"legacy", "3e 0f 02 01 00 01 1514131211c4 03 020106 ce", []Advertisement{{Advertiser: static, Connectable: true, Scannable: true, RSSI: -50, Data: flags}}},
	{"directed", "3e 0c 02 01 01 00 030201dc1b00 00 ce", []Advertisement{{Advertiser: public, Connectable: true, RSSI: -50, Data: []byte{}}}},
	{"scannable", "3e 0c 02 01 02 01 35343332312a 00 00", []Advertisement{{Advertiser: passing, Scannable: true, Data: []byte{}}}},
	{"neither", "3e 0c 02 01 03 01 25242322215a 00 ce", []Advertisement{{Advertiser: resolvable, RSSI: -50, Data: []byte{}}}},
	{
		"extended", "3e 1d 0d 01 0100 01 1514131211c4 01 01 02 7f ce 0000 00 000000000000 03 020106",
		[]Advertisement{{Extended: true, Advertiser: static, Connectable: true, HasADI: true, ADI: 0x2000, RSSI: -50, Data: flags}},
	},
	{
		"extended, more to come, directed", "3e 1d 0d 01 2500 01 1514131211c4 01 01 ff 7f ce 0000 01 25242322215a 03 020106",
		[]Advertisement{{Extended: true, Advertiser: static, Target: resolvable, Connectable: true, More: true, RSSI: -50, Data: flags}},
	},
	{
		"extended, anonymous, cut", "3e 1a 0d 01 4000 ff 000000000000 01 01 ff 7f ce 0000 00 000000000000 00",
		[]Advertisement{{Extended: true, Incomplete: true, RSSI: -50, Data: []byte{}}},
	},
}

func TestReports(t *testing.T) {
	for _, tt := range reports {
		b := unhex(t, tt.hex)
		var e Event
		if err := e.Parse(uint16(b[0]), b[2:]); err != nil {
			t.Fatal(err)
		}
		r := NewReports(&e)
		var a Advertisement
		for _, want := range tt.want {
			want.Identity = want.Advertiser
			if !r.Next(&a) || !cmp.Equal(a, want) {
				t.Errorf("%s: %v: %s", tt.name, r.Err(), cmp.Diff(want, a))
			}
			if again := a.AppendReport(nil); !bytes.Equal(again, b) {
				t.Errorf("%s: appended again:\n%x\n%x", tt.name, again, b)
			}
		}
		if r.Next(&a) || r.Err() != nil {
			t.Errorf("%s: another, %v", tt.name, r.Err())
		}
	}
	// The address of one that a controller resolved is not the one on the air.
	for _, extended := range []bool{false, true} {
		want := Advertisement{Advertiser: static, Identity: static, Resolved: true, Extended: extended, Data: flags}
		b := want.AppendReport(nil)
		var e Event
		if err := e.Parse(uint16(b[0]), b[2:]); err != nil {
			t.Fatal(err)
		}
		r := NewReports(&e)
		var a Advertisement
		if r.Next(&a); !cmp.Equal(a, want) {
			t.Error(cmp.Diff(want, a))
		}
	}
	// Two in one event, and one that is cut.
	e := Event{Code: EventLEAdvertisingReport, Data: unhex(t, "03 0001 1514131211c4 03 020106 ce 0401 1514131211c4 00 7f 0001 1514131211c4 03 02")}
	r := NewReports(&e)
	var a Advertisement
	if !r.Next(&a) || a.RSSI != -50 || !r.Next(&a) || !a.ScanResponse || a.RSSI != 0 || r.Next(&a) || r.Err() == nil {
		t.Errorf("%+v, %v", a, r.Err())
	}
	// Vol 4 Part E section 7.7.65.11, and a legacy PDU in an extended report.
	e = Event{Code: EventLEDirectAdvertisingReport, Data: unhex(t, "01 01 00 030201dc1b00 01 25242322215a ce")}
	if r = NewReports(&e); !r.Next(&a) || a.Target != resolvable || !a.Connectable || a.RSSI != -50 {
		t.Errorf("%+v, %v", a, r.Err())
	}
	e = Event{Code: EventLEExtendedAdvertising, Data: unhex(t, "01 1300 01 1514131211c4 01 00 ff 7f ce 0000 00 000000000000 03 020106")}
	if r = NewReports(&e); !r.Next(&a) || a.Extended || !a.Connectable || !a.Scannable || !bytes.Equal(a.Data, flags) {
		t.Errorf("%+v, %v", a, r.Err())
	}
}
