// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// refused checks that a handshake ended for the right reason, and left nothing.
func refused(t *testing.T, name string, p *party, err, want error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v is no *Error", name, err)
		return
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("%s: %v; want %v", name, err, want)
	}
	noKeys(t, name, p)
}

// noKeys checks that a party that failed exports nothing and has nothing.
func noKeys(t *testing.T, name string, p *party) {
	t.Helper()
	if p.state != failed {
		t.Errorf("%s: the handshake goes on", name)
	}
	if _, err := p.Session(); !errors.Is(err, ErrState) {
		t.Errorf("%s: there is a session", name)
	}
	if p.prk != [3][maxHash]byte{} || p.key != [32]byte{} || p.mac != [maxHash]byte{} || p.eph != nil || p.Peer() != nil {
		t.Errorf("%s: keys are left", name)
	}
	if len(bytes.Trim(p.plain[:cap(p.plain)], "\x00")) > 0 {
		t.Errorf("%s: plaintext is left", name)
	}
}

// TestMessage1Encoding has a row for each way of writing message_1 wrongly. G is a
// proper G_X as a byte string.
func TestMessage1Encoding(t *testing.T) {
	_, cr := pair(t, DHDH, 2, false)
	gx := "8af6f430ebe18d34184017a9a11bf511c8dff8f834730b96c1b7c8dbca2fc3b6"
	deep := strings.Repeat("81", 200) + "00"
	for _, tt := range []struct {
		name, hex string
		want      error
	}{
		{"array around the message", "84 03 02 G 27", cbor.ErrKind},
		{"byte string around the message", "5825 03 02 G 27", cbor.ErrKind},
		{"C_I wrapped", "03 02 G 4127", errWrapped},
		{"C_I wrapped, 41 0e", "03 02 G 410e", errWrapped},
		{"SUITES_I array of one", "03 8102 G 27", errOneSuite},
		{"SUITES_I empty", "03 80 G 27", errOneSuite},
		{"SUITES_I text", "03 6132 G 27", cbor.ErrKind},
		{"SUITES_I of text", "03 82 02 6132 G 27", cbor.ErrKind},
		{"SUITES_I byte string", "03 4102 G 27", cbor.ErrKind},
		{"SUITES_I nested", "03 82 02 8202 03 G 27", cbor.ErrKind},
		{"suite twice", "03 820202 G 27", errSuiteTwice},
		{"suite out of range", "03 1a00010000 G 27", cbor.ErrRange},
		{"suite far out of range", "03 1bffffffffffffffff G 27", cbor.ErrRange},
		{"17 suites", "03 91 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 G 27", errManySuites},
		{"2^64-1 suites", "03 9bffffffffffffffff G 27", cbor.ErrTruncated},
		{"G_X text", "03 02 7820" + strings.Repeat("61", 32) + "27", cbor.ErrKind},
		{"G_X integer", "03 02 05 27", cbor.ErrKind},
		{"G_X array", "03 02 8158 20" + gx + "27", cbor.ErrKind},
		{"G_X empty", "03 02 40 27", errPointX},
		{"G_X a byte short: a leading zero left out", "03 02 581f" + gx[2:] + "27", errPointX},
		{"G_X a byte long", "03 02 582100" + gx + "27", errPointX},
		{"G_X with y", "03 02 5840" + gx + gx + "27", errPointX},
		{"G_X uncompressed", "03 02 584104" + gx + gx + "27", errPointX},
		{"no C_I", "03 02 G", cbor.ErrTruncated},
		{"no G_X", "03 02 27", cbor.ErrKind},
		{"METHOD alone", "03", cbor.ErrTruncated},
		{"nothing", "", cbor.ErrTruncated},
		{"C_I text", "03 02 G 6127", cbor.ErrKind},
		{"C_I integer of two bytes", "03 02 G 1818", cbor.ErrRange},
		{"C_I integer of two bytes, negative", "03 02 G 3818", cbor.ErrRange},
		{"C_I of 17 bytes", "03 02 G 51" + strings.Repeat("aa", 17), errLong},
		{"extra element: true", "03 02 G 27 f5", cbor.ErrKind},
		{"extra element: byte string", "03 02 G 27 4100", cbor.ErrKind},
		{"extra element: array", "03 02 G 27 80", cbor.ErrKind},
		{"EAD value text", "03 02 G 27 01 6100", cbor.ErrKind},
		{"EAD value twice", "03 02 G 27 01 4100 4100", cbor.ErrKind},
		{"EAD label out of range", "03 02 G 27 1a00010000", cbor.ErrRange},
		{"nine EAD items", "03 02 G 27 000000000000000000", errManyEAD},
		{"EAD value of 1025 bytes", "03 02 G 27 00 590401" + strings.Repeat("00", 1025), errLongEAD},
		{"long form of METHOD", "1803 02 G 27", cbor.ErrShortest},
		{"METHOD in nine bytes", "1b0000000000000003 02 G 27", cbor.ErrShortest},
		{"long form of SUITES_I", "03 1802 G 27", cbor.ErrShortest},
		{"long form of an array of suites", "03 98020302 G 27", cbor.ErrShortest},
		{"long form of G_X", "03 02 590020" + gx + "27", cbor.ErrShortest},
		{"long form of C_I", "03 02 G 1807", cbor.ErrShortest},
		{"indefinite SUITES_I", "03 9f0302ff G 27", cbor.ErrIndefinite},
		{"indefinite G_X", "03 02 5f5820" + gx + "ff 27", cbor.ErrIndefinite},
		{"200 deep", "03 02 G 27 " + deep, cbor.ErrTooDeep},
		{"200 deep for SUITES_I", "03 " + deep + " G 27", cbor.ErrTooDeep},
		{"byte string of 2^64-1", "03 02 5bffffffffffffffff" + gx + "27", cbor.ErrTruncated},
		{"trailing break", "03 02 G 27 ff", cbor.ErrIndefinite},
		{"trailing head", "03 02 G 27 58", cbor.ErrTruncated},
		{"doubled", "03 02 G 07 03 02 G 07", errDoubled},
		{"doubled, C_I negative", "03 02 G 27 03 02 G 27", errDoubled},
		{"tagged", "d9d9f7 03 02 G 27", cbor.ErrKind},
		{"prepended with true", "f5 03 02 G 27", cbor.ErrKind},
		{"an error message", "01 6161", cbor.ErrKind},
		{"method 4", "04 02 G 27", errMethod},
		{"method 2, not allowed", "02 02 G 27", errMethod},
		{"method -1", "20 02 G 27", errMethod},
		{"method 259", "190103 02 G 27", errMethod},
	} {
		r, err := NewResponder(cr)
		if err != nil {
			t.Fatal(err)
		}
		b := vector.Bytes(t, strings.ReplaceAll(tt.hex, "G", "5820"+gx))
		err = r.Message1(b)
		refused(t, tt.name, &r.party, err, tt.want)
		if answer := AppendError(nil, err); len(answer) == 0 || len(answer) > 64 || answer[0] != 1 {
			t.Errorf("%s: answered with %x", tt.name, answer)
		}
	}

	// Whatever is missing from the end, it is refused.
	whole := vector.Bytes(t, "03 02 5820"+gx+"27")
	for n := range whole {
		r, _ := NewResponder(cr)
		refused(t, fmt.Sprintf("cut to %d bytes", n), &r.party, r.Message1(whole[:n]), nil)
	}

	// At the edge of each bound.
	for _, tt := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"as it should be", whole, true},
		{"C_I empty", append(bytes.Clone(whole[:len(whole)-1]), 0x40), true},
		{"C_I of 16 bytes", append(append(bytes.Clone(whole[:len(whole)-1]), 0x50), make([]byte, 16)...), true},
		{"eight EAD items", append(bytes.Clone(whole), make([]byte, 8)...), true},
		{"EAD value of 1024 bytes", append(append(bytes.Clone(whole), 0, 0x59, 4, 0), make([]byte, 1024)...), true},
		{"longest", longest(whole, MaxMessage), true},
		{"longer than the longest", longest(whole, MaxMessage+1), false},
	} {
		r, _ := NewResponder(cr)
		if err := r.Message1(tt.b); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// longest pads message_1 to n bytes.
func longest(b []byte, n int) []byte {
	b = bytes.Clone(b)
	for len(b) < n {
		b, _ = appendEAD(b, []EAD{Padding(min(n-len(b), 1000), make([]byte, 1000))})
	}
	return b
}

// TestWrongSuite checks what error 2 names.
func TestWrongSuite(t *testing.T) {
	_, cr := pair(t, DHDH, 2, false)
	cr.Suites = []Suite{3, 2, 0}
	g := "5820" + strings.Repeat("11", 32)
	for _, tt := range []struct{ name, hex string }{
		{"unsupported", "03 05 " + g + "27"},
		{"ending in an unsupported one", "03 820205 " + g + "27"},
		{"a supported one before the selected", "03 820302 " + g + "27"},
		{"private use", "03 37 " + g + "27"},
		{"of two bytes", "03 1818 " + g + "27"},
	} {
		r, err := NewResponder(cr)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Message1(vector.Bytes(t, tt.hex))
		refused(t, tt.name, &r.party, err, nil)
		if answer := AppendError(nil, err); hex.EncodeToString(answer) != "0283030200" {
			t.Errorf("%s: answered with %x", tt.name, answer)
		}
	}
}

// forge2 makes a message_2 of h.r with a PLAINTEXT_2 of one's own.
func (h *run) forge2(plain []byte) []byte {
	p := &h.r.party
	k, n := newKDF(p.suite.hash), p.k.size
	gy := bytes.Clone(p.gy[:p.suite.point()])
	th := make([]byte, n)
	k.digest(th, h.m[1])
	k.hash(th, gy, cbor.AppendBytes(nil, bytes.Clone(th)))
	stream := make([]byte, len(plain))
	k.expand(stream, p.prk[0][:n], 0, th)
	subtle.XORBytes(stream, stream, plain)
	return append(append(cbor.AppendBytesHead(nil, len(gy)+len(plain)), gy...), stream...)
}

// forge3 makes a message_3 for h.r with a PLAINTEXT_3 of one's own.
func (h *run) forge3(t testing.TB, plain []byte) []byte {
	p := h.r.party // a copy: it is only read
	p.buf = nil
	p.k = newKDF(p.suite.hash)
	b, err := p.crypt(nil, 3, plain, false)
	if err != nil {
		t.Fatal(err)
	}
	return cbor.AppendBytes(nil, b)
}

// TestPlaintextEncoding writes PLAINTEXT_2 and PLAINTEXT_3 wrongly. Of PLAINTEXT_2 C_R
// is in front; M is a MAC as a byte string.
func TestPlaintextEncoding(t *testing.T) {
	mac := "48" + strings.Repeat("00", 8)
	deep := strings.Repeat("81", 200) + "00"
	for _, tt := range []struct {
		name, hex string
		want      error
	}{
		{"ID_CRED as a map where it is to be compact", "a1 04 4102 M", errCompact},
		{"ID_CRED as a map, kid of two bytes", "a1 04 420202 M", errCompact},
		{"ID_CRED wrapped", "4102 M", errWrapped},
		{"ID_CRED an integer of two bytes", "1818 M", cbor.ErrRange},
		{"ID_CRED text", "6102 M", cbor.ErrKind},
		{"ID_CRED array", "8102 M", cbor.ErrKind},
		{"ID_CRED empty map", "a0 M", errNoID},
		{"kid context alone", "a1 0a 4102 M", errNoID},
		{"kid of 33 bytes", "5821" + strings.Repeat("aa", 33) + "M", errKID},
		{"kid of 33 bytes with context", "a2 04 5821" + strings.Repeat("aa", 33) + "0a 4101 M", errKID},
		{"kid {4: int}", "a1 04 02 M", cbor.ErrKind},
		{"kid twice", "a2 04 4102 04 4103 M", cbor.ErrDuplicate},
		{"labels not in order", "a2 0a 4102 04 4103 M", cbor.ErrOrder},
		{"C509: c5t", "a1 16 822e 48 0000000000000000 M", ErrUnsupportedID},
		{"C509: c5u", "a1 17 d820 6161 M", ErrUnsupportedID},
		{"C509: c5b", "a1 1818 80 M", ErrUnsupportedID},
		{"C509: c5c", "a1 1819 80 M", ErrUnsupportedID},
		{"x5bag", "a1 1820 40 M", ErrUnsupportedID},
		{"an unregistered header parameter", "a1 1903e8 40 M", ErrUnsupportedID},
		{"a text label", "a1 6161 40 M", ErrUnsupportedID},
		{"alg, which identifies nothing", "a1 01 26 M", ErrUnsupportedID},
		{"x5t not an array", "a1 1822 48 0000000000000000 M", cbor.ErrKind},
		{"x5t of one", "a1 1822 81 2e M", cbor.ErrKind},
		{"x5t with a text algorithm", "a1 1822 82 6161 40 M", cbor.ErrKind},
		{"x5u untagged", "a1 1823 6161 M", cbor.ErrKind},
		{"x5chain array of one", "a1 1821 81 40 M", errChain},
		{"x5chain of five", "a1 1821 85 40 40 40 40 40 M", errChain},
		{"x5chain of text", "a1 1821 6161 M", cbor.ErrKind},
		{"kccs a byte string", "a1 0e 40 M", cbor.ErrKind},
		{"kccs with a key twice", "a1 0e a2 02 6161 02 6161 M", cbor.ErrDuplicate},
		{"kcwt a byte string", "a1 0d 40 M", cbor.ErrKind},
		{"no MAC", "02", cbor.ErrTruncated},
		{"MAC text", "02 6161", cbor.ErrKind},
		{"MAC of 4 bytes", "02 4400000000", ErrVerification},
		{"MAC of 7 bytes", "02 4700000000000000", ErrVerification},
		{"MAC of 16 bytes", "02 50" + strings.Repeat("00", 16), ErrVerification},
		{"MAC empty", "02 40", ErrVerification},
		{"MAC of zeros", "02 M", ErrVerification},
		{"extra element", "02 M f5", cbor.ErrKind},
		{"nine EAD items", "02 M 000000000000000000", errManyEAD},
		{"long form", "1802 M", cbor.ErrShortest},
		{"long form of the MAC", "02 5808" + strings.Repeat("00", 8), cbor.ErrShortest},
		{"indefinite map", "bf 04 4102 ff M", cbor.ErrIndefinite},
		{"200 deep", deep + "M", cbor.ErrTooDeep},
		{"trailing head", "02 M 58", cbor.ErrTruncated},
		{"2^64-1 bytes", "5bffffffffffffffff", cbor.ErrTruncated},
		{"nothing", "", cbor.ErrTruncated},
		{"an unknown kid", "17 M", ErrUnknownCredential},
		{"an unknown hash", "a1 1822 82 2e 48 0000000000000000 M", ErrUnknownCredential},
		{"an unknown address", "a1 1823 d820 6161 M", ErrUnknownCredential},
	} {
		for n := 2; n <= 3; n++ {
			name := fmt.Sprintf("message_%d, %s", n, tt.name)
			ci, cr := pair(t, DHDH, 2, false)
			h := newRun(t, ci, cr)
			if err := errors.Join(h.step(1), h.make(2)); err != nil {
				t.Fatal(err)
			}
			plain := vector.Bytes(t, strings.ReplaceAll(tt.hex, "M", mac))
			var p *party
			var err error
			if n == 2 {
				p = &h.i.party
				err = h.i.Message2(h.forge2(append(appendIdentifier(nil, h.r.cR.bytes()), plain...)))
			} else {
				if tt.hex != "" && plain[0] == 0x02 {
					plain[0] = 0x22 // the pump's
				}
				p = &h.r.party
				err = h.r.Message3(h.forge3(t, plain))
			}
			refused(t, name, p, err, tt.want)
			var e *Error
			errors.As(err, &e)
			if want := tt.want == ErrUnknownCredential; want != (e.Code == UnknownCredential) || e.Code == WrongSuite {
				t.Errorf("%s: error %d", name, e.Code)
			}
			if strings.HasPrefix(tt.name, "C509: ") && !strings.Contains(err.Error(), strings.TrimPrefix(tt.name, "C509: ")) {
				t.Errorf("%s: %v does not name it", name, err)
			}
		}
	}
}

// TestConnectionIDs writes C_R wrongly.
func TestConnectionIDs(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      error
	}{
		{"C_R wrapped", "4127", errWrapped},
		{"C_R text", "6127", cbor.ErrKind},
		{"C_R of two bytes", "1818", cbor.ErrRange},
		{"C_R of 17 bytes", "51" + strings.Repeat("aa", 17), errLong},
		{"C_R is C_I", "C", errSameID},
	} {
		ci, cr := pair(t, DHDH, 2, false)
		h := newRun(t, ci, cr)
		if err := errors.Join(h.step(1), h.make(2)); err != nil {
			t.Fatal(err)
		}
		cR := appendIdentifier(nil, h.i.cI.bytes())
		if tt.hex != "C" {
			cR = vector.Bytes(t, tt.hex)
		}
		plain := append(cR, vector.Bytes(t, "02 480000000000000000")...)
		refused(t, tt.name, &h.i.party, h.i.Message2(h.forge2(plain)), tt.want)
	}

	// The Responder does not choose the Initiator's.
	ci, cr := pair(t, DHDH, 2, false)
	cr.ConnectionID = func(peer []byte) ([]byte, error) { return peer, nil }
	h := newRun(t, ci, cr)
	err := errors.Join(h.step(1), h.make(2))
	refused(t, "C_R chosen to be C_I", &h.r.party, err, ErrConfig)
	for range 200 { // of 48, with one that is taken
		var id identifier
		if err := h.i.newConnectionID(&id, []byte{0x05}); err != nil || !oneByteInt(id.bytes()) {
			t.Fatalf("%x: %v", id.bytes(), err)
		}
	}
	ci.ConnectionID = func([]byte) ([]byte, error) { return make([]byte, MaxConnectionID+1), nil }
	h = newRun(t, ci, cr)
	refused(t, "C_I chosen too long", &h.i.party, h.make(1), ErrConfig)
}

// TestOuterEncoding writes message_2, 3 and 4 wrongly, from the outside.
func TestOuterEncoding(t *testing.T) {
	for n := 2; n <= 4; n++ {
		for _, tt := range []struct {
			name string
			f    func([]byte) []byte
		}{
			{"array around", func(b []byte) []byte { return append([]byte{0x81}, b...) }},
			{"byte string around", func(b []byte) []byte { return cbor.AppendBytes(nil, b) }},
			{"tagged", func(b []byte) []byte { return append([]byte{0xd0}, b...) }},
			{"doubled", func(b []byte) []byte { return append(bytes.Clone(b), b...) }},
			{"trailing byte", func(b []byte) []byte { return append(bytes.Clone(b), 0) }},
			{"a byte missing", func(b []byte) []byte { return b[:len(b)-1] }},
			{"text", func(b []byte) []byte { return cbor.AppendText(nil, strings.Repeat("a", len(b))) }},
			{"empty", func([]byte) []byte { return []byte{0x40} }},
			{"nothing", func([]byte) []byte { return nil }},
			{"2^64-1 bytes", func(b []byte) []byte { return append(vector.Bytes(t, "5bffffffffffffffff"), b...) }},
			{"long form", func(b []byte) []byte { return append([]byte{0x5a, 0, 0, 0, byte(len(b))}, b...) }},
			{"indefinite", func(b []byte) []byte { return append(append([]byte{0x5f}, b...), 0xff) }},
			{"prepended with an identifier", func(b []byte) []byte { return append([]byte{0x40}, b...) }},
			{"the longest and more", func(b []byte) []byte { return cbor.AppendBytes(nil, make([]byte, MaxMessage)) }},
			{"ciphertext a byte longer", func(b []byte) []byte { return lengthen(b, 1) }},
			{"ciphertext a byte shorter", func(b []byte) []byte { return lengthen(b, -1) }},
		} {
			ci, cr := pair(t, DHDH, 2, true)
			h := newRun(t, ci, cr)
			for k := 1; k < n; k++ {
				if err := h.step(k); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.make(n); err != nil {
				t.Fatal(err)
			}
			p := &h.i.party
			if n == 3 {
				p = &h.r.party
			}
			refused(t, fmt.Sprintf("message_%d, %s", n, tt.name), p, h.take(n, tt.f(h.m[n])), nil)
		}
	}
}

// lengthen changes how many bytes a byte string has.
func lengthen(b []byte, by int) []byte {
	s, err := readBytes(b)
	if err != nil {
		panic(err)
	}
	return cbor.AppendBytes(nil, append(bytes.Clone(s), 0)[:len(s)+by])
}

// TestPoints has the points that are no keys, as G_X, as G_Y, and in a credential.
func TestPoints(t *testing.T) {
	p256 := "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"
	for _, tt := range []struct {
		name string
		s    Suite
		x    string
		ok   bool
	}{
		{"P-256: x = 0 is a point", 2, strings.Repeat("00", 32), true},
		{"P-256: x = p", 2, p256, false},
		{"P-256: x = p + 5, where 5 is a point", 2, "ffffffff00000001" + strings.Repeat("0", 23) + "1" + strings.Repeat("0", 23) + "4", false},
		{"P-256: x = 2^256 - 1", 2, strings.Repeat("ff", 32), false},
		{"P-256: x = 1 is on no point", 2, strings.Repeat("00", 31) + "01", false},
		{"P-256: x = 5 is on a point", 2, strings.Repeat("00", 31) + "05", true},
		{"P-384: all ones", 24, strings.Repeat("ff", 48), false},
		{"X25519: 0", 0, strings.Repeat("00", 32), false},
		{"X25519: 1", 0, "01" + strings.Repeat("00", 31), false},
		{"X25519: of order 8", 0, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", false},
		{"X25519: of order 8, the other", 0, "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", false},
		{"X25519: p - 1", 0, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false},
		{"X25519: p", 0, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false},
		{"X25519: p + 1", 0, "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false},
		{"X25519: 0 with the top bit", 0, strings.Repeat("00", 31) + "80", false},
		{"X448: 0", 25, strings.Repeat("00", 56), false},
		{"X448: 1", 25, "01" + strings.Repeat("00", 55), false},
		{"X448: p - 1", 25, "fe" + strings.Repeat("ff", 27) + "fe" + strings.Repeat("ff", 27), false},
		{"X448: p", 25, strings.Repeat("ff", 28) + "fe" + strings.Repeat("ff", 27), false},
		{"X448: 5", 25, "05" + strings.Repeat("00", 55), true},
		{"X25519: 9", 0, "09" + strings.Repeat("00", 31), true},
	} {
		x := vector.Bytes(t, tt.x)
		ci, cr := pair(t, DHDH, tt.s, false)
		h := newRun(t, ci, cr)
		m1 := append([]byte{3}, appendSuites(nil, []Suite{tt.s})...)
		m1 = append(cbor.AppendBytes(m1, x), 0x27)
		if err := h.r.Message1(m1); err != nil {
			t.Errorf("%s: message_1: %v", tt.name, err)
			continue
		}
		m2, err := h.r.Message2(nil)
		if (err == nil) != tt.ok {
			t.Errorf("%s as G_X: %v, message_2 is %x", tt.name, err, m2)
		}
		if !tt.ok {
			refused(t, tt.name, &h.r.party, err, nil)
		}
		if tt.ok {
			continue
		}
		if err := h.make(1); err != nil {
			t.Fatal(err)
		}
		err = h.i.Message2(cbor.AppendBytes(nil, append(x, make([]byte, 11)...)))
		refused(t, tt.name+" as G_Y", &h.i.party, err, nil)

		if tt.s != 0 {
			continue // cose.ReadKey looks at those
		}
		key := cose.Key{Type: cose.OKP, Curve: cose.X25519, X: x}
		c, err := NewCCS(key, "", []byte{0x11})
		if err != nil {
			continue // refused already: better
		}
		ci, cr = pair(t, DHDH, 0, false)
		ci.Peers = Only(c)
		h = newRun(t, ci, cr)
		if err := errors.Join(h.step(1), h.make(2)); err != nil {
			t.Fatal(err)
		}
		plain := append(appendIdentifier(nil, h.r.cR.bytes()), vector.Bytes(t, "11 480000000000000000")...)
		refused(t, tt.name+" in a credential", &h.i.party, h.i.Message2(h.forge2(plain)), nil)
	}
}

// TestSignatures has signatures that verify under no key, or under every key of a
// careless implementation.
func TestSignatures(t *testing.T) {
	n := "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
	zero, one := strings.Repeat("00", 32), strings.Repeat("00", 31)+"01"
	for _, tt := range []struct {
		name string
		s    Suite
		sig  string
	}{
		{"ECDSA: r = s = 0", 2, zero + zero},
		{"ECDSA: r = 0", 2, zero + one},
		{"ECDSA: s = 0", 2, one + zero},
		{"ECDSA: r = n", 2, n + one},
		{"ECDSA: s = n", 2, one + n},
		{"ECDSA: r = s = 2^256 - 1", 2, strings.Repeat("ff", 64)},
		{"ECDSA: r = s = 1", 2, one + one},
		{"ECDSA: a byte short", 2, (one + one)[2:]},
		{"ECDSA: a byte long", 2, "00" + one + one},
		{"ECDSA: as ASN.1", 2, "3006020101020101"},
		{"ECDSA: empty", 2, ""},
		{"EdDSA: all zero", 0, zero + zero},
		{"EdDSA: identity and zero", 0, "01" + zero[2:] + zero},
		{"EdDSA: all ones", 0, strings.Repeat("ff", 64)},
		{"EdDSA: a byte short", 0, (zero + zero)[2:]},
		{"Ed448: all zero", 25, strings.Repeat("00", 114)},
		{"Ed448: identity and zero", 25, "01" + strings.Repeat("00", 113)},
		{"Ed448: as long as Ed25519's", 25, zero + zero},
	} {
		ci, cr := pair(t, SignSign, tt.s, false)
		h := newRun(t, ci, cr)
		if err := errors.Join(h.step(1), h.make(2)); err != nil {
			t.Fatal(err)
		}
		plain := append(appendIdentifier(nil, h.r.cR.bytes()), h.r.own.cred.wire...)
		plain = cbor.AppendBytes(plain, vector.Bytes(t, tt.sig))
		refused(t, tt.name, &h.i.party, h.i.Message2(h.forge2(plain)), ErrVerification)
	}
}

// TestPeers has credentials that are not those that were meant.
func TestPeers(t *testing.T) {
	other := newAuthenticator(t, newKey(t, cose.P256, 99), false, "another programmer", []byte{0x02})
	wrongCurve := newAuthenticator(t, newKey(t, cose.X25519, 98), false, "programmer", []byte{0x02})
	onlySigns := newAuthenticator(t, newKey(t, cose.CurveEd25519, 97), true, "programmer", []byte{0x02})
	_, cr := pair(t, DHDH, 2, false)
	genuine := credentials(cr.Own)[1] // P-256, kid 02
	expired := errors.New("expired")
	for _, tt := range []struct {
		name  string
		peers func(*ID, []EAD) ([]*Credential, error)
		want  error
		code  Code
	}{
		{"valid, and not the one that was meant", Only(credentials(cr.Own)[0]), ErrUnknownCredential, UnknownCredential},
		{"another's credential under the same kid", Only(other.cred), ErrVerification, Unspecified},
		{"a key of another curve", Only(wrongCurve.cred), ErrCredential, Unspecified},
		{"a key that only signs", Only(onlySigns.cred), ErrCredential, Unspecified},
		{"nobody is meant", Only(), ErrUnknownCredential, UnknownCredential},
		{"expired", func(*ID, []EAD) ([]*Credential, error) { return []*Credential{genuine}, expired }, expired, Unspecified},
		{"neither a credential nor an error", func(*ID, []EAD) ([]*Credential, error) { return nil, nil }, ErrUnknownCredential, UnknownCredential},
		{"more than can be tried", Only(other.cred, other.cred, other.cred, other.cred, genuine), ErrConfig, Unspecified},
		{"the last of four that the kid may mean", Only(other.cred, wrongCurve.cred, onlySigns.cred, genuine), nil, Success},
	} {
		ci, cr := pair(t, DHDH, 2, false)
		ci.Peers = tt.peers
		h := newRun(t, ci, cr)
		if err := h.step(1); err != nil {
			t.Fatal(err)
		}
		err := h.step(2)
		if tt.want == nil {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		refused(t, tt.name, &h.i.party, err, tt.want)
		var e *Error
		if errors.As(err, &e) && e.Code != tt.code {
			t.Errorf("%s: error %d; want %d", tt.name, e.Code, tt.code)
		}
	}
}

// TestValidity refuses by time, which is handed in.
func TestValidity(t *testing.T) {
	// {2: "x", 4: 2000, 5: 1000, 8: {1: COSE_Key}}
	k := newKey(t, cose.X25519, 5)
	b := vector.Bytes(t, "a4 02 6178 04 1907d0 05 1903e8 08 a1 01")
	c, err := ParseCCS(k.AppendPublic(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		at int64
		ok bool
	}{{999, false}, {1000, true}, {2000, true}, {2001, false}} {
		if err := c.ValidAt(time.Unix(tt.at, 0)); (err == nil) != tt.ok {
			t.Errorf("at %d: %v", tt.at, err)
		}
	}
}

// TestReflection has messages come back to whoever sent them.
func TestReflection(t *testing.T) {
	own := side(t, "implant", 0x01)
	for m := SignSign; m <= DHDH; m++ {
		// One that plays both roles, and whose list of peers has itself in it.
		c := &Config{Methods: []Method{m}, Suites: []Suite{2}, Own: own, Peers: Only(credentials(own)...)}
		h := newRun(t, c, c)
		if err := h.step(1); err != nil {
			t.Fatal(err)
		}
		refused(t, fmt.Sprintf("method %d", m), &h.i.party, h.step(2), ErrReflected)
	}

	// The own key dressed otherwise is the own key.
	again := newAuthenticator(t, newKey(t, cose.P256, 0x02), false, "somebody else", []byte{0x30})
	ci := &Config{Methods: []Method{DHDH}, Suites: []Suite{2}, Own: own, Peers: Only(again.cred)}
	cr := &Config{Methods: []Method{DHDH}, Suites: []Suite{2}, Own: []*Authenticator{again}, Peers: Only(credentials(own)...)}
	h := newRun(t, ci, cr)
	if err := h.step(1); err != nil {
		t.Fatal(err)
	}
	refused(t, "own key", &h.i.party, h.step(2), ErrReflected)

	// The own message_1's G_X as G_Y.
	ci, cr = pair(t, DHDH, 2, false)
	h = newRun(t, ci, cr)
	if err := h.make(1); err != nil {
		t.Fatal(err)
	}
	gx := h.m[1][4:36]
	err := h.i.Message2(cbor.AppendBytes(nil, append(bytes.Clone(gx), make([]byte, 11)...)))
	refused(t, "G_X", &h.i.party, err, ErrReflected)
	// The own message_1, whole: where message_2 is due it reads as an error message.
	h = newRun(t, ci, cr)
	if err := h.make(1); err != nil {
		t.Fatal(err)
	}
	refused(t, "message_1", &h.i.party, h.i.Message2(h.m[1]), nil)
}

// TestReplay has messages come twice, or in another handshake.
func TestReplay(t *testing.T) {
	for m := SignSign; m <= DHDH; m++ {
		ci, cr := pair(t, m, 2, true)
		a, b := newRun(t, ci, cr), newRun(t, ci, cr)
		for n := 1; n <= 4; n++ {
			if n == 1 {
				if err := a.make(1); err != nil {
					t.Fatal(err)
				}
			}
			p := &a.r.party // takes message n
			if n%2 == 0 {
				p = &a.i.party
			}
			if _, ok := p.Repeat(a.m[n]); ok {
				t.Errorf("method %d: message_%d is a repeat before it was taken", m, n)
			}
			if err := a.take(n, a.m[n]); err != nil {
				t.Fatal(err)
			}
			if err := a.take(n, a.m[n]); !errors.Is(err, ErrState) {
				t.Errorf("method %d: message_%d is taken twice: %v", m, n, err)
			}
			if got, ok := p.Repeat(a.m[n]); !ok || len(got) > 0 {
				t.Errorf("method %d: message_%d again, before its answer: %x, %t", m, n, got, ok)
			}
			if n == 4 {
				break
			}
			if err := a.make(n + 1); err != nil {
				t.Fatal(err)
			}
			next := a.m[n+1]
			if err := a.make(n + 1); !errors.Is(err, ErrState) {
				t.Errorf("method %d: message_%d is made twice: %v", m, n+1, err)
			}
			a.m[n+1] = next
			if got, ok := p.Repeat(a.m[n]); !ok || !bytes.Equal(got, next) {
				t.Errorf("method %d: message_%d again: %x, %t; want message_%d as it was", m, n, got, ok, n+1)
			}
			if _, ok := p.Repeat(next); ok {
				t.Errorf("method %d: message_%d is taken for a repeat", m, n+1)
			}
		}
		a.agree(t)

		// message_1 of another handshake, and what followed it.
		if err := b.step(1); err != nil {
			t.Fatal(err)
		}
		r, err := NewResponder(cr)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Message1(a.m[1]); err != nil {
			t.Fatal(err)
		}
		if m2, err := r.Message2(nil); err != nil || bytes.Equal(m2, a.m[2]) {
			t.Errorf("method %d: a replayed message_1 is answered the same: %v", m, err)
		}
		refused(t, "replayed message_3", &r.party, r.Message3(a.m[3]), ErrVerification)
		refused(t, "message_2 for another C_I", &b.i.party, b.i.Message2(a.m[2]), nil)
	}
}

// TestEAD has items of each sort in each message.
func TestEAD(t *testing.T) {
	for n := 1; n <= 4; n++ {
		for _, tt := range []struct {
			name string
			ead  []EAD
			want string // what the application gets; "-" when it ends
		}{
			{"none", nil, ""},
			{"padding of one byte", []EAD{Padding(1, nil)}, ""},
			{"padding alone", []EAD{{}, {Value: []byte{}}, {Value: []byte{1, 2, 3}}}, ""},
			{"not known, not critical", []EAD{{Label: 99, Value: []byte{1}}}, "99 "},
			{"not known, critical", []EAD{{Label: 99, Critical: true}}, "-"},
			{"known", []EAD{{Label: 7, Value: []byte{1}}, {}, {Label: 7}}, "7 7 "},
			{"known, critical", []EAD{{Label: 7, Critical: true, Value: []byte{1}}}, "7 "},
			{"known, refused", []EAD{{Label: 8}}, "-"},
			{"known, then one that is critical and is not", []EAD{{Label: 7}, {Label: 65535, Critical: true}}, "-"},
		} {
			name := fmt.Sprintf("EAD_%d, %s", n, tt.name)
			got := ""
			receive := func(message int, e EAD) error {
				got += fmt.Sprintf("%d ", e.Label)
				switch {
				case message != n:
					t.Errorf("%s: given as that of message_%d", name, message)
				case e.Label == 8:
					return errors.New("of no use")
				case e.Label != 7:
					return ErrUnknownEAD
				}
				return nil
			}
			ci, cr := pair(t, DHDH, 2, true)
			ci.EAD, cr.EAD = receive, receive
			h := newRun(t, ci, cr)
			var err error
			for k := 1; k <= 4 && err == nil; k++ {
				var ead []EAD
				if k == n {
					ead = tt.ead
				}
				if err := h.make(k, ead...); err != nil {
					t.Fatal(err)
				}
				err = h.take(k, h.m[k])
			}
			if tt.want == "-" {
				p := &h.i.party
				if n%2 == 1 {
					p = &h.r.party
				}
				refused(t, name, p, err, nil)
				continue
			}
			if err != nil || got != tt.want {
				t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
			}
		}
	}

	// What cannot be sent.
	for _, tt := range []struct {
		name string
		ead  []EAD
		want error
	}{
		{"critical padding", []EAD{{Critical: true}}, errPadding},
		{"nine items", make([]EAD, MaxEAD+1), errManyEAD},
		{"too long", []EAD{{Label: 1, Value: make([]byte, MaxEADValue+1)}}, errLongEAD},
	} {
		ci, cr := pair(t, DHDH, 2, true)
		h := newRun(t, ci, cr)
		_, err := h.i.Message1(nil, tt.ead...)
		refused(t, tt.name, &h.i.party, err, tt.want)
	}
}

func TestPadding(t *testing.T) {
	pad := make([]byte, 1000)
	for n := 1; n < 1000; n++ {
		b, err := appendEAD(nil, []EAD{Padding(n, pad)})
		if err != nil {
			t.Fatal(err)
		}
		want := n
		if n == 26 || n == 259 {
			want++
		}
		if len(b) != want {
			t.Errorf("padding of %d is %d bytes", n, len(b))
		}
	}
}

// TestBitFlips changes one bit of each byte of each message, with EAD in each:
// whoever takes it ends the handshake at once, but that message_1 may pass and then
// message_2 does not; and neither side exports a key.
func TestBitFlips(t *testing.T) {
	ead := EAD{Label: 9, Value: []byte{1, 2}}
	for _, s := range []Suite{0, 2} {
		for m := SignSign; m <= DHDH; m++ {
			ci, cr := pair(t, m, s, true)
			for n := 1; n <= 4; n++ {
				for at := 0; ; at++ {
					h := newRun(t, ci, cr)
					for k := 1; k <= n; k++ {
						if err := h.make(k, ead); err != nil {
							t.Fatal(err)
						}
						if k < n {
							if err := h.take(k, h.m[k]); err != nil {
								t.Fatal(err)
							}
						}
					}
					if at == len(h.m[n]) {
						break
					}
					b := bytes.Clone(h.m[n])
					b[at] ^= 1 << (at % 8)
					err := h.take(n, b)
					if n == 1 && err == nil {
						err = h.step(2)
					}
					if err == nil {
						t.Fatalf("method %d %v: bit %d of byte %d of message_%d changed, and nobody noticed", m, s, at%8, at, n)
					}
					if _, err := h.i.Session(); err == nil {
						t.Errorf("method %d %v: byte %d of message_%d: the Initiator has a session", m, s, at, n)
					}
					if _, err := h.r.Session(); err == nil && n < 4 {
						t.Errorf("method %d %v: byte %d of message_%d: the Responder has a session", m, s, at, n)
					}
				}
			}
		}
	}
}

// TestErrors has error messages in each state, and such as are none.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      Error
		malformed bool
	}{
		{"unspecified", "01 636e6f21", Error{Code: Unspecified, Text: "no!"}, false},
		{"wrong suite", "02 8206 1818", Error{Code: WrongSuite, Suites: []Suite{6, 24}}, false},
		{"wrong suite, one", "02 06", Error{Code: WrongSuite, Suites: []Suite{6}}, false},
		{"unknown credential", "03 f5", Error{Code: UnknownCredential}, false},
		{"a code of the future", "17 a0", Error{Code: 23}, false},
		{"a negative code", "20 a0", Error{Code: -1}, false},
		{"success is never sent", "00 60", Error{}, true},
		{"no information", "01", Error{}, true},
		{"text that is none", "01 4100", Error{}, true},
		{"an array of one suite", "02 8106", Error{}, true},
		{"no suites", "02 80", Error{}, true},
		{"false", "03 f4", Error{}, true},
		{"trailing", "03 f5 00", Error{}, true},
		{"a code out of range", "1a00010000 f5", Error{}, true},
		{"long form", "1803 f5", Error{}, true},
		{"doubled", "03 f5 03 f5", Error{}, true},
	} {
		b := vector.Bytes(t, tt.hex)
		got, err := ParseError(b)
		if tt.malformed != (err != nil) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if err == nil && (got.Code != tt.want.Code || got.Text != tt.want.Text || fmt.Sprint(got.Suites) != fmt.Sprint(tt.want.Suites)) {
			t.Errorf("%s: %+v", tt.name, got)
		}
		for n := 2; n <= 4; n++ {
			ci, cr := pair(t, DHDH, 2, true)
			h := newRun(t, ci, cr)
			for k := 1; k < n; k++ {
				if err := h.step(k); err != nil {
					t.Fatal(err)
				}
			}
			if n > 2 {
				h.make(n)
			}
			p := &h.i.party
			if n == 3 {
				p = &h.r.party
			}
			err := h.take(n, b)
			refused(t, fmt.Sprintf("%s for message_%d", tt.name, n), p, err, nil)
			var e *Error
			if !errors.As(err, &e) || !e.FromPeer || len(AppendError(nil, err)) > 0 {
				t.Errorf("%s for message_%d: %v is answered with %x", tt.name, n, err, AppendError(nil, err))
			}
		}
	}

	// A text has its end, and is UTF-8 there.
	for _, n := range []int{MaxErrorText - 1, MaxErrorText, MaxErrorText + 1} {
		long := AppendError(nil, &Error{Code: Unspecified, Text: strings.Repeat("ü", n)})
		got, err := ParseError(long)
		if err != nil || got.Text != strings.Repeat("ü", MaxErrorText/2) {
			t.Errorf("%d letters: %q, %v", n, got.Text, err)
		}
		got, err = ParseError(cbor.AppendText([]byte{1}, strings.Repeat("a", n)))
		if err != nil || len(got.Text) != min(n, MaxErrorText) {
			t.Errorf("%d letters: %d, %v", n, len(got.Text), err)
		}
	}

	// A completed session takes no notice.
	ci, cr := pair(t, DHDH, 2, false)
	h := newRun(t, ci, cr)
	h.complete(t)
	before := export(t, h.si)
	if err := errors.Join(h.i.Message2([]byte{3, 0xf5}), h.i.Message4([]byte{3, 0xf5}), h.r.Message3([]byte{3, 0xf5})); !errors.Is(err, ErrState) {
		t.Error("an error message after the end: ", err)
	}
	if len(AppendError(nil, ErrState)) > 0 {
		t.Error("something is sent after the end")
	}
	if err := h.i.Abort("late"); !errors.Is(err, ErrState) {
		t.Error("aborted after the end: ", err)
	}
	h.agree(t)
	if !bytes.Equal(before, export(t, h.si)) {
		t.Error("the key changed")
	}
}

// TestKeyUpdate has both sides in step, and out of it.
func TestKeyUpdate(t *testing.T) {
	ci, cr := pair(t, DHDH, 24, false)
	h := newRun(t, ci, cr)
	h.complete(t)
	first := export(t, h.si)
	for _, s := range []*Session{h.si, h.sr} {
		if err := s.KeyUpdate([]byte("one")); err != nil {
			t.Fatal(err)
		}
	}
	h.agree(t)
	if bytes.Equal(first, export(t, h.si)) {
		t.Error("the update changed nothing")
	}
	if err := h.si.KeyUpdate([]byte("two")); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(export(t, h.si), export(t, h.sr)) || h.si.Epoch() == h.sr.Epoch() {
		t.Error("out of step, and the same key or epoch")
	}
	if err := h.sr.KeyUpdate([]byte("other")); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(export(t, h.si), export(t, h.sr)) {
		t.Error("another context, and the same key")
	}

	for _, tt := range []struct {
		name  string
		label uint32
		ctx   int
		n     int
		ok    bool
	}{
		{"nothing", 0, 0, 0, true},
		{"the last label", 65535, 0, 16, true},
		{"a label too large", 65536, 0, 16, false},
		{"the longest", 0, 0, MaxExport, true},
		{"longer", 0, 0, MaxExport + 1, false},
		{"less than nothing", 0, 0, -1, false},
		{"the longest context", 0, maxContext, 1, true},
		{"a longer context", 0, maxContext + 1, 1, false},
	} {
		b, err := h.si.Exporter(tt.label, make([]byte, tt.ctx), tt.n)
		if (err == nil) != tt.ok || err == nil && len(b) != tt.n {
			t.Errorf("%s: %d bytes, %v", tt.name, len(b), err)
		}
	}
	if err := h.si.KeyUpdate(make([]byte, maxContext+1)); !errors.Is(err, ErrExport) {
		t.Error("a longer context of an update: ", err)
	}
	h.si.Erase()
	if _, err := h.si.Exporter(0, nil, 1); !errors.Is(err, ErrErased) {
		t.Error("exported after it was erased: ", err)
	}
	if err := h.si.KeyUpdate(nil); !errors.Is(err, ErrErased) {
		t.Error("updated after it was erased: ", err)
	}
}
