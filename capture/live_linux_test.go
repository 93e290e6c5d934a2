// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket/afpacket"

	"github.com/myelin-health/myelin/wire"
)

func openLoopback(t *testing.T, cfg LiveConfig) *Live {
	t.Helper()
	l, err := OpenLive("lo", cfg)
	for _, missing := range []error{fs.ErrPermission, errors.ErrUnsupported, syscall.EAFNOSUPPORT} {
		if errors.Is(err, missing) {
			t.Skipf("this needs the right to capture from lo: %v", err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// loopbackPair returns a connection and the address of another, both on 127.0.0.1.
func loopbackPair(t *testing.T) (net.PacketConn, net.Addr) {
	t.Helper()
	var c [2]net.PacketConn
	for i := range c {
		var err error
		if c[i], err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c[i].Close() })
	}
	return c[0], c[1].LocalAddr()
}

func TestLive(t *testing.T) {
	from, to := loopbackPair(t)
	aside, asideTo := loopbackPair(t)
	l := openLoopback(t, LiveConfig{Ports: []uint16{uint16(to.(*net.UDPAddr).Port)}, RingBytes: 1})
	const count = 50
	for i := range count {
		if _, err := fmt.Fprintf(connTo{from, to}, "observation %d", i); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(connTo{aside, asideTo}, "not to be seen")
	}
	var f Frame
	var p wire.Packet
	for i := range count {
		for quiet := 0; l.next == len(l.own.Frames); quiet++ { // so that ReadFrame does not wait
			if l.next = 0; quiet == 100 {
				t.Fatalf("no frame %d in %d batches", i+1, quiet)
			}
			if err := l.ReadBatch(&l.own); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.ReadFrame(&f); err != nil {
			t.Fatal(err)
		}
		p.Decode(f.Link, f.Data)
		want := fmt.Sprintf("observation %d", i)
		if string(p.Payload) != want || f.Packet != uint64(i+1) || f.OrigLen != len(f.Data) || f.Time < l.since {
			t.Fatalf("frame %d of %d bytes: %q; want %q", f.Packet, f.OrigLen, p.Payload, want)
		}
	}
	stats, err := l.Stats()
	if err != nil || stats.Packets < count || stats.Dropped != 0 {
		t.Errorf("stats %+v, %v; want %d packets", stats, err, count)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if after, err := l.Stats(); err != nil || after.Packets < stats.Packets {
		t.Errorf("after Close: %+v, %v", after, err)
	}
	if err := l.ReadFrame(&f); err != io.EOF {
		t.Errorf("after Close: %v, want io.EOF", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

type connTo struct {
	net.PacketConn
	to net.Addr
}

func (c connTo) Write(b []byte) (int, error) { return c.WriteTo(b, c.to) }

// A quiet interface gives empty batches, and Close ends a read that waits.
// What the kernel has no room for while nobody reads is counted.
func TestLiveDropped(t *testing.T) {
	from, to := loopbackPair(t)
	l := openLoopback(t, LiveConfig{Ports: []uint16{uint16(to.(*net.UDPAddr).Port)}, RingBytes: 1})
	const count = 200 // 6.5 MB, into a ring of 1 MiB
	for range count {
		if _, err := from.WriteTo(make([]byte, 32<<10), to); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := l.Stats()
	if err != nil || stats.Packets != count || stats.Dropped == 0 {
		t.Fatalf("stats %+v, %v; want %d packets, some of them dropped", stats, err, count)
	}
	var b Batch
	read := uint64(0)
	for quiet := 0; quiet < 3; quiet++ {
		if err := l.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
		if read += uint64(len(b.Frames)); len(b.Frames) > 0 {
			quiet = 0
		}
	}
	if read == 0 || read != stats.Packets-stats.Dropped {
		t.Errorf("%d read, of %+v", read, stats)
	}
}

func TestLiveQuiet(t *testing.T) {
	_, to := loopbackPair(t)
	l := openLoopback(t, LiveConfig{Ports: []uint16{uint16(to.(*net.UDPAddr).Port)}})
	var b Batch
	if err := l.ReadBatch(&b); err != nil || len(b.Frames) != 0 {
		t.Fatalf("%d frames, %v", len(b.Frames), err)
	}
	done := make(chan error)
	go func() {
		var f Frame
		done <- l.ReadFrame(&f)
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != io.EOF {
		t.Errorf("read during Close: %v, want io.EOF", err)
	}
}

func TestOpenLiveUnknown(t *testing.T) {
	if _, err := OpenLive("no-such-interface", LiveConfig{}); err == nil {
		t.Error("no error")
	}
}

func TestInsertTag(t *testing.T) {
	frame := append(bytes.Repeat([]byte{1}, 12), 8, 0, 9)
	b := append(bytes.Clone(frame), make([]byte, 4)...)
	n := insertTag(b, len(frame), afpacket.AncillaryVLAN{VLAN: 0x123})
	if want := append(bytes.Repeat([]byte{1}, 12), 0x81, 0, 1, 0x23, 8, 0, 9); !bytes.Equal(b[:n], want) {
		t.Errorf("% x, want % x", b[:n], want)
	}
	if n := insertTag(b, 11, afpacket.AncillaryVLAN{VLAN: 1}); n != 11 {
		t.Error("a frame shorter than its addresses got a tag")
	}
}
