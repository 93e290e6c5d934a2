// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ssh_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/proto/ssh"
	"github.com/myelin-health/myelin/wire"
)

// kexInit makes a KEXINIT packet (RFC 4253 sections 6 and 7.1).
func kexInit(lists ...string) []byte {
	p := append([]byte{4, 20}, make([]byte, 16)...)
	for i := range 10 {
		l := ""
		if i < len(lists) {
			l = lists[i]
		}
		p = binary.BigEndian.AppendUint32(p, uint32(len(l)))
		p = append(p, l...)
	}
	p = append(p, make([]byte, 5+4)...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

func ExampleParseIdent() {
	id, n, err := ssh.ParseIdent([]byte("SSH-2.0-OpenSSH_9.6 Debian-5\r\n"))
	fmt.Printf("%s %s %s %d %v\n", id.Version, id.Software, id.Comment, n, err)
	// Output: 2.0 OpenSSH_9.6 Debian-5 30 <nil>
}

func ExampleAgreed() {
	client, _, _, _ := ssh.ParseKexInit(kexInit("curve25519-sha256,diffie-hellman-group1-sha1"))
	server, _, _, _ := ssh.ParseKexInit(kexInit("diffie-hellman-group1-sha1"))
	name := ssh.Agreed(&client, &server, ssh.Kex)
	fmt.Printf("%s %v\n", name, ssh.Weak(name))
	// Output: diffie-hellman-group1-sha1 true
}

func TestIdent(t *testing.T) {
	for _, tt := range []struct {
		in      string
		version string
		legacy  bool
		err     error
	}{
		{"SSH-2.0-x\r\n", "2.0", false, nil},
		{"SSH-2.0-x\n", "2.0", false, nil},
		{"SSH-1.99-x\r\n", "1.99", true, nil},
		{"SSH-1.5-x\n", "1.5", true, nil},
		{"Keep out\r\nof here\r\nSSH-2.0-x\r\n", "2.0", false, nil}, // RFC 4253 section 4.2
		{"SSH-2.0-x", "", false, wire.ErrTruncated},
		{"", "", false, wire.ErrTruncated},
		{"SSH-2.0\r\n", "", false, wire.ErrInvalid},
		{"SSH--x\r\n", "", false, wire.ErrInvalid},
		{strings.Repeat("a", 300), "", false, wire.ErrTooLong},
		{strings.Repeat("line\n", 16) + "SSH-2.0-x\r\n", "", false, wire.ErrTooLong},
		{strings.Repeat("line\n", 15) + "SSH-2.0-x\r\n", "2.0", false, nil},
	} {
		id, _, err := ssh.ParseIdent([]byte(tt.in))
		if string(id.Version) != tt.version || id.Legacy() != tt.legacy || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v", tt.in, id.Version, err)
		}
	}
}

func TestKexInit(t *testing.T) {
	b := kexInit("k", "h", "c1,c2", "c3", "m")
	k, n, ok, err := ssh.ParseKexInit(append(bytes.Clone(b), "next"...))
	if err != nil || !ok || n != len(b) || string(k.Lists[ssh.CipherToServer]) != "c1,c2" || string(k.Lists[ssh.MACToServer]) != "m" {
		t.Errorf("%+v, %d, %v, %v", k, n, ok, err)
	}
	for n := range b {
		if _, _, _, err := ssh.ParseKexInit(b[:n]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	other := bytes.Clone(b)
	other[5] = 21
	if _, _, ok, err := ssh.ParseKexInit(other); ok || err != nil {
		t.Error("another message:", ok, err)
	}
	for _, size := range []uint32{0, 11, 8193, 1 << 31, 1<<32 - 1} {
		if _, _, _, err := ssh.ParseKexInit(binary.BigEndian.AppendUint32(nil, size)); !errors.Is(err, wire.ErrTooLong) {
			t.Errorf("packet of %d bytes: %v", size, err)
		}
	}
	list := bytes.Clone(b)
	list[22+3] = 200 // the first list's length
	if _, _, _, err := ssh.ParseKexInit(list); !errors.Is(err, wire.ErrTruncated) {
		t.Error("a list beyond its packet:", err)
	}
}

func TestAgreed(t *testing.T) {
	client, _, _, _ := ssh.ParseKexInit(kexInit("a,b,c"))
	for offer, want := range map[string]string{"c,b": "b", "ab,c": "c", "d": "", "": ""} {
		server, _, _, _ := ssh.ParseKexInit(kexInit(offer))
		if got := ssh.Agreed(&client, &server, ssh.Kex); string(got) != want {
			t.Errorf("%q: %q", offer, got)
		}
	}
	if ssh.Weak([]byte("aes256-ctr")) || ssh.Weak(nil) || !ssh.Weak([]byte("arcfour")) {
		t.Error("Weak")
	}
}

func TestRecognise(t *testing.T) {
	for in, want := range map[string]wire.Match{
		"": wire.NeedMore, "SS": wire.NeedMore, "SSH-": wire.NeedMore, "SSH-2": wire.SureMatch, "SSH-1.99-x": wire.SureMatch,
		"SSH-3": wire.NoMatch, "SSG": wire.NoMatch, "ssh-2.0": wire.NoMatch,
		"Keep out\r\nof here\r\nSSH-2.0-x\r\n": wire.WeakMatch, "\nSSH-1.5-x": wire.WeakMatch, // RFC 4253 section 4.2
		"Keep out SSH-2.0-x\r\n": wire.NoMatch, "Keep out\r\nSSH-3.0-x\r\n": wire.NoMatch,
		strings.Repeat("a", 255) + "\nSSH-2.0-x\r\n": wire.NoMatch,
	} {
		if m := ssh.Recognise([]byte(in)); m != want {
			t.Errorf("%q: %v", in, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("SSH-2.0-x y\r\n"))
	f.Add(kexInit("a,b", "c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ssh.Recognise(b)
		if id, n, err := ssh.ParseIdent(b); err == nil && (n > len(b) || len(id.Version)+len(id.Software)+len(id.Comment) > n) {
			t.Fatal("a slice leaves the input")
		}
		k, n, ok, err := ssh.ParseKexInit(b)
		if ok && (err != nil || n > len(b)) {
			t.Fatal("read more than there is")
		}
		for i := range k.Lists {
			if name := ssh.Agreed(&k, &k, i); len(name) > len(k.Lists[i]) {
				t.Fatal("a name longer than its list")
			}
		}
	})
}
