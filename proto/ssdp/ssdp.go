// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ssdp reads the datagrams by which UPnP devices announce and find each
// other: who they are and what kind of device.
//
// It implements the discovery messages of the UPnP Device Architecture 2.0
// (section 1: NOTIFY, M-SEARCH and the answer to it), whose form is that of HTTP.
//
// It leaves out the description that LOCATION points to, and events.
//
// The slices in a message alias what was parsed; nothing is allocated.
//
// This API is stable.
package ssdp

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// A Method is what kind of message it is.
type Method uint8

// The methods.
const (
	Notify   Method = iota // a device says that it is there, or leaves
	Search                 // somebody looks for devices
	Response               // a device answers a search
)

var startLines = [...]string{Notify: "NOTIFY * HTTP/1.", Search: "M-SEARCH * HTTP/1.", Response: "HTTP/1.1 200 "}

// A Message is one message. Fields that are absent are nil.
type Message struct {
	Method    Method
	Target    []byte // NT or ST: what it is about, "urn:schemas-upnp-org:device:MediaServer:1"
	USN       []byte // unique service name
	Server    []byte // SERVER, of a search USER-AGENT: system, UPnP version, product
	Subtype   []byte // NTS: "ssdp:alive", "ssdp:byebye"
	HasDetail bool   // LOCATION is there
}

// maxFields is how many header fields are read. UPnP has about ten.
const maxFields = 64

// Parse reads a message.
func Parse(b []byte) (m Message, err error) {
	c := wire.NewCursor("ssdp", b)
	line := readLine(&c)
	found := false
	for method, start := range startLines {
		if bytes.HasPrefix(line, []byte(start)) {
			m.Method, found = Method(method), true
		}
	}
	if !found {
		c.FailAt("start-line", 0, wire.ErrInvalid)
	}
	for range maxFields {
		at := c.Off()
		line = readLine(&c)
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			c.FailAt("field-line", at, wire.ErrInvalid)
			break
		}
		value = bytes.TrimSpace(value)
		value = value[:len(value):len(value)]
		switch {
		case is(name, "ST"), is(name, "NT"):
			m.Target = value
		case is(name, "USN"):
			m.USN = value
		case is(name, "SERVER"), is(name, "USER-AGENT"):
			m.Server = value
		case is(name, "NTS"):
			m.Subtype = value
		case is(name, "LOCATION"):
			m.HasDetail = len(value) > 0
		}
	}
	return m, c.Err()
}

// readLine reads a line without its end. The last may have none: devices forget it.
func readLine(c *wire.Cursor) []byte {
	rest := c.Peek(c.Len())
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		return c.Rest()
	}
	line := c.Bytes("line", n+1)
	return bytes.TrimSuffix(line[:n:n], []byte("\r"))
}

// is compares a field's name, whose case does not matter (RFC 9110 section 5.1).
func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// RecogniseDatagram tells whether b is a message.
func RecogniseDatagram(b []byte) wire.Match {
	for _, start := range startLines {
		if bytes.HasPrefix(b, []byte(start)) {
			return wire.SureMatch
		}
	}
	return wire.NoMatch
}

// DeviceType returns the type of a target or unique service name that is a
// device of the UPnP Forum or of a maker ("MediaServer"), or nil (section 1.2.2:
// "urn:domain:device:type:version").
func DeviceType(target []byte) []byte {
	i := bytes.Index(target, []byte("urn:"))
	if i < 0 {
		return nil
	}
	_, rest, ok := bytes.Cut(target[i:], []byte(":device:"))
	if !ok {
		return nil
	}
	kind, _, _ := bytes.Cut(rest, []byte(":"))
	return kind
}

// A Token is a product and its version (RFC 9110 section 10.1.5).
type Token struct{ Name, Version []byte }

// ParseServer splits a SERVER field into the system, and the product that
// stands behind the version of UPnP (section 1.2.2: "OS/version UPnP/2.0
// product/version"). Makers' spellings differ; what is not found is zero.
func ParseServer(server []byte) (system, product Token) {
	i := bytes.Index(server, []byte("UPnP/"))
	if i < 0 {
		return Token{}, Token{}
	}
	_, after, _ := bytes.Cut(server[i:], []byte(" "))
	return token(bytes.Trim(server[:i], " ,")), token(bytes.Trim(after, " ,"))
}

// token splits at the slash. The version ends at a space or comma; the name may hold spaces.
func token(b []byte) Token {
	name, version, _ := bytes.Cut(b, []byte("/"))
	if i := bytes.IndexAny(version, " ,;"); i >= 0 {
		version = version[:i:i]
	}
	return Token{name[:len(name):len(name)], version}
}

// windows has the kernel versions that Windows sends. "Microsoft-Windows-NT/5.1"
// is no proof of XP: later ones send it too.
var windows = []struct{ version, os string }{
	{"6.0", "Windows Vista"},
	{"6.1", "Windows 7"},
	{"6.2", "Windows 8"},
	{"6.3", "Windows 8.1"},
	{"10.0", "Windows 10 or newer"},
}

// OS returns the operating system that a system's token means, or "" when it
// says nothing definite.
func (t Token) OS() string {
	switch {
	case bytes.Equal(t.Name, []byte("Microsoft-Windows")):
		for _, w := range windows {
			if string(t.Version) == w.version {
				return w.os
			}
		}
		return "Windows"
	case bytes.HasPrefix(t.Name, []byte("Microsoft-Windows")), bytes.Equal(t.Name, []byte("Windows")):
		return "Windows"
	}
	for _, name := range [...]string{"Linux", "VxWorks", "FreeBSD", "Darwin", "ThreadX", "QNX"} {
		if bytes.EqualFold(t.Name, []byte(name)) {
			return name
		}
	}
	return ""
}
