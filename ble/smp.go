// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// An SMPCode says what a PDU of the security manager protocol is (Vol 3 Part H
// section 3.3).
type SMPCode uint8

// The codes of the security manager protocol.
const (
	PairingRequest             SMPCode = 0x01
	PairingResponse            SMPCode = 0x02
	PairingConfirm             SMPCode = 0x03
	PairingRandom              SMPCode = 0x04
	PairingFailed              SMPCode = 0x05
	EncryptionInformation      SMPCode = 0x06 // the long-term key
	CentralIdentification      SMPCode = 0x07
	IdentityInformation        SMPCode = 0x08 // the identity resolving key
	IdentityAddressInformation SMPCode = 0x09
	SigningInformation         SMPCode = 0x0a // the signature key
	SecurityRequest            SMPCode = 0x0b
	PairingPublicKey           SMPCode = 0x0c
	PairingDHKeyCheck          SMPCode = 0x0d
	PairingKeypress            SMPCode = 0x0e
)

// smpSizes holds the size of each PDU with its code.
var smpSizes = [...]int{
	PairingRequest: 7, PairingResponse: 7, PairingConfirm: 17, PairingRandom: 17, PairingFailed: 2,
	EncryptionInformation: 17, CentralIdentification: 11, IdentityInformation: 17, IdentityAddressInformation: 8,
	SigningInformation: 17, SecurityRequest: 2, PairingPublicKey: 65, PairingDHKeyCheck: 17, PairingKeypress: 2,
}

// An SMP is one PDU of the security manager protocol. Which fields are valid
// depends on the code; those of other codes are zero.
type SMP struct {
	Code            SMPCode
	PairingFeatures        // of requests and responses; of SecurityRequest the AuthReq
	Reason          uint8  // of PairingFailed
	Keypress        uint8  // of PairingKeypress
	Value           []byte // 16 bytes, of PairingPublicKey 64, least significant first
	EDIV            uint16
	Rand            uint64
	Address         Address // of IdentityAddressInformation
}

// Parse reads one PDU. s.Value aliases b. On an error s holds what was read
// before it. Key sizes that are not allowed are no error: attacks use them.
func (s *SMP) Parse(b []byte) error {
	c := wire.NewCursor("smp", b)
	*s = SMP{Code: SMPCode(c.Uint8("Code"))}
	if int(s.Code) >= len(smpSizes) || smpSizes[s.Code] == 0 {
		c.FailAt("Code", 0, wire.ErrReserved)
		return c.Err()
	}
	switch s.Code {
	case PairingRequest, PairingResponse:
		s.IOCapability = IOCapability(c.Uint8("IO Capability"))
		oob := c.Uint8("OOB data flag")
		s.OOB = oob == 1
		s.AuthReq = c.Uint8("AuthReq")
		s.MaxKeySize = c.Uint8("Maximum Encryption Key Size")
		s.InitiatorKeys = c.Uint8("Initiator Key Distribution")
		s.ResponderKeys = c.Uint8("Responder Key Distribution")
		if s.IOCapability > KeyboardDisplay {
			c.FailAt("IO Capability", 1, wire.ErrReserved)
		}
		if oob > 1 {
			c.FailAt("OOB data flag", 2, wire.ErrReserved)
		}
	case PairingFailed:
		s.Reason = c.Uint8("Reason")
	case CentralIdentification:
		s.EDIV = c.Uint16LE("EDIV")
		s.Rand = c.Uint64LE("Rand")
	case IdentityAddressInformation:
		kind := c.Uint8("AddrType")
		s.Address = addressOf(kind&1 != 0, c.Bytes("BD_ADDR", 6))
		if kind > 1 {
			c.FailAt("AddrType", 1, wire.ErrReserved)
		}
	case SecurityRequest:
		s.AuthReq = c.Uint8("AuthReq")
	case PairingKeypress:
		s.Keypress = c.Uint8("Notification Type")
	default:
		s.Value = c.Bytes("Value", smpSizes[s.Code]-1)
	}
	if c.Len() > 0 {
		c.Fail("Data", wire.ErrTrailing)
	}
	return c.Err()
}

// Append writes s after dst. What [SMP.Parse] would refuse is an error, and
// then dst is returned as it came.
func (s *SMP) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	b := append(dst, uint8(s.Code))
	switch s.Code {
	case PairingRequest, PairingResponse:
		oob := uint8(0)
		if s.OOB {
			oob = 1
		}
		b = append(b, uint8(s.IOCapability), oob, s.AuthReq, s.MaxKeySize, s.InitiatorKeys, s.ResponderKeys)
	case PairingFailed:
		b = append(b, s.Reason)
	case CentralIdentification:
		b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(b, s.EDIV), s.Rand)
	case IdentityAddressInformation:
		b = s.Address.append(append(b, s.Address.random()))
	case SecurityRequest:
		b = append(b, s.AuthReq)
	case PairingKeypress:
		b = append(b, s.Keypress)
	default:
		b = append(b, s.Value...)
	}
	var check SMP
	if err := check.Parse(b[start:]); err != nil {
		return dst, err
	}
	return b, nil
}
