// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/proto/dicom"
)

const readersOfClient = `verbs: [C-FIND, C-MOVE, N-EVENT-REPORT]
sop-classes: [worklist, query-retrieve, storage-commitment]
destinations: [CT1]
associations: [{calling: CT1, called: ADAPACS}]`

// client makes the policy of a front that a device calls others through.
func client(t testing.TB, to int, more string) *Policy {
	t.Helper()
	return policy(t, fmt.Sprintf(`name: ct-out
kind: dicom
device: ct-1
protects: client
listen: "127.0.0.1:0"
forward: {address: "127.0.0.1:%d", clear: a test}
bypass: none
%s`, to, more))
}

// TestClient: what a device sends is not held to lists, but whom it calls and
// which records it asks for; what it is told is.
func TestClient(t *testing.T) {
	s, g := newStore(t), newGuard(t)
	_, port := g.start(client(t, s.port, readersOfClient))
	data := bytes.Repeat([]byte{1}, 50000)

	p := dialTo(t, port)
	p.write(request("CT1", "XFER1", usual...))
	p.expectControl(dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 7})

	p = dialTo(t, port)
	p.associate("CT1", "ADAPACS", usual...)
	for _, tt := range []struct {
		context uint8
		c       dicom.Command
		status  uint16
	}{
		{1, rq(dicom.CStoreRQ, ctStorage), 0}, // an image: in no list
		{9, rq(dicom.NActionRQ, commitment), 0},
		{9, rq(dicom.NCreateRQ, "1.2.840.10008.3.1.2.3.3"), 0}, // a procedure step
		{3, rq(dicom.CFindRQ, studyFind), 0},
		{5, move("CT1"), 0},
		{5, move("XFER1"), 0xA801},
		{11, rq(dicom.CGetRQ, studyGet), 0x0124},
	} {
		if got := p.ask(tt.context, tt.c, data); got != tt.status {
			t.Errorf("%s: %#04x, want %#04x", tt.c.Field.Operation(), got, tt.status)
		}
	}
	p.c.Close()
	<-s.ended
	if got := s.heard(); slices.Contains(got, "C-GET 50000") || !slices.Contains(got, "C-STORE 50000") {
		t.Errorf("the archive was told %q", got)
	}
}
