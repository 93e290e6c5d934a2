// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
)

// An inside is the connection to the other side that belongs to one connection
// on this one.
type inside struct {
	net.Conn
	br      *bufio.Reader
	env     *front.Env
	answer  time.Duration
	resting chan error // what a reader between answers found; nil when none reads

	sending atomic.Bool // the message is still under way: its answer may take as long as it does
}

func dial(ctx context.Context, env *front.Env, p *Policy) (*inside, error) {
	c, err := p.Dial(ctx)
	if err != nil {
		return nil, err
	}
	in := &inside{Conn: c, env: env, answer: p.Answer}
	in.br = bufio.NewReaderSize(in, 8192)
	return in, nil
}

// Read reads under the deadline of an answer's next piece. Between answers it waits.
func (in *inside) Read(b []byte) (int, error) {
	for {
		if in.resting == nil {
			if err := in.SetReadDeadline(in.env.Now().Add(in.answer)); err != nil {
				return 0, err
			}
		}
		n, err := in.Conn.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !in.sending.Load() {
			return n, err
		}
	}
}

// rest waits for the other side to end the connection between answers, so that
// no request is written to one that has ended: it could not be sent again.
func (in *inside) rest() {
	resting := make(chan error, 1)
	in.resting = resting
	_ = in.SetReadDeadline(time.Time{})
	go func() {
		_, err := in.br.Peek(1)
		resting <- err
	}()
}

// wake ends rest, and reports whether the connection may be used.
func (in *inside) wake() bool {
	if in.resting == nil {
		return true
	}
	_ = in.SetReadDeadline(time.Unix(1, 0))
	err := <-in.resting
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// Its end may have come, and the reader been woken before it looked.
		_ = in.SetReadDeadline(time.Now().Add(glance))
		_, err = in.br.Peek(1)
	}
	in.resting = nil
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// glance is how long a read waits that only looks what is there.
const glance = 250 * time.Microsecond

func (in *inside) close() {
	in.Conn.Close()
	if in.resting != nil {
		<-in.resting
	}
}

// closeAfter closes the connection when the drain time is over, unless stopped.
func (in *inside) closeAfter(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { in.Conn.Close() })
}

// send writes a request.
func (in *inside) send(parts ...[]byte) error {
	for _, b := range parts {
		if err := in.SetWriteDeadline(in.env.Now().Add(in.answer)); err != nil {
			return err
		}
		if _, err := in.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// connect makes sure that there is a connection inside.
func (s *session) connect() error {
	if s.inside != nil {
		if s.inside.wake() {
			return nil
		}
		s.leave()
	}
	in, err := dial(s.ctx, s.f.env, s.p)
	if err != nil {
		return err
	}
	s.inside = in
	return nil
}

// leave ends the connection inside.
func (s *session) leave() {
	if s.inside != nil {
		s.inside.close()
		s.inside = nil
	}
}

// unreachable says that the other side does not answer.
func (s *session) unreachable(err error, sent bool) *refusal {
	s.f.env.Log.Warn("no answer", "front", s.p.Name, "err", err)
	status, why := http.StatusBadGateway, "what is behind the guard cannot be reached; nothing of this request was done"
	if sent {
		why = "what is behind the guard was sent the request and gave no answer; what came of it is not known"
		if errors.Is(err, os.ErrDeadlineExceeded) {
			status = http.StatusGatewayTimeout
		}
	}
	return &refusal{status, "transient", why}
}

// forward sends a request that may pass to the device, and its answer back.
func (s *session) forward(r *request, in *interaction, body []byte, answers []*gate.Answer) bool {
	if err := s.connect(); err != nil {
		for _, a := range answers {
			a.Abandon()
		}
		return s.answer(s.unreachable(err, false), !r.closes)
	}
	stop := s.inside.closeAfter(s.ctx)
	defer stop()
	for _, a := range answers {
		a.Sent()
	}
	sent := s.inside.send(r.head(s.p.insideHost(), int64(len(body))), body)
	s.f.env.Metrics.Bytes(s.p.Name, true, len(body))
	// The device may have answered before it had read everything.
	rel := relay{in: s.inside, to: s.c, head: r.method == "HEAD"}
	err := rel.run()
	s.f.env.Metrics.Bytes(s.p.Name, false, int(rel.bytes))
	for _, a := range answers {
		a.Outcome(outcome(rel.status, in.word == "batch"))
	}
	if err != nil && rel.bytes == 0 {
		s.leave()
		return s.answer(s.unreachable(errors.Join(err, sent), true), false)
	}
	if err != nil || sent != nil || !rel.again {
		s.leave()
		return false
	}
	s.inside.rest()
	return true
}

// A relay passes an answer on byte for byte, whatever it is. Where it ends by
// HTTP's rules the connection may go on; an answer without one clear end lasts
// until the connection ends.
type relay struct {
	in   *inside
	to   io.Writer
	head bool // of a HEAD request: there is no body

	status int
	bytes  int64
	again  bool
}

func (r *relay) write(b []byte) error {
	n, err := r.to.Write(b)
	r.bytes += int64(n)
	return err
}

// rest passes on everything until the connection ends.
func (r *relay) rest() error {
	n, err := io.Copy(r.to, r.in.br)
	r.bytes += n
	return err
}

func (r *relay) run() error {
	for {
		raw, err := readRaw(r.in.br)
		var h answerHead
		ok := false
		if err == nil {
			h, ok = parseAnswer(raw)
			r.status = h.status
		}
		if len(raw) > 0 {
			if err := r.write(raw); err != nil {
				return err
			}
		}
		if err != nil {
			if len(raw) == 0 && r.bytes == 0 {
				return cut(err)
			}
			return nil // it was passed on as far as it came; there is no more
		}
		switch {
		case !ok, h.status == http.StatusSwitchingProtocols:
			return r.rest()
		case h.status < 200:
			continue
		case r.head, h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		case h.chunked:
			if whole, err := r.chunks(); err != nil || !whole {
				return err
			}
		case h.length >= 0:
			n, err := io.CopyN(r.to, r.in.br, h.length)
			r.bytes += n
			if err != nil {
				return err
			}
		default:
			return r.rest()
		}
		r.again = !h.closes
		return nil
	}
}

// chunks passes on a chunked body. whole is false when it was passed on until
// the connection ended, because its chunks are none.
func (r *relay) chunks() (whole bool, err error) {
	for {
		line, err := r.line()
		if err != nil {
			return false, err
		}
		digits, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
		n, err := strconv.ParseUint(strings.Trim(digits, " \t"), 16, 62)
		if err != nil {
			return false, r.rest()
		}
		if n == 0 {
			break
		}
		m, err := io.CopyN(r.to, r.in.br, int64(n))
		r.bytes += m
		if err != nil {
			return false, err
		}
		if line, err = r.line(); err != nil {
			return false, err
		} else if line != "\r\n" {
			return false, r.rest()
		}
	}
	for {
		line, err := r.line()
		if err != nil {
			return false, err
		}
		if line == "\r\n" || line == "\n" {
			return true, nil
		}
	}
}

// line passes on a line, or what fits the buffer of one that is longer.
func (r *relay) line() (string, error) {
	b, err := r.in.br.ReadSlice('\n')
	line := string(b)
	if w := r.write(b); w != nil {
		return "", w
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		return line, nil // no chunk's size: it is passed on until the end
	}
	return line, err
}

// readRaw reads the head of an answer as it is, or as much as there is of it.
func readRaw(br *bufio.Reader) ([]byte, error) {
	var raw []byte
	for {
		b, err := br.ReadSlice('\n')
		raw = append(raw, b...)
		switch {
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return raw, err
		case len(raw) > maxHead*2:
			return raw, nil
		case err == nil && len(bytes.TrimRight(b, "\r\n")) == 0:
			return raw, nil
		}
	}
}

// An answerHead is what the relay needs of an answer's head.
type answerHead struct {
	status  int
	length  int64 // -1: until the connection ends
	chunked bool
	closes  bool
}

// parseAnswer reads the head of an answer. ok is false when it has no one meaning.
func parseAnswer(raw []byte) (h answerHead, ok bool) {
	src := source{br: bufio.NewReader(bytes.NewReader(raw))}
	line, err := src.line(maxHead)
	if err != nil {
		return h, false
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if h.status, err = strconv.Atoi(code); err != nil || len(code) != 3 || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return answerHead{}, false
	}
	h.closes, h.length = version == "HTTP/1.0", -1
	fields, err := readFields(&src)
	if err != nil {
		return h, false
	}
	lengths, codings := 0, 0
	for _, f := range fields {
		switch strings.ToLower(f.name) {
		case "content-length":
			lengths++
			n, err := strconv.ParseUint(f.value, 10, 62)
			if err != nil || f.value[0] == '+' {
				return h, false
			}
			h.length = int64(n)
		case "transfer-encoding":
			codings++
			if h.chunked = strings.EqualFold(f.value, "chunked"); !h.chunked {
				return h, false
			}
		case "connection":
			if !strings.EqualFold(f.value, "keep-alive") {
				h.closes = true
			}
		}
	}
	return h, lengths <= 1 && codings <= 1 && lengths+codings < 2
}

// status reads the status of an answer, without the rest of it.
func (in *inside) status() (int, error) {
	for {
		raw, err := readRaw(in.br)
		if err != nil {
			return 0, err
		}
		if h, _ := parseAnswer(raw); h.status == 0 || h.status >= 200 {
			return h.status, nil
		}
	}
}
