// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

// A Match is how well the first bytes of one side of a conversation, or one
// datagram, fit a protocol. Protocols are recognised by what they say, not by
// their port; the port only decides where the bytes say too little.
type Match uint8

// The matches.
const (
	NoMatch   Match = iota // these bytes are not of the protocol
	NeedMore               // what there is fits; more bytes are needed to say
	WeakMatch              // fits, but so would much else: believed on the registered port only
	SureMatch              // fits, and hardly anything else would
)
