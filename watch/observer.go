// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"reflect"

	"github.com/myelin-health/myelin/proto"
)

// An observer turns the bytes of one conversation into events. One is made for
// each conversation whose protocol was recognised; all calls come from one
// goroutine, in the order of the packets.
type observer interface {
	// data is handed the bytes of x.From that nobody has consumed yet, oldest
	// first, and returns how many it is done with. Fewer than len(b): the rest
	// is kept and handed in again with what follows. More than len(b): the
	// bytes still to come are skipped without being kept, which is how a 2 GiB
	// image costs nothing. Of a datagram protocol data is handed one whole
	// datagram, and the result does not matter.
	//
	// b is valid until data returns.
	data(x *exchange, b []byte) int

	// gap says that n bytes of x.From will never come (not captured, or
	// evicted). What was kept of that side has been handed in for the last
	// time before. Returning false ends the observation of that side.
	gap(x *exchange, n int) bool

	// close is called once, when the conversation is over or has expired.
	close(x *exchange)
}

// A holder is an observer that holds more than itself and a few texts.
type holder interface {
	// held returns about how many bytes that is. It is asked after every call.
	held() int
}

// heldBy returns the memory of a map: half of its room may be free.
func heldBy[K comparable, V any](m map[K]V) int { return 2 * len(m) * (sizeOf[K]() + sizeOf[V]() + 1) }

// sizeOf returns the memory of a T without what it points to.
func sizeOf[T any]() int { return int(reflect.TypeFor[T]().Size()) }

// observers has the observer of each protocol. FHIR and SDC messages reach
// theirs through HTTP's.
var observers = [proto.Count]func() observer{
	proto.BACnet:   newBACnetObserver,
	proto.CoAP:     newCoAPObserver,
	proto.Modbus:   newModbusObserver,
	proto.MQTT:     newMQTTObserver,
	proto.SNMP:     newSNMPObserver,
	proto.Syslog:   newSyslogObserver,
	proto.DHCP:     newDHCPObserver,
	proto.DNS:      newDNSObserver,
	proto.NTP:      newNTPObserver,
	proto.SSDP:     newSSDPObserver,
	proto.TLS:      newTLSObserver,
	proto.DCERPC:   newDCERPCObserver,
	proto.DICOM:    newDICOMObserver,
	proto.FTP:      newFTPObserver,
	proto.HL7:      newHL7Observer,
	proto.HTTP:     newHTTPObserver,
	proto.SDC:      newSDCDiscoveryObserver,
	proto.Kerberos: newKerberosObserver,
	proto.LDAP:     newLDAPObserver,
	proto.NetBIOS:  newNetBIOSObserver,
	proto.RDP:      newRDPObserver,
	proto.SMB:      newSMBObserver,
	proto.SSH:      newSSHObserver,
	proto.Telnet:   newTelnetObserver,
	proto.VNC:      newVNCObserver,
}

// A fieldTable has a protocol's kinds of patient data, each beside that of events.
type fieldTable[F ~uint8 | ~uint16] []struct {
	of F
	to int64
}

// of returns the kinds of patient data in found as events have them.
func (t fieldTable[F]) of(found F) (fields int64) {
	for _, row := range t {
		if found&row.of != 0 {
			fields |= row.to
		}
	}
	return fields
}
