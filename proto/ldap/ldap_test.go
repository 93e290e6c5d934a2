// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ldap_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/ldap"
	"github.com/myelin-health/myelin/wire"
)

func tlv(tag byte, contents ...[]byte) []byte {
	c := bytes.Join(contents, nil)
	if len(c) < 128 {
		return append([]byte{tag, byte(len(c))}, c...)
	}
	return append([]byte{tag, 0x82, byte(len(c) >> 8), byte(len(c))}, c...)
}

func message(op byte, contents ...[]byte) []byte {
	return tlv(0x30, []byte{2, 1, 5}, tlv(op, contents...))
}

func bind(version byte, auth []byte) []byte {
	return message(0x60, []byte{2, 1, version}, tlv(4, []byte("cn=Lea Sommer,dc=ada")), auth)
}

func entry(attribute string) []byte {
	list := tlv(0x30, tlv(0x30, tlv(4, []byte(attribute)), tlv(0x31, tlv(4, []byte("value")))))
	return message(0x64, tlv(4, []byte("cn=x")), list)
}

func ExampleMessage_Parse() {
	var m ldap.Message
	err := m.Parse(bind(3, tlv(0x80, []byte("secret"))))
	fmt.Println(m.Op == ldap.BindRequest, m.Simple, err)
	// Output: true true <nil>
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want ldap.Message
	}{
		{"anonymous", bind(3, tlv(0x80)), ldap.Message{ID: 5, Op: ldap.BindRequest, Anonymous: true}},
		{"SASL", bind(3, tlv(0xa3, tlv(4, []byte("GSSAPI")), tlv(4, []byte("token")))), ldap.Message{ID: 5, Op: ldap.BindRequest, Mechanism: []byte("GSSAPI")}},
		{"refused", message(0x61, []byte{10, 1, 49}, tlv(4), tlv(4)), ldap.Message{ID: 5, Op: ldap.BindResponse, Result: ldap.InvalidCredentials}},
		{"StartTLS", message(0x77, tlv(0x80, []byte("1.3.6.1.4.1.1466.20037"))), ldap.Message{ID: 5, Op: ldap.ExtendedRequest, StartTLS: true}},
		{"who am I", message(0x77, tlv(0x80, []byte("1.3.6.1.4.1.4203.1.11.3"))), ldap.Message{ID: 5, Op: ldap.ExtendedRequest}},
		{"entry", entry("mail"), ldap.Message{ID: 5, Op: ldap.SearchResultEntry}},
		{"Java entry", entry("javaCodeBase"), ldap.Message{ID: 5, Op: ldap.SearchResultEntry, Java: true}},
		{"search", message(0x63, tlv(4)), ldap.Message{ID: 5, Op: ldap.SearchRequest}},
	} {
		var m ldap.Message
		err := m.Parse(tt.b)
		if err != nil || m.ID != tt.want.ID || m.Op != tt.want.Op || m.Simple != tt.want.Simple || m.Anonymous != tt.want.Anonymous ||
			!bytes.Equal(m.Mechanism, tt.want.Mechanism) || m.Result != tt.want.Result || m.StartTLS != tt.want.StartTLS || m.Java != tt.want.Java {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
		if n, err := ldap.Size(tt.b[:4]); n != len(tt.b) || err != nil {
			t.Errorf("%s: size %d, %v", tt.name, n, err)
		}
	}
}

func TestParseNegative(t *testing.T) {
	whole := bind(3, tlv(0x80, []byte("secret")))
	for n := range whole {
		var m ldap.Message
		if err := m.Parse(whole[:n]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"no sequence":      append([]byte{0x31}, whole[1:]...),
		"indefinite":       append([]byte{0x30, 0x80}, whole[2:]...),
		"name not a text":  message(0x60, []byte{2, 1, 3}, tlv(2, []byte{1})),
		"result not a one": message(0x61, tlv(4), tlv(4), tlv(4)),
		"id not a number":  tlv(0x30, tlv(4, []byte("a")), tlv(0x60)),
	} {
		var m ldap.Message
		if err := m.Parse(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ldap.Size([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}); !errors.Is(err, wire.ErrTooLong) {
		t.Error(err)
	}
}

func TestRecognise(t *testing.T) {
	for name, tt := range map[string]struct {
		b    []byte
		want wire.Match
	}{
		"bind":           {bind(3, tlv(0x80)), wire.SureMatch},
		"bind response":  {message(0x61, []byte{10, 1, 0}, tlv(4), tlv(4)), wire.SureMatch},
		"search":         {message(0x63, tlv(4)), wire.SureMatch},
		"long length":    {append([]byte{0x30, 0x84, 0, 0, 0, 12, 2, 1, 1, 0x61, 7}, 10, 1, 0, 4, 0, 4, 0), wire.SureMatch},
		"unbind":         {tlv(0x30, []byte{2, 1, 9}, tlv(0x42)), wire.WeakMatch},
		"nothing":        {nil, wire.NeedMore},
		"beginning":      {[]byte{0x30, 12, 2, 1}, wire.NeedMore},
		"bind version 9": {bind(9, tlv(0x80)), wire.NoMatch},
		"SNMP":           {tlv(0x30, []byte{2, 1, 1}, tlv(4, []byte("public")), tlv(0xa0, []byte{2, 1, 1})), wire.NoMatch},
		"op too long":    {[]byte{0x30, 8, 2, 1, 1, 0x61, 99, 10, 1, 0}, wire.NoMatch},
		"text":           {[]byte("0123456789"), wire.NoMatch},
		"certificate":    {tlv(0x30, tlv(0x30, []byte{0xa0, 3, 2, 1, 2})), wire.NoMatch},
	} {
		if m := ldap.Recognise(tt.b); m != tt.want {
			t.Errorf("%s: %v, want %v", name, m, tt.want)
		}
		if len(tt.b) >= 7 && ldap.RecogniseDatagram(tt.b) != tt.want {
			t.Errorf("%s as a datagram", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(bind(3, tlv(0x80, []byte("x"))))
	f.Add(entry("javaCodeBase"))
	f.Add(message(0x77, tlv(0x80, []byte("1.3.6.1.4.1.1466.20037"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		ldap.Recognise(b)
		if n, err := ldap.Size(b); err == nil && n < 2 {
			t.Fatal("a size of", n)
		}
		var m, again ldap.Message
		err := m.Parse(b)
		if e := again.Parse(b); (e == nil) != (err == nil) || m.Op != again.Op || m.Result != again.Result {
			t.Fatal("same input, other result")
		}
		if len(m.Mechanism) > len(b) || cap(m.Mechanism) != len(m.Mechanism) {
			t.Fatal("a slice leaves the input")
		}
	})
}
