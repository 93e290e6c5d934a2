// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"bytes"

	"github.com/myelin-health/myelin/device"
)

// A System is an operating system told from a DHCP message.
type System struct {
	OS         string // family, and version where it can be told: "Windows XP", "Linux"
	Confidence device.Confidence
}

// vendorClasses has the beginnings of option 60 that name a system (RFC 2132
// section 9.13 leaves them to the makers).
var vendorClasses = []struct {
	prefix string
	os     string
}{
	{"MSFT 98", "Windows 98"},
	{"MSFT 5.0 XBOX", "Xbox"},
	{"MSFT 5.0", "Windows"}, // from 2000 on, all
	{"MSFT", "Windows"},
	{"android-dhcp", "Android"},
	{"dhcpcd-", ""}, // followed by its version, and often ":Linux-5.10:x86_64": see below
	{"udhcp", "Linux"},
	{"systemd-networkd", "Linux"},
	{"VxWorks", "VxWorks"},
	{"SUNW.", "Solaris"},
	{"IBM", "AIX"},
	{"Darwin", "macOS"},
}

// requestLists has the parameter request lists (option 55) of common clients.
// Which options a client asks for, and in which order, is compiled into it.
var requestLists = []struct {
	list       string
	os         string
	confidence device.Confidence
}{
	// Windows: the classless routes of Microsoft (249) came with XP, those of RFC
	// 3442 (121) with Vista, the domain search list (119) with 10.
	{"\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\x2b", "Windows 2000", device.High},
	{"\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\xf9\x2b", "Windows XP", device.High},
	{"\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\xf9\x2b\xfc", "Windows XP", device.High},
	{"\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\x79\xf9\x2b", "Windows Vista to 8.1", device.High},
	{"\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\x79\xf9\x2b\xfc", "Windows Vista to 8.1", device.High},
	{"\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\x79\xf9\xfc\x2b", "Windows Vista to 8.1", device.High},
	{"\x01\x03\x06\x0f\x1f\x21\x2b\x2c\x2e\x2f\x77\x79\xf9\xfc", "Windows 10 or newer", device.High},
	{"\x01\x03\x06\x0f\x1f\x21\x2b\x2c\x2e\x2f\x79\xf9\xfc", "Windows 10 or newer", device.Medium},
	// Apple
	{"\x01\x03\x06\x0f\x77\xfc", "iOS", device.Medium},
	{"\x01\x03\x06\x0f\x77\x4e\x4f\x5f\xfc", "iOS", device.Medium},
	{"\x01\x79\x03\x06\x0f\x77\xfc", "iOS", device.High},
	{"\x01\x79\x03\x06\x0f\x6c\x72\x77\xfc", "iOS", device.High},
	{"\x01\x03\x06\x0f\x77\x5f\xfc\x2c\x2e", "macOS", device.High},
	{"\x01\x03\x06\x0f\x77\x5f\xfc\x2c\x2e\x2f", "macOS", device.High},
	{"\x01\x79\x03\x06\x0f\x77\xfc\x5f\x2c\x2e", "macOS", device.High},
	{"\x01\x79\x03\x06\x0f\x6c\x72\x77\xfc\x5f\x2c\x2e", "macOS", device.High},
	// Android
	{"\x01\x79\x21\x03\x06\x1c\x33\x3a\x3b", "Android", device.High},
	{"\x01\x79\x21\x03\x06\x0f\x1c\x33\x3a\x3b\x77", "Android", device.High},
	{"\x01\x21\x03\x06\x0f\x1c\x33\x3a\x3b", "Android", device.High},
	{"\x01\x21\x03\x06\x0f\x1a\x1c\x33\x3a\x3b", "Android", device.High},
	{"\x01\x03\x06\x0f\x1a\x1c\x33\x3a\x3b", "Android", device.Medium},
	{"\x01\x03\x06\x0f\x1a\x1c\x33\x3a\x3b\x2b", "Android", device.High},
	{"\x01\x03\x06\x0f\x1a\x1c\x33\x3a\x3b\x2b\x72", "Android", device.High},
	// Linux: ISC dhclient as Debian, Red Hat and NetworkManager set it up, busybox, systemd
	{"\x01\x1c\x02\x03\x0f\x06\x0c", "Linux", device.Medium},
	{"\x01\x1c\x02\x03\x0f\x06\x77\x0c", "Linux", device.High},
	{"\x01\x1c\x02\x03\x0f\x06\x77\x0c\x2c\x2f\x1a\x79\x2a", "Linux", device.High},
	{"\x01\x1c\x02\x03\x0f\x06\x77\x0c\x2c\x2f\x1a\x79\x2a\x79\xf9\xfc\x2a", "Linux", device.High},
	{"\x01\x1c\x02\x79\x0f\x06\x0c\x28\x29\x2a\x1a\x77\x03", "Linux", device.High},
	{"\x01\x1c\x02\x79\x0f\x06\x0c\x28\x29\x2a\x1a\x77\x03\x79\xf9\x21\xfc\x2a", "Linux", device.High},
	{"\x01\x02\x06\x0c\x0f\x1a\x1c\x79\x03\x21\x28\x29\x2a\x77\xf9\xfc\x11", "Linux", device.High},
	{"\x01\x03\x06\x0c\x0f\x1c\x2a", "Linux", device.Medium},
	{"\x01\x03\x06\x0c\x0f\x1c\x28\x29\x2a", "Linux", device.Medium},
	{"\x01\x03\x06\x0c\x0f\x1a\x21\x2a\x79", "Linux", device.Medium},
	{"\x01\x03\x0c\x0f\x06\x1a\x21\x79\x2a", "Linux", device.Medium},
}

// Identify tells the operating system of the client that sent a vendor class
// (option 60) and a parameter request list (option 55), either of which may be
// nil. The list is exact, so it wins where it is known; the class says little,
// but says it itself. The zero System means that neither is known.
//
// The list of VxWorks, which many infusion pumps run, is its integrator's
// choice: no list tells it, only its vendor class where one is set.
func Identify(vendorClass, requestList []byte) System {
	var class System
	for _, v := range vendorClasses {
		if bytes.HasPrefix(vendorClass, []byte(v.prefix)) {
			class = System{v.os, device.High}
			break
		}
	}
	if bytes.HasPrefix(vendorClass, []byte("dhcpcd-")) && bytes.Contains(vendorClass, []byte(":Linux")) {
		class = System{"Linux", device.High}
	}
	if class.OS == "" {
		class = System{}
	}
	for _, r := range requestLists {
		if string(requestList) != r.list {
			continue
		}
		if class.OS == "" || family(class.OS) == family(r.os) {
			return System{r.os, max(r.confidence, class.Confidence)}
		}
		break // they contradict each other: believe what is said in words
	}
	return class
}

// family is the first word of a system's name.
func family(os string) string {
	for i := range os {
		if os[i] == ' ' {
			return os[:i]
		}
	}
	return os
}
