// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package proto

// Table is the one list of protocols. FHIR and SDC messages come inside HTTP,
// whose observer tells them; they have rows for their names and for SDC's
// discovery datagrams.
var Table = [Count]Protocol{
	DICOM:    {Name: "dicom", Ports: []uint16{104, 11112, 2762}},
	HL7:      {Name: "hl7", Ports: []uint16{2575}},
	HTTP:     {Name: "http", Ports: []uint16{80, 8080}},
	FHIR:     {Name: "fhir"},
	SDC:      {Name: "sdc", Ports: []uint16{3702}},
	TLS:      {Name: "tls", Ports: []uint16{443, 853, 993, 995}},
	DNS:      {Name: "dns", Ports: []uint16{53, 5353, 5355}},
	DHCP:     {Name: "dhcp", Ports: []uint16{67, 68, 546, 547}},
	NTP:      {Name: "ntp", Ports: []uint16{123}},
	SNMP:     {Name: "snmp", Ports: []uint16{161, 162}},
	SSDP:     {Name: "ssdp", Ports: []uint16{1900}},
	SMB:      {Name: "smb", Ports: []uint16{445, 139}},
	DCERPC:   {Name: "dcerpc", Ports: []uint16{135}},
	NetBIOS:  {Name: "netbios", Ports: []uint16{137, 138}},
	RDP:      {Name: "rdp", Ports: []uint16{3389}},
	VNC:      {Name: "vnc", Ports: []uint16{5900, 5901}},
	SSH:      {Name: "ssh", Ports: []uint16{22}},
	Telnet:   {Name: "telnet", Ports: []uint16{23, 2323}},
	FTP:      {Name: "ftp", Ports: []uint16{21}},
	MQTT:     {Name: "mqtt", Ports: []uint16{1883}},
	CoAP:     {Name: "coap", Ports: []uint16{5683}},
	Modbus:   {Name: "modbus", Ports: []uint16{502}},
	BACnet:   {Name: "bacnet", Ports: []uint16{47808}},
	LDAP:     {Name: "ldap", Ports: []uint16{389, 3268}},
	Kerberos: {Name: "kerberos", Ports: []uint16{88, 464}},
	Syslog:   {Name: "syslog", Ports: []uint16{514, 601}},
}
