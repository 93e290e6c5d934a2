// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// BenchmarkStore has storescu send an object of 50 MB to storescp: directly, in
// clear and with TLS; through a pair of stunnels; and through the front, with TLS
// on its outside. Each round is one of each. It reports the medians in MB/s, what the
// front takes of the processor for an object (with starting storescu), and how much
// memory for an association in which one is under way.
func BenchmarkStore(b *testing.B) {
	storescu := testpeer.DCMTK(b, "storescu")
	stunnel := testpeer.Tool(b, "stunnel4", "stunnel4")
	o := newOutside(b)
	const size = 50 << 20
	object := testpeer.DICOMObject(b, fmt.Sprintf("(0008,0016) UI [%s]\n(0008,0018) UI [1.2.276.0.99999.2.1.1]\n(7fe0,0010) OB =%s\n", ctStorage, pixels(b, size)), "+te")
	clear := testpeer.Storescp(b, "-aet", "ADAPACS")
	secure := testpeer.Storescp(b, "-aet", "ADAPACS", "+tls", o.frontKey, o.frontCert, "+cf", o.peerCert)
	g := newGuard(b)
	_, guarded := g.start(archive(b, &o, clear, "associations: [{calling: CT1, called: ADAPACS, certificate: any, access: store-only, sop-classes: [storage]}]"))
	dir := b.TempDir()
	tunnel := func(name string, port, to int, client bool) {
		cert, key, ca, word := o.frontCert, o.frontKey, o.peerCert, "no"
		if client {
			cert, key, ca, word = o.peerCert, o.peerKey, o.frontCert, "yes"
		}
		file := filepath.Join(dir, name)
		text := fmt.Sprintf("foreground = yes\npid =\ndebug = err\n[dicom]\nclient = %s\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\ncert = %s\nkey = %s\nCAfile = %s\nverifyPeer = yes\n", word, port, to, cert, key, ca)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		testpeer.Start(b, dir, port, stunnel, file)
	}
	far, near := testpeer.Port(b), testpeer.Port(b)
	tunnel("far", far, clear, false)
	tunnel("near", near, far, true)

	ways := []struct {
		name string
		port int
		tls  bool
	}{{"direct", clear, false}, {"direct-TLS", secure, true}, {"stunnel-pair", near, false}, {"stunnel-far", far, true}, {"front-TLS", guarded, true}}
	send := func(port int, tls bool) time.Duration {
		args := []string{"-aet", "CT1", "-aec", "ADAPACS"}
		if tls {
			args = o.args(args...)
		}
		begun := time.Now()
		testpeer.Run(b, dir, storescu, append(args, "127.0.0.1", strconv.Itoa(port), object)...)
		return time.Since(begun)
	}
	rates := make([][]float64, len(ways))
	var front []float64 // ms of the processor, of the last way
	for b.Loop() {
		for i, w := range ways {
			before := spent(b)
			rates[i] = append(rates[i], size/1e6/send(w.port, w.tls).Seconds())
			if i == len(ways)-1 {
				front = append(front, float64(spent(b)-before)/1e6)
			}
		}
	}
	for i, w := range ways {
		slices.Sort(rates[i])
		b.ReportMetric(rates[i][len(rates[i])/2], w.name+"-MB/s")
	}
	slices.Sort(front)
	b.ReportMetric(front[len(front)/2], "CPU-ms/object")
	b.ReportMetric(memoryOf(func() { send(guarded, true) })/1e3, "KB/association")
	if r := g.refusals(); len(r) > 0 {
		b.Error(r)
	}
}

// spent is the time that this process took of the processor.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memoryOf is the memory that this process has more, for each of eight, while they do it.
func memoryOf(do func()) float64 {
	const n = 8
	use := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	runtime.GC()
	before, most := use(), uint64(0)
	var wg sync.WaitGroup
	for range n {
		wg.Go(do)
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for tick := time.Tick(20 * time.Millisecond); ; {
		select {
		case <-tick:
			most = max(most, use())
			continue
		case <-done:
		}
		break
	}
	return float64(most-min(before, most)) / n
}
