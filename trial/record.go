// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net"
	"sync"
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A recorder stands before a device that speaks HL7, and keeps what it is told, byte
// for byte. It cuts blocks by itself, so that no reader of ours says what was whole.
type recorder struct {
	legacy.Device

	heard func(code, of, why string) // told of each answer that comes; nil: nobody is

	mu     sync.Mutex
	blocks []block
	cut    [][]byte // what stood at the end of a connection and was no whole block
}

// A block is one that a device was told, whole.
type block struct {
	Sum [32]byte
	ID  string // MSH-10
	At  time.Time
}

func newRecorder(d legacy.Device) *recorder {
	return &recorder{Device: d}
}

func (r *recorder) ServeConn(ctx context.Context, c net.Conn) error {
	k := &recorded{Conn: c, of: r}
	defer k.end()
	return r.Device.ServeConn(ctx, k)
}

// A recorded connection.
type recorded struct {
	net.Conn
	of *recorder
	b  []byte // of the block under way
}

const endOfBlock = "\x1c\r"

func (k *recorded) Read(b []byte) (int, error) {
	n, err := k.Conn.Read(b)
	k.b = append(k.b, b[:n]...)
	for {
		i := bytes.Index(k.b, []byte(endOfBlock))
		if i < 0 {
			return n, err
		}
		k.of.take(bytes.Clone(k.b[:i+len(endOfBlock)]))
		k.b = k.b[i+len(endOfBlock):]
	}
}

func (k *recorded) end() {
	if len(k.b) > 0 {
		k.of.mu.Lock()
		defer k.of.mu.Unlock()
		k.of.cut = append(k.of.cut, bytes.Clone(k.b))
	}
}

func (r *recorder) take(b []byte) {
	k := block{Sum: sha256.Sum256(b), At: time.Now()}
	var code, of, why string
	if m, err := hl7.Parse(bytes.Trim(b, "\x0b\x1c\r")); err == nil {
		h := m.Header()
		k.ID = h.ControlID.Text()
		if a, ok := m.Answer(); ok {
			code, of, why = a.Code.Text(), a.ControlID.Text(), reason(&m)
		}
	}
	r.mu.Lock()
	r.blocks = append(r.blocks, k)
	r.mu.Unlock()
	if code != "" && r.heard != nil {
		r.heard(code, of, why)
	}
}

// all is what came, whole and not.
func (r *recorder) all() ([]block, [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocks, r.cut
}

// reason is ERR-8 of an answer.
func reason(m *hl7.Message) string { return m.Segment("ERR").Field(8).Text() }

// A taken bolus is one that the insulin pump accepted.
type taken struct {
	At    time.Time
	Units string
}
