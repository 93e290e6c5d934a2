// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/proto/http"
	"github.com/myelin-health/myelin/wire"
)

func ExampleHead_Parse() {
	// RFC 9112 section 2.1 shows the form; the ward's own monitor is asked.
	b := []byte("GET /Get HTTP/1.1\r\nHost: 10.20.3.31\r\nUser-Agent: demo\r\n\r\n")
	var h http.Head
	n, err := h.Parse(b)
	fmt.Printf("%s %s %s %d %v\n", h.Method, h.Target, h.Get("host"), n, err)
	// Output: GET /Get 10.20.3.31 57 <nil>
}

func ExampleBody() {
	var h http.Head
	b := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nFlow\r\n4;a=b\r\n 500\r\n0\r\n\r\n")
	n, _ := h.Parse(b)
	f, length, _ := h.Framing(http.OtherMethod)
	body := http.NewBody(f, length)
	for b = b[n:]; !body.Done(); {
		data, n, err := body.Next(b)
		if err != nil || n == 0 {
			break
		}
		fmt.Printf("%s", data)
		b = b[n:]
	}
	// Output: Flow 500
}

func head(t *testing.T, s string) (*http.Head, int) {
	t.Helper()
	var h http.Head
	n, err := h.Parse([]byte(s))
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return &h, n
}

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		in             string
		method, target string
		minor          int
		quirks         http.Quirks
	}{
		// RFC 9112 sections 3.2.1 to 3.2.4: the four forms of a target.
		{"GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "GET", "/where?q=now", 1, 0},
		{"GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\n\r\n", "GET", "http://www.example.org/pub/WWW/TheProject.html", 1, 0},
		{"CONNECT www.example.com:80 HTTP/1.1\r\n\r\n", "CONNECT", "www.example.com:80", 1, 0},
		{"OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS", "*", 1, 0},
		{"GET / HTTP/1.0\n\n", "GET", "/", 0, http.BareLF},
		{"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET", "/", 1, http.LeadingLines},
		{"GET  /a b HTTP/1.1\r\n\r\n", "GET", "/a b", 1, http.SpacedLine},
		{"GET / HTTP/1.1\r\nA : b\r\n\r\n", "GET", "/", 1, http.SpacedColon},
		{"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "GET", "/", 1, http.FoldedField},
		{"GET / HTTP/1.1\r\n folded onto nothing\r\n\r\n", "GET", "/", 1, http.FoldedField},
		{"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "GET", "/", 1, http.BareCR},
	} {
		h, n := head(t, tt.in)
		if !h.Request || string(h.Method) != tt.method || string(h.Target) != tt.target || h.Minor != tt.minor || h.Quirks != tt.quirks || n != len(tt.in) {
			t.Errorf("%q: %s %s 1.%d %b, %d bytes", tt.in, h.Method, h.Target, h.Minor, h.Quirks, n)
		}
	}
}

func TestParseResponse(t *testing.T) {
	for _, tt := range []struct {
		in     string
		status int
		reason string
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", 200, "OK"},
		{"HTTP/1.1 200 \r\n\r\n", 200, ""},
		{"HTTP/1.0 404\r\n\r\n", 404, ""},
		{"HTTP/1.1 599 what is this\r\n\r\n", 599, "what is this"},
	} {
		h, n := head(t, tt.in)
		if h.Request || h.Status != tt.status || string(h.Reason) != tt.reason || n != len(tt.in) {
			t.Errorf("%q: %d %q, %d bytes", tt.in, h.Status, h.Reason, n)
		}
	}
}

func TestParseRefused(t *testing.T) {
	for _, tt := range []struct {
		in    string
		field string
		off   int
		err   error
	}{
		{"", "start-line", 0, wire.ErrTruncated},
		{"GET / HTTP/1.1\r\n", "field-line", 16, wire.ErrTruncated},
		{"GET / HTTP/1.1\r\nHost: a", "field-line", 23, wire.ErrTruncated},
		{"GET /\r\n\r\n", "HTTP-version", 4, wire.ErrInvalid},
		{"GET / HTTP/1.1 \r\n\r\n", "HTTP-version", 15, wire.ErrInvalid},
		{"GET / HTTP/2.0\r\n\r\n", "HTTP-version", 6, wire.ErrInvalid},
		{"GET / http/1.1\r\n\r\n", "HTTP-version", 6, wire.ErrInvalid},
		{"GET  HTTP/1.1\r\n\r\n", "request-target", 4, wire.ErrInvalid},
		{"G(T / HTTP/1.1\r\n\r\n", "method", 0, wire.ErrInvalid},
		{"GET\r\n\r\n", "method", 0, wire.ErrInvalid},
		{"HTTP/1.1 20 OK\r\n\r\n", "status-code", 9, wire.ErrInvalid},
		{"HTTP/1.1 2000 OK\r\n\r\n", "status-code", 9, wire.ErrInvalid},
		{"HTTP/1.1 020 OK\r\n\r\n", "status-code", 9, wire.ErrInvalid},
		{"HTTP/3 200 OK\r\n\r\n", "HTTP-version", 0, wire.ErrInvalid},
		{"GET / HTTP/1.1\r\nno colon\r\n\r\n", "field-line", 16, wire.ErrInvalid},
		{"GET / HTTP/1.1\r\n: no name\r\n\r\n", "field-name", 16, wire.ErrInvalid},
		{"GET / HTTP/1.1\r\na(b: c\r\n\r\n", "field-name", 16, wire.ErrInvalid},
	} {
		var h http.Head
		_, err := h.Parse([]byte(tt.in))
		var s *wire.SyntaxError
		if !errors.As(err, &s) || s.Field != tt.field || !errors.Is(err, tt.err) || s.Off != tt.off {
			t.Errorf("%q: %v, want %s at byte %d: %v", tt.in, err, tt.field, tt.off, tt.err)
		}
	}
}

func TestParseBounds(t *testing.T) {
	fields := func(n int) string { return "GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", n) + "\r\n" }
	if h, _ := head(t, fields(http.MaxFields)); h.Len() != http.MaxFields {
		t.Errorf("%d fields", h.Len())
	}
	var h http.Head
	if _, err := h.Parse([]byte(fields(http.MaxFields + 1))); !errors.Is(err, wire.ErrTooLong) {
		t.Error(err)
	}
	long := func(n int) string { // a head of exactly n bytes
		const before, after = "GET / HTTP/1.1\r\na: ", "\r\n\r\n"
		return before + strings.Repeat("x", n-len(before)-len(after)) + after
	}
	if _, err := h.Parse([]byte(long(http.MaxHeadBytes - 1))); err != nil {
		t.Error(err)
	}
	if _, err := h.Parse([]byte(long(http.MaxHeadBytes))); !errors.Is(err, wire.ErrTooLong) {
		t.Error(err)
	}
	if _, err := h.Parse([]byte(long(http.MaxHeadBytes + 1))[:http.MaxHeadBytes-1]); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
}

func TestFields(t *testing.T) {
	h, _ := head(t, "GET / HTTP/1.1\r\nHost: \t a \t\r\nEmpty:\r\nX: 1\r\n\t2 \r\nX: 3\r\nLate:\r\n  x\r\n\r\n")
	for _, tt := range []struct{ name, want string }{{"HOST", "a"}, {"empty", ""}, {"x", "1\r\n\t2"}, {"late", "x"}} {
		if got := h.Get(tt.name); got == nil || string(got) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if h.Get("none") != nil {
		t.Error("a field that is not there")
	}
	if f := h.Field(3); string(f.Name) != "X" || string(f.Value) != "3" {
		t.Errorf("the second X: %s", f.Value)
	}
}

func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int
	}{
		{"", -1}, {"a\r\n", -1}, {"a\r\n\r", -1}, {"a\r\n\r\nbody", 5}, {"a\n\nbody", 3}, {"a\n\r\n", 4}, {"a\r\n\n", 4}, {"a\r\nb\r\n\r\n", 8},
	} {
		for from := 0; from <= len(tt.in); from++ {
			if tt.want >= 0 && from >= tt.want {
				break
			}
			if got := http.End([]byte(tt.in), from); got != tt.want {
				t.Errorf("%q from %d: %d, want %d", tt.in, from, got, tt.want)
			}
		}
	}
}

// RFC 9112 section 6.3, rule by rule, and the ways to make two servers
// disagree about it.
func TestFraming(t *testing.T) {
	const post, ok = "POST / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		in     string
		to     http.Request
		want   http.Framing
		length int64
		quirks http.Quirks
		bad    bool
	}{
		{in: "GET / HTTP/1.1\r\n", want: http.NoBody},
		{in: post + "Content-Length: 5\r\n", want: http.Sized, length: 5},
		{in: post + "Content-Length: 0\r\n", want: http.NoBody},
		{in: post + "Transfer-Encoding: chunked\r\n", want: http.Chunked},
		{in: post + "Transfer-Encoding: gzip, chunked\r\n", want: http.Chunked},
		{in: post + "Transfer-Encoding: gzip\r\nTransfer-Encoding: Chunked\r\n", want: http.Chunked},
		{in: ok, want: http.UntilClose},
		{in: ok + "Content-Length: 7\r\n", want: http.Sized, length: 7},
		{in: ok + "Content-Length: 7\r\n", to: http.HEAD, want: http.NoBody},
		{in: ok, to: http.HEAD, want: http.NoBody},
		{in: ok + "Content-Length: 7\r\n", to: http.CONNECT, want: http.Tunnel},
		{in: "HTTP/1.1 404 No\r\nContent-Length: 7\r\n", to: http.CONNECT, want: http.Sized, length: 7},
		{in: "HTTP/1.1 100 Continue\r\n", want: http.NoBody},
		{in: "HTTP/1.1 101 Switching Protocols\r\n", want: http.Tunnel},
		{in: "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n", want: http.NoBody},
		{in: "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n", want: http.NoBody},
		{in: ok + "Transfer-Encoding: chunked\r\n", want: http.Chunked},
		{in: ok + "Transfer-Encoding: gzip\r\n", want: http.UntilClose, quirks: http.CodingNotFinal},

		{in: post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", want: http.Chunked, quirks: http.LengthAndCoding},
		{in: post + "Content-Length: 5\r\nContent-Length: 6\r\n", quirks: http.LengthConflict, bad: true},
		{in: post + "Content-Length: 5, 6\r\n", quirks: http.LengthConflict, bad: true},
		{in: post + "Content-Length: 5\r\nContent-Length: 5\r\n", want: http.Sized, length: 5, quirks: http.LengthRepeated},
		{in: post + "Content-Length: 5, 5\r\n", want: http.Sized, length: 5, quirks: http.LengthRepeated},
		{in: post + "Content-Length: +5\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length: -5\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length: 0x5\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length: 5 5\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length: 5_0\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length:\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length: 9223372036854775808\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Content-Length: 99999999999999999999999\r\n", quirks: http.LengthInvalid, bad: true},
		{in: ok + "Content-Length: x\r\n", quirks: http.LengthInvalid, bad: true},
		{in: post + "Transfer-Encoding: chunked, identity\r\n", want: http.Chunked, quirks: http.CodingUnknown},
		{in: post + "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", want: http.Sized, length: 5, quirks: http.CodingUnknown},
		{in: post + "Transfer-Encoding: xchunked\r\n", quirks: http.CodingUnknown | http.CodingNotFinal, bad: true},
		{in: post + "Transfer-Encoding: \vchunked\r\nContent-Length: 5\r\n", quirks: http.CodingUnknown | http.CodingNotFinal | http.LengthAndCoding, bad: true},
		{in: post + "Transfer-Encoding: chunked, gzip\r\n", quirks: http.CodingNotFinal, bad: true},
		{in: post + "Transfer-Encoding: chunked, chunked\r\n", want: http.Chunked, quirks: http.CodingNotFinal},
		{in: post + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", want: http.Chunked, quirks: http.SpacedColon | http.LengthAndCoding},
		{in: "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", want: http.Chunked, quirks: http.CodingInOldVersion},
	} {
		h, _ := head(t, tt.in+"\r\n")
		got, length, err := h.Framing(tt.to)
		if got != tt.want || length != tt.length || (err != nil) != tt.bad || h.Quirks != tt.quirks {
			t.Errorf("%q: %d, %d bytes, quirks %b, %v", tt.in, got, length, h.Quirks, err)
		}
	}
}

// collect reads a body from pieces of the given size and returns its content
// and how many bytes it took.
func collect(f http.Framing, length int64, b []byte, piece int) (string, int, error) {
	body := http.NewBody(f, length)
	var out []byte
	taken, have := 0, 0
	for !body.Done() { // each turn takes something or has more
		data, n, err := body.Next(b[taken:have])
		out = append(out, data...)
		taken += n
		if err != nil {
			return string(out), taken, err
		}
		if n == 0 && taken == have || len(data) == 0 && n == 0 {
			if have == len(b) {
				break
			}
			have = min(len(b), have+piece)
		}
	}
	if !body.Done() {
		return string(out), taken, wire.ErrTruncated
	}
	return string(out), taken, nil
}

func TestChunked(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		rest     int
		err      error
	}{
		{"4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n", "Wikipedia", 0, nil},
		{"a\r\n0123456789\r\n0\r\n\r\nGET", "0123456789", 3, nil},
		{"A;ext=1;b=\"c\"\r\n0123456789\r\n0;last\r\nTrailer: x\r\nB: y\r\n\r\n", "0123456789", 0, nil},
		{"1 \r\nx\r\n000\r\n\r\n", "x", 0, nil},
		{"1\nx\n0\n\n", "x", 0, nil},
		{"0\r\n\r\n", "", 0, nil},
		{"4\r\nWi", "Wi", 0, wire.ErrTruncated},
		{"4\r\nWiki", "Wiki", 0, wire.ErrTruncated},
		{"0\r\n", "", 0, wire.ErrTruncated},
		{"4\r\nWikipedia\r\n", "Wiki", 7, wire.ErrTrailing},
		{"\r\n", "", 0, wire.ErrInvalid},
		{"g\r\n", "", 0, wire.ErrInvalid},
		{"-1\r\n", "", 0, wire.ErrInvalid},
		{"0x1\r\n", "", 0, wire.ErrInvalid},
		{"1x\r\n", "", 0, wire.ErrInvalid},
		{";a\r\n", "", 0, wire.ErrInvalid},
		{"8000000000000000\r\n", "", 0, wire.ErrInvalid},
		{"fffffffffffffffff\r\n", "", 0, wire.ErrInvalid},
	} {
		for piece := 1; piece <= len(tt.in); piece++ {
			got, n, err := collect(http.Chunked, 0, []byte(tt.in), piece)
			if got != tt.want || !errors.Is(err, tt.err) || err == nil && n != len(tt.in)-tt.rest {
				t.Fatalf("%q in pieces of %d: %q, %d bytes, %v", tt.in, piece, got, n, err)
			}
		}
	}
}

func TestChunkedBounds(t *testing.T) {
	line := func(n int) string { return "1;" + strings.Repeat("x", n-2) }
	if _, _, err := collect(http.Chunked, 0, []byte(line(4096)), 1<<20); err != wire.ErrTruncated {
		t.Errorf("a line as long as the bound: %v", err)
	}
	if _, _, err := collect(http.Chunked, 0, []byte(line(4097)), 1<<20); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("a line longer than the bound: %v", err)
	}
	trailers := "0\r\n" + strings.Repeat("a: b\r\n", http.MaxHeadBytes/6+1)
	if _, _, err := collect(http.Chunked, 0, []byte(trailers), 1<<20); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("trailers without end: %v", err)
	}
}

func TestSkip(t *testing.T) {
	body := http.NewBody(http.Sized, 2<<30)
	data, n, err := body.Next([]byte("abc"))
	if string(data) != "abc" || n != 3 || err != nil || body.Ahead() != 2<<30-3 {
		t.Errorf("%q, %d, %v, %d ahead", data, n, err, body.Ahead())
	}
	if body.Advance(body.Ahead()); !body.Done() {
		t.Error("not done after everything went by")
	}
	body = http.NewBody(http.Chunked, 0)
	body.Next([]byte("ff\r\n"))
	if body.Ahead() != 255 {
		t.Errorf("%d ahead", body.Ahead())
	}
	body.Advance(255)
	if data, n, err := body.Next([]byte("\r\n1\r\nx")); string(data) != "x" || n != 6 || err != nil {
		t.Errorf("after the skip: %q, %d, %v", data, n, err)
	}
	if body := http.NewBody(http.NoBody, 0); !body.Done() {
		t.Error("no body, and yet not done")
	}
}

func TestRecognise(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		in   string
		want wire.Match
	}{
		{"", wire.NeedMore},
		{"G", wire.NeedMore},
		{"GET", wire.NeedMore},
		{"GET ", wire.NeedMore},
		{"GET /", wire.NeedMore},
		{"GET / HTTP/1.1\r\n", wire.SureMatch},
		{"\r\nGET / HTTP/1.1\r\n", wire.SureMatch},
		{"GET /" + long, wire.SureMatch},
		{"POST http://a/" + long, wire.SureMatch},
		{"GET /old\r\n", wire.WeakMatch},
		{"BREW /pot HTTP/1.0\r\n", wire.SureMatch},
		{"BREW /pot", wire.NoMatch},
		{"H", wire.NeedMore},
		{"HEAD / HTTP/1.1\r\n", wire.SureMatch},
		{"HTTP/1", wire.NeedMore},
		{"HTTP/1.1 200", wire.SureMatch},
		{"HTTP/1.1 2x0", wire.NoMatch},
		{"HTTP/2.0 200", wire.NoMatch},
		{"PRI * HT", wire.NeedMore},
		{http.Preface, wire.SureMatch},
		{"OPTIONS sip:a@b SIP/2.0\r\n", wire.NoMatch},
		{"OPTIONS rtsp://a RTSP/1.0\r\n", wire.NoMatch},
		{"GET \x00", wire.NoMatch},
		{"GETX", wire.NoMatch},
		{"MSH|^~\\&|", wire.NoMatch},
		{"SSH-2.0-x\r\n", wire.NoMatch},
		{"\x16\x03\x01", wire.NoMatch},
		{"USER jon HTTP/1.1", wire.NoMatch},
	} {
		if got := http.Recognise([]byte(tt.in)); got != tt.want {
			t.Errorf("%.40q: %d, want %d", tt.in, got, tt.want)
		}
	}
}

// What the standard library accepts as it writes it, we read the same way.
func TestAgainstStandardLibrary(t *testing.T) {
	token := rapid.StringMatching(`[A-Za-z!#$%&'*+.^_|~0-9-]{1,12}`)
	value := rapid.StringMatching(`[!-~]([ -~\t]{0,20}[!-~])?`)
	rapid.Check(t, func(t *rapid.T) {
		var s strings.Builder
		request := rapid.Bool().Draw(t, "request")
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT"}).Draw(t, "method")
		status := rapid.SampledFrom([]int{200, 204, 304, 404, 500}).Draw(t, "status")
		if request {
			fmt.Fprintf(&s, "%s /%s HTTP/1.1\r\nHost: ward\r\n", method, rapid.StringMatching(`[a-z0-9/]{0,20}`).Draw(t, "target"))
		} else {
			fmt.Fprintf(&s, "HTTP/1.1 %d %s\r\n", status, rapid.StringMatching(`[A-Za-z ]{0,10}`).Draw(t, "reason"))
		}
		type field struct{ name, value string }
		var fields []field
		for range rapid.IntRange(0, 8).Draw(t, "fields") {
			f := field{"X-" + token.Draw(t, "name"), value.Draw(t, "value")}
			fields = append(fields, f)
			fmt.Fprintf(&s, "%s:%s%s\r\n", f.name, rapid.SampledFrom([]string{"", " ", "\t "}).Draw(t, "space"), f.value)
		}
		content := rapid.StringN(0, 40, 60).Draw(t, "content")
		switch rapid.IntRange(0, 2).Draw(t, "framing") {
		case 0:
			fmt.Fprintf(&s, "Content-Length: %d\r\n\r\n%s", len(content), content)
		case 1:
			s.WriteString("Transfer-Encoding: chunked\r\n\r\n")
			for rest := content; ; { // each turn writes a chunk
				n := min(len(rest), rapid.IntRange(1, 20).Draw(t, "chunk"))
				fmt.Fprintf(&s, "%x\r\n%s\r\n", n, rest[:n])
				if n == 0 {
					break
				}
				rest = rest[n:]
			}
		default:
			s.WriteString("\r\n" + content)
		}

		to := http.OtherMethod
		var std nethttp.Header
		var body io.Reader
		r := bufio.NewReader(strings.NewReader(s.String()))
		if request {
			q, err := nethttp.ReadRequest(r)
			if err != nil {
				t.Skip(err)
			}
			std, body = q.Header, q.Body
		} else {
			if method == "HEAD" {
				to = http.HEAD
			}
			p, err := nethttp.ReadResponse(r, &nethttp.Request{Method: method})
			if err != nil {
				t.Skip(err)
			}
			std, body = p.Header, p.Body
		}
		want, err := io.ReadAll(body)
		if err != nil {
			t.Skip(err)
		}

		var h http.Head
		b := []byte(s.String())
		n, err := h.Parse(b)
		if err != nil || http.End(b, 0) != n {
			t.Fatalf("%q: %v", b, err)
		}
		for _, f := range fields {
			first := std.Get(f.name)
			if got := string(h.Get(f.name)); got != first {
				t.Fatalf("%s: %q, want %q", f.name, got, first)
			}
		}
		framing, length, err := h.Framing(to)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := collect(framing, length, b[n:], rapid.IntRange(1, 50).Draw(t, "piece"))
		if framing == http.UntilClose {
			err = nil // the end of the input is the end of the connection
		}
		if got != string(want) || err != nil {
			t.Fatalf("%q: body %q, want %q, %v", b, got, want, err)
		}
	})
}

func TestAllocations(t *testing.T) {
	b := []byte(request)
	var h http.Head
	if n := testing.AllocsPerRun(100, func() {
		k, err := h.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		f, length, _ := h.Framing(http.OtherMethod)
		body := http.NewBody(f, length)
		body.Next(b[k:])
		h.Credentials()
		h.OS()
		h.Exploit()
		http.ExploitInBody(b[k:])
		http.Recognise(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const request = "POST /fhir/Observation?_format=json HTTP/1.1\r\nHost: 10.20.1.5:8080\r\nUser-Agent: Mozilla/5.0 (Windows NT 6.1; Win64; x64) demo\r\n" +
	"Accept: application/fhir+json\r\nAccept-Encoding: gzip, deflate\r\nContent-Type: application/fhir+json; charset=utf-8\r\nAuthorization: Basic am9uOmludmVudGVk\r\nContent-Length: 22\r\nConnection: keep-alive\r\n\r\n" +
	"{\"text\":\"${costs} $4\"}"

func BenchmarkHead(b *testing.B) {
	in := []byte(request)
	var h http.Head
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		h.Parse(in)
		h.Framing(http.OtherMethod)
	}
}

func BenchmarkExploit(b *testing.B) {
	var h http.Head
	h.Parse([]byte(request))
	for b.Loop() {
		h.Exploit()
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte(request))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip,\tchunked\r\nContent-Length: 5,5\r\nA :\r\n b\r\n\r\n"))
	f.Add([]byte("GET /%24%7b${${lower:j}ndi:x} HTTP/1.1\nA: () {\n\n"))
	f.Add([]byte(http.Preface))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again http.Head
		n, err := h.Parse(b)
		m, same := again.Parse(bytes.Clone(b))
		if n != m || fmt.Sprint(err) != fmt.Sprint(same) {
			t.Fatal("the same input was read in two ways")
		}
		if n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		if err == nil && n != len(b) { // what follows the head does not change it
			if k, err := again.Parse(b[:n]); k != n || err != nil {
				t.Fatalf("%d, %v", k, err)
			}
		}
		for i := range h.Len() {
			field := h.Field(i)
			if !bytes.Contains(b, field.Name) || !bytes.Contains(b, field.Value) || cap(field.Value) != len(field.Value) {
				t.Fatal("a field is not a part of the input")
			}
		}
		h.Framing(http.HEAD)
		h.Framing(http.OtherMethod)
		h.Credentials()
		h.Exploit()
		h.OS()
		http.Recognise(b)
	})
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\nA: b\r\n\r\n"), 1)
	f.Add([]byte("1\nx\n0\n\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if piece <= 0 || len(b) > 1<<16 {
			return
		}
		whole, n, err := collect(http.Chunked, 0, b, max(1, len(b)))
		parts, m, err2 := collect(http.Chunked, 0, b, piece)
		if whole != parts || err == nil && n != m || (err == nil) != (err2 == nil) {
			t.Fatalf("whole %q %d %v, in pieces of %d %q %d %v", whole, n, err, piece, parts, m, err2)
		}
	})
}
