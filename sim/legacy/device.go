// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The bounds of a device.
const (
	MaxMessage = 4096 // bytes of a message
	maxJournal = 1024 // entries that are kept
	maxConns   = 16   // that a listener serves at the same time
)

// A Device is one live device. Several goroutines may use it. Nothing happens
// between calls that a call would not find to have happened.
type Device interface {
	// Handle does what one message asks for, and returns the messages that are the
	// answer, none where the device does not listen to it.
	Handle(ctx context.Context, message []byte) [][]byte

	// State is what the device is and did, a struct of exported fields. No patient
	// is named in it.
	State() any

	// Journal is what it did, the oldest first: the last thousand entries.
	Journal() []Entry

	// Serve answers datagrams, a message each, until ctx ends, and closes s.
	Serve(ctx context.Context, s net.PacketConn) error

	// ServeConn answers what comes through a byte pipe until it or ctx ends, and
	// closes c.
	ServeConn(ctx context.Context, c net.Conn) error
}

// A Config is what a device is given.
type Config struct {
	// Now is its clock. Nil is the machine's.
	Now func() time.Time

	// Rand is its chance. Nil is crypto/rand's.
	Rand io.Reader

	// Secret, of SecretSize bytes, makes it a device that listens to nobody but to who
	// seals what he sends with it: see package proto/radio/seal. Nil: it listens to everybody.
	Secret []byte

	// Counter is where a device with a secret keeps the highest counter that it accepted,
	// for the next one that is made of it: memory that a restart leaves. Nil: there is none.
	Counter *uint64

	// Mended: it is built as it should have been. What the attack catalogue says of it
	// is not so any more.
	Mended bool

	// Upstream is the address on loopback of what the device itself connects to: the
	// hospital information system of a FlowLink, the cloud of a HomeLink. Empty: nobody.
	Upstream string

	// Confirms: a clinician stands at the pumps of a FlowLink who starts whatever is ordered.
	Confirms bool

	// Tap hears what goes to the device that [Attack.Try] makes, and what the device itself says to what
	// it connects to. Nil: nobody does.
	Tap *Tap

	// Noted is told of each entry of the journal, while the device is locked.
	Noted func(Entry)
}

// An Entry is something that a device did, and when. It names no patient.
type Entry struct {
	Time time.Time
	What string
}

func (e Entry) String() string { return e.Time.UTC().Format(time.RFC3339Nano) + " " + e.What }

// A framing is how messages follow each other on a byte pipe.
type framing uint8

const (
	counted framing = iota // two bytes in front say how long a message is, the high one first
	lines                  // each message ends with a line feed
	web                    // requests and answers of HTTP/1.1 without a body: each ends with an empty line
)

// A port is what all devices have in common.
type port struct {
	cfg     Config
	framing framing
	handle  func(ctx context.Context, message []byte) [][]byte // with mu held

	mu       sync.Mutex  // guards what follows, and what the device is
	seal     *deviceSeal // nil: it listens to everybody
	journal  []Entry
	unsealed int
}

func (p *port) open(cfg Config, f framing, handle func(context.Context, []byte) [][]byte) error {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	p.cfg, p.framing, p.handle = cfg, f, handle
	if cfg.Secret == nil {
		return nil
	}
	var err error
	p.framing = counted // what is sealed is no line
	p.seal, err = newSeal(cfg.Secret, cfg.Counter)
	return err
}

// mendBySecret makes a radio that is built as it should be one that has a secret which
// nobody else has, if none was given.
func mendBySecret(cfg Config) (Config, error) {
	if !cfg.Mended || cfg.Secret != nil {
		return cfg, nil
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	cfg.Secret = make([]byte, SecretSize)
	_, err := io.ReadFull(cfg.Rand, cfg.Secret)
	return cfg, err
}

func (p *port) Handle(ctx context.Context, message []byte) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(message) > MaxMessage {
		return nil
	}
	if p.seal == nil {
		return p.handle(ctx, message)
	}
	message, ok := p.seal.open(message)
	if !ok {
		p.count(&p.unsealed, "messages that are not sealed")
		return nil
	}
	answers := p.handle(ctx, message)
	for i, a := range answers {
		answers[i] = p.seal.append(nil, a)
	}
	return answers
}

func (p *port) sealed() bool { return p.seal != nil }

func (p *port) Journal() []Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.journal)
}

// note writes an entry of the journal.
func (p *port) note(format string, args ...any) {
	e := Entry{p.cfg.Now(), fmt.Sprintf(format, args...)}
	if len(p.journal) == maxJournal {
		p.journal = slices.Delete(p.journal, 0, maxJournal/4)
	}
	p.journal = append(p.journal, e)
	if p.cfg.Noted != nil {
		p.cfg.Noted(e)
	}
}

// count counts what may come very often, and writes an entry each time that it has
// doubled.
func (p *port) count(n *int, what string) {
	if *n++; *n&(*n-1) == 0 {
		p.note("%s: %d", what, *n)
	}
}

// random returns n bytes of chance.
func (p *port) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(p.cfg.Rand, b); err != nil {
		panic(err) // whoever handed in chance has none
	}
	return b
}

func (p *port) Serve(ctx context.Context, s net.PacketConn) error {
	defer s.Close()
	if err := here(s.LocalAddr()); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	b := make([]byte, MaxMessage+1)
	for {
		n, from, err := s.ReadFrom(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		for _, a := range p.Handle(ctx, b[:n]) {
			_, _ = s.WriteTo(a, from) // who asked may be gone
		}
	}
}

func (p *port) ServeConn(ctx context.Context, c net.Conn) error {
	defer c.Close()
	if err := here(c.LocalAddr()); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := bufio.NewReaderSize(c, MaxMessage+1)
	for {
		message, err := readMessage(r, p.framing)
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		for _, a := range p.Handle(ctx, message) {
			if _, err := c.Write(appendMessage(nil, p.framing, a)); err != nil {
				return nil // who asked is gone
			}
		}
	}
}

// readMessage reads a message from a byte pipe. It is valid until the next one is read.
func readMessage(r *bufio.Reader, f framing) ([]byte, error) {
	if f == lines {
		b, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		return b[:len(b)-1], nil
	}
	if f == web {
		var head []byte
		for {
			b, err := r.ReadSlice('\n')
			if head = append(head, b...); err != nil || len(head) > MaxMessage {
				return nil, cmp.Or(err, bufio.ErrBufferFull)
			}
			if len(bytes.TrimRight(b, "\r\n")) == 0 {
				return head, nil
			}
		}
	}
	b, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > MaxMessage {
		return nil, fmt.Errorf("legacy: a message of more than %d bytes", MaxMessage-2)
	}
	if b, err = r.Peek(n); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	_, _ = r.Discard(n) // they are there
	return b[2:n], nil
}

// appendMessage appends a message as it stands on a byte pipe.
func appendMessage(dst []byte, f framing, message []byte) []byte {
	switch f {
	case lines:
		return append(append(dst, message...), '\n')
	case web:
		return append(dst, message...)
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(message))), message...)
}

// ErrElsewhere says that an address is not this machine's own: nothing here sends a
// packet to anybody else, or listens to one.
var ErrElsewhere = errors.New("legacy: not an address of this machine's loopback")

// here refuses an address that is not on loopback. A pipe in this process has none.
func here(a net.Addr) error {
	switch a := a.(type) {
	case *net.UDPAddr:
		if !a.IP.IsLoopback() {
			return ErrElsewhere
		}
	case *net.TCPAddr:
		if !a.IP.IsLoopback() {
			return ErrElsewhere
		}
	}
	return nil
}

// hereText is [here] of an address as text, which is no name.
func hereText(addr string) error {
	a, err := netip.ParseAddrPort(addr)
	if err != nil || !a.Addr().IsLoopback() {
		return ErrElsewhere
	}
	return nil
}

// ServeListener serves whoever connects, sixteen at the same time, until ctx ends. It
// closes l.
func ServeListener(ctx context.Context, l net.Listener, d Device) error {
	defer l.Close()
	if err := here(l.Addr()); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, maxConns)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case err != nil:
			return err
		}
		wg.Go(func() {
			_ = d.ServeConn(ctx, c) // one that breaks off harms nobody else
			<-room
		})
	}
}
