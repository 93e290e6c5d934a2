// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/smb"
)

// sharedCaptures is where captures by others lie, beside the repository.
const sharedCaptures = "../../shared/captures"

// A captureSource yields the frames of one capture.
type captureSource struct{ r *capture.Reader }

func (s captureSource) Next(dst []Frame) (int, func(), error) {
	var f capture.Frame
	if err := s.r.ReadFrame(&f); err != nil {
		return 0, func() {}, err
	}
	f.Data = append([]byte(nil), f.Data...)
	dst[0] = Frame{Frame: f}
	return 1, func() {}, nil
}

// watchCapture returns all that is seen in a capture by others.
func watchCapture(t *testing.T, name string) []event.Event {
	t.Helper()
	file, err := os.Open(filepath.Join(sharedCaptures, name))
	if err != nil {
		t.Skip("captures by others are not there: ", err)
	}
	defer file.Close()
	r, err := capture.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	w := New(Config{Record: func(e *event.Event) error {
		events = append(events, *e)
		return nil
	}})
	if err := w.Run(context.Background(), captureSource{r}); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return events
}

// says writes an event as its kind, its device and its attributes.
func says(e *event.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v", e.Kind, e.Device)
	for _, a := range e.Attrs() {
		switch {
		case a.Text != "":
			fmt.Fprintf(&b, " %q", a.Text)
		case a.Key == event.Outcome:
			fmt.Fprintf(&b, " %s", [...]string{"unknown", "succeeded", "failed"}[a.Int])
		case a.Key == event.DefaultSecret && a.Int == 1:
			b.WriteString(" default")
		}
	}
	return b.String()
}

// lateralKinds are the kinds that the observers of this file's protocols are for.
var lateralKinds = map[event.Kind]bool{
	event.LoginSeen: true, event.RemoteExecSeen: true, event.ExploitSeen: true, event.IdentitySeen: true, event.MalformedSeen: true,
}

func TestLateralCaptures(t *testing.T) {
	for name, want := range map[string][]string{
		"zeek-SMBGhost.pcap": {`exploit-seen 10.0.0.1 "smb" "check for SMBGhost: compression with dialects of no release" "CVE-2020-0796"`},
		"sv-smb2-07-20171220_smb_psexec_add_user.pcap": {
			`login-seen 192.168.10.31 "smb" "kerberos" succeeded`,
			`remote-exec-seen 192.168.10.31 "smb" "program copied to an administrator's share"`,
			`remote-exec-seen 192.168.10.31 "dcerpc" "service control manager" succeeded`,
			`remote-exec-seen 192.168.10.31 "smb" "PsExec pipe"`,
			`identity-seen 192.168.10.10 "Windows 8.1 or Server 2012 R2"`,
		},
		"ndpi-smbv1.pcap": {
			`identity-seen 10.128.0.243 "Windows 7 Ultimate 7601 Service Pack 1"`,
			`exploit-seen 172.16.156.130 "smb" "call for the implant DoublePulsar" "CVE-2017-0144"`,
		},
		"zeek-smb2.pcap":                        {`login-seen 10.0.0.11 "smb" "ntlm" succeeded`, `identity-seen 10.0.0.12 "Windows Vista or Server 2008"`},
		"zeek-smb1.pcap":                        {},
		"zeek-smb2readwrite.pcap":               {},
		"ndpi-smb_deletefile.pcap":              {},
		"ndpi-netbios.pcap":                     {`identity-seen 10.0.5.9 "Windows 7 or Server 2008 R2"`},
		"ndpi-dcerpc.pcap":                      {},
		"ndpi-rdp.pcap":                         {`login-seen 172.16.2.185 "rdp" "rdp"`},
		"ndpi-rdp3.pcap":                        {`login-seen 10.150.9.21 "rdp" "rdp"`},
		"zeek-rdp-proprietary-encryption.pcap":  {`login-seen 172.21.128.16 "rdp" "rdp"`},
		"ndpi-vnc.pcap":                         {},
		"zeek-vncmac.pcap":                      {`login-seen 192.168.2.115 "vnc" "challenge" failed`, `login-seen 192.168.2.115 "vnc" "challenge" succeeded`},
		"ndpi-ssh.pcap":                         {},
		"ndpi-telnet.pcap":                      {`login-seen 192.168.0.2 "telnet" "telnet" succeeded`},
		"sv-telnet-01-telnet.pcap":              {`login-seen 192.168.0.2 "telnet" "telnet" succeeded`},
		"ndpi-ftp.pcap":                         {`login-seen 192.168.1.212 "ftp" "anonymous" succeeded`},
		"zeek-bruteforce.pcap":                  {`login-seen 192.168.56.1 "ftp" "user-pass" failed`},
		"zeek-simpleauth.pcap":                  {`login-seen 10.0.0.1 "ldap" "simple" succeeded`},
		"ndpi-kerberos.pcap":                    {},
		"zeek-kinit.pcap":                       {`login-seen 192.168.1.31 "kerberos" "kerberos" succeeded`},
		"sv-krb5-kerberoasting-kerberoast.pcap": {`exploit-seen 10.0.0.2 "kerberos" "kerberoasting: service ticket with RC4 where AES is in use"`},
		"ndpi-log4j-webapp-exploit.pcap":        {`exploit-seen 172.16.238.11 "ldap" "Log4Shell: directory entry that makes Java load a program" "CVE-2021-44228"`},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range watchCapture(t, name) {
				if lateralKinds[e.Kind] {
					got = append(got, says(&e))
				}
			}
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("not seen: %s", w)
				}
			}
			for _, g := range got {
				attack := strings.HasPrefix(g, "exploit-seen") || strings.HasPrefix(g, "remote-exec-seen")
				if attack && !slices.Contains(want, g) && !strings.Contains(g, "${jndi") && !strings.Contains(g, `"http"`) {
					t.Errorf("seen, but not there: %s", g)
				}
				if strings.HasPrefix(g, "malformed-seen") {
					t.Error(g)
				}
			}
		})
	}
}

// however hands a conversation to observers whole, byte by byte and in random
// cuts, and returns what they all say.
func however(t *testing.T, fresh func() observer, pieces ...piece) []string {
	t.Helper()
	say := func(pieces []piece) (out []string) {
		for _, e := range observe(t, fresh(), pieces...) {
			out = append(out, says(&e))
		}
		return out
	}
	want := say(pieces)
	r := rand.New(rand.NewPCG(1, 2))
	for name, size := range map[string]func() int{"bytes": func() int { return 1 }, "random cuts": func() int { return 1 + r.IntN(40) }} {
		var cut []piece
		for _, p := range pieces {
			for b := p.b; len(b) > 0; {
				n := min(size(), len(b))
				cut = append(cut, piece{p.from, b[:n]})
				b = b[n:]
			}
		}
		if got := say(cut); !slices.Equal(got, want) {
			t.Errorf("in %s:\n%s\nwhole:\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	return want
}

// wantSaid checks that exactly these were said, of the kinds that matter.
func wantSaid(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const (
	lateralClient = "10.20.1.5"
	lateralServer = "10.20.3.10"
)

func smbText(s string) (b []byte) {
	for _, c := range s {
		b = append(b, byte(c), 0)
	}
	return b
}

// smb2 is a message of version 2 in a frame.
func smb2(command smb.Command, response bool, status uint32, mid byte, body ...byte) []byte {
	b := make([]byte, 68, 68+len(body))
	copy(b[4:], "\xfeSMB\x40")
	binary.LittleEndian.PutUint32(b[12:], status)
	b[16], b[28] = byte(command), mid
	if response {
		b[20] = 1
	}
	b[40] = 1 // TreeId
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func TestSMBObserver(t *testing.T) {
	path, file := smbText(`\\ct-1\ADMIN$`), smbText("update.exe")
	tree := append([]byte{9, 0, 0, 0, 72, 0, byte(len(path)), 0}, path...)
	create := make([]byte, 56)
	create[0], create[44], create[46] = 57, 120, byte(len(file))
	create = append(create, file...)
	created := make([]byte, 88)
	created[0], created[64] = 89, 7
	write := make([]byte, 48+6000)
	write[0], write[2] = 49, 112
	binary.LittleEndian.PutUint32(write[4:], 6000)
	write[16] = 7
	got := however(t, newSMBObserver,
		client(smb2(smb.TreeConnect, false, 0, 1, tree...)), server(smb2(smb.TreeConnect, true, 0, 1, 16, 0, 1, 0)),
		client(smb2(smb.Create, false, 0, 2, create...)), server(smb2(smb.Create, true, 0, 2, created...)),
		client(smb2(smb.Write, false, 0, 3, write...)), client(smb2(smb.Write, false, 0, 4, write...)))
	wantSaid(t, got, `remote-exec-seen `+lateralClient+` "smb" "program copied to an administrator's share"`)

	// The same on a share that is nobody's in particular.
	path = smbText(`\\pacs\STUDIES$`)
	tree = append([]byte{9, 0, 0, 0, 72, 0, byte(len(path)), 0}, path...)
	wantSaid(t, however(t, newSMBObserver,
		client(smb2(smb.TreeConnect, false, 0, 1, tree...)), server(smb2(smb.TreeConnect, true, 0, 1, 16, 0, 1, 0)),
		client(smb2(smb.Create, false, 0, 2, create...)), server(smb2(smb.Create, true, 0, 2, created...)),
		client(smb2(smb.Write, false, 0, 3, write...))))

	// A tree connect that was refused, and what would follow.
	path = smbText(`\\ct-1\C$`)
	tree = append([]byte{9, 0, 0, 0, 72, 0, byte(len(path)), 0}, path...)
	wantSaid(t, however(t, newSMBObserver,
		client(smb2(smb.TreeConnect, false, 0, 1, tree...)), server(smb2(smb.TreeConnect, true, 0xc0000022, 1, 9, 0, 0, 0, 0, 0, 0, 0)),
		client(smb2(smb.Create, false, 0, 2, create...)), server(smb2(smb.Create, true, 0, 2, created...)),
		client(smb2(smb.Write, false, 0, 3, write...))))

	// A segment in the middle of a message, then a message; and bytes that are none.
	got = however(t, newSMBObserver, client(append([]byte{1}, "rest of a message"...)))
	wantSaid(t, got)
	bad := append(smb2(smb.TreeConnect, false, 0, 1, tree...), "no frame"...)
	got = however(t, newSMBObserver, client(bad))
	wantSaid(t, got, `malformed-seen `+lateralClient+` "smb" "TYPE" "invalid value"`)
}

// smb1 is a message of version 1 in a frame.
func smb1(command byte, flags byte, mid byte, words []byte, data []byte) []byte {
	b := make([]byte, 36)
	copy(b[4:], "\xffSMB")
	b[8], b[13], b[34] = command, flags, mid
	b = append(append(b, byte(len(words)/2)), words...)
	b = append(binary.LittleEndian.AppendUint16(b, uint16(len(data))), data...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func TestDoublePulsar(t *testing.T) {
	call := make([]byte, 30)
	call[26], call[28] = 1, smb.Trans2SessionSetup
	request := smb1(smb.ComTransaction2, 0, 65, call, make([]byte, 12))
	exploit := `exploit-seen ` + lateralClient + ` "smb" "call for the implant DoublePulsar" "CVE-2017-0144"`
	got := however(t, newSMBObserver, client(request), server(smb1(smb.ComTransaction2, 0x80, 65, nil, nil)))
	wantSaid(t, got, `protocol-seen `+lateralClient+` "smb" "1"`, exploit)
	got = however(t, newSMBObserver, client(request), server(smb1(smb.ComTransaction2, 0x80, 81, nil, nil)))
	wantSaid(t, got, `protocol-seen `+lateralClient+` "smb" "1"`, exploit, `remote-exec-seen `+lateralClient+` "smb" "DoublePulsar implant" succeeded`)
}

func TestTelnetObserver(t *testing.T) {
	options := "\xff\xfd\x18\xff\xfb\x01"
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{
			"accepted",
			[]piece{server([]byte(options + "mon-3 login: ")), client([]byte("lea\r\n")), server([]byte("lea\r\nPassword: ")), client([]byte("swordfish\r\x00")), server([]byte("\r\n$ "))},
			[]string{`login-seen ` + lateralClient + ` "telnet" "telnet" succeeded`},
		},
		{
			"maker's",
			[]piece{server([]byte("login: ")), client([]byte("root\r\n")), server([]byte("\xff\xfb\x01Password: ")), client([]byte("root\r\n")), server([]byte("\r\nWelcome to VxWorks\r\n-> "))},
			[]string{`login-seen ` + lateralClient + ` "telnet" "telnet" succeeded default`},
		},
		{
			"refused, then nothing",
			[]piece{
				server([]byte("login: ")), client([]byte("root\r\n")), server([]byte("Password: ")), client([]byte("root\r\n")),
				server([]byte("\r\nLogin incorrect\r\nlogin: ")), client([]byte("admin\r\n")), server([]byte("Password: ")), client([]byte("guess\r\n")),
			},
			[]string{`login-seen ` + lateralClient + ` "telnet" "telnet" failed`, `login-seen ` + lateralClient + ` "telnet" "telnet" unknown`},
		},
		{
			"asked again at once",
			[]piece{server([]byte("Password:")), client([]byte("a\r\n")), server([]byte("\r\nPassword:"))},
			[]string{`login-seen ` + lateralClient + ` "telnet" "telnet" failed`},
		},
		{"no login", []piece{server([]byte("ready\r\n$ ")), client([]byte("ls\r\n")), server([]byte("Password: none\r\n$ "))}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := however(t, newTelnetObserver, tt.pieces...)
			wantSaid(t, got, tt.want...)
			if all := strings.Join(got, " "); strings.Contains(all, "swordfish") || strings.Contains(all, "lea") {
				t.Error("what was typed got out")
			}
		})
	}
}

func TestFTPObserver(t *testing.T) {
	hello := server([]byte("220 lab-1 FTP server (VxWorks 5.4.2) ready.\r\n"))
	id := `identity-seen ` + lateralServer + ` "VxWorks 5.4.2"`
	wantSaid(t, however(t, newFTPObserver, hello, client([]byte("USER lab\r\n")), server([]byte("331 Password\r\n")), client([]byte("PASS x\r\n")),
		server([]byte("530 Login incorrect.\r\n")), client([]byte("USER admin\r\nPASS admin\r\n")), server([]byte("331 Password\r\n230-Welcome\r\n230 ok\r\n"))),
		id, `login-seen `+lateralClient+` "ftp" "user-pass" failed`, `login-seen `+lateralClient+` "ftp" "user-pass" succeeded default`)
	wantSaid(t, however(t, newFTPObserver, hello, client([]byte("USER anonymous\r\n")), server([]byte("230 ok\r\n"))), id, `login-seen `+lateralClient+` "ftp" "anonymous" succeeded`)
	wantSaid(t, however(t, newFTPObserver, client([]byte("USER lab\r\nPASS x\r\n"))), `login-seen `+lateralClient+` "ftp" "user-pass" unknown`)
	got := however(t, newFTPObserver, hello, client([]byte("AUTH TLS\r\n")), server([]byte("234 go\r\n")))
	wantSaid(t, got, id, `protocol-seen `+lateralClient+` "tls"`)
}

func TestLDAPObserver(t *testing.T) {
	bind := []byte("\x30\x11\x02\x01\x01\x60\x0c\x02\x01\x03\x04\x01a\x80\x04word")
	answer := func(result byte) piece {
		return server([]byte{0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, result, 4, 0, 4, 0})
	}
	wantSaid(t, however(t, newLDAPObserver, client(bind), answer(0)), `login-seen `+lateralClient+` "ldap" "simple" succeeded`)
	wantSaid(t, however(t, newLDAPObserver, client(bind), answer(49)), `login-seen `+lateralClient+` "ldap" "simple" failed`)
	wantSaid(t, however(t, newLDAPObserver, client(bind), answer(14)), `login-seen `+lateralClient+` "ldap" "simple" unknown`)
	wantSaid(t, however(t, newLDAPObserver, client([]byte("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00")), answer(0)))
	start := []byte("\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037")
	wantSaid(t, however(t, newLDAPObserver, client(start), server([]byte{0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, 0, 4, 0, 4, 0})), `protocol-seen `+lateralClient+` "tls"`)
}

func TestVNCObserver(t *testing.T) {
	v := []byte("RFB 003.008\n")
	seen := `protocol-seen ` + lateralClient + ` "vnc" "3.8`
	wantSaid(t, however(t, newVNCObserver, server(v), client(v), server([]byte{1, 1}), client([]byte{1}), server([]byte{0, 0, 0, 0})), seen+`, no authentication"`)
	wantSaid(t, however(t, newVNCObserver, server(v), client(v), server([]byte{2, 1, 2}), client([]byte{2}), server(make([]byte, 16)), client(make([]byte, 16)), server([]byte{0, 0, 0, 1})),
		seen+`"`, `login-seen `+lateralClient+` "vnc" "challenge" failed`)
	old := []byte("RFB 003.003\n")
	wantSaid(t, however(t, newVNCObserver, server(v), client(old), server([]byte{0, 0, 0, 2}), server(make([]byte, 16)), client(make([]byte, 16)), server([]byte{0, 0, 0, 0})),
		`protocol-seen `+lateralClient+` "vnc" "3.3"`, `login-seen `+lateralClient+` "vnc" "challenge" succeeded`)
	wantSaid(t, however(t, newVNCObserver, server([]byte("RFB 003.00x\n"))), `malformed-seen `+lateralServer+` "vnc" "ProtocolVersion" "invalid value"`)
}

func TestDCERPCObserver(t *testing.T) {
	pdu := func(kind byte, body ...byte) []byte {
		return append([]byte{5, 0, kind, 3, 0x10, 0, 0, 0, byte(16 + len(body)), 0, 0, 0, 9, 0, 0, 0}, body...)
	}
	svcctl := []byte{0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03}
	bind := append([]byte{0, 16, 0, 16, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0}, svcctl...)
	bind = append(bind, make([]byte, 24)...)
	start := pdu(0, 0, 0, 0, 0, 0, 0, 19, 0)
	exec := `remote-exec-seen ` + lateralClient + ` "dcerpc" "service control manager" `
	wantSaid(t, however(t, newDCERPCObserver, client(pdu(11, bind...)), client(start), server(pdu(2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), client(start), server(pdu(2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))), exec+"succeeded")
	wantSaid(t, however(t, newDCERPCObserver, client(pdu(11, bind...)), client(start), server(pdu(2, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0))), exec+"failed")
	wantSaid(t, however(t, newDCERPCObserver, client(pdu(11, bind...)), client(start), server(pdu(3, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0))), exec+"failed")
	wantSaid(t, however(t, newDCERPCObserver, client(pdu(11, bind...)), client(start)), exec+"unknown")
	wantSaid(t, however(t, newDCERPCObserver, client(start), server(pdu(2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)))) // of an interface that was not seen bound
}

func TestRDPObserver(t *testing.T) {
	request := []byte("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00")
	confirm := func(kind, protocol byte) piece {
		return server([]byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, kind, 0, 8, 0, protocol, 0, 0, 0})
	}
	login := `login-seen ` + lateralClient + ` "rdp" "rdp"`
	wantSaid(t, however(t, newRDPObserver, client(request), confirm(2, 0)), `protocol-seen `+lateralClient+` "rdp" "RDP security"`, login)
	wantSaid(t, however(t, newRDPObserver, client(request), confirm(3, 2)))
	got := however(t, newRDPObserver, client(request), confirm(2, 1))
	wantSaid(t, got, `protocol-seen `+lateralClient+` "rdp" "TLS"`, login, `protocol-seen `+lateralClient+` "tls"`)
}
