// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/myelin-health/myelin/sim/radio"
)

// A person is a patient. All of them are invented.
type person struct {
	family, given, sex, birth    string // birth as YYYYMMDD
	record, visit, street, phone string
}

var (
	anna  = person{"Lindqvist", "Anna", "F", "19580214", "STA-104233", "VN-2603-0017", "12 Larkspur Lane", "555-0104"}
	ben   = person{"Okafor", "Ben", "M", "19910730", "STA-118520", "VN-2603-0044", "7 Quarry Steps", "555-0111"}
	cleo  = person{"Marchetti", "Cleo", "F", "19741109", "STA-096114", "VN-2603-0052", "88 Tannery Row", "555-0126"}
	dana  = person{"Petrov", "Dana", "F", "19620917", "STA-120077", "VN-2602-0391", "3 Ferry Bank", "555-0138"}
	emil  = person{"Sato", "Emil", "M", "19500101", "STA-087345", "VN-2602-0388", "41 Cooper Street", "555-0149"}
	all   = []person{anna, ben, cleo, dana, emil}
	staff = []string{"Mira Holm", "Jon Reyes", "Lea Sommer", "Tomas Eklund", "Ines Duarte"}
)

// studies is how many studies of other patients lie in the archive.
const studies = 400

// archived is one of the patients whose studies lie in the archive. They have
// numbers instead of names.
func archived(i int) person {
	return person{
		family: fmt.Sprintf("Archived%03d", i), given: "Patient", sex: []string{"F", "M"}[i%2],
		birth:  fmt.Sprintf("19%02d%02d%02d", 30+i%60, 1+i%12, 1+i%28),
		record: fmt.Sprintf("STA-2%05d", i),
	}
}

func (p *person) dicom() string { return p.family + "^" + p.given }

// date writes a birth date as XML and JSON have it.
func date(yyyymmdd string) string { return yyyymmdd[:4] + "-" + yyyymmdd[4:6] + "-" + yyyymmdd[6:] }

// The logins of that morning. A service account's name is not a person's, but
// no login's name may be told by anybody.
const (
	ftpUser, ftpPassword       = "bg200up", "Bloodgas!7"
	telnetUser, telnetPassword = "lsommer", "Heron-Lake-19"
	smbUser, shareUser         = "lumensvc", "doseexport"
	rdpUser                    = "orthadmin"
	workstation                = "WS-RAD-MHOLM" // named after who sits there
	laptopName                 = "LUMEN-FSE-07"
)

// Secrets returns every text of the ward's captures that nobody may tell:
// names in each spelling, birth dates, record and visit numbers, addresses,
// telephone numbers, logins and passwords, and names of stations that are no
// equipment and may be named after people; and what was heard on the radio.
// Comparing is to ignore case.
func Secrets() []string {
	out := radio.Secrets()
	for _, p := range all {
		out = append(out, p.family, p.given+" "+p.family, p.dicom(), p.birth, date(p.birth), p.record, p.visit, p.street, p.phone)
	}
	for i := range studies {
		p := archived(i)
		out = append(out, p.family, p.birth, p.record)
	}
	for _, name := range staff {
		given, family, _ := strings.Cut(name, " ")
		out = append(out, name, family+"^"+given)
	}
	return append(out, ftpUser, ftpPassword, telnetUser, telnetPassword, smbUser, shareUser, rdpUser, workstation, "MHOLM", laptopName)
}

func at(name, ip string, mac, ttl byte) *host {
	// RFC 7042 section 2.1.2: 00-00-5E-00-53-00 to -FF are for documentation.
	return &host{name, netip.MustParseAddr(ip), [6]byte{0, 0, 0x5e, 0, 0x53, mac}, ttl}
}

// The stations. WARD's devices, and who speaks with them.
var (
	net1       = at("net-1", "10.20.1.2", 0x02, 64) // names, addresses, time
	ehr        = at("ehr", "10.20.1.5", 0x05, 64)
	files1     = at("files-1", "10.20.1.9", 0x09, 64)
	eng1       = at("eng-1", "10.20.1.40", 0x28, 128)  // clinical engineering
	round1     = at("round-1", "10.20.1.60", 0x3c, 64) // the tablets of the ward round
	icuRouter  = at("gw-3", "10.20.3.1", 0x31, 64)
	gwICU      = at("gw-icu", "10.20.3.10", 0x3a, 64)
	desk3      = at("desk-3", "10.20.3.20", 0x34, 64) // central station of the intensive care unit
	mon3       = at("mon-3", "10.20.3.31", 0x4f, 64)
	vent3      = at("vent-3", "10.20.3.32", 0x50, 64)
	lab1       = at("lab-1", "10.20.5.7", 0x57, 64)
	radRouter  = at("gw-8", "10.20.8.1", 0x81, 64)
	ct1        = at("ct-1", "10.20.8.11", 0x8b, 128)
	pacs       = at("pacs", "10.20.8.20", 0x94, 64)
	view1      = at("ws-rad", "10.20.8.30", 0x9e, 128) // a workstation for reading images
	programmer = at("prog-1", "10.20.9.4", 0xa4, 128)
	laptop     = at("laptop", "10.20.8.99", 0xe3, 64)    // the vendor's
	service    = at("lumen", "203.0.113.20", 0xfe, 64)   // the maker's remote service
	tunnel     = at("tunnel", "198.51.100.53", 0xfe, 64) // the far end of the tunnel
)

// The domains are of RFC 2606 and exist nowhere.
const (
	domain       = "stada.example"
	lumenService = "remote.lumen.example"
	tunnelDomain = "t.example"
)

func (h *host) fqdn() string { return h.name + "." + domain }
