// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package coap

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// processor is the time that the process has used of it.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHandshake is a whole handshake over CoAP, both sides on one core: method
// 3, suite 0, message_3 together with the first request and its answer. The second
// has 10,000 half open handshakes beside it. The rate is for the time that the
// processor took, so that what else the machine does is not counted.
func BenchmarkHandshake(b *testing.B) {
	for _, open := range []int{0, 10000} {
		b.Run(fmt.Sprintf("half open %d", open), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			x, y := two(b)
			x.Combined, x.Sessions, y.Sessions = true, 16, 1024
			y.Limits = many
			server, client := endpoint(b, y), endpoint(b, x)
			c := serveCrowd(b, server)
			conn := client.Attach(c.join(1))
			halfOpen(b, c, x.EDHOC, open, true)
			ctx := context.Background()
			shake := func() {
				s, err := conn.Handshake(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Get(ctx, s, "/t"); err != nil {
					b.Fatal(err)
				}
			}
			shake()
			if n := server.HalfOpen(); n != open {
				b.Fatalf("%d are half open", n)
			}
			b.ReportAllocs()
			spent := -processor(b)
			for b.Loop() {
				shake()
			}
			spent += processor(b)
			b.ReportMetric(float64(b.N)/spent.Seconds(), "handshakes/cpu-s")
		})
	}
}

// BenchmarkPeers is the memory that peers with a session use.
func BenchmarkPeers(b *testing.B) {
	for b.Loop() {
		e, used := tenThousand(b)
		b.ReportMetric(float64(used)/1e6, "MB")
		runtime.KeepAlive(e)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRequest is a protected request and its answer over CoAP, both sides.
func BenchmarkRequest(b *testing.B) {
	x, y := two(b)
	server, client := endpoint(b, y), endpoint(b, x)
	conn := client.Attach(serveCrowd(b, server).join(1))
	ctx := context.Background()
	s, err := conn.Handshake(ctx)
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Post(ctx, s, "/t", 0, payload); err != nil {
			b.Fatal(err)
		}
	}
}
