// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// An IOCapability says how a device can show and take numbers (Vol 3 Part H
// section 2.3.2).
type IOCapability uint8

// The IO capabilities. Others are reserved.
const (
	DisplayOnly IOCapability = iota
	DisplayYesNo
	KeyboardOnly
	NoInputNoOutput
	KeyboardDisplay
)

// The bits of AuthReq (Vol 3 Part H section 3.5.1).
const (
	AuthBonding           = 1 << 0 // of two bits, the other is reserved
	AuthMITM              = 1 << 2
	AuthSecureConnections = 1 << 3
	AuthKeypress          = 1 << 4
	AuthCT2               = 1 << 5
)

// The bits of the key distribution fields (Vol 3 Part H section 3.6.1).
const (
	DistributeEncryption = 1 << iota
	DistributeIdentity
	DistributeSigning
	DistributeLink
)

// PairingFeatures are what one side says in a pairing request or response.
type PairingFeatures struct {
	IOCapability  IOCapability
	OOB           bool // has authentication data that came another way
	AuthReq       uint8
	MaxKeySize    uint8 // octets
	InitiatorKeys uint8 // key distribution
	ResponderKeys uint8
}

// MethodOf returns the method of a pairing by what both sides say, and whether
// it is LE Secure Connections (Vol 3 Part H section 2.3.5.1, tables 2.6 to 2.8).
func MethodOf(request, response PairingFeatures) (m Method, secureConnections bool) {
	both, either := request.AuthReq&response.AuthReq, request.AuthReq|response.AuthReq
	sc := both&AuthSecureConnections != 0
	switch {
	case request.OOB && response.OOB, sc && (request.OOB || response.OOB):
		return OutOfBand, sc
	case either&AuthMITM == 0:
		return JustWorks, sc
	}
	if request.IOCapability > KeyboardDisplay || response.IOCapability > KeyboardDisplay {
		return NoMethod, sc
	}
	m = methodsByIO[response.IOCapability][request.IOCapability]
	if m == NumericComparison && !sc {
		m = legacyOf[response.IOCapability][request.IOCapability]
	}
	return m, sc
}

// methodsByIO is table 2.8 for Secure Connections: a row for each capability of
// the responder, a column for each of the initiator.
var methodsByIO = [5][5]Method{
	DisplayOnly:     {JustWorks, JustWorks, PasskeyEntry, JustWorks, PasskeyEntry},
	DisplayYesNo:    {JustWorks, NumericComparison, PasskeyEntry, JustWorks, NumericComparison},
	KeyboardOnly:    {PasskeyEntry, PasskeyEntry, PasskeyEntry, JustWorks, PasskeyEntry},
	NoInputNoOutput: {JustWorks, JustWorks, JustWorks, JustWorks, JustWorks},
	KeyboardDisplay: {PasskeyEntry, NumericComparison, PasskeyEntry, JustWorks, NumericComparison},
}

// legacyOf is what stands in the table for legacy pairing where Secure
// Connections compares numbers.
var legacyOf = [5][5]Method{
	DisplayYesNo:    {DisplayYesNo: JustWorks, KeyboardDisplay: PasskeyEntry},
	KeyboardDisplay: {DisplayYesNo: PasskeyEntry, KeyboardDisplay: PasskeyEntry},
}

// A PairingState is how far a pairing got.
type PairingState uint8

// The states of a pairing, in their order. Failed can follow any.
const (
	NoPairing  PairingState = iota
	Asked                   // the peripheral sent a Security Request
	Requested               // the central sent its features
	Answered                // and the peripheral its own
	Confirming              // confirm values, random numbers or public keys are on their way
	Agreed                  // both sides can have the key
	Encrypted               // the link is encrypted with it
	Done                    // and the keys to be kept were distributed, as far as the capture shows
	Failed
)

// A Pairing is one pairing, as far as it has come.
type Pairing struct {
	Asked             bool  // the peripheral asked for it
	SecurityRequest   uint8 // the AuthReq that it asked with
	Request, Response PairingFeatures
	Method            Method // from Answered on
	SecureConnections bool
	KeySize           uint8 // octets; 0 when what was said is out of range
	State             PairingState
	Reason            uint8 // of Failed
	FailedBy          Side
	KeysReadable      bool // keys were distributed where somebody with the capture can read them
}
