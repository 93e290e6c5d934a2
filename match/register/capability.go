// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"slices"
	"strings"
)

// A Capability is what an answer of an MDS2 form says that a device can do, or
// does, as far as traffic can tell otherwise.
type Capability uint8

// The capabilities.
const (
	NoCapability Capability = iota
	SendsPersonalData
	SendsPersonalDataByWire
	SendsPersonalDataByAir
	SendsPersonalDataOutside
	SendsByCableOnly
	EncryptsPersonalData
	SendsToFixedDestinations
	ConnectsAuthenticatedOnly
	SecuresTransmission
	ProtectsIntegrity
	AuthenticatesNodes
	ControlsNetworkAccess
	UsesCertificates
	Wireless
	WiFi
	Bluetooth
	OtherNetworkRadio
	OtherRadio
	Ethernet
	TalksInside
	TalksOutside
	CallsAPI
	NeedsInternet
	TLS
	ControlledFromAfar
	RemoteService
	SendsMaintenanceData
	OtherRemoteAccess
	RemoteUpdates
	AuditLog
	SendsAudit
	SynchronisesTime
	UniqueAccounts
	DirectoryLogin
	ChangesPasswords
	SharesOff
	PortsOff
	ServicesOff
	HasSBOM
	capabilityCount
)

// A CapabilityInfo is a row of the table of capabilities: which question states
// it, and what traffic can say against an answer.
type CapabilityInfo struct {
	Name  string // completes "the maker says that the device ..."
	Group string // of questions
	// Words are in the question's text, in lower case and without marks. They
	// decide, not the number: numbers are known of one published form only.
	Words string
	// IDs of HN 1-2019 count where a question is not in English, or not there.
	IDs []string

	Denied   bool // a no is contradicted when traffic shows it
	Promised bool // a yes is contradicted when traffic shows the opposite
	Unused   bool // after a yes, traffic that does without shows that it is not used
}

// capabilities is the table.
var capabilities = [capabilityCount]CapabilityInfo{
	SendsPersonalData:         {"transmits personal data", "MPII", "mechanisms used for the transmitting", []string{"MPII-3"}, true, false, false},
	SendsPersonalDataByWire:   {"transmits personal data over a wired network", "MPII", "wired network connection", []string{"MPII-3.5"}, true, false, false},
	SendsPersonalDataByAir:    {"transmits personal data over a wireless network", "MPII", "wireless network connection", []string{"MPII-3.6"}, true, false, false},
	SendsPersonalDataOutside:  {"transmits personal data over an external network", "MPII", "external network", []string{"MPII-3.7"}, true, false, false},
	SendsByCableOnly:          {"transmits personal data by a dedicated cable only", "TXCF", "point to point dedicated cable", []string{"TXCF-1"}, false, true, false},
	EncryptsPersonalData:      {"encrypts personal data before transmission", "TXCF", "encrypted prior to transmission", []string{"TXCF-2"}, false, false, true},
	SendsToFixedDestinations:  {"transmits personal data to a fixed list of destinations", "TXCF", "fixed list", []string{"TXCF-3"}, false, true, false},
	ConnectsAuthenticatedOnly: {"connects to authenticated systems only", "TXCF", "limited to authenticated systems", []string{"TXCF-4"}, false, true, false},
	SecuresTransmission:       {"supports secure transmission (DICOM, HL7, IEEE 11073)", "TXCF", "secure transmission methods", []string{"TXCF-5"}, true, false, true},
	ProtectsIntegrity:         {"protects the integrity of what it transmits", "TXIG", "not modified during transmission", []string{"TXIG-1"}, false, false, true},
	AuthenticatesNodes:        {"authenticates the nodes that it exchanges data with", "NAUT", "node authentication", []string{"NAUT-1"}, true, false, true},
	ControlsNetworkAccess:     {"has a firewall or a list of allowed connections", "NAUT", "network access control", []string{"NAUT-2"}, false, false, true},
	UsesCertificates:          {"authenticates connections by certificates", "NAUT", "certificate based", []string{"NAUT-3"}, true, false, true},
	Wireless:                  {"supports wireless connections", "CONN", "support wireless connections", []string{"CONN-1.1"}, true, false, false},
	WiFi:                      {"supports Wi-Fi", "CONN", "wi fi", []string{"CONN-1.1.1"}, true, false, false},
	Bluetooth:                 {"supports Bluetooth", "CONN", "bluetooth", []string{"CONN-1.1.2"}, true, false, false},
	OtherNetworkRadio:         {"supports another wireless network", "CONN", "other wireless network", []string{"CONN-1.1.3"}, true, false, false},
	OtherRadio:                {"supports another radio", "CONN", "other wireless connections", []string{"CONN-1.1.4"}, true, false, false},
	Ethernet:                  {"has an Ethernet port", "CONN", "rj45", []string{"CONN-1.2.1"}, true, false, false},
	TalksInside:               {"communicates with other systems of the customer", "CONN", "within the customer environment", []string{"CONN-3"}, true, false, false},
	TalksOutside:              {"communicates with systems outside", "CONN", "external to the customer environment", []string{"CONN-4"}, true, false, false},
	CallsAPI:                  {"makes or receives API calls", "CONN", "api calls", []string{"CONN-5"}, true, false, false},
	NeedsInternet:             {"needs the internet", "CONN", "internet connection", []string{"CONN-6"}, false, false, false},
	TLS:                       {"supports TLS", "CONN", "transport layer security", []string{"CONN-7"}, true, false, true},
	ControlledFromAfar:        {"can be operated from another device", "CONN", "operator control", []string{"CONN-8"}, true, false, false},
	RemoteService:             {"permits remote service", "RMOT", "remote service connections for device analysis", []string{"RMOT-1"}, true, false, false},
	SendsMaintenanceData:      {"sends data for predictive maintenance", "RMOT", "predictive maintenance", []string{"RMOT-2"}, true, false, false},
	OtherRemoteAccess:         {"can be reached remotely otherwise", "RMOT", "other remotely accessible", []string{"RMOT-3"}, true, false, false},
	RemoteUpdates:             {"can be updated remotely", "CSUP", "remote installation", []string{"CSUP-2.3", "CSUP-3.3", "CSUP-4.3", "CSUP-5.3", "CSUP-6.3"}, true, false, false},
	AuditLog:                  {"records events in an audit log", "AUDT", "events recorded in an audit log", []string{"AUDT-2"}, true, false, false},
	SendsAudit:                {"sends its audit log by IHE ATNA", "AUDT", "audit trail and node authentication", []string{"AUDT-5.2"}, true, false, true},
	SynchronisesTime:          {"synchronises its clock", "AUDT", "network time protocol", []string{"AUDT-4.1.1"}, true, false, true},
	UniqueAccounts:            {"enforces unique accounts and passwords", "PAUT", "unique ids and passwords", []string{"PAUT-1", "PAUT-1.1"}, false, true, false},
	DirectoryLogin:            {"can authenticate users by a directory", "PAUT", "external authentication service", []string{"PAUT-2"}, true, false, true},
	ChangesPasswords:          {"lets all passwords be changed", "PAUT", "passwords be changed", []string{"PAUT-5"}, false, false, true},
	SharesOff:                 {"has no shares that it does not need", "SAHD", "shared resources", []string{"SAHD-7"}, false, true, false},
	PortsOff:                  {"has no open ports that it does not need", "SAHD", "ports and protocols", []string{"SAHD-8"}, false, true, false},
	ServicesOff:               {"runs no services that it does not need", "SAHD", "all services", []string{"SAHD-9"}, false, true, false},
	HasSBOM:                   {"has a bill of materials", "SBOM", "for this product available", []string{"SBOM-1"}, false, false, false},
}

// Info returns the capability's row.
func (c Capability) Info() CapabilityInfo {
	if c >= capabilityCount {
		c = NoCapability
	}
	return capabilities[c]
}

func (c Capability) String() string { return c.Info().Name }

// Capabilities returns all of them, in the order of the table.
func Capabilities() []Capability {
	var out []Capability
	for c := NoCapability + 1; c < capabilityCount; c++ {
		out = append(out, c)
	}
	return out
}

// Says returns what the form answers about a capability, and in which
// questions. Where several ask, one yes is a yes, and a no takes all that were
// answered.
func (m *MDS2) Says(c Capability) (Answer, []string) {
	if m.Edition != "2019" || c == NoCapability || c >= capabilityCount {
		return NoAnswer, nil
	}
	info := &capabilities[c]
	var asked []*Question
	for i := range m.Questions {
		q := &m.Questions[i]
		if strings.HasPrefix(q.ID, info.Group+"-") && strings.Contains(" "+plain(q.Text), " "+info.Words) {
			asked = append(asked, q)
		}
	}
	byWords := asked != nil
	for i := range m.Questions {
		if q := &m.Questions[i]; !byWords && slices.Contains(info.IDs, q.ID) && !inEnglish(q.Text) {
			asked = append(asked, q)
		}
	}
	// Of the answers given, the one that claims most.
	for _, a := range []Answer{Yes, SeeNote, Other, No, NotApplicable} {
		var ids []string
		for _, q := range asked {
			if q.Answer == a {
				ids = append(ids, q.ID)
			}
		}
		if ids != nil {
			return a, ids
		}
	}
	return NoAnswer, nil
}
