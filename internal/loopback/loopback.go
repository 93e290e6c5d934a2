// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package loopback finds addresses of this machine for servers that are told where to
// listen.
//
// This API follows the server and may change.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports from which one is taken: below those that connections get by themselves (from
// 32768 on Linux, RFC 6335 has 49152), of which one could take it before it is used.
const (
	lowest  = 20000
	highest = 32000
	tries   = 1000
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Free is an address that nobody listens at, for a network ("tcp", "udp"). This process
// is given none twice.
func Free(network string) (string, error) {
	mu.Lock()
	defer mu.Unlock()
	for range tries {
		port := lowest + rand.IntN(highest-lowest)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if given[port] || !free(network, address) {
			continue
		}
		given[port] = true
		return address, nil
	}
	return "", errors.New("no port of loopback is free")
}

func free(network, address string) bool {
	if network == "udp" {
		s, err := net.ListenPacket(network, address)
		return err == nil && s.Close() == nil
	}
	l, err := net.Listen(network, address)
	return err == nil && l.Close() == nil
}
