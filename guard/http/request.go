// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// The bounds of a head, of either side.
const (
	maxHead   = 32 << 10 // bytes
	maxTarget = 8 << 10  // bytes
	maxFields = 100
	chunkLine = 8 // digits of a chunk's size
)

// A field is one line of a head.
type field struct{ name, value string }

// A request is the head of a request that has one meaning.
type request struct {
	method string
	path   string
	query  string // without the question mark
	asked  bool   // there was a question mark
	fields []field

	length  int64 // of the body; -1: it is chunked
	expects bool  // 100 Continue
	closes  bool  // the sender will send no further request
}

func (r *request) get(name string) string {
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// A refusal is why a message is not forwarded, for whoever sent it.
type refusal struct {
	status int
	code   string // of OperationOutcome.issue (value set issue-type)
	why    string // in plain words, without a byte of the message
}

func (e *refusal) Error() string { return e.why }

// unclear is the refusal of what two programs could read in two ways.
func unclear(why string) error { return &refusal{400, "structure", why} }

// A source is where messages are read from. What cannot be read in it can still
// be passed on: the bytes of a head, and of the lines between chunks, are kept until
// they are understood.
type source struct {
	br   *bufio.Reader
	text bool      // lines have no control characters: what is no text at all is told from a line that is late
	keep bool      // lines are kept
	raw  []byte    // those that are, which lines bound
	tee  io.Writer // where all that is read goes instead; nil: nowhere
}

// line reads a line with its CRLF, without it.
func (s *source) line(most int) (string, error) {
	b, err := s.scan(most)
	switch {
	case s.tee != nil:
		if _, failed := s.tee.Write(b); failed != nil {
			return "", failed
		}
	case s.keep:
		s.raw = append(s.raw, b...)
	}
	if err != nil {
		return "", err
	}
	return string(b[:len(b)-2]), nil
}

// scan reads the bytes of a line, or those up to where it is none.
func (s *source) scan(most int) (b []byte, err error) {
	for {
		c, err := s.br.ReadByte()
		if err != nil {
			return b, cut(err)
		}
		b = append(b, c)
		before := b[:len(b)-1]
		ends := len(before) > 0 && before[len(before)-1] == '\r'
		switch {
		case c == '\n' && !ends:
			return b, unclear("a line ends with LF alone")
		case c == '\n':
			return b, nil
		case ends:
			return b, unclear("a CR stands alone in a line")
		case len(before) >= most && c != '\r':
			return b, &refusal{431, "too-long", "a line of the head is too long"}
		case s.text && (c < ' ' && c != '\t' && c != '\r' || c == 0x7f):
			return b, unclear("a line has a control character")
		}
	}
}

// Read reads what is in no line.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.br.Read(p)
	if s.tee != nil {
		if _, failed := s.tee.Write(p[:n]); failed != nil {
			return n, failed
		}
	}
	return n, err
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// methods are those of FHIR's interactions. No other changes or reads a record.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// readRequest reads a head, which has to have one meaning for every program
// that reads it: RFC 9112, without what it allows for old times' sake.
func readRequest(s *source) (*request, error) {
	line, err := s.line(maxTarget + 32)
	if err != nil {
		return nil, err
	}
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	switch {
	case !ok1 || !ok2:
		return nil, unclear("the request line is not method, target and version with single spaces between")
	case version == "HTTP/1.0":
		return nil, &refusal{505, "not-supported", "this front speaks HTTP/1.1"}
	case version != "HTTP/1.1":
		return nil, unclear("the request line does not end with HTTP/1.1")
	}
	r := &request{method: method}
	known := false
	for _, m := range methods {
		known = known || m == method
	}
	if !known {
		return nil, &refusal{501, "not-supported", "this front knows the methods " + strings.Join(methods, ", ")}
	}
	if r.fields, err = readFields(s); err != nil {
		return nil, err
	}
	if err := r.target(target); err != nil {
		return nil, err
	}
	if err := r.frame(); err != nil {
		return nil, err
	}
	return r, nil
}

// readFields reads the fields of a head and the empty line behind them.
func readFields(s *source) ([]field, error) {
	var fields []field
	for room := maxHead; ; {
		line, err := s.line(room)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return fields, nil
		}
		if room -= len(line); room <= 0 || len(fields) == maxFields {
			return nil, &refusal{431, "too-long", "the head is too long"}
		}
		name, value, ok := strings.Cut(line, ":")
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return nil, unclear("a line of the head goes on in the next one (obs-fold)")
		case !ok || !isToken(name):
			return nil, unclear("a line of the head has no name that is one")
		}
		value = strings.Trim(value, " \t")
		for i := range len(value) {
			if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
				return nil, unclear("a line of the head has a control character")
			}
		}
		fields = append(fields, field{name, value})
	}
}

// isToken reports whether a name is a token of RFC 9110, section 5.6.2, without
// the underscore: programs that hand fields on as variables take it for a hyphen.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^`|~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

// target takes the target apart. A path has to be what it looks like, for every
// program that decodes, joins or cuts it.
func (r *request) target(t string) error {
	host := ""
	if i := strings.Index(t, "://"); i >= 0 && !strings.HasPrefix(t, "/") { // absolute-form
		scheme, rest := t[:i], t[i+3:]
		if scheme != "http" && scheme != "https" {
			return unclear("the target has a scheme that is none of HTTP's")
		}
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			return unclear("the target has no path")
		}
		host, t = rest[:slash], rest[slash:]
		if !strings.EqualFold(host, r.get("Host")) {
			return unclear("the target names another host than the Host field")
		}
	}
	r.path, r.query, r.asked = strings.Cut(t, "?")
	if len(r.path) == 0 || r.path[0] != '/' {
		return unclear("the target is no path")
	}
	segments := strings.Split(r.path[1:], "/")
	for i, seg := range segments {
		switch {
		case seg == "" && i < len(segments)-1:
			return unclear("the path has two slashes in a row")
		case seg == "." || seg == "..":
			return unclear("the path has a segment of dots")
		}
		for j := range len(seg) {
			c := seg[j]
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~$", c) >= 0 {
				continue
			}
			return unclear("the path has a character that no FHIR path needs, such as an escape, a semicolon or a backslash")
		}
	}
	for i := 0; i < len(r.query); i++ {
		switch c := r.query[i]; {
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`#;"<>\^`+"`{}", c) >= 0:
			return unclear("the query has a character that has to be escaped")
		case c == '%':
			if i+2 >= len(r.query) {
				return unclear("the query has an escape that is cut")
			}
			v, err := strconv.ParseUint(r.query[i+1:i+3], 16, 8)
			if err != nil || v < ' ' || v == 0x7f {
				return unclear("the query has an escape that is none, or of a control character")
			}
			i += 2
		}
	}
	return nil
}

// refused are fields by which one program tells another that a request is not
// what it looks like, and what goes on in another protocol.
var refused = map[string]string{
	"x-http-method-override": "a field that changes the method", "x-http-method": "a field that changes the method",
	"x-method-override": "a field that changes the method",
	"x-original-url":    "a field that changes the target", "x-rewrite-url": "a field that changes the target",
	"upgrade": "a change of the protocol", "http2-settings": "a change of the protocol", "trailer": "fields behind the body",
	"content-range": "a part of a body", "content-encoding": "a body that is packed; send it plain",
}

// hop are the fields that are between two neighbours (RFC 9110 section 7.6.1),
// and those by which one says who the other side is: the guard makes its own.
var hop = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authenticate": true, "proxy-authorization": true,
	"te": true, "transfer-encoding": true, "content-length": true, "host": true, "expect": true,
	"forwarded": true, "x-forwarded-for": true, "x-forwarded-host": true, "x-forwarded-proto": true, "x-forwarded-port": true,
	"x-forwarded-prefix": true, "x-forwarded-server": true, "x-real-ip": true, "via": true,
	"x-client-cert": true, "x-ssl-client-cert": true, "x-forwarded-client-cert": true, "ssl-client-cert": true, "client-cert": true, "client-cert-chain": true,
}

// frame finds out where the body ends, of which there may be one opinion only.
func (r *request) frame() error {
	var host, length, coding, expect int
	for _, f := range r.fields {
		name := strings.ToLower(f.name)
		if why := refused[name]; why != "" {
			return &refusal{400, "not-supported", "it has " + why}
		}
		switch name {
		case "host":
			host++
		case "content-length":
			length++
			n, err := strconv.ParseUint(f.value, 10, 53)
			if err != nil || len(f.value) > 16 || len(f.value) > 1 && f.value[0] == '0' {
				return unclear("Content-Length is no plain number")
			}
			r.length = int64(n)
		case "transfer-encoding":
			coding++
			if f.value != "chunked" {
				return unclear("Transfer-Encoding is not chunked alone")
			}
			r.length = -1
		case "expect":
			expect++
			if !strings.EqualFold(f.value, "100-continue") {
				return &refusal{417, "not-supported", "it expects what this front does not do"}
			}
			r.expects = true
		case "connection":
			for option := range strings.SplitSeq(f.value, ",") {
				switch option = strings.ToLower(strings.Trim(option, " \t")); option {
				case "close":
					r.closes = true
				case "", "keep-alive", "te", "proxy-connection":
				default: // it would take a field away on the way
					return unclear("Connection names a field that is not between neighbours")
				}
			}
		}
	}
	switch {
	case host != 1:
		return unclear("there has to be one Host field")
	case length > 1 || coding > 1 || length > 0 && coding > 0 || expect > 1:
		return unclear("the length of the body is told more than once")
	case r.length != 0 && (r.method == "GET" || r.method == "HEAD" || r.method == "DELETE"):
		return unclear("a " + r.method + " with a body")
	}
	return nil
}

// body returns a reader of the body, which ends with io.EOF where the body ends
// and with an error where it is cut or its chunks cannot be read.
func (r *request) body(s *source) io.Reader {
	if r.length >= 0 {
		return &plain{s, r.length}
	}
	return &chunked{s: s}
}

type plain struct {
	s    io.Reader
	left int64
}

func (p *plain) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n, err := p.s.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	if p.left > 0 && err != nil {
		return n, cut(err)
	}
	return n, nil
}

// A chunked body is read as RFC 9112 section 7.1 has it, without extensions and
// trailers, which some programs read and others do not.
type chunked struct {
	s     *source
	left  uint64
	begun bool
	done  bool
}

func (c *chunked) Read(b []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if c.left == 0 {
		if c.begun {
			if line, err := c.s.line(0); err != nil || line != "" {
				return 0, chunkError(err)
			}
		}
		line, err := c.s.line(chunkLine)
		if err != nil {
			return 0, chunkError(err)
		}
		if c.left, err = strconv.ParseUint(line, 16, 32); err != nil || line == "" {
			return 0, unclear("a chunk's size is no plain number, or has an extension")
		}
		c.begun = true
		c.s.raw = nil // it stands in left
		if c.left == 0 {
			if line, err := c.s.line(maxHead); err != nil {
				return 0, chunkError(err)
			} else if line != "" {
				return 0, unclear("there are fields behind the body")
			}
			c.done = true
			return 0, io.EOF
		}
	}
	n, err := c.s.Read(b[:min(uint64(len(b)), c.left)])
	c.left -= uint64(n)
	if err != nil {
		return n, cut(err)
	}
	return n, nil
}

func chunkError(err error) error {
	var r *refusal
	if err == nil || errors.As(err, &r) {
		return unclear("the chunks of the body do not follow each other")
	}
	return err
}

// head is the request as it goes to the other side: what was understood, and
// nothing else.
func (r *request) head(host string, length int64, also ...string) []byte {
	var b bytes.Buffer
	b.WriteString(r.method + " " + r.path)
	if r.asked {
		b.WriteString("?" + r.query)
	}
	b.WriteString(" HTTP/1.1\r\nHost: " + host + "\r\n")
	for _, f := range r.fields {
		name := strings.ToLower(f.name)
		skip := hop[name]
		for _, a := range also {
			skip = skip || a == name
		}
		if !skip {
			b.WriteString(f.name + ": " + f.value + "\r\n")
		}
	}
	switch {
	case length < 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case length > 0 || r.method == "POST" || r.method == "PUT" || r.method == "PATCH":
		b.WriteString("Content-Length: " + strconv.FormatInt(length, 10) + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
