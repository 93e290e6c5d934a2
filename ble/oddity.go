// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// An Oddity is the shape of a known attack, or something that the protocol
// forbids and known attacks use.
type Oddity uint8

// The oddities.
const (
	_                     Oddity = iota
	ZeroKey                      // the long-term key is all zero
	EncryptionWithoutKey         // encryption started in a pairing that had not agreed on a key
	EncryptionBeforeCheck        // encryption started in a pairing whose DHKey checks were not seen
	KeySizeOutOfRange            // a pairing named a key size outside 7 to 16
	InvalidLLID                  // a link-layer PDU whose LLID is reserved or does not fit its length
	TruncatedL2CAP               // a first fragment that is shorter or longer than L2CAP allows
	RequestsOutstanding          // a second ATT request before the first was answered
	DataDuringEncryption         // data between the request for encryption and its start
	StaticKey                    // a long-term key that another pairing had too
	ReflectedPublicKey           // both sides sent the same public key
	InvalidPublicKey             // a public key that is not on the curve
	DebugKey                     // the public key of debug mode, whose private key everybody has
)

var oddities = [...]string{
	ZeroKey:               "all-zero long-term key",
	EncryptionWithoutKey:  "encryption started before a key was agreed on",
	EncryptionBeforeCheck: "encryption started without the DHKey checks",
	KeySizeOutOfRange:     "encryption key size outside 7 to 16 octets",
	InvalidLLID:           "invalid LLID",
	TruncatedL2CAP:        "first L2CAP fragment of the wrong length",
	RequestsOutstanding:   "ATT request before the one before was answered",
	DataDuringEncryption:  "data while encryption was being started",
	StaticKey:             "long-term key of another pairing",
	ReflectedPublicKey:    "public key sent back to its sender",
	InvalidPublicKey:      "public key that is not on the curve",
	DebugKey:              "public key of debug mode, whose private key is published",
}

// String says what is odd.
func (o Oddity) String() string {
	if int(o) < len(oddities) {
		return oddities[o]
	}
	return ""
}
