// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/telnet"
	"github.com/myelin-health/myelin/wire"
)

// A secret is a running hash (FNV-1a, 64 bits) of a name and a password as they
// go by, so that neither is kept. It only tells whether they are well known.
type secret uint64

const (
	secretStart secret = 0xcbf29ce484222325
	secretPrime secret = 0x100000001b3
)

func (s secret) add(b ...byte) secret {
	for _, c := range b {
		s = (s ^ secret(c)) * secretPrime
	}
	return s
}

// wellKnown are names and passwords that makers printed in manuals, of
// devices and of the systems inside them.
var wellKnown = func() map[secret]bool {
	known := make(map[secret]bool)
	for _, p := range [...][2]string{
		{"admin", "admin"},
		{"admin", "password"},
		{"admin", "1234"},
		{"admin", "12345"},
		{"admin", ""},
		{"administrator", "administrator"},
		{"administrator", "password"},
		{"Administrator", ""},
		{"Administrator", "admin"},
		{"root", "root"},
		{"root", ""},
		{"root", "admin"},
		{"root", "password"},
		{"root", "toor"},
		{"root", "1234"},
		{"root", "12345"},
		{"root", "vizxv"},
		{"root", "xc3511"},
		{"root", "anko"},
		{"user", "user"},
		{"guest", "guest"},
		{"service", "service"},
		{"support", "support"},
		{"tech", "tech"},
		{"supervisor", "supervisor"},
		{"operator", "operator"},
		{"manager", "manager"},
		{"default", "default"},
		{"target", "password"}, // VxWorks
		{"ftp", "ftp"},
		{"pi", "raspberry"},
		{"ubnt", "ubnt"},
		{"cisco", "cisco"},
		{"USER", "USER"},
		{"dicom", "dicom"},
		{"orthanc", "orthanc"},
		{"biomed", "biomed"},
		{"insite", "2getin"},
	} {
		known[secretStart.add([]byte(p[0])...).add(0).add([]byte(p[1])...)] = true
	}
	return known
}()

// A telnetState is how far a login came.
//
//	(nothing) -> asked for name -> asked for password -> answered -> (nothing)
type telnetState uint8

const (
	telnetIdle telnetState = iota
	telnetName
	telnetPassword
	telnetAnswered
)

// telnetTail is how much of the server's last line is kept: a prompt is shorter.
const telnetTail = 160

// A telnetObserver follows the logins of one Telnet connection: about 200
// bytes, none of them typed by the client.
type telnetObserver struct {
	state telnetState
	typed secret // of name, zero, password
	tail  [telnetTail]byte
	n     int
}

func newTelnetObserver() observer { return new(telnetObserver) }

func (o *telnetObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		t, size, err := telnet.Parse(b[n:])
		if errors.Is(err, wire.ErrTruncated) {
			return n
		}
		if err != nil {
			x.malformed(n, err)
			return ignore
		}
		if x.From == flow.Client {
			o.client(t.Text)
		} else {
			o.server(x, n, t.Text)
		}
		n += size
	}
	return n
}

// client follows what is typed. A line ends with CR LF, CR NUL (RFC 854, "The
// NVT printer and keyboard"), or from some clients LF alone.
func (o *telnetObserver) client(text []byte) {
	for _, c := range text {
		if o.state != telnetName && o.state != telnetPassword {
			return
		}
		switch {
		case c == '\r' || c == '\n':
			o.n = 0 // the prompt is answered: it is not the last line any more
			if o.state == telnetPassword {
				o.state = telnetAnswered
				return
			}
			o.typed = o.typed.add(0)
			o.state = telnetIdle // until the password is asked for
		case c >= ' ' && c != 0x7f:
			o.typed = o.typed.add(c)
		}
	}
}

// server follows what is shown.
func (o *telnetObserver) server(x *exchange, off int, text []byte) {
	for _, c := range text {
		switch {
		case c == '\n' || c == '\r':
			o.line(x, off, true)
			o.n = 0
		case c >= ' ' && c < 0x7f:
			if o.n == telnetTail {
				copy(o.tail[:], o.tail[1:])
				o.n--
			}
			o.tail[o.n] = c
			o.n++
		}
	}
	o.line(x, off, false)
}

// line looks at the server's last line, whole or as far as it is there.
func (o *telnetObserver) line(x *exchange, off int, whole bool) {
	if o.n == 0 {
		return
	}
	kind := telnet.Classify(o.tail[:o.n])
	if o.state == telnetAnswered {
		switch kind {
		case telnet.Refused, telnet.Login, telnet.Password:
			o.login(x, off, event.Failed)
		case telnet.Welcome:
			o.login(x, off, event.Succeeded)
		}
	}
	if whole || o.state == telnetName || o.state == telnetPassword {
		return
	}
	switch kind {
	case telnet.Login:
		o.state, o.typed = telnetName, secretStart
	case telnet.Password:
		if o.typed == 0 { // asked without a name
			o.typed = secretStart.add(0)
		}
		o.state = telnetPassword
	}
}

func (o *telnetObserver) login(x *exchange, off int, outcome event.Result) {
	x.note(event.LoginSeen, off, flow.Client, event.Text(event.Protocol, "telnet"), event.Text(event.Scheme, "telnet"),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, x.protected()),
		event.Bool(event.DefaultSecret, wellKnown[o.typed] && outcome != event.Failed))
	o.state, o.typed = telnetIdle, 0
}

func (o *telnetObserver) gap(x *exchange, n int) bool {
	o.n = 0
	return true
}

func (o *telnetObserver) close(x *exchange) {
	if o.state == telnetAnswered {
		o.login(x, 0, event.Unknown)
	}
}
