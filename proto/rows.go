// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package proto

import (
	"github.com/myelin-health/myelin/proto/bacnet"
	"github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/dcerpc"
	"github.com/myelin-health/myelin/proto/dhcp"
	"github.com/myelin-health/myelin/proto/dicom"
	"github.com/myelin-health/myelin/proto/dns"
	"github.com/myelin-health/myelin/proto/ftp"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/proto/http"
	"github.com/myelin-health/myelin/proto/kerberos"
	"github.com/myelin-health/myelin/proto/ldap"
	"github.com/myelin-health/myelin/proto/modbus"
	"github.com/myelin-health/myelin/proto/mqtt"
	"github.com/myelin-health/myelin/proto/netbios"
	"github.com/myelin-health/myelin/proto/ntp"
	"github.com/myelin-health/myelin/proto/rdp"
	"github.com/myelin-health/myelin/proto/sdc"
	"github.com/myelin-health/myelin/proto/smb"
	"github.com/myelin-health/myelin/proto/snmp"
	"github.com/myelin-health/myelin/proto/ssdp"
	"github.com/myelin-health/myelin/proto/ssh"
	"github.com/myelin-health/myelin/proto/syslog"
	"github.com/myelin-health/myelin/proto/telnet"
	"github.com/myelin-health/myelin/proto/tls"
	"github.com/myelin-health/myelin/proto/vnc"
)

// Table is the one list of protocols. FHIR and SDC messages come inside HTTP,
// whose observer tells them; they have rows for their names and for SDC's
// discovery datagrams. GATT and the dialects of Radio are not spoken over IP.
var Table = [Count]Protocol{
	DICOM:    {Name: "dicom", Stream: dicom.Recognise, Ports: []uint16{104, 11112, 2762}},
	HL7:      {Name: "hl7", Stream: hl7.Recognise, Ports: []uint16{2575}},
	HTTP:     {Name: "http", Stream: http.Recognise, Ports: []uint16{80, 8080}},
	FHIR:     {Name: "fhir"},
	SDC:      {Name: "sdc", Datagram: sdc.RecogniseDatagram, Ports: []uint16{3702}},
	TLS:      {Name: "tls", Stream: tls.Recognise, Datagram: tls.RecogniseDatagram, Ports: []uint16{443, 853, 993, 995}},
	DNS:      {Name: "dns", Stream: dns.Recognise, Datagram: dns.RecogniseDatagram, Ports: []uint16{53, 5353, 5355}},
	DHCP:     {Name: "dhcp", Datagram: dhcp.RecogniseDatagram, Ports: []uint16{67, 68, 546, 547}},
	NTP:      {Name: "ntp", Datagram: ntp.RecogniseDatagram, Ports: []uint16{123}},
	SNMP:     {Name: "snmp", Datagram: snmp.RecogniseDatagram, Ports: []uint16{161, 162}},
	SSDP:     {Name: "ssdp", Datagram: ssdp.RecogniseDatagram, Ports: []uint16{1900}},
	SMB:      {Name: "smb", Stream: smb.Recognise, Ports: []uint16{445, 139}},
	DCERPC:   {Name: "dcerpc", Stream: dcerpc.Recognise, Datagram: dcerpc.RecogniseDatagram, Ports: []uint16{135}},
	NetBIOS:  {Name: "netbios", Datagram: netbios.RecogniseDatagram, Ports: []uint16{137, 138}},
	RDP:      {Name: "rdp", Stream: rdp.Recognise, Ports: []uint16{3389}},
	VNC:      {Name: "vnc", Stream: vnc.Recognise, Ports: []uint16{5900, 5901}},
	SSH:      {Name: "ssh", Stream: ssh.Recognise, Ports: []uint16{22}},
	Telnet:   {Name: "telnet", Stream: telnet.Recognise, Ports: []uint16{23, 2323}},
	FTP:      {Name: "ftp", Stream: ftp.Recognise, Ports: []uint16{21}},
	MQTT:     {Name: "mqtt", Stream: mqtt.Recognise, Ports: []uint16{1883}},
	CoAP:     {Name: "coap", Stream: coap.Recognise, Datagram: coap.RecogniseDatagram, Ports: []uint16{5683}},
	Modbus:   {Name: "modbus", Stream: modbus.Recognise, Ports: []uint16{502}},
	BACnet:   {Name: "bacnet", Datagram: bacnet.RecogniseDatagram, Ports: []uint16{47808}},
	LDAP:     {Name: "ldap", Stream: ldap.Recognise, Datagram: ldap.RecogniseDatagram, Ports: []uint16{389, 3268}},
	Kerberos: {Name: "kerberos", Stream: kerberos.Recognise, Datagram: kerberos.RecogniseDatagram, Ports: []uint16{88, 464}},
	Syslog:   {Name: "syslog", Stream: syslog.Recognise, Datagram: syslog.RecogniseDatagram, Ports: []uint16{514, 601}},
	GATT:     {Name: "gatt"},
	Radio:    {Name: "radio"},
}
