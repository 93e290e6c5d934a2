// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package snmp

import "bytes"

// An OID is the contents of an OBJECT IDENTIFIER as they stand on the wire
// (X.690 section 8.19): equal ones have equal bytes.
type OID []byte

// Names of the system group (RFC 3418 section 2) with the instance .0, to be
// compared with an OID's bytes.
const (
	SysDescr    = "\x2b\x06\x01\x02\x01\x01\x01\x00" // 1.3.6.1.2.1.1.1.0
	SysObjectID = "\x2b\x06\x01\x02\x01\x01\x02\x00" // 1.3.6.1.2.1.1.2.0
	SysName     = "\x2b\x06\x01\x02\x01\x01\x05\x00" // 1.3.6.1.2.1.1.5.0
)

// enterprises is 1.3.6.1.4.1.
const enterprises = "\x2b\x06\x01\x04\x01"

// Enterprise returns the private enterprise number of an OID below
// 1.3.6.1.4.1, as a sysObjectID is.
func (o OID) Enterprise() (n uint32, ok bool) {
	if !bytes.HasPrefix(o, []byte(enterprises)) {
		return 0, false
	}
	for i, x := range o[len(enterprises):] {
		if i == 4 { // 28 bits; the largest assigned has 16
			break
		}
		n = n<<7 | uint32(x&0x7f)
		if x&0x80 == 0 {
			return n, n != 0
		}
	}
	return 0, false
}

// EngineEnterprise returns the enterprise number in a version 3 engine's
// identifier (RFC 3411 section 5, SnmpEngineID): its first four bytes.
func EngineEnterprise(id []byte) (n uint32, ok bool) {
	if len(id) < 5 {
		return 0, false
	}
	n = uint32(id[0]&0x7f)<<24 | uint32(id[1])<<16 | uint32(id[2])<<8 | uint32(id[3])
	return n, n != 0
}

// makers are the few private enterprise numbers, of more than sixty thousand,
// that say who made a device likely to stand in a hospital. Numbers of agents
// that run on anybody's hardware (Net-SNMP, Microsoft) are left out.
var makers = map[uint32]string{
	2:     "IBM",
	9:     "Cisco",
	11:    "HP",
	42:    "Sun",
	43:    "3Com",
	171:   "D-Link",
	207:   "Allied Telesis",
	232:   "Compaq",
	236:   "Samsung",
	253:   "Xerox",
	318:   "APC",
	343:   "Intel",
	367:   "Ricoh",
	476:   "Vertiv",
	534:   "Eaton",
	641:   "Lexmark",
	674:   "Dell",
	789:   "NetApp",
	1248:  "Epson",
	1347:  "Kyocera",
	1602:  "Canon",
	1916:  "Extreme Networks",
	2011:  "Huawei",
	2435:  "Brother",
	2636:  "Juniper",
	3375:  "F5",
	3808:  "CyberPower",
	4526:  "Netgear",
	6027:  "Dell",
	6574:  "Synology",
	6876:  "VMware",
	8741:  "SonicWall",
	10642: "Zebra",
	12356: "Fortinet",
	14179: "Cisco",
	14823: "Aruba",
	14988: "MikroTik",
	18334: "Konica Minolta",
	24681: "QNAP",
	25053: "Ruckus",
	25461: "Palo Alto Networks",
	25506: "H3C",
	29671: "Cisco",
	30065: "Arista",
	41112: "Ubiquiti",
}

// Maker returns who has a private enterprise number, or "" when it is not in
// this package's table.
func Maker(enterprise uint32) string { return makers[enterprise] }

// A Description is what a sysDescr says. Model and Version alias the input; OS
// and Manufacturer are words of this package.
type Description struct {
	Manufacturer string
	Model        []byte
	OS           string // family, and of Windows the release
	Version      []byte // of the OS
}

// descriptions are beginnings of sysDescr whose form is known. What is not
// here may be anything, a person's name included, and stays unread.
var descriptions = [...]struct {
	prefix       string
	manufacturer string
	os           string
	model        string // text before the model
	version      string // text before the version
	skip         int    // words between prefix and version: a host's name
}{
	{prefix: "Linux ", os: "Linux", skip: 1},
	{prefix: "FreeBSD ", os: "FreeBSD", skip: 1},
	{prefix: "Darwin ", os: "Darwin", skip: 1},
	{prefix: "SunOS ", os: "SunOS", skip: 1},
	{prefix: "Cisco IOS Software", manufacturer: "Cisco", os: "Cisco IOS", version: ", Version "},
	{prefix: "Cisco Internetwork Operating System Software", manufacturer: "Cisco", os: "Cisco IOS", version: ", Version "},
	{prefix: "Cisco NX-OS", manufacturer: "Cisco", os: "Cisco NX-OS", version: ", Version "},
	{prefix: "Cisco Adaptive Security Appliance Version ", manufacturer: "Cisco", os: "Cisco ASA"},
	{prefix: "HP ETHERNET MULTI-ENVIRONMENT", manufacturer: "HP", model: ",PID:"},
	{prefix: "HP ETHERNET MULTI-ENVIRONMENT", manufacturer: "HP", model: ", PID:"},
	{prefix: "RouterOS ", manufacturer: "MikroTik", os: "RouterOS", model: "RouterOS "},
	{prefix: "VMware ESXi ", manufacturer: "VMware", os: "VMware ESXi"},
	{prefix: "VMware ESX ", manufacturer: "VMware", os: "VMware ESX"},
	{prefix: "Juniper Networks, Inc. ", manufacturer: "Juniper", os: "Junos", model: "Juniper Networks, Inc. ", version: "JUNOS "},
	{prefix: "VxWorks ", os: "VxWorks"},
}

// releases of Windows by the version that its agent gives, the last first
// build apart: since Windows 10 the agent says 6.3.
var releases = [...]struct{ version, os string }{
	{"4.0", "Windows NT 4.0"},
	{"5.0", "Windows 2000"},
	{"5.1", "Windows XP"},
	{"5.2", "Windows Server 2003"},
	{"6.0", "Windows Vista or Server 2008"},
	{"6.1", "Windows 7 or Server 2008 R2"},
	{"6.2", "Windows 8 or Server 2012"},
	{"6.3", "Windows 8.1 or Server 2012 R2"},
	{"10.0", "Windows 10 or later"},
}

// windows10 is the first build of Windows 10.
const windows10 = 10240

// maxWord is the longest model or version that is believed, in bytes.
const maxWord = 48

// Describe reads a sysDescr as far as its form is known; the zero Description
// says that it is not.
func Describe(descr []byte) (d Description) {
	if i := bytes.Index(descr, []byte("Software: Windows ")); i >= 0 && bytes.HasPrefix(descr, []byte("Hardware: ")) {
		d.OS = windows(descr[i:])
		return d
	}
	for i := range descriptions {
		f := &descriptions[i]
		rest, ok := bytes.CutPrefix(descr, []byte(f.prefix))
		if !ok || d.Model != nil {
			continue
		}
		d.Manufacturer, d.OS = f.manufacturer, f.os
		d.Model = after(descr, f.model, ",;\r\n")
		switch {
		case f.version != "":
			d.Version = after(descr, f.version, " ,;\r\n")
		case f.os != "" && f.model == "":
			for range f.skip {
				_, rest, _ = bytes.Cut(rest, []byte{' '})
			}
			d.Version = cut(rest, " ,;\r\n")
		}
		if len(d.Version) > 0 && (d.Version[0] < '0' || d.Version[0] > '9') {
			d.Version = nil
		}
	}
	return d
}

// after returns what stands between mark and one of the characters of end.
func after(b []byte, mark, end string) []byte {
	i := bytes.Index(b, []byte(mark))
	if mark == "" || i < 0 {
		return nil
	}
	return cut(b[i+len(mark):], end)
}

func cut(b []byte, end string) []byte {
	if i := bytes.IndexAny(b, end); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 || len(b) > maxWord {
		return nil
	}
	return b[:len(b):len(b)]
}

// windows names the release in "... Version 6.1 (Build 7601 ...".
func windows(b []byte) string {
	version := string(after(b, "Version ", " "))
	build := 0
	for _, x := range after(b, "(Build ", " )") {
		if x < '0' || x > '9' || build > 1<<20 {
			break
		}
		build = 10*build + int(x-'0')
	}
	if build >= windows10 {
		version = "10.0"
	}
	for _, r := range &releases {
		if r.version == version {
			return r.os
		}
	}
	return "Windows"
}
