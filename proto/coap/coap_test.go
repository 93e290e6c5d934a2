// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// show writes a message in a form that tables can hold.
func show(m *Message) string {
	s := fmt.Sprintf("%d %v %04x %x", m.Type, m.Code, m.ID, m.Token)
	for o := range m.Options.All() {
		s += fmt.Sprintf(" %d=%x", o.Number, o.Value)
	}
	return s + fmt.Sprintf(" |%x", m.Payload)
}

const temperature = "74656d7065726174757265"

var datagrams = []struct {
	name, hex, want string
	match           wire.Match
}{
	{"RFC 7252 appendix A figure 16 request", "40 01 7d34 bb" + temperature, "0 0.01 7d34  11=" + temperature + " |", wire.SureMatch},
	{"RFC 7252 appendix A figure 16 response", "60 45 7d34 ff 32322e332043", "2 2.05 7d34  |32322e332043", wire.WeakMatch},
	{"RFC 7252 appendix A figure 17 request", "41 01 7d35 20 bb" + temperature, "0 0.01 7d35 20 11=" + temperature + " |", wire.SureMatch},
	{"RFC 7252 appendix A figure 17 response", "61 45 7d35 20 ff 32322e332043", "2 2.05 7d35 20 |32322e332043", wire.WeakMatch},
	{"RFC 7252 appendix A figure 20 acknowledgement", "60 00 7d38", "2 0.00 7d38  |", wire.WeakMatch},
	{"RFC 7252 appendix A figure 22 non-confirmable", "51 01 7d40 75 bb" + temperature, "1 0.01 7d40 75 11=" + temperature + " |", wire.SureMatch},
	{
		"RFC 8613 appendix C.4 unprotected", "44015d1f00003974396c6f63616c686f737483747631",
		"0 0.01 5d1f 00003974 3=6c6f63616c686f7374 11=747631 |", wire.SureMatch,
	},
	{
		"RFC 8613 appendix C.4 protected", "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e",
		"0 0.02 5d1f 00003974 3=6c6f63616c686f7374 9=0914 |612f1092f1776f1c1668b3825e", wire.SureMatch,
	},
	{
		"RFC 8613 appendix C.7 protected response", "64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106",
		"2 2.04 5d1f 00003974 9= |dbaad1e9a7e7b2a813d3c31524378303cdafae119106", wire.WeakMatch,
	},
	{"delta and length 12", "40010000 cc" + strings.Repeat("61", 12), "0 0.01 0000  12=" + strings.Repeat("61", 12) + " |", wire.NoMatch},
	{"delta 13", "40010000 d000", "0 0.01 0000  13= |", wire.NoMatch},
	{"delta 268", "40010000 d0ff", "0 0.01 0000  268= |", wire.NoMatch},
	{"delta 269", "40010000 e00000", "0 0.01 0000  269= |", wire.NoMatch},
	{"delta 65535", "40010000 e0fef2", "0 0.01 0000  65535= |", wire.NoMatch},
	{"length 13", "40010000 bd00" + strings.Repeat("61", 13), "0 0.01 0000  11=" + strings.Repeat("61", 13) + " |", wire.SureMatch},
	{"length 268", "40010000 bdff" + strings.Repeat("61", 268), "0 0.01 0000  11=" + strings.Repeat("61", 268) + " |", wire.NoMatch},
	{"length 269", "40010000 be0000" + strings.Repeat("61", 269), "0 0.01 0000  11=" + strings.Repeat("61", 269) + " |", wire.NoMatch},
	{"repeated option", "40010000 b161 0162 00", "0 0.01 0000  11=61 11=62 11= |", wire.WeakMatch},
	{"ping", "4000abcd", "0 0.00 abcd  |", wire.WeakMatch},
	{"reset", "7000abcd", "3 0.00 abcd  |", wire.WeakMatch},
	{"eight bytes of token", "48010000 0102030405060708", "0 0.01 0000 0102030405060708 |", wire.WeakMatch},
}

func TestParse(t *testing.T) {
	for _, tt := range datagrams {
		b := unhex(t, tt.hex)
		var m Message
		if err := m.Parse(b); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := show(&m); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
		if again, err := m.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: appended again: %x, %v", tt.name, again, err)
		}
		if got := RecogniseDatagram(b); got != tt.match {
			t.Errorf("%s: match %v, want %v", tt.name, got, tt.match)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hex, field string
		off              int
		err              error
	}{
		{"nothing", "", "Ver|T|TKL", 0, wire.ErrTruncated},
		{"version 0", "00010000", "Ver", 0, wire.ErrReserved},
		{"version 2", "80010000", "Ver", 0, wire.ErrReserved},
		{"no code", "40", "Code", 1, wire.ErrTruncated},
		{"half an ID", "400100", "Message ID", 2, wire.ErrTruncated},
		{"token length 9", "49010000 010203040506070809", "TKL", 0, wire.ErrReserved},
		{"token length 15", "4f010000", "TKL", 0, wire.ErrReserved},
		{"token cut", "42010000 01", "Token", 4, wire.ErrTruncated},
		{"class 1", "40200000", "Code", 1, wire.ErrInvalid},
		{"class 6", "40c00000", "Code", 1, wire.ErrInvalid},
		{"class 7", "40e10000", "Code", 1, wire.ErrInvalid},
		{"request in an acknowledgement", "60010000", "Code", 1, wire.ErrInvalid},
		{"response in a reset", "70450000", "Code", 1, wire.ErrInvalid},
		{"empty non-confirmable", "50000000", "Code", 1, wire.ErrInvalid},
		{"empty with token", "41000000 01", "Code", 5, wire.ErrTrailing},
		{"empty with payload", "40000000 ff01", "Code", 4, wire.ErrTrailing},
		{"marker without payload", "40010000 ff", "Payload", 5, wire.ErrTruncated},
		{"marker without payload after option", "40010000 b0 ff", "Payload", 6, wire.ErrTruncated},
		{"reserved delta", "40010000 f0", "Option Delta", 4, wire.ErrReserved},
		{"reserved length", "40010000 0f", "Option Length", 4, wire.ErrReserved},
		{"extended delta cut", "40010000 d0", "Option Delta", 5, wire.ErrTruncated},
		{"long extended delta cut", "40010000 e000", "Option Delta", 5, wire.ErrTruncated},
		{"extended length cut", "40010000 0d", "Option Length", 5, wire.ErrTruncated},
		{"long extended length cut", "40010000 0e00", "Option Length", 5, wire.ErrTruncated},
		{"value cut", "40010000 b261", "Option Value", 5, wire.ErrTruncated},
		{"number 65536 at once", "40010000 e0fef3", "Option Number", 4, wire.ErrInvalid},
		{"number 65536 by one", "40010000 e0fef2 10", "Option Number", 7, wire.ErrInvalid},
	} {
		var m Message
		err := m.Parse(unhex(t, tt.hex))
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s at %d: %v", tt.name, err, tt.field, tt.off, tt.err)
		}
		if RecogniseDatagram(unhex(t, tt.hex)) != wire.NoMatch {
			t.Errorf("%s: recognised", tt.name)
		}
	}
}

func TestParseKeepsWhatWasRead(t *testing.T) {
	var m Message
	if m.Parse(unhex(t, "41017d3520 b161 f0")) == nil {
		t.Fatal("no error")
	}
	if got, want := show(&m), "0 0.01 7d35 20 11=61 |"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendRefuses(t *testing.T) {
	for name, m := range map[string]Message{
		"class 7":             {Code: CSM},
		"no such type":        {Code: GET, Type: 4},
		"request in reset":    {Code: GET, Type: Reset},
		"empty with payload":  {Payload: []byte{1}},
		"long token":          {Code: GET, Token: make([]byte, 9)},
		"descending options":  {Code: GET, Options: AppendOption(AppendOption(nil, 0, Option{Number: URIPath}), URIPath, Option{Number: URIHost, Value: []byte("a")})},
		"value too long":      {Code: GET, Options: AppendOption(nil, 0, Option{Number: URIPath, Value: make([]byte, 65805)})},
		"half an option":      {Code: GET, Options: Options{0xb2}},
		"payload in options":  {Code: GET, Options: Options{0xb0, 0xff, 1}},
		"marker in options":   {Code: GET, Options: Options{0xff}},
		"descending to close": {Code: GET, Options: AppendOption(Options{0xb0}, 11, Option{Number: 10})},
	} {
		if b, err := m.Append([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%s: %x, %v", name, b, err)
		}
		if name == "class 7" || name == "no such type" || name == "request in reset" {
			continue
		}
		if b, err := m.AppendTCP([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%s over TCP: %x, %v", name, b, err)
		}
	}
	if _, err := (&Message{Code: 0xc1}).AppendTCP(nil); err == nil {
		t.Error("class 6 over TCP written")
	}
	if _, err := (&Message{Code: POST, Payload: make([]byte, MaxTCPMessage)}).AppendTCP(nil); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("too large over TCP: %v", err)
	}
}

func TestTCP(t *testing.T) {
	for _, tt := range []struct {
		name, hex, want string
		match           wire.Match
	}{
		{"RFC 8323 section 3.2 example", "01 43 7f", "0 2.03 0000 7f |", wire.WeakMatch},
		{"CSM with size and block-wise", "50 e1 23 200000 20", "0 7.01 0000  2=200000 4= |", wire.SureMatch},
		{"CSM without options", "00 e1", "0 7.01 0000  |", wire.WeakMatch},
		{"CSM with an unknown option", "10 e1 80", "0 7.01 0000  8= |", wire.NoMatch},
		{"ping", "00 e2", "0 7.02 0000  |", wire.NoMatch},
		{"request", "41 01 20 b3747631", "0 0.01 0000 20 11=747631 |", wire.WeakMatch},
		{"length 13", "d0 00 02 ff" + strings.Repeat("61", 12), "0 0.02 0000  |" + strings.Repeat("61", 12), wire.WeakMatch},
		{"length 268", "d0 ff 02 ff" + strings.Repeat("61", 267), "0 0.02 0000  |" + strings.Repeat("61", 267), wire.NoMatch},
		{"length 269", "e0 0000 02 ff" + strings.Repeat("61", 268), "0 0.02 0000  |" + strings.Repeat("61", 268), wire.NoMatch},
		{"length 65804", "e0 ffff 02 ff" + strings.Repeat("61", 65803), "0 0.02 0000  |" + strings.Repeat("61", 65803), wire.NoMatch},
		{"length 65805", "f0 00000000 02 ff" + strings.Repeat("61", 65804), "0 0.02 0000  |" + strings.Repeat("61", 65804), wire.NoMatch},
	} {
		b := unhex(t, tt.hex)
		var m Message
		n, err := m.ParseTCP(append(b, "more"...))
		if err != nil || n != len(b) || show(&m) != tt.want {
			t.Errorf("%s: %d of %d bytes, %v\n got %s\nwant %s", tt.name, n, len(b), err, show(&m), tt.want)
			continue
		}
		if again, err := m.AppendTCP(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: appended again: %d bytes, %v", tt.name, len(again), err)
		}
		if got := Recognise(b); got != tt.match {
			t.Errorf("%s: match %v, want %v", tt.name, got, tt.match)
		}
		for cut := range min(len(b), 300) {
			if n, err := m.ParseTCP(b[:cut]); n != 0 || !errors.Is(err, wire.ErrTruncated) {
				t.Fatalf("%s: cut at %d: %d, %v", tt.name, cut, n, err)
			}
		}
	}
	for name, h := range map[string]string{
		"a gigabyte":       "f0 3fffffff 02",
		"one too large":    "f0 000efef4 02",
		"class 1":          "00 20",
		"class 6":          "00 c0",
		"token length 9":   "09 01",
		"empty with token": "01 00 01",
		"empty with body":  "10 00 b0",
		"marker at end":    "10 01 ff",
		"option past end":  "10 01 b1 61",
	} {
		var m Message
		if n, err := m.ParseTCP(unhex(t, h)); err == nil || n != 0 || errors.Is(err, wire.ErrTruncated) {
			t.Errorf("%s: parsed %d bytes", name, n)
		}
	}
}

func TestOptions(t *testing.T) {
	var os Options
	after := OptionNumber(0)
	for _, o := range []Option{
		{URIHost, []byte("home-anna.example")},
		{URIPort, AppendUint(nil, 5683)},
		{URIPath, []byte("icd")},
		{URIPath, []byte("telemetry")},
		{ContentFormat, AppendUint(nil, 0)},
		{Block2, Block{Num: 3, More: true, SZX: 2}.Append(nil)},
		{Size1, AppendUint(nil, 1<<24)},
		{Echo, []byte("12345678")},
		{60000, nil},
	} {
		os = AppendOption(os, after, o)
		after = o.Number
	}
	if got := string(os.AppendPath(nil)); got != "/icd/telemetry" {
		t.Errorf("path %q", got)
	}
	if o, ok := os.Get(URIPort); !ok || len(o.Value) != 2 {
		t.Errorf("Uri-Port: %v %v", o, ok)
	}
	if _, ok := os.Get(ETag); ok {
		t.Error("ETag found")
	}
	if _, ok := os.Get(65535); ok {
		t.Error("option 65535 found")
	}
	if n, refused := os.Refused(); refused {
		t.Errorf("option %d refused: it is elective", n)
	}
	if o, _ := os.Get(Size1); len(o.Value) != 4 {
		t.Errorf("Size1: %x", o.Value)
	} else if v, ok := o.Uint(); !ok || v != 1<<24 {
		t.Errorf("Size1: %d %v", v, ok)
	}
	if _, ok := (Option{Value: make([]byte, 5)}).Uint(); ok {
		t.Error("five bytes read as a number")
	}
	if v, ok := (Option{Value: []byte{0, 0, 7}}).Uint(); !ok || v != 7 {
		t.Error("leading zeros not accepted")
	}
	for v, want := range map[uint32]int{0: 0, 1: 1, 255: 1, 256: 2, 65535: 2, 65536: 3, 1<<24 - 1: 3, 1 << 24: 4, 1<<32 - 1: 4} {
		if b := AppendUint(nil, v); len(b) != want {
			t.Errorf("%d takes %d bytes, want %d", v, len(b), want)
		} else if got, _ := (Option{Value: b}).Uint(); got != v {
			t.Errorf("%d came back as %d", v, got)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		hex  string
		want OptionNumber
	}{
		"unknown critical":      {"40010000 90 00 d0 00 d0 00", 9}, // 9, repeated
		"Uri-Host twice":        {"40010000 3161 0162", URIHost},
		"Uri-Host empty":        {"40010000 30", URIHost},
		"Uri-Port of 3":         {"40010000 73010203", URIPort},
		"If-None-Match valued":  {"40010000 5100", IfNoneMatch},
		"unknown 65":            {"40010000 d034", 65},
		"Proxy-Uri beyond 1034": {"40010000 de16 02fe" + strings.Repeat("61", 1035), ProxyURI},
	} {
		var m Message
		if err := m.Parse(unhex(t, tt.hex)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n, ok := m.Options.Refused(); !ok || n != tt.want {
			t.Errorf("%s: %d %v", name, n, ok)
		}
	}
	// Elective options may be unknown, ill-sized or repeated: RFC 7252 section 5.4.1.
	for _, h := range []string{"40010000 c3010203", "40010000 e0fdf1", "40010000 c0 00"} {
		var m Message
		if err := m.Parse(unhex(t, h)); err != nil {
			t.Fatal(err)
		}
		if n, ok := m.Options.Refused(); ok {
			t.Errorf("%s: %d refused", h, n)
		}
	}
}

// Properties of the numbers themselves: RFC 7252 table 4's columns.
func TestOptionClasses(t *testing.T) {
	critical := []OptionNumber{IfMatch, URIHost, IfNoneMatch, URIPort, OSCOREOption, URIPath, URIQuery, Accept, Block1, Block2, ProxyURI, ProxyScheme, EDHOC}
	unsafe := []OptionNumber{URIHost, Observe, URIPort, URIPath, MaxAge, URIQuery, Block1, Block2, ProxyURI, ProxyScheme}
	for n := range OptionNumber(len(definitions)) {
		if n.definition().format == undefined || n == NoResponse || n == QBlock1 || n == QBlock2 {
			continue
		}
		if n.Critical() != slices.Contains(critical, n) {
			t.Errorf("option %d: critical %v", n, n.Critical())
		}
		if n.UnsafeToForward() != slices.Contains(unsafe, n) {
			t.Errorf("option %d: unsafe %v", n, n.UnsafeToForward())
		}
		if key := n == Size1 || n == Size2 || n == Echo; !n.UnsafeToForward() && n.NoCacheKey() != key {
			t.Errorf("option %d: no cache key %v", n, n.NoCacheKey())
		}
	}
}

func TestCode(t *testing.T) {
	for c, want := range map[Code]string{Empty: "0.00", GET: "0.01", Content: "2.05", Continue: "2.31", TooManyRequests: "4.29", GatewayTimeout: "5.04", CSM: "7.01"} {
		if c.String() != want || !c.Registered() {
			t.Errorf("%v, want %s", c, want)
		}
	}
	for _, c := range []Code{8, 31, 2 << 5, 2<<5 | 6, 3 << 5, 4<<5 | 7, 4<<5 | 31, 5<<5 | 9, 7 << 5, 7<<5 | 6, 255} {
		if c.Registered() {
			t.Errorf("%v is registered", c)
		}
	}
}

func TestBlock(t *testing.T) {
	for _, tt := range []struct { // RFC 7959 section 3.1 writes them as NUM/M/size
		hex  string
		want Block
		size int
	}{
		{"", Block{}, 16},
		{"06", Block{SZX: 6}, 1024},
		{"0e", Block{More: true, SZX: 6}, 1024},
		{"1a", Block{Num: 1, More: true, SZX: 2}, 64},
		{"0100", Block{Num: 16}, 16},
		{"ffffff", Block{Num: MaxBlockNum, More: true, SZX: 7}, 1024},
	} {
		b, err := ParseBlock(unhex(t, tt.hex))
		if err != nil || b != tt.want || b.Size() != tt.size {
			t.Errorf("%s: %+v of %d, %v", tt.hex, b, b.Size(), err)
		}
		if got := hex.EncodeToString(b.Append(nil)); got != tt.hex {
			t.Errorf("%s came back as %s", tt.hex, got)
		}
	}
	if _, err := ParseBlock(make([]byte, 4)); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("four bytes: %v", err)
	}
}

func TestOSCORE(t *testing.T) {
	for _, tt := range []struct{ where, hex, want string }{
		{"RFC 8613 section 6.3.1 example 1", "090525", "05 <nil> 25"},
		{"RFC 8613 section 6.3.1 example 2", "0905", "05 <nil> "},
		{"RFC 8613 section 6.3.1 example 3", "19050544616c656b", "05 44616c656b "},
		{"RFC 8613 section 6.3.2 example 1", "", "<nil> <nil> <nil>"},
		{"RFC 8613 section 6.3.2 example 2", "0107", "07 <nil> <nil>"},
		{"RFC 8613 appendix C.4", "0914", "14 <nil> "},
		{"RFC 8613 appendix C.5", "091400", "14 <nil> 00"},
		{"RFC 8613 appendix C.6", "19140837cbf3210017a2d3", "14 37cbf3210017a2d3 "},
		{"Partial IV of five", "05ffffffffff", "ffffffffff <nil> <nil>"},
		{"kid alone", "08", "<nil> <nil> "},
		{"empty kid context", "1000", "<nil>  <nil>"},
		{"Partial IV zero", "0100", "00 <nil> <nil>"},
	} {
		var o OSCORE
		if err := o.Parse(unhex(t, tt.hex)); err != nil {
			t.Errorf("%s: %v", tt.where, err)
			continue
		}
		part := func(b []byte) string {
			if b == nil {
				return "<nil>"
			}
			return hex.EncodeToString(b)
		}
		if got := part(o.PartialIV) + " " + part(o.KIDContext) + " " + part(o.KID); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.where, got, tt.want)
		}
		if b, err := o.Append(nil); err != nil || hex.EncodeToString(b) != tt.hex {
			t.Errorf("%s: appended again: %x, %v", tt.where, b, err)
		}
	}
	for name, h := range map[string]string{
		"all zero":             "00",
		"Partial IV of 6":      "06010203040506",
		"Partial IV of 7":      "0701020304050607",
		"Partial IV cut":       "0201",
		"leading zero":         "020001",
		"reserved flag 5":      "2900",
		"reserved flag 7":      "8900",
		"no s":                 "10",
		"kid context cut":      "100201",
		"trailing without kid": "010700",
	} {
		var o OSCORE
		if o.Parse(unhex(t, h)) == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	for name, o := range map[string]OSCORE{
		"long Partial IV":  {PartialIV: []byte{1, 2, 3, 4, 5, 6}},
		"leading zero":     {PartialIV: []byte{0, 1}},
		"long kid context": {KIDContext: make([]byte, 256)},
	} {
		if _, err := o.Append(nil); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

func TestProtected(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want bool
	}{
		{datagrams[7].hex, true},
		{datagrams[8].hex, true},
		{datagrams[6].hex, false},
		{"40020000 90 ff 01020304050607", false}, // no room for a tag
		{"40020000 90", false},
	} {
		var m Message
		if err := m.Parse(unhex(t, tt.hex)); err != nil || m.Protected() != tt.want {
			t.Errorf("%s: %v, %v", tt.hex, m.Protected(), err)
		}
	}
}

// Messages of other protocols whose first bits fit.
func TestRecogniseOthers(t *testing.T) {
	for name, h := range map[string]string{
		"DNS query with ID 4401":   "4401 0100 0001 0000 0000 0000 03777777 076578616d706c65 00 0001 0001",
		"DNS answer with ID 6045":  "6045 8180 0001 0001 0000 0000 03777777 076578616d706c65 00 0001 0001",
		"NTP version 1 server":     "4c02 0000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
		"text in capitals":         hex.EncodeToString([]byte("M-SEARCH * HTTP/1.1\r\n")),
		"GET":                      hex.EncodeToString([]byte("GET / HTTP/1.1\r\n")),
		"POST":                     hex.EncodeToString([]byte("POST / HTTP/1.1\r\n")),
		"IPv4 header in a payload": "45000054 00004000 4001b6a9 0a140301 0a140305 0800",
	} {
		b := unhex(t, h)
		if got := RecogniseDatagram(b); got == wire.SureMatch {
			t.Errorf("%s: datagram %v", name, got)
		}
		if got := Recognise(b); got == wire.SureMatch {
			t.Errorf("%s: stream %v", name, got)
		}
	}
}

func TestAllocations(t *testing.T) {
	b := unhex(t, datagrams[7].hex)
	cut := b[:len(b)-14]
	dst := make([]byte, 0, 64)
	var m Message
	if n := testing.AllocsPerRun(100, func() {
		_ = m.Parse(b)
		_ = m.Protected()
		_, _ = m.Options.Refused()
		for o := range m.Options.All() {
			_ = o.Known()
		}
		dst, _ = m.Append(dst[:0])
		dst, _ = m.AppendTCP(dst[:0])
		_ = RecogniseDatagram(b)
		_ = RecogniseDatagram(cut)
		_ = Recognise(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range datagrams {
		f.Add(unhex(f, tt.hex))
	}
	f.Add([]byte{0x50, 0xe1, 0x23, 0x20, 0, 0, 0x20})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, n Message
		err := m.Parse(b)
		if again := n.Parse(b); (err == nil) != (again == nil) || show(&m) != show(&n) {
			t.Fatal("twice the same input, two results")
		}
		if err == nil {
			if out, err := m.Append(nil); err != nil || !bytes.Equal(out, b) {
				t.Fatalf("%x came back as %x, %v", b, out, err)
			}
		}
		if len(m.Token)+len(m.Options)+len(m.Payload) > len(b) {
			t.Fatal("slices outside the input")
		}
		m.Options.Refused()
		RecogniseDatagram(b)
		Recognise(b)
		if size, err := m.ParseTCP(b); err == nil {
			if out, err := m.AppendTCP(nil); err != nil || !bytes.Equal(out, b[:size]) {
				t.Fatalf("%x came back as %x, %v", b[:size], out, err)
			}
		}
		var o OSCORE
		if o.Parse(b) == nil {
			if out, err := o.Append(nil); err != nil || !bytes.Equal(out, b) {
				t.Fatalf("OSCORE %x came back as %x, %v", b, out, err)
			}
		}
		for o := range Options(b).All() {
			_ = o.Known()
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := unhex(b, datagrams[7].hex)
	b.SetBytes(int64(len(in)))
	var m Message
	for b.Loop() {
		if err := m.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	in := unhex(b, datagrams[7].hex)
	b.SetBytes(int64(len(in)))
	var m Message
	if err := m.Parse(in); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 64)
	for b.Loop() {
		dst, _ = m.Append(dst[:0])
	}
}

func BenchmarkRecogniseDatagram(b *testing.B) {
	in := unhex(b, datagrams[7].hex)
	for b.Loop() {
		RecogniseDatagram(in)
	}
}
