// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/ldap"
	"github.com/myelin-health/myelin/wire"
)

// A ldapObserver follows one LDAP connection.
type ldapObserver struct {
	synced [2]bool
	scheme string // of the bind that waits for its answer; "" is none
	tls    bool   // StartTLS was asked for
	sealed bool   // SASL wraps what follows
	java   bool   // noted
}

func newLDAPObserver() observer { return new(ldapObserver) }

func (o *ldapObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		if !o.synced[x.From] {
			switch ldap.Recognise(b[n:]) {
			case wire.NeedMore:
				return n
			case wire.NoMatch:
				return len(b) // in the middle of a message: the next segment may begin one
			}
			o.synced[x.From] = true
		}
		rest := b[n:]
		size, err := ldap.Size(rest)
		if errors.Is(err, wire.ErrTruncated) || err == nil && len(rest) < min(size, ldap.MaxHead) {
			return n
		}
		if err != nil {
			if o.sealed { // RFC 4422 section 3.7: a security layer's own framing
				return ignore
			}
			x.malformed(n, err)
			return ignore
		}
		var m ldap.Message
		if err := m.Parse(rest[:min(size, ldap.MaxHead)]); err != nil {
			if size <= ldap.MaxHead || !errors.Is(err, wire.ErrTruncated) {
				x.malformed(n, err)
			}
		}
		n += size
		if o.message(x, n-size, &m) {
			x.become(proto.TLS)
			return n
		}
	}
	return n
}

// message looks at one message, and returns whether TLS comes next.
func (o *ldapObserver) message(x *exchange, off int, m *ldap.Message) bool {
	switch m.Op {
	case ldap.BindRequest:
		switch {
		case m.Simple:
			o.scheme = "simple"
		case m.Anonymous:
			o.scheme = "anonymous"
		case bytes.Equal(m.Mechanism, []byte("PLAIN")):
			o.scheme = "simple" // RFC 4616: name and password in clear
		case m.Mechanism != nil:
			o.scheme = "sasl"
		}
	case ldap.BindResponse:
		if m.Result == ldap.SASLBindInProgress || o.scheme == "" {
			break
		}
		outcome := event.Failed
		if m.Result == ldap.Success {
			outcome = event.Succeeded
			o.sealed = o.scheme == "sasl"
		}
		o.login(x, off, outcome)
	case ldap.ExtendedRequest:
		o.tls = m.StartTLS
	case ldap.ExtendedResponse:
		return o.tls && m.Result == ldap.Success
	case ldap.SearchResultEntry:
		if m.Java && !o.java {
			o.java = true
			x.note(event.ExploitSeen, off, x.From, event.Text(event.Protocol, "ldap"),
				event.Text(event.Shape, "Log4Shell: directory entry that makes Java load a program"), event.Text(event.CVE, "CVE-2021-44228"))
		}
	}
	return false
}

func (o *ldapObserver) login(x *exchange, off int, outcome event.Result) {
	scheme := o.scheme
	o.scheme = ""
	if scheme == "anonymous" { // nobody logs in
		return
	}
	var p device.Protection = x.protected()
	x.note(event.LoginSeen, off, flow.Client, event.Text(event.Protocol, "ldap"), event.Text(event.Scheme, scheme),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, p))
}

func (o *ldapObserver) gap(x *exchange, n int) bool {
	o.synced[x.From] = false
	return true
}

func (o *ldapObserver) close(x *exchange) {
	if o.scheme == "simple" {
		o.login(x, 0, event.Unknown)
	}
}
