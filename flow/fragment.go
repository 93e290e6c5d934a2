// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"slices"

	"github.com/myelin-health/myelin/wire"
)

// The bounds of a [Defragmenter].
const (
	maxDatagrams     = 1024        // in progress at a time
	maxFragmentBytes = 8 << 20     // held for all of them
	maxFragments     = 256         // of one datagram: 64 KiB in pieces of 256 bytes
	maxDatagram      = 65535       // RFC 791 section 3.1
	fragmentTimeout  = int64(30e9) // RFC 791 section 3.2 suggests 15 s, RFC 8200 section 4.5 has 60 s
)

// DefragmenterStats counts what a [Defragmenter] did and gave up.
type DefragmenterStats struct {
	Fragments uint64
	Datagrams uint64 // put together
	Expired   uint64 // datagrams whose rest did not come in time
	Evicted   uint64 // datagrams given up because of a bound
	Overlaps  uint64 // datagrams with two different contents for one place
}

// A Defragmenter puts IP datagrams together again. It is used from one
// goroutine: fragments carry no ports, so this is done before a packet's
// conversation, and with it its shard, is known.
type Defragmenter struct {
	Stats DefragmenterStats

	open  map[fragmentKey]*datagram
	order []*datagram // by the time of the first fragment; done ones are skipped
	bytes int
}

type fragmentKey struct {
	src, dst wire.Addr
	id       uint32
	proto    uint8
}

type datagram struct {
	key       fragmentKey
	first     int64
	pieces    []piece // by offset, not overlapping
	total     int     // payload length; -1 until the last fragment is seen
	differing bool    // two contents for one place
	done      bool
}

type piece struct {
	off int
	b   []byte
}

// NewDefragmenter returns an empty defragmenter.
func NewDefragmenter() *Defragmenter {
	return &Defragmenter{open: make(map[fragmentKey]*datagram)}
}

// Add takes a fragment. When it completes its datagram, p is made the whole
// packet, with a payload that it owns, and whole is true. differing reports
// that fragments overlapped with different bytes; the first to come counts
// (RFC 791's and RFC 5722's rules differ, and so do systems: that is why it is
// worth a finding).
func (d *Defragmenter) Add(p *wire.Packet, now int64) (whole, differing bool) {
	d.Stats.Fragments++
	d.expire(now)
	key := fragmentKey{p.Src, p.Dst, p.FragmentID, p.Proto}
	g := d.open[key]
	if g == nil {
		for len(d.open) >= maxDatagrams || d.bytes > maxFragmentBytes {
			d.Stats.Evicted++
			d.drop(d.oldest())
		}
		g = &datagram{key: key, first: now, total: -1}
		d.open[key] = g
		if len(d.order) > 4*maxDatagrams {
			d.order = slices.DeleteFunc(d.order, func(g *datagram) bool { return g.done })
		}
		d.order = append(d.order, g)
	}
	end := p.FragmentOff + len(p.Payload)
	if end > maxDatagram || len(g.pieces) >= maxFragments || p.Missing > 0 {
		// Cut, absurd (the "ping of death"), or in crumbs: never complete.
		d.Stats.Evicted++
		d.drop(g)
		return false, g.differing
	}
	if !p.MoreFragments {
		g.total = end
	}
	was := g.differing
	d.insert(g, p.FragmentOff, p.Payload)
	if g.differing && !was {
		d.Stats.Overlaps++
		differing = true
	}
	if g.total < 0 || !g.complete() {
		return false, differing
	}
	b := make([]byte, 0, g.total)
	for _, piece := range g.pieces {
		b = append(b, piece.b...)
	}
	d.drop(g)
	d.Stats.Datagrams++
	p.DecodeTransport(p.Proto, b[:min(len(b), g.total)])
	return true, differing
}

// insert adds bytes at off, without those that are there already.
func (d *Defragmenter) insert(g *datagram, off int, b []byte) {
	i := 0
	for len(b) > 0 {
		for i < len(g.pieces) && g.pieces[i].off+len(g.pieces[i].b) <= off {
			i++
		}
		if i < len(g.pieces) && g.pieces[i].off <= off {
			have := g.pieces[i].b[off-g.pieces[i].off:]
			n := min(len(have), len(b))
			if !bytes.Equal(have[:n], b[:n]) {
				g.differing = true
			}
			off, b = off+n, b[n:]
			continue
		}
		n := len(b)
		if i < len(g.pieces) {
			n = min(n, g.pieces[i].off-off)
		}
		g.pieces = slices.Insert(g.pieces, i, piece{off, bytes.Clone(b[:n])})
		d.bytes += n
		off, b = off+n, b[n:]
	}
}

// complete reports whether the pieces cover the payload from its start to total.
func (g *datagram) complete() bool {
	end := 0
	for _, p := range g.pieces {
		if p.off != end {
			return false
		}
		end += len(p.b)
	}
	return end >= g.total
}

func (d *Defragmenter) drop(g *datagram) {
	if g.done {
		return
	}
	g.done = true
	for _, p := range g.pieces {
		d.bytes -= len(p.b)
	}
	g.pieces = nil
	delete(d.open, g.key)
}

// oldest returns the datagram that was begun first. The order is that of the
// packets, so that what is given up is the same each time.
func (d *Defragmenter) oldest() *datagram {
	for d.order[0].done {
		d.order = d.order[1:]
	}
	return d.order[0]
}

func (d *Defragmenter) expire(now int64) {
	for len(d.order) > 0 && (d.order[0].done || now-d.order[0].first > fragmentTimeout) {
		if !d.order[0].done {
			d.Stats.Expired++
			d.drop(d.order[0])
		}
		d.order = d.order[1:]
	}
}

// Pending is the number of datagrams that still lack fragments.
func (d *Defragmenter) Pending() int { return len(d.open) }
