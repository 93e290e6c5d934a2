// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/risk"
)

// sampleWard is St. Ada Hospital on the morning of 3 March 2026, as an
// assessment with a baseline would tell it.
func sampleWard() *Assessment {
	a := &Assessment{
		Version: "v0.1.0",
		Inputs: []Input{
			{Path: "testdata/ward/01-normal.pcapng", Kind: "pcapng", Bytes: 1_204_224, Packets: 9_120},
			{Path: "testdata/ward/02-attack.pcap", Kind: "pcap", Bytes: 801_332, Packets: 5_204},
			{Path: "testdata/ward/03-cut.pcap.gz", Kind: "pcap", Bytes: 52_101, Packets: 311, Error: "pcap: Packet Data at byte 51,904: truncated"},
			{Path: "testdata/ward/README.md", Kind: "other", Bytes: 812},
			{Path: "testdata/ward/ada-2026-01.json", Kind: "csaf", Bytes: 9_120, Items: 1},
			{Path: "testdata/ward/devices.csv", Kind: "register", Bytes: 2_212, Items: 9},
			{Path: "testdata/ward/flowlink.cdx.json", Kind: "cyclonedx", Bytes: 48_300, Items: 61},
			{Path: "testdata/ward/kev.json", Kind: "kev", Bytes: 930_112, Items: 1_404},
			{Path: "testdata/ward/broken.cdx.json", Kind: "cyclonedx", Bytes: 1_204, Error: "components[3].type: missing"},
		},
		Stats: Stats{Packets: 14_635, Bytes: 2_057_657, Flows: 1_377, Seconds: 0.21, Lost: map[string]uint64{
			"bytes of streams that were not captured": 4_380,
			"frames that are not IP or ARP":           212,
		}},
	}
	add := func(serial string, p device.Product, role, os string, protocols string, addresses ...device.Address) {
		d := device.Device{
			ID: device.IDOf("sample", addresses[0].Value), Product: p, Role: role, OS: os, Serial: serial,
			Medical: p.Therapy != device.NoTherapy && (p.Therapy != device.Records || p.Class == "archive"), Confidence: device.High,
			Addresses: addresses, Protocols: strings.Fields(protocols),
		}
		if d.Model == "" {
			d.Confidence = device.Medium
		}
		a.Devices = append(a.Devices, d)
	}
	ip := func(s string) device.Address { return device.Address{Kind: device.IP, Value: s} }
	mac := func(s string) device.Address { return device.Address{Kind: device.MAC, Value: s} }
	host := func(s string) device.Address { return device.Address{Kind: device.Host, Value: s} }
	aet := func(s string) device.Address { return device.Address{Kind: device.AET, Value: s} }
	eui := func(s string) device.Address { return device.Address{Kind: device.EUI64, Value: s} }
	product := func(maker, model, version, class string, t device.Therapy, h device.Harm) device.Product {
		return device.Product{Manufacturer: maker, Model: model, Version: version, Class: class, Therapy: t, Harm: h}
	}
	add("NF5-20431", product("Norra Medical", "Flow 500", "2.1.4", "infusion pump", device.DrugInfusion, device.Catastrophic), "", "", "hl7", eui("0200005EFF000503"), host("pump-3"))
	add("", product("Norra Medical", "FlowLink", "1.8", "infusion pump gateway", device.DrugInfusion, device.Catastrophic), "gateway", "", "dhcp dns hl7", ip("10.20.3.10"), mac("00:00:5e:00:53:10"), host("gw-icu"))
	add("AV2-7731", product("Aeris", "V2", "3.3", "ventilator", device.Ventilation, device.Catastrophic), "", "", "dhcp sdc tls", ip("10.20.3.32"), mac("00:00:5e:00:53:32"), host("vent-3"))
	add("NF5-20977", product("Norra Medical", "Flow 500", "2.2.0", "infusion pump", device.DrugInfusion, device.Critical), "", "", "hl7", eui("0200005EFF000504"), host("pump-4"))
	add("M9-1180", product("Veltis", "M9", "5.0", "patient monitor", device.Monitoring, device.Serious), "", "", "dhcp http sdc", ip("10.20.3.31"), mac("00:00:5e:00:53:31"), host("mon-3"))
	add("BG-0441", product("Corvus Dx", "BG200", "1.2", "blood gas analyser", device.Laboratory, device.Serious), "", "", "ftp hl7", ip("10.20.5.7"), mac("00:00:5e:00:53:57"), host("lab-1"))
	add("H64-0093", product("Lumen Imaging", "Helia 64", "11.0", "CT scanner", device.Imaging, device.Minor), "", "Windows 7", "dhcp dicom rdp smb", ip("10.20.8.11"), mac("00:00:5e:00:53:81"), aet("CT1"))
	add("", product("", "Orthanc", "1.10", "archive", device.Records, device.Negligible), "archive", "", "dicom http rdp tls", ip("10.20.8.20"), mac("00:00:5e:00:53:82"), aet("ADAPACS"))
	add("", product("Castor", "EHR", "", "hospital information system", device.Records, device.Negligible), "records", "", "fhir hl7 http", ip("10.20.1.5"), mac("00:00:5e:00:53:15"), host("ehr"))
	add("", product("Halden Cardio", "Studio", "7", "", device.NoTherapy, device.NoHarm), "programmer", "Windows 10", "dns tls", ip("10.20.9.4"), mac("00:00:5e:00:53:94"), host("prog-1"))
	add("", device.Product{}, "infrastructure", "", "dhcp dns ntp", ip("10.20.1.2"), mac("00:00:5e:00:53:12"), host("ns1.ada.example"))
	add("", device.Product{}, "", "", "dns rdp smb", ip("10.20.8.99"), mac("00:00:5e:00:53:99"))
	add("", device.Product{}, "", "", "dicom", ip("10.20.8.77"), aet("XFER1"))
	for i := range a.Devices {
		d := &a.Devices[i]
		slices.SortFunc(d.Addresses, func(x, y device.Address) int {
			return cmp.Or(cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Value, y.Value))
		})
	}
	id := func(label string) string {
		for i := range a.Devices {
			for _, addr := range a.Devices[i].Addresses {
				if addr.Value == label {
					return a.Devices[i].ID
				}
			}
		}
		panic("no " + label)
	}

	// Times are minutes and seconds after 07:00 local, 06:00 UTC.
	at := func(min, sec int) int64 { return time.Date(2026, 3, 3, 6, min, sec, 250_000_000, time.UTC).UnixNano() }
	find := func(kind finding.Kind, about, peer, detail string, h device.Harm, c device.Confidence, n uint64, subjects int, first finding.Sighting, last int64) {
		info := &finding.Kinds[kind]
		f := finding.Finding{
			ID: finding.IDOf(kind, about, peer), Kind: kind, Title: info.Title, Device: id(about), Peer: peer, Harm: h,
			Privacy: info.Group == finding.PatientData, Confidence: c, State: "open", Subjects: subjects, Advice: info.Advice,
		}
		for _, d := range a.Devices {
			if d.ID == f.Device {
				f.Product, f.Therapy = strings.TrimSpace(d.Manufacturer+" "+d.Model), d.Therapy
			}
		}
		if detail != "" {
			f.Title += " (" + detail + ")"
		}
		answers := risk.AnswersFor(kind, h, risk.Controlled)
		f.SSVC, f.Decision = answers.SSVC(), risk.Decide(answers)
		for i := range min(n, 3) {
			s := first
			s.Packet += i * 17
			s.Time += int64(i) * 2e9
			f.Add(s)
		}
		f.Count, f.Last = n, last
		a.Findings = append(a.Findings, f)
	}
	over := func(protocol string, peers ...string) {
		f := &a.Findings[len(a.Findings)-1]
		f.Protocol, f.Peers = protocol, peers
	}
	sighting := func(input int, packet uint64, offset, min, sec int, note string) finding.Sighting {
		return finding.Sighting{Time: at(min, sec), Input: input, Packet: packet, Offset: offset, Note: note}
	}
	find(finding.TherapyCommandUnexpectedSender, "gw-icu", "10.20.8.11", "set infusion rate: Noradrenaline 0.2 → 4 mcg/kg/min (20 times as much), ICU bed 3", device.Catastrophic, device.High, 1, 0,
		sighting(1, 3877, 66, 9, 12, "set infusion rate: Noradrenaline 0.2 → 4 mcg/kg/min (20 times as much), ICU bed 3, pump 0200005EFF000503, in the name of CastorEHR, from a sender that the baseline does not have"), at(9, 12))
	over("hl7")
	find(finding.LateralMovement, "CT1", "10.20.8.20", "rdp", device.Serious, device.High, 1, 0,
		sighting(1, 2911, 54, 6, 40, "RDP session opened by a medical device"), at(6, 40))
	over("rdp")
	find(finding.LateralMovement, "10.20.8.99", "10.20.8.11", "smb", device.Critical, device.High, 2, 0,
		sighting(1, 2540, 122, 5, 31, "program started on the other machine by svcctl"), at(5, 44))
	over("smb")
	find(finding.TherapyCommandUnauthenticated, "gw-icu", "10.20.1.5", "2 senders", device.Catastrophic, device.High, 42, 0,
		sighting(0, 118, 66, 0, 51, "set infusion rate: Noradrenaline 0.2 mcg/kg/min (as now), ICU bed 3, pump 0200005EFF000503"), at(19, 2))
	over("hl7", "10.20.1.5", "10.20.8.11")
	find(finding.ScanHorizontal, "10.20.8.99", "", "tcp port 445", device.Minor, device.High, 508, 0,
		sighting(1, 12, 34, 4, 2, "the 20th address without an answer"), at(4, 58))
	find(finding.BulkRecordAccess, "ADAPACS", "10.20.8.77", "images, 400 patients", device.Negligible, device.Medium, 400, 400,
		sighting(1, 4120, 80, 12, 5, "C-MOVE of a whole study"), at(15, 44))
	find(finding.RecordsToUnexpectedPeer, "ADAPACS", "10.20.8.77", "", device.Negligible, device.Medium, 400, 0,
		sighting(1, 4131, 80, 12, 6, "C-MOVE to a third station"), at(15, 45))
	find(finding.DNSTunnel, "10.20.8.99", "10.20.1.2", "x7.example", device.Negligible, device.Medium, 912, 0,
		sighting(1, 4702, 54, 13, 11, "long random-looking names of one domain"), at(17, 59))
	find(finding.LegacyOS, "CT1", "", "Windows 7", device.Negligible, device.High, 3, 0,
		sighting(0, 733, 140, 1, 30, "Windows 7"), at(6, 41))
	find(finding.InsecureService, "CT1", "10.20.8.99", "SMB 1", device.Negligible, device.High, 12, 0,
		sighting(0, 731, 58, 1, 30, "SMB 1 was agreed on"), at(6, 1))
	find(finding.PHIInClear, "CT1", "10.20.8.20", "name, birth date, record number, images, 4 patients", device.Negligible, device.High, 36, 4,
		sighting(0, 402, 210, 1, 2, "dicom message with name, birth date, record number"), at(18, 30))
	find(finding.PHIInClear, "gw-icu", "10.20.1.5", "name, record number, orders, 2 patients", device.Negligible, device.High, 84, 2,
		sighting(0, 118, 66, 0, 51, "hl7 message with name, record number"), at(19, 2))
	find(finding.CredentialsInClear, "lab-1", "10.20.1.5", "ftp", device.Minor, device.High, 2, 0,
		sighting(0, 1502, 54, 2, 20, "ftp login with the password readable"), at(14, 20))
	find(finding.MalformedMessage, "mon-3", "10.20.3.32", "http", device.Negligible, device.Medium, 1, 0,
		sighting(0, 2210, 71, 3, 9, "Content-Length: not a number"), at(3, 9))
	known := func(about string, worst device.Harm, input int, note string, f finding.Finding) {
		info := &finding.Kinds[f.Kind]
		f.ID, f.Title, f.Device, f.State, f.Confidence = finding.IDOf(f.Kind, about, f.Component), info.Title, id(about), "open", device.High
		for _, d := range a.Devices {
			if d.ID == f.Device {
				f.Product, f.Therapy = strings.TrimSpace(d.Manufacturer+" "+d.Model+" "+d.Version), d.Therapy
			}
		}
		f.Advice = cmp.Or(f.Advice, info.Advice)
		f.Harm, f.Privacy = risk.HarmOf(&f, worst)
		risk.Settle(&f, risk.Controlled, true)
		f.Add(finding.Sighting{Input: input, Note: note})
		a.Findings = append(a.Findings, f)
	}
	known("pump-3", device.Catastrophic, 4, "Flow 500 before 2.2.0", finding.Finding{
		Kind: finding.VulnerableProduct, Certainty: finding.Exact, CVE: []string{"CVE-2026-1001"}, CWE: []string{"CWE-306"}, Advisories: []string{"ADA-2026-01"},
		CVSS: []finding.Score{{Version: "3.1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:H", Base: 9.1, Source: "Norra Medical"}},
		EPSS: 0.042, Rubric: "XAVN:Y/XAVT:Y/XACL:Y/XPRL:N/XUI:N/XS:N/XIT:H/XAT:H",
		Why:    []string{"manufacturer and model are the advisory's own", "2.1.4 is before 2.2.0", "seen on the network with this version, talking in clear"},
		Advice: "Update Flow 500 to 2.2.0, after the infusion has ended. Until then allow only the ordering system to reach the gateway.",
	})
	known("gw-icu", device.Catastrophic, 4, "FlowLink 1.8 contains it", finding.Finding{
		Kind: finding.KnownExploited, Component: "libtls 1.0.2k", Certainty: finding.Likely, CVE: []string{"CVE-2026-1002"}, Advisories: []string{"ADA-2026-01"}, KEV: true,
		CVSS: []finding.Score{{Version: "3.1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", Base: 7.5, Source: "NVD"}, {Version: "2.0", Vector: "AV:N/AC:L/Au:N/C:P/I:N/A:N", Base: 5, Source: "NVD"}},
		EPSS: 0.94, Why: []string{"package URL pkg:generic/libtls@1.0.2k", "before 1.0.2u"}, Opinions: []string{"A research group says not affected: the code is not reached"},
	})
	known("mon-3", device.Serious, 4, "M9 with software 5.x", finding.Finding{
		Kind: finding.VulnerableProduct, Certainty: finding.Review, CVE: []string{"CVE-2026-1003"}, Advisories: []string{"ADA-2026-02"},
		Why: []string{"the advisory's versions could not be read: \"5.x on selected units\""},
	})
	known("vent-3", device.Catastrophic, 5, "no bill of materials for Aeris V2", finding.Finding{Kind: finding.SBOMMissing})
	slices.SortStableFunc(a.Findings, func(x, y finding.Finding) int {
		return cmp.Or(risk.Compare(&x, &y), strings.Compare(x.ID, y.ID))
	})

	a.Cleared = []Cleared{{
		Vulnerability: "CVE-2026-1001", Product: "Norra Medical Flow 500 2.2.0", Devices: []string{id("pump-4")}, Status: "not_affected", Justification: "vulnerable_code_not_present",
		Impact: "From release 2.2.0 on the pump takes orders only from a proven sender.", Supplier: "Norra Medical", Document: "NORRA-VEX-2026-01", Time: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).UnixNano(), Input: 4,
	}, {
		Vulnerability: "CVE-2026-1004", Product: "Veltis M9 5.0", Component: "libtls 1.0.2k", Devices: []string{id("mon-3")}, Status: "fixed", Supplier: "Veltis", Input: -1,
	}}
	a.Bills = []Bill{{Input: 6, Product: "Norra Medical FlowLink 1.8", Components: 61, Lacks: []Lack{
		{Element: "supplier name", Components: 12, Names: strings.Fields("a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12")},
		{Element: "version", Components: 1, Names: []string{"lwip"}},
		{Element: "level of support", FDA: true, Components: 61},
		{Element: "timestamp"},
	}}, {Input: -1, Product: "Aeris V2 3.3", Components: 1}}
	a.Sessions = []Session{
		{Protocol: "dns", Client: "10.20.3.10", Server: "10.20.1.2", Port: 53, Count: 44, Bytes: 5_210},
		{Protocol: "dns", Client: "10.20.8.99", Server: "10.20.1.2", Port: 53, Count: 912, Bytes: 220_412},
		{Protocol: "dns", Client: "10.20.9.4", Server: "10.20.1.2", Port: 53, Count: 4, Bytes: 410},
		{Protocol: "dicom", Client: "10.20.8.11", Server: "10.20.8.20", Port: 11112, Count: 12, Bytes: 901_220},
		{Protocol: "dicom", Client: "10.20.8.20", Server: "10.20.8.77", Port: 104, Count: 400, Bytes: 402_991},
		{Protocol: "fhir", Client: "10.20.9.4", Server: "10.20.1.5", Port: 8080, Count: 6, Bytes: 12_040},
		{Protocol: "ftp", Client: "10.20.5.7", Server: "10.20.1.5", Port: 21, Count: 2, Bytes: 8_122},
		{Protocol: "hl7", Client: "10.20.1.5", Server: "10.20.3.10", Port: 24000, Count: 42, Bytes: 61_224},
		{Protocol: "hl7", Client: "10.20.5.7", Server: "10.20.1.5", Port: 2575, Count: 9, Bytes: 18_220},
		{Protocol: "hl7", Client: "10.20.8.11", Server: "10.20.3.10", Port: 24000, Count: 1, Bytes: 1_124},
		{Protocol: "ntp", Client: "10.20.3.31", Server: "10.20.1.2", Port: 123, Count: 8, Bytes: 768, Inferred: true},
		{Protocol: "rdp", Client: "10.20.8.11", Server: "10.20.8.20", Port: 3389, Count: 1, Bytes: 88_201, Encrypted: true},
		{Protocol: "sdc", Client: "10.20.3.31", Server: "10.20.3.32", Port: 6464, Count: 3, Bytes: 44_120, Encrypted: true},
		{Protocol: "sdc", Client: "10.20.1.5", Server: "10.20.3.31", Port: 6464, Count: 4, Bytes: 90_110},
		{Protocol: "smb", Client: "10.20.8.99", Server: "10.20.8.11", Port: 445, Count: 12, Bytes: 20_331},
		{Protocol: "tls", Client: "10.20.9.4", Server: "203.0.113.40", Port: 443, Count: 7, Bytes: 60_120, Encrypted: true},
		{Protocol: "tls", Client: "10.20.8.99", Server: "198.51.100.7", Port: 443, Count: 2, Bytes: 20_101, Encrypted: true},
		{Protocol: "unknown", Client: "10.20.8.99", Server: "10.20.3.200", Port: 445, Count: 1, Bytes: 0},
		{Protocol: "unknown", Client: "10.20.8.99", Server: "10.20.3.201", Port: 445, Count: 1, Bytes: 0},
		{Protocol: "unknown", Client: "10.20.8.99", Server: "10.20.3.31", Port: 445, Count: 1, Bytes: 0},
	}
	return a
}
