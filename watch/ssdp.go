// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"slices"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/ssdp"
)

// ssdpClasses are what devices of these UPnP types are.
var ssdpClasses = []struct{ device, class string }{
	{"InternetGatewayDevice", "router"},
	{"WANDevice", "router"},
	{"WLANAccessPointDevice", "access point"},
	{"Printer", "printer"},
	{"Scanner", "scanner"},
	{"MediaServer", "media server"},
	{"MediaRenderer", "media player"},
	{"ZonePlayer", "media player"},
	{"dial", "media player"},
	{"DigitalSecurityCamera", "camera"},
}

// ssdpKits are products that are built into many others, and name none.
var ssdpKits = []string{
	"UPnP-Device-Host", "Portable SDK for UPnP devices", "MiniUPnPd", "MiniDLNA", "DLNADOC", "GUPnP", "Cling", "Platinum", "IpBridge",
}

// An ssdpObserver reads what a device announces. It keeps hashes of what was
// said so far.
type ssdpObserver struct{ told facts }

func (o *ssdpObserver) held() int { return o.told.held() }

func newSSDPObserver() observer { return new(ssdpObserver) }

func (o *ssdpObserver) data(x *exchange, b []byte) int {
	m, err := ssdp.Parse(b)
	if err != nil {
		x.malformed(0, err)
		return len(b)
	}
	kind := ssdp.DeviceType(m.Target)
	if m.Method == ssdp.Search {
		kind = nil // what is looked for says nothing of who looks
	}
	class := ""
	for _, c := range ssdpClasses {
		if string(kind) == c.device {
			class = c.class
		}
	}
	system, product := ssdp.ParseServer(m.Server)
	os := system.OS()
	if m.Method == ssdp.Search || slices.Contains(ssdpKits, string(product.Name)) {
		product = ssdp.Token{} // USER-AGENT names the program that looks, a browser perhaps
	}
	if class == "" && os == "" && len(product.Name) == 0 || !o.told.fresh([]byte(class), m.Server) {
		return len(b)
	}
	x.note(event.IdentitySeen, 0, x.From, event.Text(event.OS, os), event.Text(event.Model, x.text(product.Name)),
		event.Text(event.Version, x.text(product.Version)), event.Text(event.Class, class))
	return len(b)
}

func (o *ssdpObserver) gap(*exchange, int) bool { return false }

func (o *ssdpObserver) close(*exchange) {}
