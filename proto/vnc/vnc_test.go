// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vnc_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/vnc"
	"github.com/myelin-health/myelin/wire"
)

func ExampleParseVersion() {
	v, n, err := vnc.ParseVersion([]byte("RFB 003.008\n\x01\x01"))
	fmt.Println(v, n, err)
	// Output: {3 8} 12 <nil>
}

func ExampleParseSecurityTypes() {
	types, _, err := vnc.ParseSecurityTypes(vnc.Version{Major: 3, Minor: 8}, []byte{2, 1, 2})
	fmt.Println(types, vnc.Security(types[0]) == vnc.None, err)
	// Output: [1 2] true <nil>
}

func TestVersion(t *testing.T) {
	for in, want := range map[string]error{
		"RFB 003.003\n": nil, "RFB 003.889\n": nil, "RFB 005.000\n": nil,
		"RFB 003.00": wire.ErrTruncated, "": wire.ErrTruncated,
		"RFB 003,003\n": wire.ErrInvalid, "rfb 003.003\n": wire.ErrInvalid, "RFB 003.003\r": wire.ErrInvalid, "RFB 00a.003\n": wire.ErrInvalid,
	} {
		if _, _, err := vnc.ParseVersion([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for v, want := range map[vnc.Version]bool{{3, 3}: false, {3, 7}: true, {3, 889}: true, {4, 1}: true} {
		if v.Lists() != want {
			t.Error(v)
		}
	}
}

func TestSecurityTypes(t *testing.T) {
	old := vnc.Version{Major: 3, Minor: 3}
	if types, n, err := vnc.ParseSecurityTypes(old, []byte{0, 0, 0, 2}); err != nil || n != 4 || len(types) != 1 || types[0] != 2 {
		t.Error(types, n, err)
	}
	if types, _, err := vnc.ParseSecurityTypes(vnc.Version{Major: 3, Minor: 8}, []byte{0}); err != nil || len(types) != 0 {
		t.Error("a refusal:", types, err)
	}
	for _, tt := range []struct {
		v vnc.Version
		b []byte
	}{{old, nil}, {old, []byte{0, 0, 0}}, {vnc.Version{Major: 3, Minor: 8}, nil}, {vnc.Version{Major: 3, Minor: 8}, []byte{3, 1, 2}}} {
		if _, _, err := vnc.ParseSecurityTypes(tt.v, tt.b); !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("%v %v: %v", tt.v, tt.b, err)
		}
	}
}

func TestChallenge(t *testing.T) {
	if n, err := vnc.VNCAuth.ServerChallenge(nil); n != 16 || err != nil {
		t.Error(n, err)
	}
	if n, err := vnc.Apple.ServerChallenge([]byte{0, 2, 0, 128}); n != 260 || err != nil {
		t.Error(n, err)
	}
	if _, err := vnc.Apple.ServerChallenge([]byte{0, 2, 0}); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
	if n, _ := vnc.VeNCrypt.ServerChallenge(nil); n != -1 {
		t.Error(n)
	}
	if vnc.VNCAuth.Encrypts() || vnc.None.Encrypts() || vnc.Apple.Encrypts() || !vnc.VeNCrypt.Encrypts() {
		t.Error("what encrypts")
	}
	for in, want := range map[string]bool{"\x00\x00\x00\x00": true, "\x00\x00\x00\x01": false} {
		if ok, n, err := vnc.ParseResult([]byte(in)); ok != want || n != 4 || err != nil {
			t.Error(ok, n, err)
		}
	}
	if ok, _, err := vnc.ParseResult([]byte{0, 0}); ok || !errors.Is(err, wire.ErrTruncated) {
		t.Error(ok, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("RFB 003.008\n\x02\x01\x02"))
	f.Add([]byte("\x00\x02\x00\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, n, err := vnc.ParseVersion(b)
		if (err == nil) != (vnc.Recognise(b) == wire.SureMatch) {
			t.Fatal("recognised, but not read")
		}
		if err == nil {
			b = b[n:]
		}
		if types, n, err := vnc.ParseSecurityTypes(v, b); err == nil && (n > len(b) || cap(types) != len(types)) {
			t.Fatal("a slice leaves the input")
		}
		vnc.Apple.ServerChallenge(b)
		vnc.ParseResult(b)
	})
}
