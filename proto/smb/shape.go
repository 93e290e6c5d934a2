// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package smb

// A Shape is the outward shape of an attack on a published weakness of SMB
// servers, or of the look for one. Each is something that the standard forbids
// or sets aside, so that a client that means no harm does not send it.
type Shape uint8

// The shapes.
const (
	NoShape Shape = iota

	// PeekFIDZero asks how much waits in the pipe with FID 0, which no server
	// hands out for a pipe. A server without the patch MS17-010 answers
	// STATUS_INSUFF_SERVER_RESOURCES, one with it another error: that is how
	// scanners look for it.
	PeekFIDZero

	// MixedTransaction is an NT_TRANSACT that is continued by a
	// TRANSACTION2_SECONDARY. The first counts its data in 32 bits, the second
	// in 16; the server of CVE-2017-0144 believes the last and copies by the
	// first. MS-CIFS section 2.2.4.62 allows NT_TRANSACT_SECONDARY only.
	MixedTransaction

	// DataBeyondTotal is a secondary whose data would lie behind the total
	// that it states itself, which MS-CIFS section 2.2.4.47.1 forbids: the
	// same attack, seen without its beginning.
	DataBeyondTotal

	// SessionMisread is a session set-up laid out for extended security whose
	// header says that there is none. The server without MS17-010 reads it in
	// the other layout and sets aside memory by a number of the sender's
	// choice, which is how the attack prepares its ground.
	SessionMisread

	// ReservedSubcommand is TRANS2_SESSION_SETUP, reserved and never
	// implemented (MS-CIFS section 2.2.6.15). The implant DoublePulsar listens
	// for it; it answers with a MID that is 0x10 more than the one asked with.
	ReservedSubcommand

	// CompressedBeyond is a compressed message whose Offset lies behind its own
	// end, or whose sizes together pass 32 bits (MS-SMB2 section 2.2.42.1):
	// the sum that the server of CVE-2020-0796 does not check.
	CompressedBeyond

	// PreviewDialects is a NEGOTIATE that offers compression, no encryption,
	// and dialects that were in previews of Windows only. No release sends it;
	// scanners for CVE-2020-0796 do. Compression by itself is no attack.
	PreviewDialects
)

// Shapes says of each shape what it looks like in words, and the weaknesses
// concerned.
var Shapes = [...]struct{ Says, CVE string }{
	PeekFIDZero:        {"check for MS17-010: peek into pipe 0", "CVE-2017-0144"},
	MixedTransaction:   {"MS17-010: NT transaction continued as another kind", "CVE-2017-0144"},
	DataBeyondTotal:    {"MS17-010: transaction data beyond its own total", "CVE-2017-0144"},
	SessionMisread:     {"MS17-010: session set-up made to be misread", "CVE-2017-0144"},
	ReservedSubcommand: {"call for the implant DoublePulsar", "CVE-2017-0144"},
	CompressedBeyond:   {"SMBGhost: compressed message beyond its own end", "CVE-2020-0796"},
	PreviewDialects:    {"check for SMBGhost: compression with dialects of no release", "CVE-2020-0796"},
}

// maxOpenNT bounds the NT_TRANSACT requests remembered in a conversation. A
// client has a few open at most; the attack one.
const maxOpenNT = 8

// Transactions follows the transactions of the client of one conversation. The
// zero value is ready.
type Transactions struct {
	open [maxOpenNT]transactionID
	next int
}

// A transactionID tells one transaction from another (MS-CIFS section 3.2.4.1.2).
type transactionID struct{ tid, pid, uid, mid uint16 }

// Shape looks at a request of the client, in the order of sending.
func (ts *Transactions) Shape(m *Message1) Shape {
	if m.Response {
		return NoShape
	}
	id := transactionID{m.TID, m.PID, m.UID, m.MID}
	switch m.Command {
	case ComTransaction:
		if t := m.Transaction(); t.Function == TransPeekNmpipe && t.FID == 0 {
			return PeekFIDZero
		}
	case ComNTTransact:
		if len(m.Words) >= 38 && !ts.has(id) {
			ts.open[ts.next%maxOpenNT] = id
			ts.next++
		}
	case ComTransaction2:
		ts.forget(id)
		if t := m.Transaction(); t.Function == Trans2SessionSetup {
			return ReservedSubcommand
		}
	case ComTransaction2Secondary:
		if len(m.Words) < 18 {
			break
		}
		if ts.has(id) {
			return MixedTransaction
		}
		if t := m.Transaction(); t.DataCount > 0 && t.DataDisplacement+t.DataCount > t.TotalDataCount {
			return DataBeyondTotal
		}
	case ComSessionSetupAndX:
		if m.Session().Misread {
			return SessionMisread
		}
	}
	return NoShape
}

func (ts *Transactions) has(id transactionID) bool {
	for i := range min(ts.next, maxOpenNT) {
		if ts.open[i] == id {
			return true
		}
	}
	return false
}

// forget makes room for an identifier that is used again.
func (ts *Transactions) forget(id transactionID) {
	for i := range min(ts.next, maxOpenNT) {
		if ts.open[i] == id {
			ts.open[i] = transactionID{}
		}
	}
}

// Shape looks at a NEGOTIATE request.
func (n *Negotiation) Shape() Shape {
	if n.Has(Compression) && !n.Has(Encryption) && n.Offers(preview0310) && n.Offers(preview224) && n.Offers(preview222) {
		return PreviewDialects
	}
	return NoShape
}

// CompressedShape looks at the first bytes of a message of length n, when it is
// an SMB2 COMPRESSION_TRANSFORM_HEADER (MS-SMB2 section 2.2.42).
func CompressedShape(b []byte, n int) Shape {
	const header = 16
	if len(b) < header || !IsSMB(b) || b[0] != protocolCompressed {
		return NoShape
	}
	size, flags, offset := uint64(le32(b, 4)), le16(b, 10), uint64(le32(b, 12))
	if flags != 0 { // chained: the last field is a length, and the payloads have headers of their own
		return NoShape
	}
	if offset > uint64(n-header) || size+offset > 1<<32-1 {
		return CompressedBeyond
	}
	return NoShape
}
