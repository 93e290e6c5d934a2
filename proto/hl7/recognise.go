// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// maxRecognise is how many bytes recognition looks at.
const maxRecognise = 256

// Recognise says whether b, the first bytes that one side of a TCP connection
// sent or that a segment in the middle of it begins with, is HL7: an MLLP
// block or a message without one; in the middle, lines that begin like
// segments.
func Recognise(b []byte) wire.Match {
	if len(b) == 0 {
		return wire.NeedMore
	}
	switch b[0] {
	case startBlock:
		if len(b) > 1 && (b[1] == 0x06 || b[1] == 0x15) {
			return wire.WeakMatch // a commit block of MLLP release 2
		}
		return beginning(b[1:])
	case 'M', 'B', 'F':
		if m := beginning(b); m != wire.NoMatch {
			return m
		}
	}
	return middle(b[:min(len(b), maxRecognise)])
}

// RecogniseMessage says whether b, the first bytes of a file or of the body of
// an HTTP request, is a message or a batch.
func RecogniseMessage(b []byte) wire.Match {
	i := 0
	for i < len(b) && i < maxLead && !alphanumeric(b[i]) {
		i++
	}
	return beginning(b[i:])
}

// beginning matches a header segment as far as MSH-2.
func beginning(b []byte) wire.Match {
	for _, id := range [...]string{"MSH", "BHS", "FHS"} {
		n := min(len(b), len(id))
		if string(b[:n]) != id[:n] {
			continue
		}
		if len(b) > 3 && !delimiter(b[3]) {
			return wire.NoMatch
		}
		for i := 4; i < 9; i++ { // MSH|^~\&|
			switch {
			case i >= len(b):
				return wire.NeedMore
			case i > 4 && b[i] == b[3]:
				return wire.SureMatch
			case !delimiter(b[i]) || bytes.IndexByte(b[3:i], b[i]) >= 0:
				return wire.NoMatch
			}
		}
		return wire.SureMatch
	}
	return wire.NoMatch
}

// middle matches two lines that begin with segments of one message. Behind an
// empty line, which no message has, they are the body of HTTP or of a mail.
func middle(b []byte) wire.Match {
	b, _, _ = bytes.Cut(b, []byte("\r\n\r\n"))
	found := 0
	for {
		i := bytes.IndexByte(b, carriageReturn)
		if i < 0 {
			break
		}
		b = b[i+1:]
		if len(b) < 4 || b[3] != '|' {
			continue
		}
		switch string(b[:3]) {
		case "PID", "PV1", "ORC", "OBR", "OBX", "NTE", "MSA", "RXG", "TQ1", "RXR", "EVN", "NK1":
			found++
		}
	}
	switch found {
	case 0:
		return wire.NoMatch
	case 1:
		return wire.WeakMatch
	}
	return wire.SureMatch
}
