// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

// maxHL7 bounds a message of the ward, which are of some kilobytes, with its frame.
const maxHL7 = 1 << 16

// hl7Patience is how long the other side has to acknowledge a message.
const hl7Patience = 5 * time.Second

// A mllpPort is a server of HL7 version 2 over MLLP.
type mllpPort struct {
	port

	// take does what a message asks for, with mu held, and returns what goes back on
	// the same connection, or nil, and messages for a connection of their own.
	take func(message []byte) (answer []byte, later [][]byte)

	upstream string // where what is for a connection of its own goes
}

func (p *mllpPort) listen(cfg Config, take func([]byte) ([]byte, [][]byte)) error {
	p.take, p.upstream = take, cfg.Upstream
	if cfg.Upstream != "" {
		if err := hereText(cfg.Upstream); err != nil {
			return err
		}
	}
	cfg.Secret = nil // a network that others are not on is its only way: see the package's documentation
	return p.open(cfg, counted, nil)
}

// Handle takes a message without MLLP's frame.
func (p *mllpPort) Handle(ctx context.Context, message []byte) [][]byte {
	answer, later := p.taken(message)
	p.deliver(ctx, later)
	if answer == nil {
		return nil
	}
	return [][]byte{answer}
}

func (p *mllpPort) taken(message []byte) ([]byte, [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(message)
}

// deliver sends messages upstream, on one connection.
func (p *mllpPort) deliver(ctx context.Context, messages [][]byte) {
	if len(messages) == 0 {
		return
	}
	err := errors.New("nobody to send it to")
	if p.upstream != "" {
		err = SendHL7(ctx, p.upstream, messages, nil)
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.note("%d messages not delivered", len(messages))
	}
}

// Serve is not for HL7.
func (p *mllpPort) Serve(_ context.Context, s net.PacketConn) error {
	s.Close()
	return errors.ErrUnsupported
}

func (p *mllpPort) ServeConn(ctx context.Context, c net.Conn) error {
	defer c.Close()
	if err := here(c.LocalAddr()); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := hl7Reader{r: c}
	for {
		message, err := r.next()
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		answer, later := p.taken(message)
		if answer != nil {
			if _, err := c.Write(hl7.AppendBlock(nil, answer)); err != nil {
				return nil // the sender is gone
			}
		}
		p.deliver(ctx, later)
	}
}

// An hl7Reader reads messages.
type hl7Reader struct {
	r io.Reader
	f hl7.Framer
	b []byte
	n int // taken at the front
}

// next returns a message, which is valid until the next one is read.
func (r *hl7Reader) next() ([]byte, error) {
	r.b, r.n = r.b[r.n:], 0
	for {
		message, n, err := r.f.Next(r.b[r.n:])
		r.n += n
		switch {
		case err == nil:
			return message, nil
		case !errors.Is(err, wire.ErrTruncated):
			return nil, err
		case len(r.b)-r.n > maxHL7:
			return nil, fmt.Errorf("legacy: a message of more than %d bytes", maxHL7)
		}
		r.b = append(bytes.Clone(r.b[r.n:]), make([]byte, 4096)...)
		r.n = 0
		had := len(r.b) - 4096
		got, err := r.r.Read(r.b[had:])
		r.b = r.b[:had+got]
		if err != nil && got == 0 {
			return nil, err
		}
	}
}

// SendHL7 is a client: it sends messages to an address on loopback, each when the one before was
// acknowledged, and gives each with its acknowledgement to told, which may be nil. One in the original mode, too, is
// answered on the same connection.
func SendHL7(ctx context.Context, addr string, messages [][]byte, told func(message, answer []byte)) error {
	if err := hereText(addr); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, hl7Patience)
	defer stop()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return ExchangeHL7(ctx, c, messages, told)
}

// ExchangeHL7 is [SendHL7] on a connection, which it closes: of TLS, perhaps.
func ExchangeHL7(ctx context.Context, c net.Conn, messages [][]byte, told func(message, answer []byte)) error {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := hl7Reader{r: c}
	for _, m := range messages {
		if _, err := c.Write(hl7.AppendBlock(nil, m)); err != nil {
			return err
		}
		answer, err := r.next()
		if err != nil {
			return err
		}
		if told != nil {
			told(m, answer)
		}
	}
	return nil
}
