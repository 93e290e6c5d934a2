// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/myelin-health/myelin/proto/dicom"
)

// A Piece is what somebody sends to the archive, or begins to: a record by FHIR, or an object by
// DICOM. Its bytes follow from its name and length.
type Piece struct {
	ID       string
	Size     int
	Streams  bool // it may come to the archive in part: by DICOM, and through a front that understands nothing
	Whole    bool // its last byte was written, perhaps to a guard that was gone
	Accepted bool // its sender was told that the archive has it
}

// An Arrival is what came to the archive of a piece.
type Arrival struct {
	ID       string
	Size     int
	Sum      [32]byte
	Whole    bool // as far as the archive can see
	Released bool // its association, or connection, ended as if all were well
}

// content is what a piece of so many bytes has in it: a resource of FHIR, which DICOM takes for an object.
func content(id string, size int) []byte {
	head := fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","code":{"text":"`, id)
	const tail = `"}}`
	text := sum([]byte(id))
	return append(append([]byte(head), bytes.Repeat(fmt.Appendf(nil, "%x", text[:]), size/64+1)[:max(0, size-len(head)-len(tail))]...), tail...)
}

// An archive takes all that comes, and writes down how it ended.
type archive struct {
	mu       sync.Mutex
	arrivals []Arrival
}

func (a *archive) took(v Arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.arrivals = append(a.arrivals, v)
}

// all is what came.
func (a *archive) all() []Arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.arrivals
}

// ServeHTTP takes a record, and shows one.
func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		b, err := io.ReadAll(r.Body)
		a.took(Arrival{ID: path.Base(r.URL.Path), Size: len(b), Sum: sum(b), Whole: err == nil})
		if err != nil {
			return
		}
	}
	w.Header().Set("Content-Type", "application/fhir+json")
	_, _ = io.WriteString(w, `{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"invented"}}`)
}

// plain is the archive's server of FHIR, in clear.
func (p *place) plain() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: p.archive}
	context.AfterFunc(p.ending, func() { s.Close() })
	p.work.Go(func() { _ = s.Serve(l) })
	return l.Addr().String(), nil
}

// The parts of DICOM that are used here (PS3.5 annex A, PS3.6 annex A, PS3.8 section 9.3).
const (
	ctStorage  = "1.2.840.10008.5.1.4.1.1.2"
	echo       = "1.2.840.10008.1.1"
	implicitLE = "1.2.840.10008.1.2"
	pduHeader  = 6
	pdvLast    = 2
	aResponse  = 0x8000
)

var errAborted = errors.New("the association was aborted")

// readPDU returns the next PDU whole. None of ours is longer than a megabyte.
func readPDU(r io.Reader) ([]byte, error) {
	b := make([]byte, pduHeader)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b[2:])
	if n > 1<<20 {
		return nil, fmt.Errorf("a PDU of %d bytes", n)
	}
	b = append(b, make([]byte, n)...)
	_, err := io.ReadFull(r, b[pduHeader:])
	return b, err
}

// ServeConn takes what comes on an association.
func (a *archive) ServeConn(ctx context.Context, c net.Conn) error {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var (
		set, data []byte
		asked     dicom.Command
		under     Arrival
		begun     bool // an object
	)
	defer func() {
		if under.Size, under.Sum = len(data), sum(data); begun {
			a.took(under)
		}
	}()
	r := bufio.NewReader(c)
	for {
		b, err := readPDU(r)
		if err != nil {
			return err
		}
		switch dicom.PDUType(b[0]) {
		case dicom.AssociateRQ:
			var q dicom.Association
			if _, err := q.Parse(b); err != nil {
				return err
			}
			q.Type, q.MaximumLength = dicom.AssociateAC, 1<<17
			for i := range q.Contexts {
				q.Contexts[i].AbstractSyntax, q.Contexts[i].TransferSyntaxes = nil, q.Contexts[i].TransferSyntaxes[:1]
			}
			_, err = c.Write(q.Append(nil))
		case dicom.ReleaseRQ:
			under.Released = true
			_, err = c.Write(dicom.Control{Type: dicom.ReleaseRP}.Append(nil))
		case dicom.PDataTF:
			for b = b[pduHeader:]; len(b) >= pduHeader && err == nil; {
				n := 4 + int(binary.BigEndian.Uint32(b))
				if n < pduHeader || n > len(b) {
					return errors.New("a PDV of another length than its PDU")
				}
				command, last, body := b[5]&1 == 1, b[5]&pdvLast != 0, b[pduHeader:n]
				b = b[n:]
				if command {
					if set = append(set, body...); !last {
						continue
					}
					if asked, err = dicom.ParseCommand(set); err != nil {
						return err
					}
					set, data, begun, under = nil, nil, asked.DataSet, Arrival{ID: asked.SOPInstance.String()}
				} else if data = append(data, body...); last {
					begun = false
					a.took(Arrival{ID: under.ID, Size: len(data), Sum: sum(data), Whole: true})
				}
				if last && !begun {
					data = nil
					_, err = c.Write(dicom.AppendData(nil, contextOf(&asked), true, true, (&dicom.Command{
						Field: asked.Field | aResponse, MessageIDBeingRespondedTo: asked.MessageID, SOPClass: asked.SOPClass, SOPInstance: asked.SOPInstance,
					}).Append(nil)))
				}
			}
		default:
			return errAborted
		}
		if err != nil {
			return err
		}
	}
}

// contextOf is the presentation context that ours have for a request.
func contextOf(c *dicom.Command) uint8 {
	if c.Field.Operation() == "C-ECHO" {
		return 3
	}
	return 1
}

// associate opens an association through the guard.
func associate(c net.Conn, r io.Reader, calling string) error {
	var contexts []dicom.PresentationContext
	for i, class := range []string{ctStorage, echo} {
		contexts = append(contexts, dicom.PresentationContext{ID: uint8(1 + 2*i), AbstractSyntax: []byte(class), TransferSyntaxes: [][]byte{[]byte(implicitLE)}})
	}
	q := dicom.Association{
		Type: dicom.AssociateRQ, ProtocolVersion: 1, CallingAETitle: []byte(calling), CalledAETitle: []byte("TRIALPACS"),
		ApplicationContext: []byte(dicom.ApplicationContext), Contexts: contexts, MaximumLength: 1 << 14, ImplementationClassUID: []byte("1.2.276.0.99999"),
	}
	if _, err := c.Write(q.Append(nil)); err != nil {
		return err
	}
	b, err := readPDU(r)
	if err == nil && dicom.PDUType(b[0]) != dicom.AssociateAC {
		err = fmt.Errorf("%v", dicom.PDUType(b[0]))
	}
	return err
}

// release ends an association as it should end.
func release(c net.Conn, r io.Reader) error {
	if _, err := c.Write(dicom.Control{Type: dicom.ReleaseRQ}.Append(nil)); err != nil {
		return err
	}
	b, err := readPDU(r)
	if err == nil && dicom.PDUType(b[0]) != dicom.ReleaseRP {
		err = fmt.Errorf("%v", dicom.PDUType(b[0]))
	}
	return err
}

// answered reads the response to a request, and reports whether it is success.
func answered(r io.Reader) error {
	b, err := readPDU(r)
	if err != nil {
		return err
	}
	if dicom.PDUType(b[0]) != dicom.PDataTF || len(b) < 2*pduHeader {
		return errAborted
	}
	m, err := dicom.ParseCommand(b[2*pduHeader:])
	if err == nil && m.Status != 0 {
		err = fmt.Errorf("status %#04x", m.Status)
	}
	return err
}

// pieces sends one after the other, each on a connection of its own, in bits, so that a guard is
// killed while one is under way; some are cut by who sends them.
func (l *load) pieces(ctx context.Context, worker uint64, addr string, streams bool, send func(context.Context, net.Conn, *Piece, func([]byte) bool) error) {
	rng := l.random(worker)
	for n := l.life(ctx); n != nil; n = l.life(ctx) {
		c, err := (&tls.Dialer{Config: l.p.client}).DialContext(n, "tcp", addr)
		if err != nil {
			pause(n, 5*time.Millisecond)
			continue
		}
		stop := context.AfterFunc(n, func() { c.Close() })
		k := l.piece(rng, worker, streams)
		cut := -1
		if rng.IntN(100) < 15 {
			cut = rng.IntN(k.Size)
		}
		at := 0
		err = send(n, c, k, func(b []byte) bool { // reports whether all of it was sent
			if at += len(b); cut >= 0 && at > cut {
				_, _ = c.Write(b[:len(b)-(at-cut)])
				return false
			}
			if at >= k.Size {
				l.mu.Lock()
				k.Whole = true
				l.mu.Unlock()
			}
			_, err := c.Write(b)
			pause(n, time.Duration(rng.IntN(4))*time.Millisecond)
			return err == nil
		})
		if err == nil {
			l.mu.Lock()
			k.Accepted = true
			l.mu.Unlock()
		}
		stop()
		c.Close()
		pause(n, time.Duration(rng.IntN(30))*time.Millisecond)
	}
}

func (l *load) piece(rng *rand.Rand, worker uint64, streams bool) *Piece {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	k := &Piece{ID: fmt.Sprintf("1.2.826.0.1.%d.%d", worker, l.number), Size: 2 * (128 + rng.IntN(1<<10<<rng.IntN(7))), Streams: streams}
	l.ev.Pieces[k.ID] = k
	return k
}

const bit = 8 << 10 // of a piece is sent at once

// record sends a piece by FHIR.
func record(_ context.Context, c net.Conn, k *Piece, write func([]byte) bool) error {
	if _, err := fmt.Fprintf(c, "PUT /fhir/Observation/%s HTTP/1.1\r\nHost: guard.stada.example\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n", k.ID, k.Size); err != nil {
		return err
	}
	for b := content(k.ID, k.Size); len(b) > 0; b = b[min(bit, len(b)):] {
		if !write(b[:min(bit, len(b))]) {
			return io.ErrShortWrite
		}
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if _, err = io.Copy(io.Discard, a.Body); err == nil && a.StatusCode != http.StatusOK {
		err = errors.New(a.Status)
	}
	return err
}

// deliver sends a piece by DICOM, in an association of its own.
func deliver(_ context.Context, c net.Conn, k *Piece, write func([]byte) bool) error {
	if err := associate(c, c, "TRIALCT"); err != nil {
		return err
	}
	if err := object(c, c, k, write); err != nil {
		return err
	}
	return release(c, c)
}

// object sends a piece in an association.
func object(c net.Conn, r io.Reader, k *Piece, write func([]byte) bool) error {
	q := dicom.Command{Field: dicom.CStoreRQ, MessageID: 1, SOPClass: dicom.MakeShort(ctStorage), SOPInstance: dicom.MakeShort(k.ID), DataSet: true}
	if _, err := c.Write(dicom.AppendData(nil, 1, true, true, q.Append(nil))); err != nil {
		return err
	}
	for b := content(k.ID, k.Size); len(b) > 0; {
		n := min(bit, len(b))
		if _, err := c.Write(dicom.AppendData(nil, 1, false, n == len(b), b[:n])[:2*pduHeader]); err != nil {
			return err
		}
		if !write(b[:n]) {
			return io.ErrShortWrite
		}
		b = b[n:]
	}
	return answered(r)
}
