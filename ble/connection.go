// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// A Connection is one connection, as far as it has come.
type Connection struct {
	ID         uint64  // in the order of appearance, from 1
	Central    Address // as the link uses it, as far as known
	Peripheral Address
	Midstream  bool // its beginning was not captured: what protects it, and what was agreed on before, may be more than is known
	Sniffed    bool // on the air: what is not decrypted is ciphertext
	Security   Security
	MTU        uint16 // of ATT as exchanged, in octets; 23 before
	Bearer     uint16 // during [Handler.ATT] and [Handler.SDU]: which channel; [CIDATT], or of a credit-based one the central's end
	Gaps       uint32 // packets that the sniffer did not hear, as far as can be told, or that a host's log cut
	Begin      int64  // nanoseconds since 1970-01-01 UTC
	Last       int64
	User       any // the handler's own

	state
}

// Identity returns who one side is: the identity behind a resolvable address,
// when its key is in the captures or the controller knew it; else the address.
func (c *Connection) Identity(s Side) Address {
	if s == UnknownSide || int(s) >= len(c.party) {
		return Address{}
	}
	return c.party[s]
}

// Local returns the side whose host wrote the log; UnknownSide on the air, and
// while it is not known.
func (c *Connection) Local() Side { return c.local }

// A keyPlace is where an HCI log has keys. Hosts write logs with the keys blanked
// out, each as so many zeros. So a key of zeros is only taken for one when the
// log has another in the same kind of place that is not zero: a logger that
// blanks the parameters of commands may leave what L2CAP carries, as it is.
type keyPlace uint8

const (
	commandKeys keyPlace = 1 << iota // long-term keys in commands
	handedKeys                       // keys that SMP distributes
)

// Pairing returns the last pairing of the connection, as far as it has come. It
// is the follower's: read it during a call of [Handler].
func (c *Connection) Pairing() *Pairing { return &c.pairing }

// A linkKey tells the connections of all inputs apart.
type linkKey struct {
	stream uint64
	link   uint64 // controller and handle; or access address
}

func hciKey(stream uint64, p *Packet, handle uint16) linkKey {
	return linkKey{stream, uint64(p.Index)<<16 | uint64(handle)}
}

// controller returns the key of the controller whose log a connection is in.
func (k linkKey) controller() linkKey { return linkKey{k.stream, k.link &^ 0xffff} }

// A state is what the follower remembers of a connection.
type state struct {
	key   linkKey
	party [3]Address // identities, by Side
	half  [3]half    // what each side sends, by Side
	over  bool       // disconnected; what is still heard of it is not listened to

	local Side // HCI: whose controller it is; UnknownSide until it is known

	// On the air.
	encryption encryption
	session    session
	crcInit    uint32
	hasInit    bool
	crcProven  bool // a CRC was right, so that a wrong one means something
	last       Side
	channel    uint8
	asked      uint32 // Gaps at the last ATT request
	opaque     uint8  // PDUs in a row that look like ciphertext
	readable   bool   // somebody decrypted this connection: PDUs that look readable after encryption are

	// What protects it.
	pairing Pairing
	steps   steps
	derived Security // by the pairing or bond of the key in use; zero when there was none
	handle  keyHandle
	keyID   uint64 // of the long-term key that is about to be used, when it was seen
	zero    bool   // it is all zero, as logged

	blank keyPlace // where the log has keys of zeros that it may have blanked out

	channels []channel
	openings [maxOpenings]opening
	opened   uint8 // next of openings to use
}

// A half is what one side of a connection sends.
type half struct {
	pdu      assembly // L2CAP
	mtu      uint16   // of ATT, as it said
	requests uint8    // ATT requests without an answer

	// On the air.
	sn, nesn uint8
	heard    bool
	hash     uint64 // of the last packet
	stuck    uint8  // new packets in a row with the sequence number of the one before
	toggles  bool   // its sequence number was seen to change
}

// An assembly puts a PDU together.
type assembly struct {
	b    []byte
	need int // bytes in all; 0 when not known yet
}

// An encryption is how far the link layer's start of encryption got (Vol 6 Part
// B section 5.1.3.1).
//
//	off -> requested -> answered -> starting -> on -> paused -> requested
type encryption uint8

const (
	encryptionOff encryption = iota
	encryptionRequested
	encryptionAnswered
	encryptionStarting
	encryptionOn
	encryptionPaused
)

// steps are what was seen of a pairing.
type steps struct {
	confirm, random, public, check [3]bool
	points                         [3]uint64 // numbers that tell public keys apart
	nonce                          uint64
	keys                           [3]uint8  // distributed so far, in the bits of the key distribution fields
	ltk                            [3]uint64 // numbers that tell long-term keys apart
	handles                        [3]keyHandle
	irk                            [3]*[16]byte
	bond                           *bond
	number                         uint64 // of the pairing
	gaps                           uint32 // of the connection when it began
	zero                           bool   // the peripheral's key is all zero, as it was seen
	debug                          bool   // a side has the public key of debug mode
	partial                        bool   // its features were not heard
}

// maxOpenings bounds the requests for channels that wait for their answer.
const maxOpenings = 4

// A channel is a credit-based channel (Vol 3 Part A section 3.4).
type channel struct {
	cid      [3]uint16 // the ends, by Side
	mtu      [3]uint16 // bytes of the longest SDU that a side takes
	spsm     uint16
	sdu      [3]assembly // by sender
	requests [3]uint8    // as in half
}

// An opening is a request for channels.
type opening struct {
	from       Side
	identifier uint8
	spsm       uint16
	mtu        uint16
	cids       [maxSignalCIDs]uint16
	n          uint8
}
