// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// The events that [Event.Parse] reads (Vol 4 Part E section 7.7). Those from
// LEMeta on are its subevents, with the subevent in the high byte.
const (
	EventConnectionComplete        = 0x03 // BR/EDR
	EventDisconnectionComplete     = 0x05
	EventEncryptionChange          = 0x08
	EventCommandComplete           = 0x0e
	EventEncryptionKeyRefresh      = 0x30
	EventLEMeta                    = 0x3e
	EventEncryptionChange2         = 0x59
	EventLEConnectionComplete      = 0x01<<8 | EventLEMeta
	EventLEAdvertisingReport       = 0x02<<8 | EventLEMeta
	EventLELongTermKeyRequest      = 0x05<<8 | EventLEMeta
	EventLEEnhancedConnection      = 0x0a<<8 | EventLEMeta
	EventLEDirectAdvertisingReport = 0x0b<<8 | EventLEMeta
	EventLEExtendedAdvertising     = 0x0d<<8 | EventLEMeta
	EventLEEnhancedConnection2     = 0x29<<8 | EventLEMeta
)

// An Event is what the follower needs to know of an HCI event. Which fields are
// valid depends on the code; those of other codes are zero.
type Event struct {
	Code     uint16 // one of the Event constants, or another event's
	Status   uint8  // 0 is success
	Handle   uint16
	Local    Side    // LE connections: the role of this side
	Peer     Address // LE connections: as the controller tells it
	Identity bool    // Peer is the identity that the controller resolved PeerRPA to
	LocalRPA Address // enhanced: what the controller itself used, or none
	PeerRPA  Address // enhanced: or none
	Interval uint16  // LE connections, in 1.25 ms
	Latency  uint16  // LE connections, in connection events
	Timeout  uint16  // LE connections, in 10 ms
	Reason   uint8   // EventDisconnectionComplete
	Enabled  uint8   // EventEncryptionChange: 0 is off
	KeySize  uint8   // EventEncryptionChange2
	Rand     uint64  // EventLELongTermKeyRequest
	EDIV     uint16  // EventLELongTermKeyRequest
	Opcode   uint16  // EventCommandComplete; Status is the first return parameter
	Data     []byte  // EventCommandComplete: the return parameters behind the status; advertising reports: all; other events: all
}

// Parse reads an event by its code and parameters. e.Data aliases b. Events
// that it does not know have all their parameters in Data.
func (e *Event) Parse(code uint16, b []byte) error {
	c := wire.NewCursor("hci", b)
	*e = Event{Code: code}
	if code == EventLEMeta {
		e.Code |= uint16(c.Uint8("Subevent_Code")) << 8
	}
	switch e.Code {
	case EventConnectionComplete:
		e.Status = c.Uint8("Status")
		e.Handle = c.Uint16LE("Connection_Handle") & 0xfff
		e.Data = c.Rest()
	case EventDisconnectionComplete:
		e.Status = c.Uint8("Status")
		e.Handle = c.Uint16LE("Connection_Handle") & 0xfff
		e.Reason = c.Uint8("Reason")
	case EventEncryptionChange, EventEncryptionChange2:
		e.Status = c.Uint8("Status")
		e.Handle = c.Uint16LE("Connection_Handle") & 0xfff
		e.Enabled = c.Uint8("Encryption_Enabled")
		if e.Code == EventEncryptionChange2 {
			e.KeySize = c.Uint8("Encryption_Key_Size")
		}
	case EventEncryptionKeyRefresh:
		e.Status = c.Uint8("Status")
		e.Handle = c.Uint16LE("Connection_Handle") & 0xfff
	case EventCommandComplete:
		c.Skip("Num_HCI_Command_Packets", 1)
		e.Opcode = c.Uint16LE("Command_Opcode")
		if c.Len() > 0 { // of no command nothing returns
			e.Status = c.Uint8("Status")
		}
		e.Data = c.Rest()
	case EventLEConnectionComplete, EventLEEnhancedConnection, EventLEEnhancedConnection2:
		e.connection(&c)
	case EventLELongTermKeyRequest:
		e.Handle = c.Uint16LE("Connection_Handle") & 0xfff
		e.Rand = c.Uint64LE("Random_Number")
		e.EDIV = c.Uint16LE("Encrypted_Diversifier")
	default:
		e.Data = c.Rest()
	}
	// Parameters behind those that are known may come with a later version of
	// the specification.
	return c.Err()
}

// connection reads the events of sections 7.7.65.1 and 7.7.65.10.
func (e *Event) connection(c *wire.Cursor) {
	e.Status = c.Uint8("Status")
	e.Handle = c.Uint16LE("Connection_Handle") & 0xfff
	switch role := c.Uint8("Role"); role {
	case 0:
		e.Local = Central
	case 1:
		e.Local = Peripheral
	default:
		c.Fail("Role", wire.ErrReserved)
	}
	kind := c.Uint8("Peer_Address_Type")
	e.Peer = addressOf(kind&1 != 0, c.Bytes("Peer_Address", 6))
	e.Identity = kind == 2 || kind == 3
	if e.Code != EventLEConnectionComplete {
		e.LocalRPA = privateOf(c.Bytes("Local_Resolvable_Private_Address", 6))
		e.PeerRPA = privateOf(c.Bytes("Peer_Resolvable_Private_Address", 6))
	}
	e.Interval = c.Uint16LE("Connection_Interval")
	e.Latency = c.Uint16LE("Peripheral_Latency")
	e.Timeout = c.Uint16LE("Supervision_Timeout")
	c.Skip("Central_Clock_Accuracy", 1)
	if e.Code == EventLEEnhancedConnection2 {
		c.Skip("Advertising_Handle", 1)
		c.Skip("Sync_Handle", 2)
	}
}

// privateOf returns a private address, of which all zero is none.
func privateOf(b []byte) Address {
	a := addressOf(true, b)
	if a.Bytes == [6]byte{} {
		return Address{}
	}
	return a
}

// Append writes the event, header included, after dst: what [Packet.Payload]
// has behind [HCIEvent]'s two bytes, and these.
func (e *Event) Append(dst []byte) []byte {
	le := binary.LittleEndian
	start := len(dst)
	b := append(dst, uint8(e.Code), 0)
	if uint8(e.Code) == EventLEMeta {
		b = append(b, uint8(e.Code>>8))
	}
	switch e.Code {
	case EventConnectionComplete:
		b = append(le.AppendUint16(append(b, e.Status), e.Handle), e.Data...)
	case EventDisconnectionComplete:
		b = append(le.AppendUint16(append(b, e.Status), e.Handle), e.Reason)
	case EventEncryptionChange:
		b = append(le.AppendUint16(append(b, e.Status), e.Handle), e.Enabled)
	case EventEncryptionChange2:
		b = append(le.AppendUint16(append(b, e.Status), e.Handle), e.Enabled, e.KeySize)
	case EventEncryptionKeyRefresh:
		b = le.AppendUint16(append(b, e.Status), e.Handle)
	case EventCommandComplete:
		b = append(append(le.AppendUint16(append(b, 1), e.Opcode), e.Status), e.Data...)
	case EventLEConnectionComplete, EventLEEnhancedConnection, EventLEEnhancedConnection2:
		role, kind := uint8(0), e.Peer.random()
		if e.Local == Peripheral {
			role = 1
		}
		if e.Identity {
			kind |= 2
		}
		b = append(le.AppendUint16(append(b, e.Status), e.Handle), role, kind)
		b = e.Peer.append(b)
		if e.Code != EventLEConnectionComplete {
			b = e.PeerRPA.append(e.LocalRPA.append(b))
		}
		b = append(le.AppendUint16(le.AppendUint16(le.AppendUint16(b, e.Interval), e.Latency), e.Timeout), 0)
		if e.Code == EventLEEnhancedConnection2 {
			b = append(b, 0xff, 0xff, 0xff) // neither advertised nor synchronised
		}
	case EventLELongTermKeyRequest:
		b = le.AppendUint16(le.AppendUint64(le.AppendUint16(b, e.Handle), e.Rand), e.EDIV)
	default:
		b = append(b, e.Data...)
	}
	b[start+1] = uint8(len(b) - start - 2)
	return b
}

// The commands that [Command.Parse] reads (Vol 4 Part E sections 7.3, 7.4 and 7.8).
const (
	CommandReset                  = 0x0c03
	CommandReadBDADDR             = 0x1009
	CommandLESetRandomAddress     = 0x2005
	CommandLESetAdvertising       = 0x2006 // LE Set Advertising Parameters
	CommandLESetScan              = 0x200b // LE Set Scan Parameters
	CommandLECreateConnection     = 0x200d
	CommandLEEnableEncryption     = 0x2019 // in earlier versions LE Start Encryption
	CommandLELongTermKeyReply     = 0x201a
	CommandLELongTermKeyNegative  = 0x201b
	CommandLEAddResolving         = 0x2027 // LE Add Device To Resolving List
	CommandLESetAdvertisingRandom = 0x2035 // LE Set Advertising Set Random Address
	CommandLESetExtAdvertising    = 0x2036 // LE Set Extended Advertising Parameters
	CommandLESetExtScan           = 0x2041 // LE Set Extended Scan Parameters
	CommandLEExtCreateConnection  = 0x2043
	CommandLEExtCreateConnection2 = 0x2085
)

// A Command is what the follower needs to know of an HCI command. Which fields
// are valid depends on the opcode; those of other opcodes are zero.
type Command struct {
	Opcode  uint16
	Handle  uint16  // of a connection; CommandLESetAdvertisingRandom: of an advertising set
	Rand    uint64  // CommandLEEnableEncryption
	EDIV    uint16  // CommandLEEnableEncryption
	Key     []byte  // CommandLEEnableEncryption, CommandLELongTermKeyReply; CommandLEAddResolving: the peer's identity resolving key: 16 bytes, least significant first
	Address Address // that this side sets for itself; or that it connects to
	Own     uint8   // Own_Address_Type, of what advertises, scans or connects
	Data    []byte  // of what is not read, all parameters
}

// Parse reads a command by its opcode and parameters. Its slices alias b.
func (m *Command) Parse(opcode uint16, b []byte) error {
	c := wire.NewCursor("hci", b)
	*m = Command{Opcode: opcode}
	switch opcode {
	case CommandLESetRandomAddress:
		m.Address = addressOf(true, c.Bytes("Random_Address", 6))
	case CommandLESetAdvertisingRandom:
		m.Handle = uint16(c.Uint8("Advertising_Handle"))
		m.Address = addressOf(true, c.Bytes("Random_Address", 6))
	case CommandLESetAdvertising:
		c.Skip("Advertising_Interval", 4)
		c.Skip("Advertising_Type", 1)
		m.Own = c.Uint8("Own_Address_Type")
	case CommandLESetExtAdvertising:
		m.Handle = uint16(c.Uint8("Advertising_Handle"))
		c.Skip("Advertising_Event_Properties", 2)
		c.Skip("Primary_Advertising_Interval", 6)
		c.Skip("Primary_Advertising_Channel_Map", 1)
		m.Own = c.Uint8("Own_Address_Type")
	case CommandLESetScan:
		c.Skip("LE_Scan_Type", 1)
		c.Skip("LE_Scan_Interval", 4)
		m.Own = c.Uint8("Own_Address_Type")
	case CommandLESetExtScan:
		m.Own = c.Uint8("Own_Address_Type")
	case CommandLECreateConnection:
		c.Skip("LE_Scan_Interval", 4)
		c.Skip("Initiator_Filter_Policy", 1)
		m.peer(&c)
		m.Own = c.Uint8("Own_Address_Type")
	case CommandLEExtCreateConnection, CommandLEExtCreateConnection2:
		if opcode == CommandLEExtCreateConnection2 {
			c.Skip("Advertising_Handle", 2) // and Subevent
		}
		c.Skip("Initiator_Filter_Policy", 1)
		m.Own = c.Uint8("Own_Address_Type")
		m.peer(&c)
	case CommandLEEnableEncryption:
		m.Handle = c.Uint16LE("Connection_Handle") & 0xfff
		m.Rand = c.Uint64LE("Random_Number")
		m.EDIV = c.Uint16LE("Encrypted_Diversifier")
		m.Key = c.Bytes("Long_Term_Key", 16)
	case CommandLELongTermKeyReply:
		m.Handle = c.Uint16LE("Connection_Handle") & 0xfff
		m.Key = c.Bytes("Long_Term_Key", 16)
	case CommandLELongTermKeyNegative:
		m.Handle = c.Uint16LE("Connection_Handle") & 0xfff
	case CommandLEAddResolving: // Vol 4 Part E section 7.8.38
		m.peer(&c)
		m.Key = c.Bytes("Peer_IRK", 16)
		m.Data = c.Bytes("Local_IRK", 16)
	default:
		m.Data = c.Rest()
	}
	return c.Err()
}

func (m *Command) peer(c *wire.Cursor) {
	kind := c.Uint8("Peer_Address_Type")
	m.Address = addressOf(kind&1 != 0, c.Bytes("Peer_Address", 6))
}

// Append writes the command, header included, after dst. Parameters that
// Command has no field for are those of a usual host.
func (m *Command) Append(dst []byte) []byte {
	le := binary.LittleEndian
	start := len(dst)
	b := append(le.AppendUint16(dst, m.Opcode), 0)
	const interval, window = 96, 48 // 60 ms and 30 ms, in 0.625 ms
	connection := func() {          // intervals, latency, timeout, lengths of events
		for _, v := range [...]uint16{24, 40, 0, 500, 0, 0} {
			b = le.AppendUint16(b, v)
		}
	}
	switch m.Opcode {
	case CommandLESetRandomAddress:
		b = m.Address.append(b)
	case CommandLESetAdvertisingRandom:
		b = m.Address.append(append(b, uint8(m.Handle)))
	case CommandLESetAdvertising:
		b = append(le.AppendUint16(le.AppendUint16(b, interval), interval), 0, m.Own, 0, 0, 0, 0, 0, 0, 0, 7, 0)
	case CommandLESetExtAdvertising:
		b = append(b, uint8(m.Handle), 1, 0, interval, 0, 0, interval, 0, 0, 7, m.Own, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 1, 0, 1, 0, 0)
	case CommandLESetScan:
		b = append(le.AppendUint16(le.AppendUint16(append(b, 1), interval), window), m.Own, 0)
	case CommandLESetExtScan:
		b = le.AppendUint16(le.AppendUint16(append(b, m.Own, 0, 1, 1), interval), window)
	case CommandLECreateConnection:
		b = append(le.AppendUint16(le.AppendUint16(b, interval), window), 0, m.Address.random())
		b = append(m.Address.append(b), m.Own)
		connection()
	case CommandLEExtCreateConnection, CommandLEExtCreateConnection2:
		if m.Opcode == CommandLEExtCreateConnection2 {
			b = append(b, 0xff, 0xff)
		}
		b = append(m.Address.append(append(b, 0, m.Own, m.Address.random())), 1)
		b = le.AppendUint16(le.AppendUint16(b, interval), window)
		connection()
	case CommandLEEnableEncryption:
		b = append(le.AppendUint16(le.AppendUint64(le.AppendUint16(b, m.Handle), m.Rand), m.EDIV), m.Key...)
	case CommandLELongTermKeyReply:
		b = append(le.AppendUint16(b, m.Handle), m.Key...)
	case CommandLELongTermKeyNegative:
		b = le.AppendUint16(b, m.Handle)
	case CommandLEAddResolving:
		b = append(append(m.Address.append(append(b, m.Address.random())), m.Key...), m.Data...)
	default:
		b = append(b, m.Data...)
	}
	b[start+2] = uint8(len(b) - start - 3)
	return b
}

// AppendACL writes a fragment of L2CAP after dst, header included, as the side
// sends it whose controller is asked: start with the first fragment.
func AppendACL(dst []byte, handle uint16, start, received bool, fragment []byte) []byte {
	boundary := uint16(1)
	if start {
		boundary = 0 // Vol 4 Part E section 5.4.2: from the host
		if received {
			boundary = 2 // from the controller
		}
	}
	dst = binary.LittleEndian.AppendUint16(dst, handle&0xfff|boundary<<12)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(fragment)))
	return append(dst, fragment...)
}
