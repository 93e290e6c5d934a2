// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
)

// report is a request of the device (protects: client). What it writes may be
// an alarm or a measurement and goes on, whatever it is; what it only reads, or
// deletes, has to be on the list.
func (s *session) report(r *request) bool {
	in, why := parseInteraction(s.p.Base, r.method, r.path, r.query)
	s.learn(&in)
	writes := r.method == "POST" || r.method == "PUT" || r.method == "PATCH"
	listed := why == "" && (in.word == "batch" || s.allows(&in))
	if !writes || in.word == "search" {
		if why == "" {
			why = "no rule allows it to this device"
		}
		if !listed && s.refused(&in, why) {
			return s.lastly(forbidden(&in))
		}
		if s.limited() && s.refused(&in, "too many requests a second of this device") {
			return s.lastly(&refusal{429, "throttled", "too many requests a second; wait, and ask again"})
		}
		listed = true
	}
	if r.expects {
		if _, err := s.c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return false
		}
	}
	rest := r.body(&s.src)
	body, err := s.spool(rest)
	var no *refusal
	switch {
	case err == nil:
		s.c.End()
	case !errors.As(err, &no):
		s.always(&in, "a message of the device was cut")
		return false
	case no.status == 413 || no.status == 503:
		s.always(&in, "a message of the device was too large to be understood")
		return s.stream(r, body, rest, nil)
	default: // it cannot be read, and goes on as it is
		s.always(&in, no.why)
		return s.stream(r, body, rest, no)
	}
	again := !r.closes
	if err := s.connect(); err != nil {
		return s.answer(s.unreachable(err, false), again)
	}
	stop := s.inside.closeAfter(s.ctx)
	defer stop()
	sent := s.inside.send(r.head(s.p.insideHost(), int64(len(body)), unpacked...), body)
	s.f.env.Metrics.Bytes(s.p.Name, false, len(body))
	if writes && in.word != "search" { // it has gone on already: whoever judges may have much to do
		listed = s.listed(r, &in, body, listed)
	}
	return s.told(r, sent, listed)
}

// allows reports whether the lists have it for this device.
func (s *session) allows(in *interaction) bool { return !s.stranger && s.p.allows(s.client, in) }

// listed reports whether what a device writes is on the list, entry by entry.
func (s *session) listed(r *request, in *interaction, body []byte, listed bool) bool {
	reason := "no rule allows it to this device"
	if in.word == "batch" {
		s.bounds.judges <- struct{}{}
		c, why := readContent(r.get("Content-Type"), body, s.p.Base)
		<-s.bounds.judges
		if listed = why == "" && c.bundle != ""; listed {
			in.word, in.sure = c.bundle, true
			s.learn(in)
			listed = s.allows(in)
			for i := range c.entries {
				e := &c.entries[i].interaction
				s.learn(e)
				listed = listed && s.allows(e)
			}
		} else if why != "" {
			reason = why
		}
	}
	if !listed {
		s.always(in, reason+"; it was forwarded, and the device is told the status alone")
	}
	return listed || s.p.Mode != 0
}

// told hands the device the answer to what it sent: whole, bounded, and judged
// where there are orders in it.
func (s *session) told(r *request, sent error, listed bool) bool {
	again := !r.closes
	if !listed {
		defer s.leave()
		return s.statusAlone(sent, again)
	}
	buf := &bounded{s: s}
	rel := relay{in: s.inside, to: buf, head: r.method == "HEAD"}
	err := rel.run()
	if err != nil || !rel.again {
		s.leave()
	} else {
		defer s.inside.rest()
	}
	if err != nil && !buf.full {
		return s.answer(s.unreachable(errors.Join(err, sent), true), false)
	}
	answer, no := s.judgeAnswer(r, &rel, buf)
	if no != nil {
		s.always(nil, "an answer to the device: "+no.why)
		if writes := r.method != "GET" && r.method != "HEAD"; writes && rel.status >= 200 {
			return s.statusLine(rel.status, again) // that its message arrived it has to know
		}
		return s.answer(no, again)
	}
	s.f.env.Metrics.Bytes(s.p.Name, true, len(answer))
	for _, a := range buf.answers {
		a.Sent()
	}
	_, err = s.c.Write(answer)
	for _, a := range buf.answers {
		a.Outcome(gate.Unknown) // a device does not answer an answer
	}
	return err == nil && again
}

// unpacked are the fields by which a device asks for answers that could not be read here.
var unpacked = []string{"accept-encoding", "range", "if-range"}

// A bounded takes an answer in, within the bound of a message.
type bounded struct {
	s       *session
	b       []byte
	full    bool
	answers []*gate.Answer
}

var errFull = errors.New("the answer is too large")

func (w *bounded) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > w.s.p.Body+maxHead || !w.s.take(len(p)) {
		w.full = true
		return 0, errFull
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// judgeAnswer reads an answer to the device, asks the gate for the orders in it,
// and writes it anew.
func (s *session) judgeAnswer(r *request, rel *relay, buf *bounded) ([]byte, *refusal) {
	if buf.full {
		return nil, &refusal{502, "too-long", "the answer is too large to be judged"}
	}
	raw := buf.b
	var h *answer
	for {
		var ok bool
		if h, raw, ok = readAnswer(raw, r.method); !ok {
			return nil, &refusal{502, "structure", "the answer cannot be read in one way only"}
		}
		if h.status >= 200 {
			break
		}
	}
	var orders []order
	if len(h.body) > 0 {
		if e := h.get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
			return nil, &refusal{502, "not-supported", "the answer is packed and cannot be judged"}
		}
		s.bounds.judges <- struct{}{}
		c, why := readContent(h.get("Content-Type"), h.body, s.p.Base)
		<-s.bounds.judges
		if why != "" {
			orders = []order{{undecided: why}}
		} else {
			orders = c.orders
		}
	}
	answers, no := s.askAll(r, orders, h.body)
	buf.answers = answers
	return h.bytes(), no
}

// statusAlone tells the device the status of the answer and nothing else.
func (s *session) statusAlone(sent error, again bool) bool {
	status, err := s.inside.status()
	if err != nil || status == 0 {
		return s.answer(s.unreachable(errors.Join(err, sent), true), false)
	}
	return s.statusLine(status, again)
}

func (s *session) statusLine(status int, again bool) bool {
	closes := ""
	if !again {
		closes = "Connection: close\r\n"
	}
	length := "Content-Length: 0\r\n"
	if status == http.StatusNoContent || status == http.StatusNotModified {
		length = ""
	}
	_, err := fmt.Fprintf(s.c, "HTTP/1.1 %d %s\r\n%s%s\r\n", status, http.StatusText(status), length, closes)
	return err == nil && again
}

// stream forwards a message of the device as it comes, since it is too large to be
// taken in, or cannot be read any further (no). Begun is what was read of its body.
// What of it is cut is never completed. The device is told the status alone.
func (s *session) stream(r *request, begun []byte, rest io.Reader, no *refusal) bool {
	s.leave()
	if err := s.connect(); err != nil {
		return s.lastly(s.unreachable(err, false))
	}
	defer s.leave()
	stop := s.inside.closeAfter(s.ctx)
	defer stop()
	w := &sender{s: s}
	w.Write(r.head(s.p.insideHost(), r.length, unpacked...))
	if c, ok := rest.(*chunked); ok && len(begun)+int(c.left) > 0 { // the chunks so far are one, up to the end of the last
		fmt.Fprintf(w, "%x\r\n", uint64(len(begun))+c.left)
	}
	w.Write(begun)
	w.Write(s.src.raw) // lines that were read, and are not understood
	if no == nil {
		s.src.tee = w
		_, err := io.Copy(io.Discard, rest)
		s.src.tee = nil
		switch {
		case w.err != nil: // the other side may have answered before it had read all
			return s.statusAlone(w.err, false)
		case err == nil:
			s.c.End()
			return s.statusAlone(nil, !r.closes)
		case !errors.As(err, &no):
			s.always(nil, "a message of the device was cut")
			return false
		}
		s.always(nil, no.why)
	}
	s.flow(w)
	return false
}

// A sender writes to the other side, until that fails.
type sender struct {
	s   *session
	err error
}

func (w *sender) Write(b []byte) (int, error) {
	if w.err == nil {
		w.err = w.s.inside.send(b)
		w.s.f.env.Metrics.Bytes(w.s.p.Name, false, len(b))
	}
	return len(b), w.err
}

// pass forwards what the device sends as it is, because not even its head can be
// read. No other request can follow on the connection.
func (s *session) pass() bool {
	s.leave()
	if err := s.connect(); err != nil {
		return s.lastly(s.unreachable(err, false))
	}
	defer s.leave()
	stop := s.inside.closeAfter(s.ctx)
	defer stop()
	w := &sender{s: s}
	w.Write(s.src.raw)
	s.flow(w)
	return false
}

// flow forwards all that the device still sends, until the device or the other side
// ends it, and tells the device the status of the first answer alone.
func (s *session) flow(w *sender) {
	in := s.inside
	s.c.End()
	s.c.Begin() // it has the time of a message from here on
	in.sending.Store(true)
	var copying sync.WaitGroup
	copying.Go(func() {
		defer in.sending.Store(false)
		_, err := io.Copy(w, s.src.br)
		switch {
		case err == nil && !front.Cut(s.c):
			if c, ok := in.Conn.(interface{ CloseWrite() error }); ok { // it has said all
				c.CloseWrite()
			}
		case w.err == nil && !errors.Is(err, os.ErrDeadlineExceeded):
			front.Reset(in.Conn) // cut, and never completed
		}
	})
	s.statusAlone(nil, false)
	_ = s.c.CloseWrite()
	_ = s.c.Conn.SetReadDeadline(s.f.env.Now().Add(s.p.Limits.Unfinished)) // unless it goes on
	copying.Wait()
}

// An answer to the device, as it was understood.
type answer struct {
	status int
	fields []field
	body   []byte
	sized  bool // it has a body, if only an empty one
}

func (a *answer) get(name string) string { return (&request{fields: a.fields}).get(name) }

// readAnswer reads one answer that was received whole, and returns what stands
// behind it.
func readAnswer(raw []byte, method string) (a *answer, rest []byte, ok bool) {
	head, err := readRaw(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, nil, false
	}
	h, ok := parseAnswer(head)
	if !ok {
		return nil, nil, false
	}
	src := source{br: bufio.NewReader(bytes.NewReader(head))}
	if _, err = src.line(maxHead); err == nil {
		a = &answer{status: h.status}
		a.fields, err = readFields(&src)
	}
	rest = raw[len(head):]
	switch {
	case err != nil:
	case h.status < 200:
		return a, rest, true
	case method == "HEAD", h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		return a, nil, true
	case h.chunked:
		a.sized = true
		a.body, err = io.ReadAll(&chunked{s: &source{br: bufio.NewReader(bytes.NewReader(rest))}})
	case h.length >= 0:
		a.sized = true
		a.body, err = io.ReadAll(&plain{bytes.NewReader(rest), h.length})
	default:
		a.sized, a.body = true, rest
	}
	return a, nil, err == nil
}

// bytes is the answer written anew.
func (a *answer) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	for _, f := range a.fields {
		if name := strings.ToLower(f.name); !hop[name] && name != "upgrade" && name != "trailer" {
			fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
		}
	}
	if a.sized {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(a.body))
	}
	b.WriteString("\r\n")
	b.Write(a.body)
	return b.Bytes()
}
