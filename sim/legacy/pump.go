// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	dialect "github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/sim/radio"
)

// A Pump is an insulin pump with a radio of its own: the Dose Classic by dialect okapi-classic, or
// the Dose Patch by okapi-patch.
type Pump struct {
	transceiver
	s    PumpState
	flow flow
	cell cell

	paired   map[uint64]bool // accessories
	handheld uint32          // of a patch; 0: none yet
	reported int64           // of BolusGiven
}

const maxAccessories = 16

// NewClassic returns a Dose Classic.
func NewClassic(cfg Config) (*Pump, error) {
	p := &Pump{paired: map[uint64]bool{}}
	p.begin()
	return p, p.tune(cfg, "okapi-classic", radio.ClassicSerial, p.classic)
}

// NewPatch returns a Dose Patch that no handheld was made known to yet.
func NewPatch(cfg Config) (*Pump, error) {
	p := new(Pump)
	p.begin()
	return p, p.tune(cfg, "okapi-patch", radio.PodSerial, p.patch)
}

func (p *Pump) begin() {
	p.s = newPumpState()
	p.flow.s = &p.s
	p.cell = cell{capacity: 700_000, used: 90_000}
}

// State returns a [PumpState].
func (p *Pump) State() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flow.advance(p.cfg.Now())
	s := p.s
	s.Used = p.cell.used
	return s
}

func (p *Pump) bolus(n int64) bool {
	ok := p.flow.bolus(n)
	if ok {
		p.note("a bolus of %s", units(n))
	} else {
		p.note("a bolus of %s: refused", units(n))
	}
	return ok
}

func (p *Pump) suspend(d time.Duration) {
	p.flow.suspend(d)
	if d == 0 {
		p.note("suspended until resumed")
	} else {
		p.note("suspended for %v", d)
	}
}

// Milliunits of what stands in a field of the dialects.
const (
	classicStep = 25 // 0.025 U
	patchStep   = 50 // 0.05 U
)

// PairingKey is what a Dose Classic and a Dose Patch give to an accessory when they pair: the CRC-32 (that of Ethernet)
// of the pump's number and the accessory's, four bytes each, the highest first.
func PairingKey(pump, accessory uint32) []byte {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, pump), accessory)
	return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))
}

// classic does what a frame of okapi-classic asks for. Nobody proves anything.
func (p *Pump) classic(m *dialect.Message) {
	p.flow.advance(p.cfg.Now())
	p.echo = []any{"serial", int64(p.own)}
	ok := true
	switch m.Opcode.Name {
	case "wake":
		p.cell.draw(wakeCost)
		p.count(&p.s.WakeUps, "wake-ups")
	case "bolus":
		ok = p.bolus(classicStep * int64(number(m, "amount")))
	case "cancel-bolus":
		p.cancel()
	case "temporary-basal":
		rate := classicStep * int64(number(m, "rate"))
		p.flow.set(rate, time.Duration(number(m, "duration"))*time.Minute)
		p.note("temporary basal %s/h", units(rate))
	case "delivery":
		if number(m, "state") == 1 {
			p.suspend(time.Duration(number(m, "duration")) * time.Minute)
		} else {
			p.flow.resume()
			p.note("resumed")
		}
	case "highest-bolus":
		p.s.HighestBol = classicStep * int64(number(m, "amount"))
		p.note("highest bolus %s", units(p.s.HighestBol))
	case "low-alarm":
		p.s.LowAlarm = number(m, "threshold")
		p.note("low alarm at %d mg/dL", p.s.LowAlarm)
	case "clock":
		p.s.Clock = uint32(number(m, "seconds"))
		p.note("clock set")
	case "glucose":
		if n := p.flow.sense(number(m, "glucose")); n > 0 {
			p.note("the loop gives %s", units(n))
		}
		return // a sensor wants no answer
	case "calibration":
		p.s.Glucose = number(m, "glucose")
		p.note("calibrated")
	case "pair":
		if !p.paired[m.Peer.Value] && len(p.paired) < maxAccessories {
			p.paired[m.Peer.Value] = true
			p.s.Accessories++
			p.note("an accessory is paired")
		}
		p.say("paired", "accessory", int64(m.Peer.Value), "key", PairingKey(uint32(p.own), uint32(m.Peer.Value)))
		return
	case "read-status":
		p.s.Told++
		p.say("status", "reservoir", int(p.s.Reservoir/100), "basal", int(p.s.Rate/classicStep), "glucose", p.s.Glucose)
		p.given(func(n int64) { p.say("bolus-given", "amount", int(n/classicStep)) })
		return
	case "read-history":
		p.s.Told++
		p.say("history", "page", number(m, "page"), "records", p.history())
		return
	default:
		ok = false
	}
	if ok {
		p.say("done")
	} else {
		p.say("refused")
	}
}

// given reports what was given of boluses and not reported yet, once none is under way.
func (p *Pump) given(say func(int64)) {
	if n := p.s.BolusGiven - p.reported; p.s.BolusLeft == 0 && n > 0 {
		p.reported += n
		say(n)
	}
}

// history is what a Dose Classic remembers: delivered, and of boluses ordered and
// given, in milliunits, eight bytes each, the highest first.
func (p *Pump) history() []byte {
	var b []byte
	for _, n := range []int64{p.s.Delivered, p.s.Ordered, p.s.BolusGiven} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// patch does what a frame of okapi-patch asks for. A handheld shows the token that it got
// when it was set up, which is the same in every frame.
func (p *Pump) patch(m *dialect.Message) {
	p.flow.advance(p.cfg.Now())
	token := make([]byte, 4)
	if p.handheld != 0 {
		token = PairingKey(uint32(p.own), p.handheld)
	}
	p.echo = []any{"pod", int64(p.own), "sequence", number(m, "sequence"), "token", token}
	const unpaired, other, bounds = 1, 2, 3
	if m.Opcode.Name == "set-up" {
		if who := uint32(m.Peer.Value); p.handheld == 0 && who != 0 {
			p.handheld = who
			p.s.Accessories = 1
			p.note("a handheld is set up")
		} else if p.handheld != who {
			p.say("refused", "reason", other)
			return
		}
		p.echo = append(p.echo, "token", PairingKey(uint32(p.own), p.handheld))
		p.say("version", "firmware", "2.8.1", "sequence-number", radio.PodSequence)
		return
	}
	if p.handheld == 0 || string(m.Bytes("token")) != string(token) {
		p.note("a token that is not the handheld's: refused")
		p.say("refused", "reason", unpaired)
		return
	}
	ok := true
	switch m.Opcode.Name {
	case "read-status":
		p.s.Told++
		running := 1
		switch {
		case p.s.Suspended || p.s.Deactivated:
			running = 0
		case p.s.BolusLeft > 0:
			running = 4
		case !p.flow.until.IsZero():
			running = 2
		}
		const most = 0x3fe
		p.say("status", "running", running, "not-delivered", min(int(p.s.BolusLeft/patchStep), most), "reservoir", min(int(p.s.Reservoir/patchStep), most), "minutes", 1190)
		return
	case "basal":
		p.s.Basal = patchStep * int64(number(m, "rate"))
		p.note("basal %s/h", units(p.s.Basal))
	case "temporary-basal":
		p.flow.set(p.s.Basal*int64(number(m, "percent"))/100, 30*time.Minute*time.Duration(number(m, "duration")))
		p.note("temporary basal %d %%", number(m, "percent"))
	case "bolus":
		ok = p.bolus(patchStep * int64(number(m, "amount")))
	case "cancel-bolus":
		p.cancel()
	case "suspend":
		p.suspend(30 * time.Minute * time.Duration(number(m, "duration")))
	case "deactivate":
		p.s.Deactivated = true
		p.note("deactivated for good")
	case "alerts":
		p.note("alerts set")
	default:
		ok = false
	}
	if ok {
		p.say("done")
	} else {
		p.say("refused", "reason", bounds)
	}
}

func (p *Pump) cancel() {
	p.note("bolus cancelled, %s not given", units(p.s.BolusLeft))
	p.s.BolusLeft = 0
}
