// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import "encoding/binary"

// ApplicationContext is the name of the one application context (PS3.7 annex A.2.1).
const ApplicationContext = applicationContext + "3.1.1.1"

// MakeShort returns a text of at most 64 bytes; what is longer is cut.
func MakeShort[T string | []byte](text T) (s Short) {
	s.n = uint8(copy(s.b[:], text))
	return s
}

// Append appends the PDU to dst. A user identity, of which a knows no more than
// its type, is left out, with its response.
func (a *Association) Append(dst []byte) []byte {
	dst, pdu := begin32(append(dst, byte(a.Type), 0))
	dst = binary.BigEndian.AppendUint16(dst, a.ProtocolVersion)
	dst = append(dst, 0, 0)
	dst = appendTitle(dst, a.CalledAETitle)
	dst = appendTitle(dst, a.CallingAETitle)
	dst = append(dst, make([]byte, 32)...)
	if a.ApplicationContext != nil {
		dst = appendItem(dst, 0x10, a.ApplicationContext)
	}
	for i := range a.Contexts {
		dst = a.Contexts[i].append(dst, a.Type)
	}
	dst, user := begin16(append(dst, 0x50, 0))
	dst = appendItem(dst, 0x51, binary.BigEndian.AppendUint32(nil, a.MaximumLength))
	if a.ImplementationClassUID != nil {
		dst = appendItem(dst, 0x52, a.ImplementationClassUID)
	}
	if a.AsynchronousWindow {
		dst = append(dst, 0x53, 0, 0, 4)
		dst = binary.BigEndian.AppendUint16(dst, a.OperationsInvoked)
		dst = binary.BigEndian.AppendUint16(dst, a.OperationsPerformed)
	}
	for _, r := range a.Roles {
		var role int
		dst, role = begin16(append(dst, 0x54, 0))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.SOPClass)))
		dst = append(dst, r.SOPClass...)
		dst = append(dst, bit(r.SCU), bit(r.SCP))
		end16(dst, role)
	}
	if a.ImplementationVersionName != nil {
		dst = appendItem(dst, 0x55, a.ImplementationVersionName)
	}
	end16(dst, user)
	end32(dst, pdu)
	return dst
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (pc *PresentationContext) append(dst []byte, t PDUType) []byte {
	dst, item := begin16(append(dst, byte(0x20+t-AssociateRQ), 0))
	dst = append(dst, pc.ID, 0, pc.Result, 0)
	if pc.AbstractSyntax != nil {
		dst = appendItem(dst, 0x30, pc.AbstractSyntax)
	}
	for _, ts := range pc.TransferSyntaxes {
		dst = appendItem(dst, 0x40, ts)
	}
	end16(dst, item)
	return dst
}

// AppendRevised appends an A-ASSOCIATE PDU that was parsed before, byte for byte
// but for its presentation contexts, for which those given stand, and for the
// maximum length that its sender receives, unless that is to be 0.
func AppendRevised(dst, pdu []byte, contexts []PresentationContext, maximum uint32) []byte {
	const fixed = applicationContextOff
	typ := PDUType(pdu[0])
	start := len(dst)
	dst = append(dst, pdu[:fixed]...)
	placed := false
	place := func() {
		if !placed {
			for i := range contexts {
				dst = contexts[i].append(dst, typ)
			}
			placed = true
		}
	}
	for rest := pdu[fixed:]; len(rest) >= 4; {
		n := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest) {
			break
		}
		switch rest[0] {
		case 0x20, 0x21:
			place()
		case 0x50:
			place()
			user := len(dst)
			dst = append(dst, rest[:n]...)
			if maximum != 0 {
				dst = reviseMaximum(dst, user, maximum)
			}
		default:
			dst = append(dst, rest[:n]...)
		}
		rest = rest[n:]
	}
	place()
	end32(dst, start+pduHeader)
	return dst
}

// reviseMaximum changes the maximum length of the user information that begins
// at user, or adds one in front.
func reviseMaximum(dst []byte, user int, maximum uint32) []byte {
	for at := user + 4; at+4 <= len(dst); at += 4 + int(binary.BigEndian.Uint16(dst[at+2:])) {
		if dst[at] == 0x51 && at+8 <= len(dst) {
			binary.BigEndian.PutUint32(dst[at+4:], maximum)
			return dst
		}
	}
	tail := append([]byte(nil), dst[user+4:]...)
	dst = appendItem(dst[:user+4], 0x51, binary.BigEndian.AppendUint32(nil, maximum))
	dst = append(dst, tail...)
	end16(dst, user+4)
	return dst
}

// Append appends the PDU to dst.
func (p Control) Append(dst []byte) []byte {
	return append(dst, byte(p.Type), 0, 0, 0, 0, controlLength-pduHeader, 0, p.Result, p.Source, p.Reason)
}

// AppendData appends a P-DATA-TF PDU with one fragment of a message, in the
// presentation context given, to dst.
func AppendData(dst []byte, context uint8, command, last bool, fragment []byte) []byte {
	dst = append(dst, byte(PDataTF), 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(pdvHeader+len(fragment)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(2+len(fragment)))
	dst = append(dst, context, bit(command)*isCommand|bit(last)*isLast)
	return append(dst, fragment...)
}

// Append appends the command set to dst, in implicit VR little endian with its
// group length (PS3.7 section 6.3.1). Which fields it has, its message says;
// others when they are not zero.
func (c *Command) Append(dst []byte) []byte {
	u16 := binary.LittleEndian.AppendUint16
	element := func(tag Tag, n int) {
		dst = u16(u16(dst, uint16(tag>>16)), uint16(tag))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	}
	text := func(tag Tag, s *Short, pad byte) {
		if s.n == 0 {
			return
		}
		element(tag, int(s.n+s.n&1))
		if dst = append(dst, s.Bytes()...); s.n&1 == 1 {
			dst = append(dst, pad)
		}
	}
	number := func(tag Tag, v uint16, always bool) {
		if v != 0 || always {
			element(tag, 2)
			dst = u16(dst, v)
		}
	}
	var requested Tag // the fields of a request that asks for an object that there is
	switch c.Field {
	case NGetRQ, NSetRQ, NActionRQ, NDeleteRQ:
		requested = 1
	}
	answer := c.Field.Response()
	element(0x00000000, 4)
	length := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	text(0x00000002+requested, &c.SOPClass, 0)
	number(0x00000100, uint16(c.Field), true)
	number(0x00000110, c.MessageID, !answer && c.Field != CCancelRQ)
	number(0x00000120, c.MessageIDBeingRespondedTo, answer || c.Field == CCancelRQ)
	text(0x00000600, &c.MoveDestination, ' ')
	number(0x00000700, c.Priority, c.Field == CStoreRQ || c.Field == CFindRQ || c.Field == CGetRQ || c.Field == CMoveRQ)
	if c.DataSet {
		number(0x00000800, 0, true)
	} else {
		number(0x00000800, noDataSet, true)
	}
	number(0x00000900, c.Status, answer)
	text(0x00001000+requested, &c.SOPInstance, 0)
	number(0x00001002, c.EventTypeID, c.Field == NEventReportRQ)
	number(0x00001008, c.ActionTypeID, c.Field == NActionRQ)
	number(0x00001020, c.Remaining, false)
	number(0x00001021, c.Completed, false)
	number(0x00001022, c.Failed, false)
	number(0x00001023, c.Warning, false)
	text(0x00001030, &c.MoveOriginator, ' ')
	number(0x00001031, c.MoveOriginatorMessageID, false)
	binary.LittleEndian.PutUint32(dst[length:], uint32(len(dst)-length-4))
	return dst
}

func appendTitle(dst, title []byte) []byte {
	var t [16]byte
	for i := copy(t[:], title); i < len(t); i++ {
		t[i] = ' '
	}
	return append(dst, t[:]...)
}

func appendItem(dst []byte, typ byte, value []byte) []byte {
	dst = append(dst, typ, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}

// begin16 and begin32 leave room for a length that end16 and end32 put there.
func begin16(dst []byte) ([]byte, int) { return append(dst, 0, 0), len(dst) + 2 }

func begin32(dst []byte) ([]byte, int) { return append(dst, 0, 0, 0, 0), len(dst) + 4 }

func end16(dst []byte, from int) { binary.BigEndian.PutUint16(dst[from-2:], uint16(len(dst)-from)) }

func end32(dst []byte, from int) { binary.BigEndian.PutUint32(dst[from-4:], uint32(len(dst)-from)) }
