// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/wire"
)

func ExampleXML() {
	var x wire.XML
	x.Reset("demo", []byte(`<m:pump xmlns:m="urn:ward" bed="3"><m:model>Flow 500</m:model></m:pump>`))
	for x.Next() {
		if x.Kind() == wire.XMLStart && x.Is("urn:ward", "model") {
			fmt.Printf("%s\n", x.Content())
		}
	}
	fmt.Println(x.Err())
	// Output:
	// Flow 500
	// <nil>
}

// tokens writes what the reader says, one token a word.
func tokens(doc string) (string, error) {
	var x wire.XML
	x.Reset("t", []byte(doc))
	var s strings.Builder
	for x.Next() {
		switch x.Kind() {
		case wire.XMLStart:
			fmt.Fprintf(&s, "<{%s}%s>", x.Space(), x.Local())
		case wire.XMLEnd:
			fmt.Fprintf(&s, "</{%s}%s>", x.Space(), x.Local())
		case wire.XMLText:
			t := x.Text()
			if !x.Raw() {
				t = wire.AppendXMLText(nil, t)
			}
			s.Write(t)
		}
	}
	return s.String(), x.Err()
}

func TestXML(t *testing.T) {
	for _, tt := range []struct{ doc, want string }{
		{`<a/>`, `<{}a></{}a>`},
		{"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\n<a></a>\n", `<{}a></{}a>`},
		{`<a><!-- <b> --><?p <c>?>x</a>`, `<{}a>x</{}a>`},
		{`<a><![CDATA[<b>&amp;]]></a>`, `<{}a><b>&amp;</{}a>`},
		{`<a>&lt;&#65;&#x42;&quot;&apos;&gt;&amp;</a>`, `<{}a><AB"'>&</{}a>`},
		// Namespaces in XML 1.0 section 6.2: the default applies to elements
		// inside, until it is declared again.
		{`<a xmlns="u"><b xmlns=""><c/></b><d/></a>`, `<{u}a><{}b><{}c></{}c></{}b><{u}d></{u}d></{u}a>`},
		{`<p:a xmlns:p='u'><p:b xmlns:p="v"/><p:c/></p:a>`, `<{u}a><{v}b></{v}b><{u}c></{u}c></{u}a>`},
		{`<xml:a/>`, `<{http://www.w3.org/XML/1998/namespace}a></{http://www.w3.org/XML/1998/namespace}a>`},
		{"<a \n b = '1'\tc=\"2\" />", `<{}a></{}a>`},
		{`<a></a  >`, `<{}a></{}a>`},
	} {
		got, err := tokens(tt.doc)
		if got != tt.want || err != nil {
			t.Errorf("%s\n got %s, %v\nwant %s", tt.doc, got, err, tt.want)
		}
	}
}

func TestXMLRefused(t *testing.T) {
	for _, tt := range []struct {
		doc  string
		want error
	}{
		{``, wire.ErrTruncated},
		{` `, wire.ErrTruncated},
		{`<`, wire.ErrTruncated},
		{`<a`, wire.ErrTruncated},
		{`<a>`, wire.ErrTruncated},
		{`<a b`, wire.ErrTruncated},
		{`<a b="`, wire.ErrTruncated},
		{`<a>text`, wire.ErrTruncated},
		{`<a></a`, wire.ErrTruncated},
		{`<!--`, wire.ErrTruncated},
		{`<!-`, wire.ErrTruncated},
		{`<a><![CDATA[ ]]`, wire.ErrTruncated},
		{`<a><![CD`, wire.ErrTruncated},
		{`<?xml`, wire.ErrTruncated},
		{`x`, wire.ErrTrailing},
		{`<a/>x`, wire.ErrTrailing},
		{`<a/><b/>`, wire.ErrTrailing},
		{`</a>`, wire.ErrInvalid},
		{`<a></b>`, wire.ErrInvalid},
		{`<a></a b="">`, wire.ErrInvalid},
		{`<a b/>`, wire.ErrInvalid},
		{`<a b=c/>`, wire.ErrInvalid},
		{`<a b="1"c="2"/>`, wire.ErrInvalid},
		{`<a b="1" b="2"/>`, wire.ErrInvalid},
		{`<a b="<"/>`, wire.ErrInvalid},
		{`<a / >`, wire.ErrInvalid},
		{`< a/>`, wire.ErrInvalid},
		{`<p:a/>`, wire.ErrInvalid},
		{`<a p:b=""/>`, wire.ErrInvalid},
		{`<a xmlns:p="u"/><p:b/>`, wire.ErrTrailing},
		{`<a><b xmlns:p="u"/><p:c/></a>`, wire.ErrInvalid},
		{`<![CDATA[x]]><a/>`, wire.ErrInvalid},
		{`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, wire.ErrInvalid},
		{`<a><!ELEMENT a ANY></a>`, wire.ErrInvalid},
	} {
		got, err := tokens(tt.doc)
		var syntax *wire.SyntaxError
		if !errors.Is(err, tt.want) || !errors.As(err, &syntax) || syntax.Off > len(tt.doc) {
			t.Errorf("%q: got %s, %v, want %v", tt.doc, got, err, tt.want)
		}
	}
}

func TestXMLBounds(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	list := func(n int, format string) string {
		var s strings.Builder
		s.WriteString("<a")
		for i := range n {
			fmt.Fprintf(&s, format, i)
		}
		s.WriteString("/>")
		return s.String()
	}
	for _, tt := range []struct {
		name string
		doc  func(int) string
		max  int
		want error
	}{
		{"depth", nest, wire.MaxXMLDepth, wire.ErrTooDeep},
		{"attributes", func(n int) string { return list(n, " a%d=''") }, wire.MaxXMLAttrs, wire.ErrTooLong},
		{"namespaces", func(n int) string { return list(n, " xmlns:a%d='u'") }, wire.MaxXMLNamespaces, wire.ErrTooLong},
	} {
		if _, err := tokens(tt.doc(tt.max)); err != nil {
			t.Errorf("%s: at the bound: %v", tt.name, err)
		}
		if _, err := tokens(tt.doc(tt.max + 1)); !errors.Is(err, tt.want) {
			t.Errorf("%s: one past the bound: %v, want %v", tt.name, err, tt.want)
		}
	}
	// Namespaces go out of scope with their element: any number may come one after another.
	if _, err := tokens("<a>" + strings.Repeat("<b xmlns:p='u'/>", 2*wire.MaxXMLNamespaces) + "</a>"); err != nil {
		t.Error(err)
	}
}

func TestXMLAttr(t *testing.T) {
	var x wire.XML
	x.Reset("t", []byte(`<a xmlns="u" xmlns:p="v" xmlns:q="v" b="1" p:b="2" c="" p:t="q:Type"><d/></a>`))
	x.Next()
	for _, tt := range []struct{ space, local, want string }{
		{"", "b", "1"}, {"v", "b", "2"}, {"", "c", ""}, {"u", "b", "-"}, {"", "d", "-"},
	} {
		got := x.Attr(tt.space, tt.local)
		if (got == nil) != (tt.want == "-") || got != nil && string(got) != tt.want {
			t.Errorf("Attr(%q, %q) = %q, want %q", tt.space, tt.local, got, tt.want)
		}
	}
	if space, local := x.Resolve(x.Attr("v", "t")); string(space) != "v" || string(local) != "Type" {
		t.Errorf("Resolve = %q, %q", space, local)
	}
	x.Next()
	if x.Attr("", "b") != nil {
		t.Error("the attributes of another element are seen")
	}
}

func TestXMLContentAndSkip(t *testing.T) {
	var x wire.XML
	x.Reset("t", []byte("<a><b> \n<c>no</c> yes <d/>no</b><e><f/></e><g/></a>"))
	x.Next()
	x.Next()
	if got := x.Content(); string(got) != "yes" || x.Depth() != 1 {
		t.Errorf("Content = %q at depth %d", got, x.Depth())
	}
	x.Next()
	x.Skip()
	if x.Depth() != 1 || !x.Next() || !x.Is("", "g") {
		t.Errorf("after Skip: %q at depth %d", x.Local(), x.Depth())
	}
	x.Skip() // <g/>
	if x.Depth() != 1 || !x.Next() || x.Kind() != wire.XMLEnd || x.Next() || x.Err() != nil {
		t.Errorf("at the end: %v", x.Err())
	}
}

func TestAppendXMLText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"a&b", "a&b"},
		{"&;", "&;"},
		{"&#;&#x;&#0;&#xD800;&#x110000;&#xFFFFFFFFF;&#99999999999;", "&#;&#x;&#0;&#xD800;&#x110000;&#xFFFFFFFFF;&#99999999999;"},
		{"&#x10FFFF;", "\U0010ffff"},
		{"&#000000000000000000065;", "&#000000000000000000065;"},
		{"&unknown;&lt", "&unknown;&lt"},
		{"&amp;lt;", "&lt;"}, // replaced once, never again
	} {
		if got := string(wire.AppendXMLText(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// What we accept, the standard library reads the same way.
func TestXMLAgainstStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := element(t, 4)
		got, err := tokens(doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		var want strings.Builder
		d := xml.NewDecoder(strings.NewReader(doc))
		for {
			tok, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", doc, err)
			}
			switch v := tok.(type) {
			case xml.StartElement:
				fmt.Fprintf(&want, "<{%s}%s>", v.Name.Space, v.Name.Local)
			case xml.EndElement:
				fmt.Fprintf(&want, "</{%s}%s>", v.Name.Space, v.Name.Local)
			case xml.CharData:
				want.Write(v)
			}
		}
		if got != want.String() {
			t.Fatalf("%s\n got %s\nwant %s", doc, got, want.String())
		}
	})
}

func element(t *rapid.T, depth int) string {
	name := rapid.SampledFrom([]string{"a", "b", "p:a", "q:b", "p:c"}).Draw(t, "name")
	var s strings.Builder
	fmt.Fprintf(&s, "<%s xmlns:p=%q xmlns:q='v'", name, rapid.SampledFrom([]string{"u", "w"}).Draw(t, "uri"))
	if rapid.Bool().Draw(t, "default") {
		s.WriteString(` xmlns = "d"`)
	}
	if rapid.Bool().Draw(t, "attribute") {
		s.WriteString("\n p:x='&lt;>'")
	}
	if rapid.Bool().Draw(t, "empty") {
		return s.String() + "/>"
	}
	s.WriteString(">")
	for range rapid.IntRange(0, 3).Draw(t, "children") {
		if depth > 0 && rapid.Bool().Draw(t, "nested") {
			s.WriteString(element(t, depth-1))
		} else {
			s.WriteString(rapid.SampledFrom([]string{"x", " ", "&amp;", "&#x41;", "<!-- <z> -->", "<?p ?>", "<![CDATA[<]]>"}).Draw(t, "text"))
		}
	}
	return s.String() + "</" + name + ">"
}

const soapSample = `<?xml version='1.0' encoding='UTF-8'?>
<s12:Envelope xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:s12="http://www.w3.org/2003/05/soap-envelope" xmlns:msg="http://standards.ieee.org/downloads/11073/11073-10207-2017/message"><s12:Header><wsa:To>http://10.20.3.31:6464/Get</wsa:To><wsa:Action>http://standards.ieee.org/downloads/11073/11073-20701-2018/GetService/GetMdib</wsa:Action><wsa:MessageID>urn:uuid:00000000-0000-4000-8000-000000000003</wsa:MessageID></s12:Header><s12:Body><msg:GetMdib/></s12:Body></s12:Envelope>`

func TestXMLAllocatesNothing(t *testing.T) {
	b := []byte(soapSample)
	var x wire.XML
	if n := testing.AllocsPerRun(100, func() {
		x.Reset("t", b)
		for x.Next() {
		}
	}); n != 0 || x.Err() != nil {
		t.Errorf("%v allocations, %v", n, x.Err())
	}
}

func BenchmarkXML(b *testing.B) {
	doc := []byte(soapSample)
	var x wire.XML
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		x.Reset("t", doc)
		for x.Next() {
		}
	}
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(soapSample))
	f.Add([]byte(`<a xmlns:p="u" p:b='1'><![CDATA[x]]>&#65;<p:c/></a>`))
	f.Add([]byte(`<!DOCTYPE a><a/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := tokens(string(b))
		second, again := tokens(string(b))
		if first != second || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatal("the same input was read in two ways")
		}
		var x wire.XML
		x.Reset("t", b)
		last := -1
		for x.Next() {
			if x.Off() < last || x.Depth() > wire.MaxXMLDepth {
				t.Fatalf("offset %d after %d, depth %d", x.Off(), last, x.Depth())
			}
			last = x.Off()
			if x.Kind() == wire.XMLText && !x.Raw() && !bytes.HasPrefix(b[x.Off():], x.Text()) {
				t.Fatal("text is not at its offset")
			}
		}
	})
}
