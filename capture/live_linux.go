// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/afpacket"
	"golang.org/x/net/bpf"
)

const (
	ringBlock = 1 << 20 // bytes that the kernel fills before it hands them over
	ringBytes = 16 << 20

	// liveWait is how long the kernel may keep a block that is not full, how
	// long a read waits for the next, and how much time a batch may span: three
	// of them stay below the tenth of a second that ReadBatch promises.
	liveWait = 25 * time.Millisecond
)

// linkOfHardware has the link types of interfaces by their hardware type
// (ARPHRD_ of linux/if_arp.h).
var linkOfHardware = map[string]LinkType{
	"1":     LinkEthernet,
	"768":   LinkRaw, // IPv4 in IPv4
	"769":   LinkRaw, // IPv6 in IPv6
	"772":   LinkEthernet,
	"776":   LinkRaw, // 6in4
	"65534": LinkRaw, // none: tun, WireGuard
}

// A Live reads frames from a network interface, through a ring shared with the
// kernel. Only Close and Stats may be called while another goroutine reads.
type Live struct {
	iface string
	link  LinkType
	since int64 // frames before were not filtered

	closed atomic.Bool

	mu     sync.Mutex // guards what follows
	ring   *afpacket.TPacket
	held   []byte // of the ring: a frame that did not fit the batch before
	info   gopacket.CaptureInfo
	packet uint64
	err    error // returned from now on
	stats  LiveStats
	last   [2]uint32 // the kernel's counters, which wrap
	own    Batch
	next   int
}

// OpenLive starts capturing from iface. It takes the right to do so
// (CAP_NET_RAW); the error wraps the system's when that is missing.
func OpenLive(iface string, cfg LiveConfig) (*Live, error) {
	l, err := openLive(iface, &cfg)
	if err != nil {
		return nil, fmt.Errorf("capture: interface %s: %w", iface, err)
	}
	return l, nil
}

func openLive(iface string, cfg *LiveConfig) (_ *Live, err error) {
	in, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, err
	}
	hardware, err := os.ReadFile(filepath.Join("/sys/class/net", in.Name, "type"))
	if err != nil {
		return nil, err
	}
	link, ok := linkOfHardware[strings.TrimSpace(string(hardware))]
	if !ok {
		return nil, fmt.Errorf("hardware type %s: %w", strings.TrimSpace(string(hardware)), errors.ErrUnsupported)
	}
	network := uint32(14)
	if link == LinkRaw {
		network = 0
	}
	prog, err := portFilter(cfg, network, in.Flags&net.FlagLoopback != 0)
	if err != nil {
		return nil, err
	}
	filter, err := bpf.Assemble(prog)
	if err != nil {
		return nil, err
	}
	blocks := (max(cfg.RingBytes, 0) + ringBlock - 1) / ringBlock
	if blocks == 0 {
		blocks = ringBytes / ringBlock
	}
	ring, err := afpacket.NewTPacket(
		afpacket.OptInterface(in.Name), afpacket.TPacketVersion3,
		afpacket.OptBlockSize(ringBlock), afpacket.OptNumBlocks(blocks),
		afpacket.OptBlockTimeout(liveWait), afpacket.OptPollTimeout(liveWait))
	if err != nil {
		return nil, err
	}
	if err = ring.SetBPF(filter); err == nil && !cfg.NotPromiscuous {
		err = ring.SetPromiscuous(true)
	}
	if err != nil {
		ring.Close()
		return nil, err
	}
	// The socket is open before it has its filter: what came in between is told
	// by its time.
	return &Live{iface: in.Name, link: link, ring: ring, since: time.Now().UnixNano()}, nil
}

// ReadBatch fills b with the frames that come within a tenth of a second; there
// may be none, so that the caller can go about what depends on time. The bytes
// are copied out of the ring, because workers may keep them longer than
// the ring has room. After [Live.Close] the error is [io.EOF].
func (l *Live) ReadBatch(b *Batch) error {
	b.reset(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	end := 0
	for len(b.Frames) < cap(b.Frames) {
		if l.closed.Load() {
			l.err = io.EOF
		}
		if l.err != nil {
			return l.end(b)
		}
		if l.held == nil {
			var err error
			l.held, l.info, err = l.ring.ZeroCopyReadPacketData()
			if err == afpacket.ErrTimeout {
				return nil
			}
			if err != nil {
				l.held, l.err = nil, fmt.Errorf("capture: interface %s: %w", l.iface, err)
				return l.end(b)
			}
		}
		t := l.info.Timestamp.UnixNano()
		if t < l.since || len(l.held) > MaxFrame {
			l.held = nil
			continue
		}
		if len(l.held)+vlanTag > len(b.buf)-end {
			if end > 0 {
				return nil
			}
			b.buf = make([]byte, MaxFrame+vlanTag)
		}
		n, origLen := copy(b.buf[end:], l.held), l.info.Length
		l.held = nil
		if len(l.info.AncillaryData) > 0 {
			tagged := insertTag(b.buf[end:], n, l.info.AncillaryData[0])
			n, origLen = tagged, origLen+tagged-n
		}
		l.packet++
		b.Frames = append(b.Frames, Frame{
			Data:    b.buf[end : end+n : end+n],
			Time:    t,
			Packet:  l.packet,
			OrigLen: max(origLen, n),
			Link:    l.link,
		})
		end += n
		if t-b.Frames[0].Time > int64(liveWait) {
			return nil
		}
	}
	return nil
}

// end returns the error with which the capture has ended, after the frames of the
// batch that was being filled.
func (l *Live) end(b *Batch) error {
	if len(b.Frames) > 0 {
		return nil
	}
	return l.err
}

// vlanTag is the length of an IEEE 802.1Q tag.
const vlanTag = 4

// insertTag puts back into the n bytes at the front of b the VLAN tag that the
// kernel took off, and returns how many they are then. Whether it was a
// service tag, and its priority, is lost.
func insertTag(b []byte, n int, ancillary any) int {
	tag, ok := ancillary.(afpacket.AncillaryVLAN)
	const addresses = 12
	if !ok || n < addresses || len(b) < n+vlanTag {
		return n
	}
	copy(b[addresses+vlanTag:], b[addresses:n])
	copy(b[addresses:], []byte{0x81, 0, byte(tag.VLAN >> 8), byte(tag.VLAN)})
	return n + vlanTag
}

// ReadFrame waits for the next frame. f.Data is valid until the next call. A Live
// is read with ReadFrame or with [Live.ReadBatch], not with both.
func (l *Live) ReadFrame(f *Frame) error {
	for l.next == len(l.own.Frames) {
		l.next = 0
		if err := l.ReadBatch(&l.own); err != nil {
			return err
		}
	}
	*f = l.own.Frames[l.next]
	l.next++
	return nil
}

// Stats returns what the kernel counted since OpenLive, and after Close what it
// had counted then.
func (l *Live) Stats() (LiveStats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.count()
	return l.stats, err
}

// count brings l.stats up to date.
func (l *Live) count() error {
	if l.ring == nil {
		return nil
	}
	_, s, err := l.ring.SocketStats()
	if err != nil {
		return fmt.Errorf("capture: interface %s: %w", l.iface, err)
	}
	now := [2]uint32{uint32(s.Packets()), uint32(s.Drops())}
	l.stats.Packets += uint64(now[0] - l.last[0])
	l.stats.Dropped += uint64(now[1] - l.last[1])
	l.last = now
	return nil
}

// Close ends the capture, and within a tenth of a second a read in progress.
func (l *Live) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.count()
	l.held = nil // it is of the ring
	l.ring.Close()
	l.ring = nil
	return err
}
