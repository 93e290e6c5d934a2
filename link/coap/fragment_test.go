// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// wires are the fragments of messages, as a Pipe writes them.
type wires struct {
	bytes.Buffer
	each [][]byte
}

func (w *wires) Write(b []byte) (int, error) {
	w.each = append(w.each, bytes.Clone(b))
	return w.Buffer.Write(b)
}

func (w *wires) Close() error { return nil }

func filled(n int, fill byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = fill + byte(i*7)
	}
	return b
}

// TestPipe cuts messages of all sizes, and puts them together from any portions.
func TestPipe(t *testing.T) {
	for _, mtu := range []int{MinMTU, 100, 185, MaxMTU} {
		part := mtu - fragmentHeader
		w := new(wires)
		out, err := NewPipe(w, mtu, "")
		if err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		for _, n := range []int{1, part - 1, part, part + 1, 5 * part, 1000, MaxMessage} {
			want = append(want, filled(n, byte(n)))
			if err := out.Send(want[len(want)-1]); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range w.each {
			if len(f) > mtu || len(f) <= fragmentHeader {
				t.Errorf("MTU %d: a fragment of %d bytes", mtu, len(f))
			}
		}
		stream := bytes.Clone(w.Bytes())
		for _, portion := range []int{1, 7, 255, len(stream)} {
			in, _ := NewPipe(portions{bytes.NewReader(stream), portion}, mtu, "")
			room := make([]byte, MaxMessage)
			for i, m := range want {
				if n, err := in.Receive(room); err != nil || !bytes.Equal(room[:n], m) {
					t.Fatalf("MTU %d, %d at once, message %d: %d bytes, %v", mtu, portion, i, n, err)
				}
			}
			if _, err := in.Receive(room); err != io.EOF {
				t.Error(err)
			}
		}
		for _, n := range []int{0, MaxMessage + 1} {
			if out.Send(make([]byte, n)) == nil {
				t.Errorf("a message of %d bytes was sent", n)
			}
		}
	}
	for _, mtu := range []int{MinMTU - 1, MaxMTU + 1} {
		if _, err := NewPipe(new(wires), mtu, ""); err == nil {
			t.Errorf("an MTU of %d", mtu)
		}
	}
}

// portions reads no more than so many bytes at once.
type portions struct {
	r io.Reader
	n int
}

func (p portions) Read(b []byte) (int, error)  { return p.r.Read(b[:min(p.n, len(b))]) }
func (p portions) Write(b []byte) (int, error) { return len(b), nil }
func (p portions) Close() error                { return nil }

// TestFragments loses, doubles and swaps the fragments of the second of three
// messages: it is dropped, and those around it are not.
func TestFragments(t *testing.T) {
	cut := func() [][]byte {
		w := new(wires)
		p, _ := NewPipe(w, MinMTU, "")
		for i := range 3 {
			if err := p.Send(filled(60, byte(i))); err != nil { // three fragments
				t.Fatal(err)
			}
		}
		return w.each
	}
	each := cut()
	join := func(order ...int) (got []byte) {
		var stream []byte
		for _, i := range order {
			stream = append(stream, each[i]...)
		}
		p, _ := NewPipe(portions{bytes.NewReader(stream), 512}, MinMTU, "")
		room := make([]byte, MaxMessage)
		for {
			n, err := p.Receive(room)
			if err != nil {
				return got
			}
			for i := range byte(3) {
				if bytes.Equal(room[:n], filled(60, i)) {
					got = append(got, i)
				}
			}
			if len(got) == 0 || n != 60 {
				t.Errorf("order %v made something else", order)
			}
		}
	}
	for _, c := range []struct {
		order []int
		want  []byte
	}{
		{[]int{0, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{0, 1, 2}},
		{[]int{0, 1, 2, 4, 5, 6, 7, 8}, []byte{0, 2}},          // the first is lost
		{[]int{0, 1, 2, 3, 5, 6, 7, 8}, []byte{0, 2}},          // one in the middle
		{[]int{0, 1, 2, 3, 4, 6, 7, 8}, []byte{0, 2}},          // the last
		{[]int{0, 1, 2, 4, 3, 5, 6, 7, 8}, []byte{0, 2}},       // swapped
		{[]int{0, 1, 2, 3, 5, 4, 6, 7, 8}, []byte{0, 2}},       // swapped
		{[]int{0, 1, 2, 3, 4, 4, 5, 6, 7, 8}, []byte{0, 2}},    // doubled
		{[]int{0, 1, 2, 3, 4, 7, 8, 6, 7, 8}, []byte{0, 2}},    // of another message
		{[]int{0, 1, 2, 3, 3, 4, 5, 6, 7, 8}, []byte{0, 1, 2}}, // begun twice
		{[]int{1, 2, 4, 5, 7, 8}, nil},
	} {
		if got := join(c.order...); !bytes.Equal(got, c.want) {
			t.Errorf("order %v: messages %v, want %v", c.order, got, c.want)
		}
	}
	// Fragments without end: what they make stays within its bound.
	var j joiner
	part := make([]byte, MaxMTU-fragmentHeader)
	for i := range 1000 {
		flags := byte(0)
		if i == 0 {
			flags = flagFirst
		}
		if j.add(flags, byte(i), part) != nil || len(j.buf) > MaxMessage {
			t.Fatalf("%d bytes are kept", len(j.buf))
		}
	}
	for _, length := range []byte{0, 1, 2, 247, 255} {
		p, _ := NewPipe(portions{bytes.NewReader(bytes.Repeat([]byte{length}, 400)), 512}, MinMTU, "")
		if _, err := p.Receive(make([]byte, MaxMessage)); err == nil {
			t.Errorf("a fragment of length %d was taken", length)
		}
	}
}

// TestOverPipe talks over byte pipes of several MTUs: both ends ask, in either role
// of the handshake.
func TestOverPipe(t *testing.T) {
	for _, mtu := range []int{MinMTU, 185, MaxMTU} {
		for _, reverse := range []bool{false, true} {
			t.Run(fmt.Sprint(mtu, reverse), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := two(t)
					a.Handler = echoes
					ea, eb := endpoint(t, a), endpoint(t, b)
					x, y := net.Pipe()
					px, _ := NewPipe(x, mtu, "x")
					py, _ := NewPipe(y, mtu, "y")
					ca, cb := ea.Attach(px), eb.Attach(py)
					shake := ca.Handshake
					if reverse {
						shake = ca.HandshakeReverse
					}
					s, err := shake(within(t, time.Minute))
					if err != nil {
						t.Fatal(err)
					}
					mustGet(t, ca, s, "/therapy")
					mustGet(t, cb, eb.Sessions()[0], "/asked/back")
					big := filled(3000, 1)
					if m, err := ca.Post(within(t, time.Minute), s, "/", 42, big[:900]); err != nil || m.Code != coap.Content || !bytes.HasSuffix(m.Payload, big[:900]) {
						t.Errorf("%v %d: %v", m.Code, len(m.Payload), err)
					}
					_ = ea.Close()
					_ = eb.Close()
				})
			})
		}
	}
}

// FuzzPipe reads any bytes as fragments: no panic, no message beyond its bound, the
// same in whatever portions they come.
func FuzzPipe(f *testing.F) {
	w := new(wires)
	p, _ := NewPipe(w, MinMTU, "")
	_ = p.Send(filled(60, 1))
	_ = p.Send(filled(10, 2))
	f.Add(w.Bytes(), uint8(5))
	f.Add(bytes.Repeat([]byte{3, 0x80, 0, 1}, 20), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, portion uint8) {
		read := func(n int) (all [][]byte) {
			p, _ := NewPipe(portions{bytes.NewReader(b), n}, MinMTU, "")
			room := make([]byte, MaxMessage)
			for {
				n, err := p.Receive(room)
				if err != nil {
					return all
				}
				all = append(all, bytes.Clone(room[:n]))
			}
		}
		one, other := read(512), read(int(portion)+1)
		if len(one) != len(other) {
			t.Fatalf("%d messages, or %d", len(one), len(other))
		}
		for i := range one {
			if !bytes.Equal(one[i], other[i]) {
				t.Fatal("another message")
			}
		}
	})
}
