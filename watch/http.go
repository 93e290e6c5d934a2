// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/fhir"
	"github.com/myelin-health/myelin/proto/http"
	"github.com/myelin-health/myelin/proto/sdc"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of one conversation. Bodies wait in the stream's own buffer,
// which is bounded for all conversations together, so that an observer holds
// little more than its queue.
const (
	maxPipelined = 16        // requests without answer; the oldest is forgotten
	maxShapes    = 16        // different attacks told
	maxBody      = 512 << 10 // bytes of a body, as sent, that are read
	maxDecoded   = 1 << 20   // bytes that they may become
	maxForm      = 8 << 10   // bytes of a form that are read
	maxScanned   = 4 << 10   // bytes of another request's body that are looked through
	maxSniffed   = 256       // bytes of a body, as sent, by which its kind is told
	maxSwell     = 64        // times their size that they may become; text that is packed becomes 3 to 20 times its size
	maxAttempts  = 16        // times that a body without length is tried
	maxTunnel    = 4         // segments of each side looked at inside a tunnel
)

// A httpObserver follows one conversation of HTTP/1.x. What bodies hold of
// other protocols it hands on.
type httpObserver struct {
	sides  [2]httpSide
	queue  []httpRequest // requests whose response has not begun, the oldest first
	seq    uint32        // of requests
	shapes []http.Exploit
	logins []httpLogin // of queue entries that were answered: the last one told
	odd    bool        // a message of uncertain length was told
	unsure bool        // the beginning, or a part, was not seen: lengths may be taken wrongly

	fhir *fhirObserver
	sdc  *sdcObserver
	hl7  *hl7Observer
}

// httpHead -> httpBody -> httpHead
// httpHead, httpBody -> httpLost -> httpHead
// httpHead -> httpTunnel -> httpHead, or another observer
type httpState uint8

const (
	httpHead httpState = iota
	httpBody
	httpLost   // until something begins like a message
	httpTunnel // after CONNECT: whatever it is
	httpOver   // another protocol that is not followed
)

// What is wanted of a body.
type httpWant uint8

const (
	wantNothing httpWant = iota
	wantSniffed          // its first bytes, to tell
	wantForm
	wantScanned // the front of a request, to look for attacks
	wantFHIR
	wantSOAP
	wantHL7
	wantSwollen // all of it, to see whether it is a bomb
)

// A httpSide is one direction.
type httpSide struct {
	state    httpState
	want     httpWant
	coding   http.Coding
	format   fhir.Format // by media type
	request  bool        // of the body in hand
	spoke    bool        // a head was read
	attempts uint8
	body     http.Body
	framing  http.Framing
	length   int64
	seen     int // bytes in hand, not consumed, that were looked at
	size     int // bytes of content among them
	of       httpRequest
	os       string // noted
}

// A httpRequest is what is remembered of a request.
type httpRequest struct {
	seq         uint32
	from        flow.Side
	kind        http.Request
	at          flow.Place
	login       httpLogin
	interaction fhir.Interaction
	asked       bool // RecordsRequested was told
	credentials bool // it has credentials of any kind
	command     sdcCommand
}

// A httpLogin is a way of proving who one is. outcome is that of the last time
// it was told.
type httpLogin struct {
	scheme    http.Scheme
	token     int64 // hash
	wellKnown bool
	outcome   event.Result
}

// httpScratch is where bodies are put together and inflated.
type httpScratch struct {
	whole, plain []byte
	inflater     http.Inflater
}

// scratches are shared by all conversations; each worker uses one at a time.
var scratches = sync.Pool{New: func() any { return new(httpScratch) }}

func newHTTPObserver() observer { return new(httpObserver) }

func (o *httpObserver) data(x *exchange, b []byte) int {
	s := &o.sides[x.From]
	n := 0
	for { // each turn takes bytes, changes the state or returns
		switch s.state {
		case httpOver:
			return ignore
		case httpTunnel:
			if k, on := o.tunnel(x, s, b[n:]); !on {
				return n + k
			}
		case httpLost:
			if http.Recognise(b[n:]) != wire.SureMatch {
				return len(b)
			}
			s.state, s.seen = httpHead, 0
		case httpHead:
			k := o.nextHead(x, s, n, b[n:])
			if k == 0 {
				return n
			}
			n += k
		case httpBody:
			k, more := o.nextBody(x, s, n, b[n:])
			if k == ignore {
				return ignore
			}
			n += k
			if !more {
				return n
			}
		}
		if n >= len(b) {
			return n
		}
	}
}

// lose gives up until a message begins at the front of a segment.
func (o *httpObserver) lose(s *httpSide) {
	s.state, s.seen, s.want = httpLost, 0, wantNothing
	o.unsure = true
}

func (o *httpObserver) gap(x *exchange, n int) bool {
	s := &o.sides[x.From]
	if s.state == httpOver {
		return false
	}
	if s.state != httpTunnel {
		o.lose(s)
	}
	return true
}

func (o *httpObserver) close(x *exchange) {
	for i := range o.queue { // nobody answered
		o.login(x, &o.queue[i], event.Unknown)
	}
	if o.hl7 != nil {
		o.hl7.close(x)
	}
}

func (o *httpObserver) held() int {
	n := cap(o.queue)*sizeOf[httpRequest]() + cap(o.logins)*sizeOf[httpLogin]() + cap(o.shapes)*sizeOf[http.Exploit]()
	if o.fhir != nil {
		n += sizeOf[fhirObserver]() + o.fhir.held()
	}
	if o.sdc != nil {
		n += sizeOf[sdcObserver]() + o.sdc.held()
	}
	if o.hl7 != nil {
		n += sizeOf[hl7Observer]() + o.hl7.held()
	}
	return n
}

// nextHead reads a head from the front of b and returns its length, or 0 when
// its end is still to come.
func (o *httpObserver) nextHead(x *exchange, s *httpSide, off int, b []byte) int {
	if s.seen == 0 {
		i := 0
		for i < len(b) && (b[i] == '\r' || b[i] == '\n') { // RFC 9112 section 2.2
			i++
		}
		if i > 0 {
			return i
		}
		if http.Recognise(b) == wire.NoMatch {
			if s.spoke && !o.unsure { // else its beginning may be missing
				x.malformed(off, &wire.SyntaxError{Proto: "http", Field: "start-line", Err: wire.ErrInvalid})
			}
			o.lose(s)
			return len(b)
		}
	}
	n := http.End(b, s.seen)
	if n < 0 && len(b) < http.MaxHeadBytes {
		s.seen = len(b)
		return 0
	}
	s.seen = 0
	if bytes.HasPrefix(b, []byte("PRI * HTTP/2.0\r\n")) {
		x.note(event.ProtocolSeen, off, x.From, event.Text(event.Protocol, "http"), event.Text(event.Version, "2"))
		o.sides[0].state, o.sides[1].state = httpOver, httpOver
		return len(b)
	}
	if n < 0 {
		n = len(b)
	}
	var h http.Head
	if _, err := h.Parse(b[:n]); err != nil {
		x.malformed(off, err)
		o.lose(s)
		return n
	}
	s.spoke = true
	if h.Request {
		o.request(x, s, off, &h)
	} else {
		o.response(x, s, off, &h)
	}
	return n
}

// start begins a body.
func (o *httpObserver) start(x *exchange, s *httpSide, off int, h *http.Head, to http.Request) http.Framing {
	f, length, err := h.Framing(to)
	if h.Quirks&http.Smuggling != 0 && !o.odd {
		o.odd = true
		x.note(event.MalformedSeen, off, x.From, event.Text(event.Protocol, "http"),
			event.Text(event.Field, "message body length"), event.Text(event.Reason, "two servers may disagree about it"))
	}
	if err != nil {
		o.lose(s)
		return f
	}
	s.body, s.framing, s.length = http.NewBody(f, length), f, length
	s.request, s.seen, s.size, s.attempts = h.Request, 0, 0, 0
	s.want, s.coding = wantNothing, h.Coding()
	if !s.body.Done() && f != http.Tunnel {
		s.state = httpBody
		s.wanted(h)
	}
	return f
}

// mediaWants say what is wanted of a body by its media type, as it is and when
// it is compressed, so that its first bytes tell nothing.
var mediaWants = [...]struct {
	name          string
	plain, packed httpWant
}{
	{"application/soap+xml", wantSOAP, wantSOAP},
	{"text/xml", wantSniffed, wantSOAP},
	{"application/xml", wantSniffed, wantSOAP},
	{"application/json", wantSniffed, wantFHIR},
	{"text/json", wantSniffed, wantFHIR},
	{"text/plain", wantSniffed, wantNothing},
	{"", wantSniffed, wantNothing},
	{"application/x-www-form-urlencoded", wantForm, wantNothing},
	{"application/hl7-v2", wantHL7, wantHL7},
	{"application/hl7-v2+er7", wantHL7, wantHL7},
	{"x-application/hl7-v2+er7", wantHL7, wantHL7},
	{"application/edi-hl7", wantHL7, wantHL7},
	{"text/hl7v2", wantHL7, wantHL7},
}

// wanted says what is wanted of a body by what its head says of it.
func (s *httpSide) wanted(h *http.Head) {
	if s.coding > http.Deflate {
		return
	}
	media := h.MediaType()
	packed := s.coding != http.Identity
	if s.format = fhir.Recognise(media, nil); s.format != fhir.NoFormat {
		s.want = wantFHIR
		return
	}
	if h.Request && !packed {
		s.want = wantSniffed // whatever it says it is, an attack may be in it
	}
	for i := range mediaWants {
		w := &mediaWants[i]
		if len(w.name) == len(media) && bytes.EqualFold(media, []byte(w.name)) {
			if s.want = w.plain; packed {
				s.want = w.packed
			}
		}
	}
	switch {
	case s.want == wantForm && !h.Request:
		s.want = wantNothing
	case packed && s.want == wantFHIR && s.of.interaction.Verb == fhir.NoVerb:
		s.want = wantNothing // any application's JSON
	}
	if packed && s.want == wantNothing {
		s.want = wantSniffed // it may be anything, a bomb too
	}
}

func (o *httpObserver) request(x *exchange, s *httpSide, off int, h *http.Head) {
	o.seq++
	r := httpRequest{seq: o.seq, from: x.From, kind: http.RequestOf(h), at: x.sh.table.Place(off)}
	scheme, token, proves := h.Credentials()
	r.credentials = scheme != http.NoScheme
	if proves {
		r.login = httpLogin{scheme: scheme, token: x.hash(token), wellKnown: scheme == http.Basic && http.WellKnown(token)}
	}
	r.interaction = fhir.ParseInteraction(h.Method, h.Target)
	if r.interaction.Bulk() || r.interaction.Verb != fhir.NoVerb && bytes.Contains(h.Get("Accept"), []byte("fhir")) {
		o.speakFHIR(x, off, r.from)
		o.fhir.asked(x, &r)
	}
	o.exploit(x, off, h.Exploit())
	o.system(x, s, off, h)
	s.of = r
	o.start(x, s, off, h, http.OtherMethod)
	if len(o.queue) == maxPipelined {
		o.queue = slices.Delete(o.queue, 0, 1)
		o.unsure = true
	}
	o.queue = append(o.queue, r)
}

func (o *httpObserver) response(x *exchange, s *httpSide, off int, h *http.Head) {
	interim := h.Status < 200 && h.Status != 101
	s.of = httpRequest{from: x.From.Other()}
	switch {
	case len(o.queue) == 0:
		o.unsure = true // to a request not seen: it may have been HEAD
	case interim:
		s.of = o.queue[0]
	default:
		s.of = o.queue[0]
		o.queue = slices.Delete(o.queue, 0, 1)
	}
	o.system(x, s, off, h)
	if !interim {
		outcome := event.Succeeded
		switch {
		case h.Status == 401, h.Status == 403, h.Status == 407:
			outcome = event.Failed
		case h.Status >= 400, s.of.login.scheme == http.Form: // a page may say no with any status
			outcome = event.Unknown
		}
		o.login(x, &s.of, outcome)
	}
	if o.start(x, s, off, h, s.of.kind) != http.Tunnel || s.state == httpLost {
		return
	}
	next := httpOver
	if h.Status != 101 || bytes.HasPrefix(h.Get("Upgrade"), []byte("TLS/")) { // RFC 2817
		next = httpTunnel
	}
	for i := range o.sides {
		o.sides[i].state, o.sides[i].attempts, o.sides[i].seen = next, 0, 0
	}
}

// tunnel looks at what goes through after CONNECT. It returns how many bytes
// are done with, and whether this observer goes on with what follows them.
func (o *httpObserver) tunnel(x *exchange, s *httpSide, b []byte) (int, bool) {
	id, m := proto.Stream(b, x.conv.Client.Port, x.conv.Server.Port)
	switch {
	case m == wire.NeedMore && len(b) < maxFirst:
		return 0, false
	case m == wire.SureMatch && id == proto.HTTP:
		for i := range o.sides {
			o.sides[i].state = httpHead
		}
		return 0, true
	case m == wire.SureMatch:
		return x.become(id), false
	}
	if s.attempts++; s.attempts >= maxTunnel {
		s.state = httpOver
		return 0, true
	}
	return len(b), false
}

// system notes the operating system that the sender names.
func (o *httpObserver) system(x *exchange, s *httpSide, off int, h *http.Head) {
	if os := h.OS(); os != "" && os != s.os {
		s.os = os
		x.note(event.IdentitySeen, off, x.From, event.Text(event.OS, os))
	}
}

func (o *httpObserver) exploit(x *exchange, off int, e http.Exploit) {
	if e == (http.Exploit{}) || slices.Contains(o.shapes, e) || len(o.shapes) == maxShapes {
		return
	}
	o.shapes = append(o.shapes, e)
	x.note(event.ExploitSeen, off, x.From, event.Text(event.Protocol, "http"), event.Text(event.Shape, e.Shape), event.Text(event.CVE, e.CVE))
}

// login notes what came of a login, where the request was. Credentials that
// are sent again with every request, as browsers do, are noted once.
func (o *httpObserver) login(x *exchange, r *httpRequest, outcome event.Result) {
	l := r.login
	if l.scheme == http.NoScheme {
		return
	}
	l.outcome = outcome
	if slices.Contains(o.logins, l) {
		return
	}
	if o.logins = append(o.logins, l); len(o.logins) > maxPipelined {
		o.logins = slices.Delete(o.logins, 0, 1)
	}
	r.login = httpLogin{}
	noteAt(x, r.at, event.LoginSeen, r.from, event.Text(event.Protocol, "http"), event.Text(event.Scheme, l.scheme.String()),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, x.protected()), event.Bool(event.DefaultSecret, l.wellKnown))
}

// noteAt is exchange.note for a place that went by.
func noteAt(x *exchange, at flow.Place, kind event.Kind, about flow.Side, attrs ...event.Attr) {
	last, closing := x.last, x.closing
	x.last, x.closing = at, true
	x.note(kind, 0, about, attrs...)
	x.last, x.closing = last, closing
}

// nextBody reads on in a body. It returns how many bytes are done with, and
// whether there may be more to do with what follows them.
func (o *httpObserver) nextBody(x *exchange, s *httpSide, off int, b []byte) (int, bool) {
	if s.want == wantNothing {
		return o.passBody(x, s, off, b)
	}
	limit := maxBody
	switch s.want {
	case wantSniffed:
		limit = maxSniffed
	case wantForm:
		limit = maxForm
	case wantScanned:
		limit = maxScanned
	case wantSwollen:
		limit = maxDecoded / maxSwell
	}
	var err error
	for !s.body.Done() && s.size < limit && s.seen < len(b) { // each turn takes bytes
		var data []byte
		var n int
		data, n, err = s.body.Next(b[s.seen:])
		s.seen += n
		s.size += len(data)
		if n == 0 || err != nil {
			break
		}
	}
	switch {
	case s.body.Done(), s.size >= limit, err != nil:
	case s.body.UntilClose() && s.want == wantSniffed && s.coding == http.Identity && s.size >= 16:
	case s.body.UntilClose() && s.complete(b[:s.seen]):
	default:
		return 0, false // kept until there is more
	}
	scratch := scratches.Get().(*httpScratch)
	content, bad := s.content(scratch, b[:s.seen])
	if errors.Is(bad, wire.ErrTooLong) {
		x.note(event.BoundReached, off, x.From, event.Text(event.Protocol, "http"), event.Text(event.Bound, "decoded body"), event.Int(event.Length, maxDecoded))
	} else if bad != nil && s.body.Done() && s.want != wantSniffed && !errors.Is(bad, wire.ErrTruncated) {
		x.malformed(off, bad)
	}
	if s.want == wantSniffed {
		s.want = s.sniff(content)
		if s.want != wantNothing && !s.body.Done() && err == nil {
			scratches.Put(scratch)
			return 0, true
		}
	}
	// Where b holds the content as it is, an offset in one is one in the other.
	o.content(x, s, off, content)
	scratches.Put(scratch)
	s.want = wantNothing
	if err != nil {
		x.malformed(off+s.seen, err)
		o.lose(s)
		return len(b), true
	}
	n := s.seen
	s.seen = 0
	k, more := o.passBody(x, s, off+n, b[n:])
	if k == ignore {
		return ignore, false
	}
	return n + k, more
}

// passBody passes over a body that nobody wants.
func (o *httpObserver) passBody(x *exchange, s *httpSide, off int, b []byte) (int, bool) {
	n := 0
	for !s.body.Done() { // each turn takes bytes or returns
		if s.body.UntilClose() {
			s.state = httpOver
			return ignore, false
		}
		if ahead := s.body.Ahead(); ahead > 0 {
			// What is still to come is skipped without being seen.
			k := min(ahead, math.MaxInt32)
			s.body.Advance(k)
			if n += int(k); n >= len(b) {
				if s.body.Done() {
					s.state = httpHead
				}
				return n, false
			}
			continue
		}
		_, k, err := s.body.Next(b[n:])
		if err != nil {
			x.malformed(off+n, err)
			o.lose(s)
			return len(b), true
		}
		if n += k; k == 0 || n == len(b) && !s.body.Done() && s.body.Ahead() == 0 {
			return n, false
		}
	}
	s.state = httpHead
	return n, true
}

// complete reports whether a body that only the end of the connection ends is
// a whole document already.
func (s *httpSide) complete(b []byte) bool {
	if s.attempts >= maxAttempts || len(b) == 0 {
		return false
	}
	if s.coding != http.Identity { // it has an end of its own, and so has what is read of a bomb
		s.attempts++
		scratch := scratches.Get().(*httpScratch)
		_, err := s.content(scratch, b)
		scratches.Put(scratch)
		return !errors.Is(err, wire.ErrTruncated)
	}
	t := bytes.TrimRight(b, " \t\r\n")
	if len(t) == 0 || t[len(t)-1] != '}' && t[len(t)-1] != '>' {
		return false
	}
	s.attempts++
	if t[len(t)-1] == '>' {
		var r wire.XML
		r.Reset("http", t)
		for r.Next() {
		}
		return r.Err() == nil
	}
	return fhir.Scan(t, fhir.JSON, func(*fhir.Resource) {}) == nil
}

// content puts the content of the body in b together. It may be in scratch.
func (s *httpSide) content(scratch *httpScratch, b []byte) ([]byte, error) {
	if s.framing == http.Chunked {
		whole := scratch.whole[:0]
		body := http.NewBody(s.framing, s.length)
		for len(b) > 0 && !body.Done() { // each turn takes bytes
			data, n, err := body.Next(b)
			if n == 0 || err != nil {
				break
			}
			whole = append(whole, data...)
			b = b[n:]
		}
		scratch.whole, b = whole, whole
	}
	if s.coding == http.Identity {
		return b, nil
	}
	var err error
	scratch.plain, err = scratch.inflater.Append(scratch.plain[:0], b, s.coding, maxDecoded)
	return scratch.plain, err
}

// sniff tells the kind of a body from its first bytes.
func (s *httpSide) sniff(b []byte) httpWant {
	swells := s.size > 0 && len(b) >= maxSwell*s.size
	b = bytes.TrimLeft(b, " \t\r\n\v")
	switch {
	case fhir.Recognise(nil, b) != fhir.NoFormat:
		return wantFHIR
	case sdc.IsEnvelope(b):
		return wantSOAP
	case isHL7(b):
		return wantHL7
	case s.request:
		return wantScanned
	case swells:
		return wantSwollen
	}
	return wantNothing
}

// isHL7 reports whether b begins like a message or a batch of HL7 v2.
func isHL7(b []byte) bool {
	if len(b) < 4 || string(b[:3]) != "MSH" && string(b[:3]) != "FHS" && string(b[:3]) != "BHS" {
		return false
	}
	c := b[3] | 0x20 // the delimiter: printable, and neither digit nor letter
	return c > ' ' && c < 0x7f && (c < '0' || c > '9') && (c < 'a' || c > 'z')
}

// content hands a body to who understands it.
func (o *httpObserver) content(x *exchange, s *httpSide, off int, b []byte) {
	if s.framing == http.Chunked || s.coding != http.Identity {
		off = -1 - off // its offsets are those of another slice
	}
	if s.request {
		o.exploit(x, base(off), http.ExploitInBody(b))
	}
	switch s.want {
	case wantForm:
		if r := o.asking(s); r != nil && r.login.scheme == http.NoScheme && http.HasPassword(b) {
			r.login = httpLogin{scheme: http.Form, token: x.hash(b)}
		}
	case wantFHIR:
		format := s.format
		if format == fhir.NoFormat {
			format = fhir.Recognise(nil, b)
		}
		if format != fhir.NoFormat {
			o.speakFHIR(x, base(off), s.of.from)
			o.fhir.body(x, off, b, format, s)
			return
		}
		fallthrough // compressed XML may be either
	case wantSOAP:
		switch f := fhir.Recognise(nil, b); {
		case f != fhir.NoFormat:
			o.speakFHIR(x, base(off), s.of.from)
			o.fhir.body(x, off, b, f, s)
		case sdc.IsEnvelope(b):
			if o.sdc == nil {
				o.sdc = new(sdcObserver)
			}
			o.sdc.body(x, off, b, s, o.asking(s))
		}
	case wantHL7:
		b = bytes.TrimLeft(b, " \t\r\n\v")
		if !isHL7(b) {
			return
		}
		if o.hl7 == nil {
			o.hl7 = newHL7Observer().(*hl7Observer)
			x.note(event.ProtocolSeen, base(off), s.of.from, event.Text(event.Protocol, "hl7"), event.Int(event.Protection, x.protected()))
		}
		o.hl7.message(x, base(off), b)
	}
}

// base returns an offset in the bytes in hand for an offset that content was given.
func base(off int) int {
	if off < 0 {
		return -1 - off
	}
	return off
}

// within returns the offset in the bytes in hand of the place at in a body.
func within(off, at int) int {
	if off < 0 {
		return -1 - off
	}
	return off + at
}

// asking returns the request whose body is in hand, while it waits for its
// answer; nil for a response.
func (o *httpObserver) asking(s *httpSide) *httpRequest {
	if !s.request {
		return nil
	}
	for i := range o.queue {
		if o.queue[i].seq == s.of.seq {
			return &o.queue[i]
		}
	}
	return nil
}

// speakFHIR notes once that the conversation is one of FHIR, and that who
// answers keeps records.
func (o *httpObserver) speakFHIR(x *exchange, off int, asks flow.Side) {
	if o.fhir != nil {
		return
	}
	o.fhir = new(fhirObserver)
	x.note(event.ProtocolSeen, off, asks, event.Text(event.Protocol, "fhir"), event.Int(event.Protection, x.protected()))
	x.note(event.IdentitySeen, off, asks.Other(), event.Text(event.Class, device.Records.Info().Class), event.Int(event.Therapy, device.Records))
}
