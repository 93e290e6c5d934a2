// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/proto"
)

// What is heard on the radio. Most of it is worth a word only where the device
// is medical, which may be known later: those claims wait.

// waitAbout collects one sighting of a finding that is made of medical devices
// only.
func (s *stage) waitAbout(kind finding.Kind, scope string, confidence device.Confidence, e *event.Event, note string) *claim {
	c := s.wait(claimKey{kind, e.Device, scope}, e.Time)
	c.see(confidence, place{e.Time, e.Sighting}, note)
	return c.with(e.Peer)
}

// ofMedical are the kinds of finding that are made of medical devices only.
var ofMedical = [len(finding.Kinds)]bool{
	finding.LateralMovement:              true,
	finding.UnexpectedExternalPeer:       true,
	finding.BLEMedicalServiceUnencrypted: true,
	finding.BLEBelowProfileLevel:         true,
	finding.BLEPairingJustWorks:          true,
	finding.BLEPairingLegacy:             true,
	finding.BLEKeySizeWeak:               true,
	finding.BLEKeyStaticOrZero:           true,
	finding.BLEFirmwareUpdateUnprotected: true,
	finding.BLEIdentityInAdvertising:     true,
	finding.BLETrackableAddress:          true,
	finding.DeviceDefendsItself:          true,
}

// link counts a radio link as a session, which is encrypted when all its links
// are.
func (s *stage) link(e *event.Event) {
	client, server := s.nodeOf(e.Peer, e.Time), s.nodeOf(e.Device, e.Time)
	if client == 0 || server == 0 {
		return
	}
	id := proto.ByName(e.Text(event.Protocol))
	s.at(client).spoke |= 1 << id
	s.at(server).served |= 1 << id
	x := s.session(id, client, server, 0, place{e.Time, e.Sighting}, e.Time)
	x.Count++
	x.Bytes += uint64(e.Int(event.DataBytes))
	x.readable = x.readable || e.Int(event.Level) == 1 // once in clear is in clear
	x.Encrypted = !x.readable
}

// pairing judges how two devices agreed on a key.
func (s *stage) pairing(e *event.Event) {
	size, succeeded := e.Int(event.KeySize), event.Result(e.Int(event.Outcome)) == event.Succeeded
	how, method, confidence := "LE Secure Connections", e.Text(event.PairingMethod), device.High
	if e.Int(event.LegacyPairing) != 0 {
		how = "LE legacy pairing"
	}
	if method == "" { // what told the one from the other may have been lost as well
		method, confidence = "a method that was not heard", device.Low
	}
	how += " by " + method + ", " + levelName(e.Int(event.Level))
	asked := e.Text(event.Asked)
	if asked != "" {
		asked = ": " + asked
	}
	if size != 0 && size != 16 {
		note := "a key of " + strconv.FormatInt(size, 10) + " octets"
		switch {
		case size == outOfRange:
			note = "a key of a size that cannot be"
		case size < 7 || size > 16:
			note += ", where 7 to 16 are possible"
		case succeeded:
			note += ", " + how
		}
		s.waitAbout(finding.BLEKeySizeWeak, "", device.High, e, note+asked)
	}
	if !succeeded {
		return
	}
	if e.Int(event.LegacyPairing) != 0 {
		s.waitAbout(finding.BLEPairingLegacy, "", confidence, e, how+asked)
	}
	if method == justWorks {
		s.waitAbout(finding.BLEPairingJustWorks, "", device.High, e, how+asked)
	}
}

// levelName is a level of LE security mode 1 in words.
func levelName(level int64) string {
	names := [...]string{"level not known", "level 1", "level 2", "level 3", "level 4"}
	return names[max(0, min(level, 4))]
}

const justWorks = "Just Works"

// attribute judges the protection under which a medical attribute was used.
func (s *stage) attribute(e *event.Event) {
	service, level, wanted := e.Text(event.Service), e.Int(event.Level), e.Int(event.Wanted)
	operation := e.Text(event.Operation)
	where := strings.Trim(service+": "+e.Text(event.Characteristic), ": ")
	switch {
	case level != 1, operation == subscription, operation == description:
	case operation == opaqueWrite, operation == opaqueValue:
		s.waitAbout(finding.BLEMedicalServiceUnencrypted, service, device.Low, e,
			where+", "+operation+" at level 1; the link is not encrypted, and whether the application protects what it sends cannot be seen").detail = service
	default:
		s.waitAbout(finding.BLEMedicalServiceUnencrypted, service, device.High, e, where+", "+operation+" at level 1").detail = service
	}
	if wanted > 1 && level > 0 && level < wanted {
		s.waitAbout(finding.BLEBelowProfileLevel, service, device.High, e,
			where+", "+operation+" at "+levelName(level)+", where its profile asks for "+strconv.FormatInt(wanted, 10)).detail = service
	}
	if operation == updateWrite && (level == 1 || level == 2) {
		s.waitAbout(finding.BLEFirmwareUpdateUnprotected, service, device.Medium, e, where+" at "+levelName(level)).detail = service
	}
	if operation == glucoseSent && (level == 1 || level == 2) {
		s.find(finding.ClosedLoopInputUnprotected, e.Device, service, device.Medium, e, where+" at "+levelName(level)).with(e.Peer)
	}
}

// looksAlike are the shapes of attacks that something else may have as well: a
// broken stack, a sniffer that hears badly, or a bond from before the capture.
var looksAlike = map[string]bool{
	ble.EncryptionWithoutKey.String():  true,
	ble.EncryptionBeforeCheck.String(): true,
	ble.InvalidLLID.String():           true,
	ble.TruncatedL2CAP.String():        true,
	ble.RequestsOutstanding.String():   true,
	ble.DataDuringEncryption.String():  true,
}

// The operations of AttributeUsed that mean more than their access.
const (
	opaqueWrite  = "opaque write"
	opaqueValue  = "opaque value"
	updateWrite  = "firmware update"
	glucoseSent  = "glucose value"
	subscription = "subscription"
	description  = "description" // what the device can do, or where it is worn: no value of a body
)

func (s *stage) refused(e *event.Event) {
	where := strings.Trim(e.Text(event.Service)+": "+e.Text(event.Characteristic), ": ")
	if where == "" {
		where = "an attribute"
	}
	s.waitAbout(finding.DeviceDefendsItself, "", device.High, e, where+", refused at "+levelName(e.Int(event.Level))+": "+e.Text(event.Reason))
}

func (s *stage) advertising(e *event.Event) {
	if fields := e.Int(event.Fields); fields != 0 {
		s.waitAbout(finding.BLEIdentityInAdvertising, "", device.Medium, e, "advertises "+fieldNames(fields)).fields |= fields
	}
	if e.Int(event.Trackable) != 0 {
		s.waitAbout(finding.BLETrackableAddress, "", device.High, e, "an address that does not change")
	}
}

func (s *stage) weakKey(e *event.Event) {
	s.waitAbout(finding.BLEKeyStaticOrZero, "", device.High, e, e.Text(event.Reason))
}

// wakes are the wake-ups of one device.
type wakes struct {
	times [wakeFlood]int64 // of the last ones, a ring
	n     int
}

// wake counts a wake-up of a device whose battery is in a body.
func (s *stage) wake(e *event.Event) {
	w := s.wakes.use(e.Device, e.Time, &s.dropped)
	if w.n > 0 && e.Time < w.times[(w.n-1)%wakeFlood]-minute {
		*w = wakes{} // the clock was set back: what is told by it before says nothing
	}
	oldest := &w.times[w.n%wakeFlood]
	full := w.n >= wakeFlood && e.Time-*oldest <= minute
	*oldest = e.Time
	w.n++
	if full {
		s.find(finding.RadioWakeFlood, e.Device, "", device.High, e, "one of more than "+strconv.Itoa(wakeFlood)+" wake-ups within a minute").with(e.Peer)
	}
}

// again tells whether a command on the radio was heard before, and when that is
// a replay: what has to be fresh came again, later than a radio resends it.
// Without a field that has to be fresh a repeat proves nothing: the same bolus
// recurs at every breakfast.
func (s *stage) again(e *event.Event) (replayed, repeated bool) {
	heard := func(id int64) bool {
		if id == 0 {
			return false
		}
		had := s.fresh.use(id, e.Time, &s.dropped)
		if had.to.Value == "" {
			*had = freshness{from: e.Peer, to: e.Device, at: e.Time}
			return false
		}
		return max(e.Time-had.at, had.at-e.Time) > resendWindow // a clock that is set back makes no replay new
	}
	return heard(e.Int(event.Fresh)), heard(e.Int(event.Repeat))
}
