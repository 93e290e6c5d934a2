// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
)

// BenchmarkRecord is one event after another by so many callers, each of whom waits until
// its own is durable. The checkpoints that are written meanwhile, and the last, are in it.
//
//	go test ./ledger -run '^$' -bench Record -cpu 1
func BenchmarkRecord(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			k := newKey(b, "bench", false)
			l, err := Open(b.TempDir(), Config{Signer: k.Signer, Verifier: k.Verifier})
			if err != nil {
				b.Fatal(err)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.SetBytes(int64(len(event.Append(nil, verdict()))))
			b.ResetTimer()
			before := spent(b)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					e := verdict()
					for left.Add(-1) >= 0 {
						if err := l.Record(e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(b.N)/(spent(b)-before).Seconds(), "entries/cpu-s")
		})
	}
}

// spent is the CPU time of this process, which others on the machine do not change much.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFsync is the floor: one caller writes as many bytes and waits for the disk.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	e := event.Append(nil, verdict())
	for b.Loop() {
		if _, err := f.Write(e); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is a ledger of a million events, read, hashed and held against its
// checkpoint.
//
//	go test ./ledger -run '^$' -bench Verify -cpu 1 -benchtime 1x
func BenchmarkVerify(b *testing.B) {
	const size = 1_000_000
	dir, k := b.TempDir(), newKey(b, "bench", false)
	l := open(b, dir, k)
	e := verdict()
	var batch [][]byte
	for i := range size {
		e.Time++
		if batch = append(batch, event.Append(nil, e)); len(batch) == 50_000 || i == size-1 {
			bulk(b, l, batch)
			batch = nil
			if _, err := l.Checkpoint(); err != nil {
				b.Fatal(err)
			}
		}
	}
	l.Close()
	runtime.GC()
	for b.Loop() {
		wantOK(b, dir, k, size, 0)
	}
	b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkAppendEvent(b *testing.B) {
	e := verdict()
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = event.Append(buf[:0], e)
	}
	b.SetBytes(int64(len(buf)))
}
