// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/dcerpc"
	"github.com/myelin-health/myelin/wire"
)

// maxRPCContexts bounds the presentation contexts remembered of one
// association: a client of DCOM binds about ten in turn.
const maxRPCContexts = 16

// An rpcCalls follows one association of DCE/RPC, over TCP or in a pipe: which
// interfaces are bound, and the one call under way that runs a program.
// About 350 bytes.
type rpcCalls struct {
	contexts [maxRPCContexts]dcerpc.Context
	n        int
	call     uint32 // of method
	method   string // of the call under way; "" is none
	noted    string // the last that was noted, with its outcome
	outcome  event.Result
}

// errServiceTimeout is what starting a service returns when its program ran
// and did not report as a service does (MS-ERREF section 2.2, 1053). What is
// no service, such as a shell, always does.
const errServiceTimeout = 1053

// pdu looks at one PDU, or its beginning, of x.From.
func (r *rpcCalls) pdu(x *exchange, off int, p *dcerpc.PDU) {
	switch p.Type {
	case dcerpc.Bind, dcerpc.AlterContext:
		for _, c := range p.Contexts[:p.NContext] {
			r.bind(c)
		}
	case dcerpc.Request:
		if !p.First {
			return
		}
		if m := dcerpc.Executes(r.context(p.Context), p.Opnum); m != "" {
			r.close(x)
			r.call, r.method = p.CallID, m
		}
	case dcerpc.Response:
		if r.method == "" || p.CallID != r.call {
			return
		}
		switch v, ok := p.ReturnValue(); {
		case !ok:
			r.note(x, off, event.Unknown)
		case v == 0 || v == errServiceTimeout:
			r.note(x, off, event.Succeeded)
		default:
			r.note(x, off, event.Failed)
		}
	case dcerpc.Fault:
		if r.method != "" && p.CallID == r.call {
			r.note(x, off, event.Failed)
		}
	}
}

// bind remembers a context, in place of one with its number.
func (r *rpcCalls) bind(c dcerpc.Context) {
	for i := range r.n {
		if r.contexts[i].ID == c.ID {
			r.contexts[i] = c
			return
		}
	}
	if r.n < maxRPCContexts {
		r.contexts[r.n] = c
		r.n++
	}
}

func (r *rpcCalls) context(id uint16) dcerpc.UUID {
	for i := range r.n {
		if r.contexts[i].ID == id {
			return r.contexts[i].Interface
		}
	}
	return dcerpc.UUID{}
}

// note says that the client ran a program, once for each way and outcome in a row.
func (r *rpcCalls) note(x *exchange, off int, outcome event.Result) {
	if r.noted != r.method || r.outcome != outcome {
		x.note(event.RemoteExecSeen, off, flow.Client, event.Text(event.Protocol, "dcerpc"),
			event.Text(event.Method, r.method), event.Int(event.Outcome, outcome))
	}
	r.noted, r.outcome, r.method = r.method, outcome, ""
}

// close notes a call that was not answered.
func (r *rpcCalls) close(x *exchange) {
	if r.method != "" {
		r.note(x, 0, event.Unknown)
	}
}

// A dcerpcObserver follows DCE/RPC over TCP, and over UDP, where there is
// nothing but the name to tell.
type dcerpcObserver struct {
	calls  rpcCalls
	synced [2]bool
}

func newDCERPCObserver() observer { return new(dcerpcObserver) }

// rpcHead is how much of a PDU is waited for: the header, and the contexts of a
// bind, whose rest is a security token.
const rpcHead = 512

func (o *dcerpcObserver) data(x *exchange, b []byte) int {
	if x.conv.Proto == wire.ProtoUDP {
		return ignore
	}
	n := 0
	for n < len(b) {
		if !o.synced[x.From] {
			switch dcerpc.Recognise(b[n:]) {
			case wire.NeedMore:
				return n
			case wire.SureMatch:
				o.synced[x.From] = true
			default:
				return len(b) // in the middle of a PDU: the next segment may begin one
			}
		}
		var p dcerpc.PDU
		err := p.Parse(b[n:])
		if errors.Is(err, wire.ErrTruncated) && len(b)-n < max(16, min(p.Length, rpcHead)) {
			return n
		}
		if err != nil && !errors.Is(err, wire.ErrTruncated) {
			x.malformed(n, err)
			o.synced[x.From] = false
			return len(b)
		}
		if p.Type == dcerpc.Response && len(b)-n < p.Length && p.Length <= rpcHead {
			return n // its return value stands at its end
		}
		if err != nil && len(b)-n >= p.Length {
			x.malformed(n, err)
		} else {
			o.calls.pdu(x, n, &p)
		}
		n += p.Length
	}
	return n
}

func (o *dcerpcObserver) gap(x *exchange, n int) bool {
	o.synced[x.From] = false
	return true
}

func (o *dcerpcObserver) close(x *exchange) { o.calls.close(x) }
