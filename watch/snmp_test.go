// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/snmp"
)

// berElement is a BER element of less than 128 bytes.
func berElement(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	return string([]byte{tag, byte(len(body))}) + body
}

func snmpPDU(typ snmp.PDUType, bindings ...string) string {
	return berElement(0xa0+byte(typ), "\x02\x01\x07\x02\x01\x00\x02\x01\x00", berElement(0x30, bindings...))
}

func snmpBinding(name string, tag byte, value string) string {
	return berElement(0x30, berElement(6, name), berElement(tag, value))
}

// snmp2c is a message of version 2c.
func snmp2c(community, pdu string) []byte {
	return []byte(berElement(0x30, "\x02\x01\x01", berElement(4, community), pdu))
}

// snmp3 is one of version 3 from or to an engine of Cisco's.
func snmp3(flags byte, rest string) []byte {
	usm := berElement(0x30, berElement(4, "\x80\x00\x00\x09\x03abcdef"), "\x02\x01\x01\x02\x01\x02", berElement(4, "lea"), "\x04\x00\x04\x00")
	return []byte(berElement(0x30, "\x02\x01\x03", berElement(0x30, "\x02\x01\x05\x02\x02\x05\xdc", berElement(4, string([]byte{flags})), "\x02\x01\x03"), berElement(4, usm), rest))
}

func TestSNMPObserver(t *testing.T) {
	get := snmpPDU(snmp.GetRequest, snmpBinding(snmp.SysDescr, 5, ""))
	answer := snmpPDU(snmp.Response, snmpBinding(snmp.SysDescr, 4, "Linux gw-icu 4.4.0 #1"), snmpBinding(snmp.SysName, 4, "gw-icu"))
	cisco := snmpPDU(snmp.Response, snmpBinding(snmp.SysObjectID, 6, "\x2b\x06\x01\x04\x01\x09\x01\x01"))
	scoped := func(pdu string) string { return berElement(0x30, "\x04\x00\x04\x00", pdu) }
	version := func(v string) string {
		return fmt.Sprintf("protocol-seen 10.20.1.5 %d=snmp %d=%s", event.Protocol, event.Version, v)
	}
	login := func(r event.Result, known bool) string {
		s := fmt.Sprintf("login-seen 10.20.1.5 %d=snmp %d=community", event.Protocol, event.Scheme)
		if r != event.Unknown {
			s += fmt.Sprintf(" %d=%d", event.Outcome, r)
		}
		if known {
			s += fmt.Sprintf(" %d=1", event.DefaultSecret)
		}
		return s
	}
	name := fmt.Sprintf("name-seen 10.20.3.10 %d=%d %d=gw-icu %d=snmp", event.AddressKind, device.Host, event.Name, event.Protocol)
	linux := fmt.Sprintf("identity-seen 10.20.3.10 %d=Linux 4.4.0", event.OS)
	maker := fmt.Sprintf("identity-seen 10.20.3.10 %d=Cisco", event.Manufacturer)
	protected := func(p device.Protection) string {
		return fmt.Sprintf("%s %d=%d %d=17 %d=24000", version("3"), event.Protection, p, event.Transport, event.Port)
	}
	answered := strings.Replace(version("2c"), "10.20.1.5", "10.20.3.10", 1) // who sends first is the client
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{
			"answered",
			[]piece{client(snmp2c("public", get)), server(snmp2c("public", answer)), client(snmp2c("public", get)), server(snmp2c("public", answer))},
			[]string{version("2c"), login(event.Succeeded, true), name, linux},
		},
		{"not answered", []piece{client(snmp2c("private", get))}, []string{version("2c"), login(event.Unknown, true)}},
		{
			"guessed",
			[]piece{client(snmp2c("public", get)), client(snmp2c("ada", get)), client(snmp2c("icu", get)), server(snmp2c("icu", cisco))},
			[]string{version("2c"), login(event.Failed, false), login(event.Failed, false), login(event.Succeeded, false), maker},
		},
		{"answer alone", []piece{server(snmp2c("icu", cisco))}, []string{answered, login(event.Succeeded, false), maker}},
		{"trap", []piece{client(snmp2c("public", snmpPDU(snmp.TrapV2)))}, []string{version("2c")}},
		{
			"asked for, not said",
			[]piece{client(snmp2c("x", snmpPDU(snmp.SetRequest, snmpBinding(snmp.SysName, 4, "gw-icu"))))},
			[]string{version("2c"), login(event.Unknown, false)},
		},
		{
			"description of unknown form",
			[]piece{server(snmp2c("x", snmpPDU(snmp.Response, snmpBinding(snmp.SysDescr, 4, "Printer of Anna Lindqvist"))))},
			[]string{answered, login(event.Succeeded, false)},
		},
		{"version 3", []piece{client(snmp3(4, scoped(get))), server(snmp3(0, scoped(snmpPDU(snmp.Report))))}, []string{version("3"), maker}},
		{
			"version 3 with authentication, then privacy",
			[]piece{client(snmp3(5, scoped(get))), client(snmp3(7, berElement(4, "ciphertext"))), client(snmp3(7, berElement(4, "ciphertext")))},
			[]string{protected(device.Authenticated | device.Fresh), protected(device.Encrypted | device.Authenticated | device.Fresh)},
		},
		{
			"malformed",
			[]piece{client([]byte(berElement(0x30, "\x02\x01\x02")))},
			[]string{fmt.Sprintf("malformed-seen 10.20.1.5 %d=snmp %d=version %d=reserved value", event.Protocol, event.Field, event.Reason)},
		},
	} {
		if got := toldAll(observeDatagrams(t, newSNMPObserver(), tt.pieces...)); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
		}
	}
}

// However many words are tried, what is remembered is bounded.
func TestSNMPCommunitiesBound(t *testing.T) {
	var pieces []piece
	for i := range 4 * maxSNMPCommunities {
		pieces = append(pieces, client(snmp2c(fmt.Sprintf("word%d", i), snmpPDU(snmp.GetRequest))))
	}
	if n := len(observeDatagrams(t, newSNMPObserver(), pieces...)); n != 1+maxSNMPCommunities {
		t.Errorf("%d events, want %d", n, 1+maxSNMPCommunities)
	}
}

func TestSNMPCaptures(t *testing.T) {
	login := fmt.Sprintf("login-seen %d=snmp %d=community %d=%d", event.Protocol, event.Scheme, event.Outcome, event.Succeeded)
	known := fmt.Sprintf("%s %d=1", login, event.DefaultSecret)
	tells(t, "zeek-snmpwalk-short.pcap", map[string]int{
		"snmp": 1, "snmp 2c": 1, known: 1,
		fmt.Sprintf("identity-seen %d=Linux 4.4.0-31-generic", event.OS): 1,
	})
	tells(t, "sv-snmp-v2c-get-SNMPv2c_get_requests.pcap", map[string]int{"snmp": 4, "snmp 2c": 4, login: 4})
	got := recorded(t, "ndpi-snmp.pcap")
	for _, version := range []string{"snmp 1", "snmp 2c", "snmp 3"} {
		if got[version] == 0 {
			t.Errorf("ndpi-snmp.pcap: no %s", version)
		}
	}
}
