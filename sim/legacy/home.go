// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/sim/radio"
)

// The logins of the home monitor. The first is that of every unit.
const (
	cloudName       = "cloud.halden.example"
	upgradeToken    = "TLS/1.0" // RFC 2817 section 3.1: whatever version it comes to
	monitorRoot     = "hl-root-2014"
	monitorUser     = "homelink-anna"
	monitorPassword = "Larch-Ford-62"
	cloudPatience   = 10 * time.Second
)

// A HomeLinkState is what a home monitor is and did.
type HomeLinkState struct {
	Implant     DefibrillatorState // before it
	Reports     int                // that it sent to what it took for its cloud
	Unproven    int                // of them, to one that did not prove who it is
	InClear     int                // how often it sent its password in clear
	FromCloud   int                // commands that it got from there and passed on
	Root        bool               // somebody is logged in
	DebugWrites int                // to the implant's memory
	Read        int                // how often its memory chip was read
}

// A HomeLink is the monitor at Anna's bed, HomeLink 2.0 of before it was mended, with
// her Rhythm S before it.
type HomeLink struct {
	box
	s       HomeLinkState
	implant *Defibrillator
	cloud   string
	rest    []byte // what is on its memory chip
}

// NewHomeLink returns a HomeLink. Upstream of cfg is its cloud.
func NewHomeLink(cfg Config) (*HomeLink, error) {
	if cfg.Upstream != "" {
		if err := hereText(cfg.Upstream); err != nil {
			return nil, err
		}
	}
	h := &HomeLink{cloud: cfg.Upstream}
	var err error
	if h.implant, err = NewRhythmS(h.inner(cfg)); err != nil {
		return nil, err
	}
	err = h.serve(cfg, map[string]func(context.Context, []string) string{
		"cloud": h.resolve, "report": h.report, "login": h.login, "debug-write": h.debug, "chip": h.chip,
	})
	if err != nil {
		return nil, err
	}
	h.rest = []byte(monitorUser + " " + monitorPassword + " " + radio.ICDSerial + " " + radio.AnnaRecord + " episodes 2\n")
	if cfg.Mended {
		h.rest = seal(h.random(aes.BlockSize), h.random(12), h.rest)
	}
	return h, nil
}

// seal encrypts under a key of sixteen bytes: the nonce of twelve stands in front.
func seal(key, nonce, plain []byte) []byte {
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key's size is ours
	}
	g, err := cipher.NewGCM(c)
	if err != nil {
		panic(err)
	}
	return g.Seal(bytes.Clone(nonce), nonce, plain, nil)
}

// State returns a [HomeLinkState].
func (h *HomeLink) State() any {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.s
	s.Implant = h.implant.State().(DefibrillatorState)
	return s
}

// resolve is an answer of the network to the question where the cloud is. Anybody in the
// network may give it.
func (h *HomeLink) resolve(_ context.Context, args []string) string {
	if hereText(given(args, 0)) != nil {
		return "no address"
	}
	h.cloud = given(args, 0)
	h.note("the cloud is said to be elsewhere")
	return "ok"
}

// report connects to the cloud: a request to go over to TLS (RFC 2817 section 3.2) that has name and
// password in clear, then TLS 1.2, whose certificate nobody looks at, then a line about the patient. The
// line that comes back may have a frame for the implant. Mended, TLS begins at once.
func (h *HomeLink) report(ctx context.Context, _ []string) string {
	ctx, stop := context.WithTimeout(ctx, cloudPatience)
	defer stop()
	c, err := h.cfg.Tap.dial(ctx, Itself, "tcp", h.cloud)
	if err != nil {
		return "no cloud"
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	cfg := &tls.Config{ServerName: cloudName, RootCAs: x509.NewCertPool()} // of its own cloud alone: the attacker has none
	if !h.cfg.Mended {
		cfg.InsecureSkipVerify, cfg.MaxVersion = true, tls.VersionTLS12
		h.s.InClear++
		if c, err = upgrade(c); err != nil {
			return "no cloud"
		}
	}
	t := tls.Client(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		h.note("the cloud does not prove who it is")
		return "no cloud that proves who it is"
	}
	h.s.Unproven++
	if _, err := t.Write([]byte("report " + radio.AnnaRecord + " " + radio.ICDSerial + " episodes 2\n")); err != nil {
		return "no cloud"
	}
	h.s.Reports++
	h.note("a report is sent")
	line, err := bufio.NewReaderSize(t, MaxMessage).ReadSlice('\n')
	if err != nil {
		return "ok"
	}
	if text, found := strings.CutPrefix(strings.TrimSpace(string(line)), "program "); found {
		if frame, err := hex.DecodeString(text); err == nil {
			h.s.FromCloud++
			h.note("a frame from the cloud goes to the implant")
			h.implant.Handle(ctx, frame)
		}
	}
	return "ok"
}

// upgrade asks the cloud to go over to TLS, with name and password.
func upgrade(c net.Conn) (net.Conn, error) {
	q := &http.Request{
		Method: http.MethodOptions, URL: &url.URL{Opaque: "*"}, Host: cloudName,
		Header: http.Header{"Upgrade": {upgradeToken}, "Connection": {"Upgrade"}},
	}
	q.SetBasicAuth(monitorUser, monitorPassword)
	if err := q.Write(c); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	a, err := http.ReadResponse(r, q)
	if err != nil {
		return nil, err
	}
	a.Body.Close()
	if a.StatusCode != http.StatusSwitchingProtocols {
		return nil, errRefused
	}
	return &bufferedConn{c, r}, nil
}

// login opens the operating system.
func (h *HomeLink) login(_ context.Context, args []string) string {
	h.s.Root = !h.cfg.Mended && given(args, 0) == monitorRoot
	if !h.s.Root {
		return "no"
	}
	h.note("somebody is logged in as root")
	return "ok"
}

// debug is code that was left in: it writes to the implant's memory.
func (h *HomeLink) debug(_ context.Context, args []string) string {
	at, err := strconv.ParseUint(given(args, 0), 16, 16)
	b, good := bytesAt(args, 1)
	if !h.s.Root || err != nil || !good || h.cfg.Mended {
		return "no"
	}
	h.s.DebugWrites++
	h.implant.WriteMemory(uint16(at), b)
	return "ok"
}

// chip is the memory chip as whoever opens the box reads it.
func (h *HomeLink) chip(context.Context, []string) string {
	h.s.Read++
	return ok(h.rest)
}

// A CloudState is what the clinic's cloud was told.
type CloudState struct {
	Records  int // about home-anna's patient
	Episodes int // that the last of them said
	Refused  int
}

// A Cloud takes what home monitors upload, from anybody.
type Cloud struct {
	box
	s   CloudState
	key []byte // of home-anna, where uploads are signed
}

// NewCloud returns a Cloud.
func NewCloud(cfg Config) (*Cloud, error) {
	c := new(Cloud)
	if err := c.serve(cfg, map[string]func(context.Context, []string) string{"upload": c.upload}); err != nil {
		return nil, err
	}
	c.key = c.random(KeySize)
	return c, nil
}

// State returns a [CloudState].
func (c *Cloud) State() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s
}

// upload is "upload DEVICE EPISODES TAG". The tag is HMAC-SHA-256 of the first two under the device's
// key, with a blank in between, where the cloud looks at it.
func (c *Cloud) upload(_ context.Context, args []string) string {
	n, err := strconv.Atoi(given(args, 1))
	if given(args, 0) != "home-anna" || err != nil || n < 0 {
		return "no such device"
	}
	if c.cfg.Mended {
		m := hmac.New(sha256.New, c.key)
		m.Write([]byte(given(args, 0) + " " + given(args, 1)))
		if tag, good := bytesAt(args, 2); !good || !hmac.Equal(tag, m.Sum(nil)) {
			c.s.Refused++
			return "no"
		}
	}
	c.s.Records++
	c.s.Episodes = n
	c.note("a record is uploaded")
	return "ok"
}

// A ReaderState is what a patient's reader is and did.
type ReaderState struct {
	Open       bool // to who authenticated, or seemed to
	Told       int  // how often it sent what is about the patient
	Overflowed bool // modelled: bytes behind its buffer were overwritten
	Firmware   FirmwareState
	Implant    DefibrillatorState
}

// A Reader is the patient's reader of an implant, to which an app talks.
type Reader struct {
	box
	s       ReaderState
	implant *Defibrillator
	key     []byte // shared with the app
	nonce   []byte
	staged  []byte
	checked bool // what was staged when it was looked at
}

const debugBuffer = 64 // bytes

// NewReader returns a Reader.
func NewReader(cfg Config) (*Reader, error) {
	r := new(Reader)
	var err error
	if r.implant, err = NewRhythmS(r.inner(cfg)); err != nil {
		return nil, err
	}
	err = r.serve(cfg, map[string]func(context.Context, []string) string{
		"hello": r.hello, "auth": r.auth, "read": r.read, "debug": r.debug, "stage": r.stage, "verify": r.verify, "install": r.install,
	})
	if err != nil {
		return nil, err
	}
	r.key = r.random(KeySize)
	r.s.Firmware.run(context.Background(), GenuineImage(), r.implant)
	return r, nil
}

// State returns a [ReaderState].
func (r *Reader) State() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.s
	s.Implant = r.implant.State().(DefibrillatorState)
	return s
}

func (r *Reader) hello(context.Context, []string) string {
	r.nonce = r.random(8)
	return ok(r.nonce)
}

// auth wants HMAC-SHA-256 of the nonce under the app's key. It compares as many bytes as it
// is given: none are right, whatever the key.
func (r *Reader) auth(_ context.Context, args []string) string {
	tag, good := bytesAt(args, 0)
	m := hmac.New(sha256.New, r.key)
	m.Write(r.nonce)
	want := m.Sum(nil)
	if !r.cfg.Mended {
		want = want[:min(len(tag), len(want))]
	}
	r.s.Open = good && r.nonce != nil && hmac.Equal(tag, want)
	r.nonce = nil
	if !r.s.Open {
		return "no"
	}
	r.note("an app is let in")
	return "ok"
}

func (r *Reader) read(context.Context, []string) string {
	if !r.s.Open {
		return "no"
	}
	r.s.Told++
	return ok([]byte(radio.AnnaRecord + " " + radio.ICDSerial + " episodes 2"))
}

// debug is "debug LENGTH BYTES": it believes the length.
func (r *Reader) debug(_ context.Context, args []string) string {
	n, err := strconv.Atoi(given(args, 0))
	b, good := bytesAt(args, 1)
	switch {
	case err != nil || !good || n < 0 || r.cfg.Mended:
		return "no"
	case n > debugBuffer && len(b) > debugBuffer:
		r.s.Overflowed = true
		r.note("%d bytes for a buffer of %d: what lies behind it is overwritten", len(b), debugBuffer)
	}
	return "ok"
}

func (r *Reader) stage(_ context.Context, args []string) string {
	b, good := bytesAt(args, 0)
	if !good {
		return "no"
	}
	r.staged = b
	return "ok"
}

func (r *Reader) verify(context.Context, []string) string {
	if r.checked = genuine(r.staged); !r.checked {
		return "no"
	}
	return "ok"
}

// install runs what is staged now, which need not be what was verified.
func (r *Reader) install(ctx context.Context, _ []string) string {
	if !r.checked || r.cfg.Mended && !genuine(r.staged) {
		return "no"
	}
	r.checked = false
	r.s.Firmware.run(ctx, r.staged, r.implant)
	r.note("a program is installed")
	return "ok"
}
