// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// kexInit is a KEXINIT packet with these name-lists first (RFC 4253 section 7.1).
func kexInit(lists ...string) string {
	p := append([]byte{4, 20}, make([]byte, 16)...)
	for i := range 10 {
		l := ""
		if i < len(lists) {
			l = lists[i]
		}
		p = append(binary.BigEndian.AppendUint32(p, uint32(len(l))), l...)
	}
	p = append(p, make([]byte, 5+4)...)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(p)))) + string(p)
}

func TestSSHObserver(t *testing.T) {
	const ident = "SSH-2.0-OpenSSH_9.6\r\n"
	strong := kexInit("curve25519-sha256", "ssh-ed25519", "aes256-ctr", "aes256-ctr", "hmac-sha2-256", "hmac-sha2-256")
	for _, tt := range []struct {
		name           string
		server, client string
		want           []string
	}{
		{"as it should be", ident + strong, ident + strong, []string{`protocol-seen 10.20.1.5 "ssh" "2.0"`}},
		{"a system", "SSH-2.0-OpenSSH_9.6 Debian-5\r\n", ident, []string{`protocol-seen 10.20.1.5 "ssh" "2.0"`, `identity-seen 10.20.3.10 "Debian Linux"`}},
		{"behind a greeting", "Keep out\r\nof here\r\n" + ident + strong, ident + strong, []string{`protocol-seen 10.20.1.5 "ssh" "2.0"`}},
		{"version 1 for who wants it", "SSH-1.99-x\n" + strong, ident + strong, []string{`protocol-seen 10.20.1.5 "ssh" "1.99"`}},
		{"version 1", "SSH-1.5-x\n", "SSH-1.5-y\n", []string{`protocol-seen 10.20.1.5 "ssh" "1.5"`}},
		{"a weak cipher", ident + kexInit("k", "h", "arcfour,aes256-ctr"), ident + kexInit("k", "h", "aes128-ctr,arcfour"), []string{
			`protocol-seen 10.20.1.5 "ssh" "2.0"`, `protocol-seen 10.20.1.5 "ssh" "2.0, weak arcfour"`,
		}},
		{"no version", "SSH-2.0\r\n", ident, []string{`malformed-seen 10.20.3.10 "ssh" "protoversion" "invalid value"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := however(t, newSSHObserver, server([]byte(tt.server)), client([]byte(tt.client)))
			if !slices.Equal(got, tt.want) {
				t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// A server may greet with other lines, in the same segment or one before (RFC
// 4253 section 4.2).
func TestSSHGreeting(t *testing.T) {
	const greeting, ident = "Keep out\r\nof here\r\n", "SSH-2.0-OpenSSH_9.6 Debian-5\r\n"
	offer := kexInit("diffie-hellman-group1-sha1")
	hello, reply, who := server([]byte(greeting+ident)), server([]byte(offer)), client([]byte(ident+offer))
	for _, tt := range []struct {
		name   string
		port   uint16
		pieces []piece
		os     string
	}{
		{"server first", 22, []piece{hello, who, reply}, "Debian Linux"},
		{"client first", 22, []piece{who, hello, reply}, "Debian Linux"},
		{"another port, client first", 2222, []piece{who, hello, reply}, "Debian Linux"},
		{"another port", 2222, []piece{hello, who, reply}, ""}, // the lines are nobody's until the client speaks
		{"two segments", 2222, []piece{server([]byte(greeting)), server([]byte(ident)), who, reply}, "Debian Linux"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene()
			s.is(ct1, "Helia 64", device.Imaging)
			s.talk(laptop, ct1, tt.port, tt.pieces...)
			r := s.play(t, Config{})
			i := slices.IndexFunc(r.Sessions, func(x Session) bool { return x.Protocol == "ssh" })
			if i < 0 || r.Sessions[i].Server.Value != ct1 || r.Sessions[i].Port != tt.port {
				t.Fatalf("sessions %+v", r.Sessions)
			}
			if !r.Sessions[i].Encrypted {
				t.Error("what the server said was not read")
			}
			if i := slices.IndexFunc(r.Devices, func(d device.Device) bool { return d.OS != "" }); (i >= 0) != (tt.os != "") || i >= 0 && r.Devices[i].OS != tt.os {
				t.Errorf("devices %+v, want one with %q", r.Devices, tt.os)
			}
			for _, f := range r.Findings {
				if f.Kind == finding.MalformedMessage {
					t.Errorf("found: %+v", f)
				}
			}
		})
	}
}
