// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"

	"golang.org/x/net/bpf"

	"github.com/myelin-health/myelin/wire"
)

const (
	// maxFilterPorts bounds the ports of a filter: four instructions each, of the
	// 4,096 that the kernel takes.
	maxFilterPorts = 512

	packetOutgoing = 4 // PACKET_OUTGOING of linux/if_packet.h
)

// portFilter compiles cfg for frames whose network layer is at byte network: 14
// or, for raw IP, 0. VLAN tags need no care, because the kernel takes the
// outermost off before the filter sees the frame. Loopback shows each packet
// twice, of which the filter leaves out the outgoing one.
func portFilter(cfg *LiveConfig, network uint32, loopback bool) ([]bpf.Instruction, error) {
	if n := len(cfg.Ports) + len(cfg.NotPorts); n > maxFilterPorts {
		return nil, fmt.Errorf("capture: %d ports in a filter, at most %d: %w", n, maxFilterPorts, wire.ErrTooLong)
	}
	if cfg.SnapLen < 0 || cfg.SnapLen > MaxFrame {
		return nil, fmt.Errorf("capture: snapshot length %d: %w", cfg.SnapLen, wire.ErrInvalid)
	}
	pass := bpf.RetConstant{Val: uint32(cfg.SnapLen)}
	if cfg.SnapLen == 0 {
		pass.Val = MaxFrame
	}
	drop := bpf.RetConstant{Val: 0}

	var prog []bpf.Instruction
	if loopback {
		prog = append(prog,
			bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packetOutgoing, SkipTrue: 1},
			drop)
	}
	if len(cfg.Ports) == 0 && len(cfg.NotPorts) == 0 {
		return append(prog, pass), nil
	}
	portless := pass
	if len(cfg.Ports) > 0 {
		portless = drop
	}
	if network > 0 {
		prog = append(prog,
			bpf.LoadAbsolute{Off: network - 2, Size: 2}, // EtherType
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.EtherTypeIPv4, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.EtherTypeIPv6, SkipTrue: 1},
			portless)
	}
	prog = append(prog,
		bpf.LoadAbsolute{Off: network, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 10},
		// IPv4, RFC 791 section 3.1.
		bpf.LoadAbsolute{Off: network + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1}, // Fragment Offset
		pass,
		bpf.LoadAbsolute{Off: network + 9, Size: 1}, // Protocol
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoTCP, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoUDP, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoSCTP, SkipTrue: 1},
		portless,
		bpf.LoadMemShift{Off: network}, // X = IHL in bytes
		bpf.Jump{Skip: 11},
		// IPv6, RFC 8200 section 3.
		bpf.LoadAbsolute{Off: network + 6, Size: 1}, // Next Header
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoHopByHop, SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoRouting, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoFragment, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoDestOpts, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoTCP, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoUDP, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: wire.ProtoSCTP, SkipTrue: 2},
		portless,
		pass,
		bpf.LoadConstant{Dst: bpf.RegX, Val: 40},
		// Both, with X the length of the network header.
	)
	verdict := func(ports []uint16, v bpf.Instruction) {
		for _, side := range []uint32{0, 2} { // source port, destination port
			if len(ports) > 0 {
				prog = append(prog, bpf.LoadIndirect{Off: network + side, Size: 2})
			}
			for _, port := range ports {
				prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1}, v)
			}
		}
	}
	verdict(cfg.NotPorts, drop)
	verdict(cfg.Ports, pass)
	return append(prog, portless), nil
}
