// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/ftp"
	"github.com/myelin-health/myelin/wire"
)

// A ftpObserver follows the control connection of one FTP session.
type ftpObserver struct {
	user      bool   // USER was sent
	anonymous bool   // its name was "anonymous" or "ftp" (RFC 1635)
	pass      bool   // PASS was sent and not answered
	tls       bool   // AUTH TLS was sent and not answered
	typed     secret // of name, zero, password
	os        string // noted
}

func newFTPObserver() observer { return new(ftpObserver) }

func (o *ftpObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		var size int
		var err error
		secured := false
		if x.From == flow.Client {
			var c ftp.Command
			if c, size, err = ftp.ParseCommand(b[n:]); err == nil {
				o.command(&c)
			}
		} else {
			var r ftp.Reply
			if r, size, err = ftp.ParseReply(b[n:]); err == nil {
				secured = o.reply(x, n, &r)
			}
		}
		switch {
		case errors.Is(err, wire.ErrTruncated):
			return n
		case err != nil:
			x.malformed(n, err)
			if size == 0 {
				return ignore
			}
		}
		n += size
		if secured {
			x.become(proto.TLS)
			return n
		}
	}
	return n
}

func (o *ftpObserver) command(c *ftp.Command) {
	switch {
	case c.Is("USER"):
		o.user, o.pass = true, false
		o.anonymous = bytes.EqualFold(c.Argument, []byte("anonymous")) || bytes.EqualFold(c.Argument, []byte("ftp"))
		o.typed = secretStart.add(c.Argument...).add(0)
	case c.Is("PASS"):
		o.pass = true
		o.typed = o.typed.add(c.Argument...)
	case c.Is("AUTH"):
		o.tls = bytes.EqualFold(c.Argument, []byte("TLS")) || bytes.EqualFold(c.Argument, []byte("SSL"))
	}
}

// reply looks at one line of the server, and returns whether TLS comes next.
func (o *ftpObserver) reply(x *exchange, off int, r *ftp.Reply) bool {
	if r.Code == 220 || r.Code == 215 {
		if os, version := ftp.System(r.Text); os != "" && os != o.os {
			o.os = os
			if len(version) > 0 {
				os += " " + x.text(version)
			}
			x.note(event.IdentitySeen, off, flow.Server, event.Text(event.OS, os))
		}
	}
	if !r.Last {
		return false
	}
	switch {
	case r.Code == 234: // RFC 4217 section 4
		return o.tls
	case !o.pass && !(o.user && r.Code == 230):
	case r.Code/100 == 2:
		o.login(x, off, event.Succeeded)
	case r.Code/100 == 5 || r.Code/100 == 4:
		o.login(x, off, event.Failed)
	}
	return false
}

func (o *ftpObserver) login(x *exchange, off int, outcome event.Result) {
	scheme := "user-pass"
	if o.anonymous {
		scheme = "anonymous"
	}
	x.note(event.LoginSeen, off, flow.Client, event.Text(event.Protocol, "ftp"), event.Text(event.Scheme, scheme),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, x.protected()),
		event.Bool(event.DefaultSecret, !o.anonymous && wellKnown[o.typed] && outcome != event.Failed))
	o.pass, o.user = false, false
}

func (o *ftpObserver) gap(x *exchange, n int) bool { return false }

func (o *ftpObserver) close(x *exchange) {
	if o.pass {
		o.login(x, 0, event.Unknown)
	}
}
