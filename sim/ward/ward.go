// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ward makes the sample ward: captures of the morning of Tuesday
// 3 March 2026 at St. Ada Hospital, 07:00 to 07:20 local time, as three span
// ports saw it, what a phone, a Bluetooth sniffer and a radio receiver heard, and
// the papers of makers: bills of materials and an advisory.
// Hospital, makers, devices, patients and staff are invented.
//
// What a real tool can say is said by one over loopback and recorded: DICOM by
// DCMTK and Orthanc, in clear and in TLS, Orthanc's REST, FHIR and HTTP by
// net/http, TLS by crypto/tls. HL7, SDC's XML, SMB with DCE/RPC, RDP's
// beginning, DHCP, DNS, NTP, FTP and Telnet are written here. One writer puts
// all of it into frames. What was heard on the radio is package radio's.
//
// What the tools say differs from run to run (identifiers, keys, random
// numbers); the story does not.
//
// This API follows the server and may change.
package ward

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/sim/radio"
)

// Make writes the captures of the morning, and the hospital's list of devices, into dir. It needs DCMTK and Orthanc.
func Make(ctx context.Context, dir string) error {
	s := newSpan()
	if err := withPeers(ctx, s.morning); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range networkTaps {
		if err := s.save(filepath.Join(dir, f.name), f.on); err != nil {
			return err
		}
	}
	return errors.Join(heard(dir), written(dir), papers(dir))
}

// networkTaps are the captures of the network.
var networkTaps = []struct {
	name string
	on   tap
}{{"icu.pcapng", tapICU}, {"radiology.pcapng", tapRadiology}, {"core.pcap.gz", tapCore}}

// heard writes what was heard on the radio: by the phone of Ben, by a Bluetooth
// sniffer in the waiting room that follows pairings (and finds out their keys
// where the pairing is weak), by a receiver in cardiology since the day before.
func heard(dir string) error {
	for _, f := range []struct {
		name string
		o    radio.Options
		as   radio.Format
	}{
		{"ben-phone.btsnoop", radio.Options{Device: "pump", Scenario: "breakfast", Layer: radio.HCI, Start: morning}, radio.Format{}},
		{"waiting-room.pcapng", radio.Options{Device: "pump", Scenario: "stranger-bonds", Layer: radio.Air, Start: morning.Add(15 * time.Minute)}, radio.Format{Link: capture.LinkNordicBLE, Decrypted: true}},
		{"cardiology.jsonl", radio.Options{Device: "icd", Scenario: "replay", Layer: radio.Frames, Start: morning}, radio.Format{}},
	} {
		r, err := radio.Play(f.o)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := r.Write(&b, f.as); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// morning is the story, in the order in which it begins.
func (s *span) morning(p *peers) {
	// 1. Normal work.
	var e envelopes
	s.network()
	s.hl7()
	s.sdc(&e)
	s.secure(p, &e)
	s.upload()
	s.fhir(p)
	s.console()
	s.exportShare()
	// 2. The vendor's laptop.
	s.scan()
	s.breakIn()
	s.remoteDesktop(p)
	// 3. The forged order.
	s.forgery()
	// 4. The records; and, of step 1, the images.
	s.images(p)
	s.smuggle()
}

// save writes one capture: pcapng, or pcap compressed.
func (s *span) save(name string, on tap) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffered := bufio.NewWriter(f)
	var out io.Writer = buffered
	finish := buffered.Flush
	var w *capture.Writer
	if filepath.Ext(name) == ".gz" {
		z, _ := gzip.NewWriterLevel(buffered, gzip.BestCompression)
		out, finish = z, func() error { return errors.Join(z.Close(), buffered.Flush()) }
		w, err = capture.NewWriter(out, capture.LinkEthernet)
	} else {
		w, err = capture.NewNGWriter(out, capture.LinkEthernet)
	}
	if err != nil {
		return err
	}
	return errors.Join(s.write(on, w), finish())
}

// peers starts other people's programs, as a test would.
type peers struct {
	ctx     context.Context
	mu      sync.Mutex
	cleanup []func()
	err     error
}

// withPeers calls f, which may end early by Fatal, and cleans up behind it.
func withPeers(ctx context.Context, f func(*peers)) error {
	p := &peers{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.clean()
		f(p)
	}()
	<-done
	return p.err
}

func (p *peers) clean() {
	for {
		p.mu.Lock()
		n := len(p.cleanup)
		if n == 0 {
			p.mu.Unlock()
			return
		}
		last := p.cleanup[n-1]
		p.cleanup = p.cleanup[:n-1]
		p.mu.Unlock()
		last()
	}
}

func (p *peers) Helper()                  {}
func (p *peers) Context() context.Context { return p.ctx }

func (p *peers) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanup = append(p.cleanup, f)
}

func (p *peers) TempDir() string {
	dir, err := os.MkdirTemp("", "myelin-ward-")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (p *peers) Fatal(args ...any) { p.Fatalf("%s", fmt.Sprint(args...)) }

func (p *peers) Skipf(format string, args ...any) { p.Fatalf(format, args...) }

// Fatalf ends the goroutine, as a test's does.
func (p *peers) Fatalf(format string, args ...any) {
	p.err = fmt.Errorf("ward: "+format, args...)
	runtime.Goexit()
}
