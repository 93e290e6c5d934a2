// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/sim/radio"
)

// A StudioState is what a programmer is and did.
type StudioState struct {
	Firmware FirmwareState
	Implant  DefibrillatorState // under its wand
	Exports  int
}

// A Studio is a clinician's programmer of cardiac implants.
type Studio struct {
	box
	s       StudioState
	implant *Defibrillator
	updates string // where its updates are said to be
	media   []byte
	export  []byte // key
}

// exportKey is the key of every export of every unit.
var exportKey = []byte("studio-export-07")

// Components is what a Studio is made of, as name and version: parts of others, one of which is
// years behind.
var Components = []string{"halden-studio 7.0", "openssl 1.0.1f", "zlib 1.2.11", "busybox 1.21.1"}

// NewStudio returns a Studio. Upstream of cfg is where its updates are.
func NewStudio(cfg Config) (*Studio, error) {
	if cfg.Upstream != "" {
		if err := hereText(cfg.Upstream); err != nil {
			return nil, err
		}
	}
	s := &Studio{updates: cfg.Upstream, export: exportKey}
	var err error
	if s.implant, err = NewRhythmS(s.inner(cfg)); err != nil {
		return nil, err
	}
	err = s.serve(cfg, map[string]func(context.Context, []string) string{
		"updates": s.resolve, "update": s.update, "media": s.insert, "install": s.install, "components": s.components, "export": s.exported,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Mended {
		s.export = s.random(aes.BlockSize)
	}
	s.s.Firmware.run(context.Background(), GenuineImage(), s.implant)
	return s, nil
}

// State returns a [StudioState].
func (s *Studio) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.s
	is.Implant = s.implant.State().(DefibrillatorState)
	return is
}

// resolve is an answer of the network to the question where the updates are.
func (s *Studio) resolve(_ context.Context, args []string) string {
	if hereText(given(args, 0)) != nil {
		return "no address"
	}
	s.updates = given(args, 0)
	return "ok"
}

// update takes /studio.img over HTTP, and runs it.
func (s *Studio) update(ctx context.Context, _ []string) string {
	ctx, stop := context.WithTimeout(ctx, cloudPatience)
	defer stop()
	image, err := download(ctx, s.cfg.Tap, s.updates, "/studio.img")
	if err != nil {
		return "no updates"
	}
	return s.start(ctx, image)
}

func (s *Studio) start(ctx context.Context, image []byte) string {
	if s.cfg.Mended && !genuine(image) {
		s.note("a program that the maker did not sign: refused")
		return "no"
	}
	s.s.Firmware.run(ctx, image, s.implant)
	s.note("a program is installed")
	return "ok"
}

// insert puts a disk in that somebody wrote.
func (s *Studio) insert(_ context.Context, args []string) string {
	b, good := bytesAt(args, 0)
	if !good {
		return "no"
	}
	s.media = b
	return "ok"
}

func (s *Studio) install(ctx context.Context, _ []string) string { return s.start(ctx, s.media) }

func (s *Studio) components(context.Context, []string) string {
	return "ok " + strings.Join(Components, ", ")
}

// exported is a patient's record as a Studio writes it to a stick: AES-GCM, the nonce of twelve
// bytes in front.
func (s *Studio) exported(context.Context, []string) string {
	s.s.Exports++
	return ok(seal(s.export, s.random(12), []byte(radio.AnnaName+" "+radio.AnnaRecord)))
}

// A CardProgrammerState is what a card programmer is and did.
type CardProgrammerState struct {
	Firmware   FirmwareState // on its card
	Stimulator StimulatorState
	Read       int // how often the card was
}

// A CardProgrammer is the programmer of a neurostimulator whose program is on a card, with records of patients beside it.
type CardProgrammer struct {
	box
	s          CardProgrammerState
	stimulator *Stimulator
	card       []byte
	records    []byte
}

// NewCardProgrammer returns a CardProgrammer.
func NewCardProgrammer(cfg Config) (*CardProgrammer, error) {
	p := &CardProgrammer{card: GenuineImage()}
	var err error
	if p.stimulator, err = NewCalm(p.inner(cfg)); err != nil {
		return nil, err
	}
	err = p.serve(cfg, map[string]func(context.Context, []string) string{"card-read": p.read, "card-write": p.write, "start": p.start})
	if err != nil {
		return nil, err
	}
	p.records = []byte(radio.CleoName + " STN left\n")
	if cfg.Mended {
		p.records = seal(p.random(aes.BlockSize), p.random(12), p.records)
	}
	p.s.Firmware.run(context.Background(), p.card, p.stimulator)
	return p, nil
}

// State returns a [CardProgrammerState].
func (p *CardProgrammer) State() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.s
	s.Stimulator = p.stimulator.State().(StimulatorState)
	return s
}

func (p *CardProgrammer) read(context.Context, []string) string {
	p.s.Read++
	return ok(p.records)
}

func (p *CardProgrammer) write(_ context.Context, args []string) string {
	b, good := bytesAt(args, 0)
	if !good {
		return "no"
	}
	p.card = b
	p.note("the card is written")
	return "ok"
}

func (p *CardProgrammer) start(ctx context.Context, _ []string) string {
	if p.cfg.Mended && !genuine(p.card) {
		return "no"
	}
	p.s.Firmware.run(ctx, p.card, p.stimulator)
	p.note("the program on the card runs")
	return "ok"
}

// A ClinicAppState is what a clinician's app is and did.
type ClinicAppState struct {
	Resets     int
	Stimulator StimulatorState // that it programs
}

// A ClinicApp programs a neurostimulator, from a tablet with a password, over HTTP in the clinic's network.
type ClinicApp struct {
	box
	s          ClinicAppState
	stimulator *Stimulator
	password   string // of the one user, admin; "": none is right
}

// defaultPassword is on the first page of its manual.
const (
	clinicUser      = "admin"
	defaultPassword = "1234"
)

// NewClinicApp returns a ClinicApp.
func NewClinicApp(cfg Config) (*ClinicApp, error) {
	a := new(ClinicApp)
	var err error
	if a.stimulator, err = NewCalm(a.inner(cfg)); err != nil {
		return nil, err
	}
	if err = a.open(cfg, web, a.answer); err != nil {
		return nil, err
	}
	a.password = hex.EncodeToString(a.random(8))
	return a, nil
}

// State returns a [ClinicAppState].
func (a *ClinicApp) State() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.s
	s.Stimulator = a.stimulator.State().(StimulatorState)
	return s
}

// answer is POST /reset, of anybody at the tablet, and POST /limit/HUNDREDTHS or /amplitude/HUNDREDTHS of a volt, with the
// password (RFC 7617).
func (a *ClinicApp) answer(_ context.Context, b []byte) [][]byte {
	q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return nil
	}
	r := &http.Response{StatusCode: http.StatusNoContent, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}
	verb, number, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/"), "/")
	n, err := strconv.ParseUint(number, 10, 12)
	user, password, _ := q.BasicAuth()
	switch {
	case q.Method != http.MethodPost:
		r.StatusCode = http.StatusMethodNotAllowed
	case verb == "reset":
		a.reset()
	case a.password == "" || user != clinicUser || password != a.password:
		r.StatusCode = http.StatusUnauthorized
		r.Header.Set("WWW-Authenticate", `Basic realm="Calm"`)
	case err != nil:
		r.StatusCode = http.StatusNotFound
	case verb == "limit":
		a.stimulator.Program(int(n), -1)
	case verb != "amplitude":
		r.StatusCode = http.StatusNotFound
	case !a.stimulator.Program(-1, int(n)):
		r.StatusCode = http.StatusConflict
	}
	var out bytes.Buffer
	if r.Write(&out) != nil {
		return nil
	}
	return [][]byte{out.Bytes()}
}

// reset makes the tablet what it was when it was bought. Mended, it then has no password
// until somebody who is enrolled gives it one.
func (a *ClinicApp) reset() {
	a.s.Resets++
	a.password = defaultPassword
	if a.cfg.Mended {
		a.password = ""
	}
	a.note("reset")
}

// A ClinicServerState is what a clinic's server is and did.
type ClinicServerState struct {
	Messages int
	Ran      bool // modelled: something ran that came in a message
}

// A ClinicServer stores what cardiac devices report. Its message service makes an object of
// whatever class a message names.
type ClinicServer struct {
	box
	s ClinicServerState
}

// NewClinicServer returns a ClinicServer.
func NewClinicServer(cfg Config) (*ClinicServer, error) {
	s := new(ClinicServer)
	return s, s.serve(cfg, map[string]func(context.Context, []string) string{"message": s.message})
}

// State returns a [ClinicServerState].
func (s *ClinicServer) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

// message is "message JSON", without blanks in it.
func (s *ClinicServer) message(_ context.Context, args []string) string {
	var m struct {
		Class string `json:"class"`
	}
	if json.Unmarshal([]byte(strings.Join(args, " ")), &m) != nil {
		return "no"
	}
	switch {
	case m.Class == "Report":
		s.s.Messages++
		return "ok"
	case m.Class == "" || s.cfg.Mended:
		return "no"
	}
	s.s.Ran = true
	s.note("an object of a foreign class is made: its code would run")
	return "ok"
}

// An InsulinCloudState is what the cloud of an insulin app is and did.
type InsulinCloudState struct {
	Accounts int
	Fetched  int
}

// An InsulinCloud keeps logins of an app: AES in counter mode, under a key that is in
// every app, and an initialisation vector that is always the same.
type InsulinCloud struct {
	box
	s        InsulinCloudState
	accounts map[string][]byte
	key      []byte
}

const (
	maxAccounts = 64
	maxLogin    = 64 // bytes
	benLogin    = "user=ben.okafor password=Quarry-Oats-5"
)

// NewInsulinCloud returns an InsulinCloud in which Ben has an account.
func NewInsulinCloud(cfg Config) (*InsulinCloud, error) {
	c := &InsulinCloud{accounts: map[string][]byte{}}
	err := c.serve(cfg, map[string]func(context.Context, []string) string{"put": c.put, "fetch": c.fetch})
	if err != nil {
		return nil, err
	}
	c.key = c.random(aes.BlockSize)
	c.accounts["app-ben"] = c.sealed([]byte(benLogin))
	c.s.Accounts = 1
	return c, nil
}

// State returns an [InsulinCloudState].
func (c *InsulinCloud) State() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s
}

// sealed is the vector where it is not always the same, and the ciphertext.
func (c *InsulinCloud) sealed(plain []byte) []byte {
	b, err := aes.NewCipher(c.key)
	if err != nil {
		panic(err) // the key's size is ours
	}
	iv := make([]byte, aes.BlockSize)
	var out []byte
	if c.cfg.Mended {
		iv = c.random(aes.BlockSize)
		out = bytes.Clone(iv)
	}
	n := len(out)
	out = append(out, plain...)
	cipher.NewCTR(b, iv).XORKeyStream(out[n:], out[n:])
	return out
}

// put is "put ACCOUNT BYTES": what an app stores.
func (c *InsulinCloud) put(_ context.Context, args []string) string {
	b, good := bytesAt(args, 1)
	if !good || len(b) > maxLogin || given(args, 0) == "app-ben" || len(c.accounts) == maxAccounts {
		return "no"
	}
	c.accounts[given(args, 0)] = c.sealed(b)
	c.s.Accounts = len(c.accounts)
	return "ok"
}

// fetch is an account as it goes over the network, which others see.
func (c *InsulinCloud) fetch(_ context.Context, args []string) string {
	b, found := c.accounts[given(args, 0)]
	if !found {
		return "no"
	}
	c.s.Fetched++
	return ok(b)
}

// A StackState is what a monitor's network stack is and did.
type StackState struct {
	Packets int
	Overrun bool // modelled: it read or wrote behind a packet
}

// A Stack is the network stack of a monitor, which believes an urgent pointer.
type Stack struct {
	box
	s StackState
}

// NewStack returns a Stack.
func NewStack(cfg Config) (*Stack, error) {
	s := new(Stack)
	return s, s.serve(cfg, map[string]func(context.Context, []string) string{"packet": s.packet})
}

// State returns a [StackState].
func (s *Stack) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

// packet is "packet BYTES": a TCP segment (RFC 9293 section 3.1). The last urgent byte is taken for the one
// before where the pointer points.
func (s *Stack) packet(_ context.Context, args []string) string {
	const header, urgent = 20, 0x20
	b, good := bytesAt(args, 0)
	if !good || len(b) < header {
		return "no"
	}
	s.s.Packets++
	if last := binary.BigEndian.Uint16(b[18:]) - 1; b[13]&urgent != 0 && int(last) >= len(b)-header { // it wraps below zero
		if s.cfg.Mended {
			return "no"
		}
		s.s.Overrun = true
		s.note("urgent data behind the packet: memory would be overrun")
	}
	return "ok"
}
