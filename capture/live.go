// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

// A LiveConfig says what to capture from an interface. Its zero value captures
// everything.
type LiveConfig struct {
	// Ports, unless empty, are the only TCP, UDP and SCTP ports to capture, as source or
	// destination. Packets that have no ports are then left out, but
	// for those that may belong to one that has: later IPv4 fragments, and IPv6
	// packets whose extension headers come first.
	Ports []uint16

	// NotPorts are ports to leave out. It wins over Ports.
	NotPorts []uint16

	// SnapLen is the most bytes of a frame to capture; 0 means MaxFrame.
	SnapLen int

	// RingBytes is the memory shared with the kernel, rounded up to whole MiB; 0 means 16 MiB.
	RingBytes int

	// NotPromiscuous leaves out what is not addressed to this host.
	NotPromiscuous bool
}

// LiveStats counts the packets of an interface that passed the port filter.
type LiveStats struct {
	Packets uint64 // seen by the kernel, the dropped ones included
	Dropped uint64 // of these, because the ring was full
}
