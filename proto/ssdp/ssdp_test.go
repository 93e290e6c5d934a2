// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ssdp_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/proto/ssdp"
	"github.com/myelin-health/myelin/wire"
)

const notify = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\n" +
	"LOCATION: http://10.20.3.31:80/d.xml\r\nNT: urn:schemas-upnp-org:device:MediaServer:1\r\nNTS: ssdp:alive\r\n" +
	"SERVER: Linux/4.4 UPnP/1.0 Veltis M9/5.0\r\nusn:uuid:1::urn:schemas-upnp-org:device:MediaServer:1\r\n\r\n"

func ExampleParse() {
	m, err := ssdp.Parse([]byte(notify))
	system, product := ssdp.ParseServer(m.Server)
	fmt.Printf("%s; %s; %s %s; %v\n", ssdp.DeviceType(m.Target), system.OS(), product.Name, product.Version, err)
	// Output: MediaServer; Linux; Veltis M9 5.0; <nil>
}

func TestParse(t *testing.T) {
	m, err := ssdp.Parse([]byte(notify))
	if err != nil || m.Method != ssdp.Notify || string(m.Subtype) != "ssdp:alive" || !m.HasDetail || len(m.USN) == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, in := range []string{
		"M-SEARCH * HTTP/1.1\r\nST:ssdp:all\r\n\r\n",
		"M-SEARCH * HTTP/1.1\nST: ssdp:all\n\n", // bare line feeds
		"M-SEARCH * HTTP/1.1\r\nST: ssdp:all",   // no end
		"M-SEARCH * HTTP/1.0\r\nst:  ssdp:all \r\nX: y\r\n\r\nbody: x",
	} {
		m, err := ssdp.Parse([]byte(in))
		if err != nil || m.Method != ssdp.Search || string(m.Target) != "ssdp:all" {
			t.Errorf("%q: %+v, %v", in, m, err)
		}
	}
	tests := []struct{ in, field string }{
		{"", "start-line"},
		{"GET / HTTP/1.1\r\n\r\n", "start-line"},
		{"HTTP/1.1 404 Not Found\r\n\r\n", "start-line"},
		{"NOTIFY / HTTP/1.1\r\n\r\n", "start-line"},
		{"NOTIFY * HTTP/1.1\r\nno colon\r\n\r\n", "field-line"},
	}
	for _, tt := range tests {
		_, err := ssdp.Parse([]byte(tt.in))
		var se *wire.SyntaxError
		if !errors.As(err, &se) || se.Field != tt.field || se.Err != wire.ErrInvalid {
			t.Errorf("%q: %v, want %s", tt.in, err, tt.field)
		}
		if m := ssdp.RecogniseDatagram([]byte(tt.in)); tt.field == "start-line" && m != wire.NoMatch {
			t.Errorf("%q is recognised", tt.in)
		}
	}
	if ssdp.RecogniseDatagram([]byte(notify)) != wire.SureMatch || ssdp.RecogniseDatagram([]byte("HTTP/1.1 200 OK\r\n")) != wire.SureMatch {
		t.Error("a message is not recognised")
	}
	// The field after the last that is read is not.
	for n, want := range map[int]string{63: "x", 64: ""} {
		m, err := ssdp.Parse([]byte("NOTIFY * HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", n) + "NT: x\r\n\r\n"))
		if string(m.Target) != want || err != nil {
			t.Errorf("after %d fields: %q, %v", n, m.Target, err)
		}
	}
}

func TestServer(t *testing.T) {
	tests := []struct{ in, os, product, version string }{
		{"Microsoft-Windows/6.1 UPnP/1.0 UPnP-Device-Host/1.0", "Windows 7", "UPnP-Device-Host", "1.0"},
		{"Microsoft-Windows/10.0 UPnP/1.0 UPnP-Device-Host/1.0", "Windows 10 or newer", "UPnP-Device-Host", "1.0"},
		{"Microsoft-Windows-NT/5.1 UPnP/1.0 UPnP-Device-Host/1.0", "Windows", "UPnP-Device-Host", "1.0"},
		{"Linux/2.6.32, UPnP/1.0, Portable SDK for UPnP devices/1.6.18", "Linux", "Portable SDK for UPnP devices", "1.6.18"},
		{"Unspecified, UPnP/1.0, SoftAtHome", "", "SoftAtHome", ""},
		{"UPnP/1.0", "", "", ""},
		{"nginx/1.2", "", "", ""},
		{"", "", "", ""},
	}
	for _, tt := range tests {
		system, product := ssdp.ParseServer([]byte(tt.in))
		if system.OS() != tt.os || string(product.Name) != tt.product || string(product.Version) != tt.version {
			t.Errorf("%q: %s, %s, %s", tt.in, system.OS(), product.Name, product.Version)
		}
	}
}

func TestDeviceType(t *testing.T) {
	for in, want := range map[string]string{
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1": "InternetGatewayDevice",
		"uuid:1::urn:schemas-upnp-org:device:MediaServer:1":   "MediaServer",
		"urn:schemas-upnp-org:service:ContentDirectory:1":     "",
		"upnp:rootdevice": "", "uuid:1": "", "": "", "urn:": "", "urn:a:device:": "",
	} {
		if got := string(ssdp.DeviceType([]byte(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := []byte(notify)
	if n := testing.AllocsPerRun(100, func() {
		ssdp.RecogniseDatagram(b)
		m, _ := ssdp.Parse(b)
		system, _ := ssdp.ParseServer(m.Server)
		system.OS()
		ssdp.DeviceType(m.Target)
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(notify))
	f.Add([]byte("M-SEARCH * HTTP/1.1\nST:x\n:\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := ssdp.Parse(b)
		again, _ := ssdp.Parse(b)
		for _, part := range [][2][]byte{{m.Target, again.Target}, {m.USN, again.USN}, {m.Server, again.Server}, {m.Subtype, again.Subtype}} {
			if !bytes.Equal(part[0], part[1]) || !bytes.Contains(b, part[0]) || cap(part[0]) != len(part[0]) {
				t.Fatal("a part that is not in the whole")
			}
		}
		system, product := ssdp.ParseServer(m.Server)
		if !bytes.Contains(b, system.Name) || !bytes.Contains(b, product.Version) {
			t.Fatal("a token that is not in the whole")
		}
		ssdp.DeviceType(m.Target)
	})
}

func BenchmarkParse(b *testing.B) {
	msg := []byte(notify)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		ssdp.Parse(msg)
	}
}
