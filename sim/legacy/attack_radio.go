// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/myelin-health/myelin/capture"
	dialect "github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/sim/radio"
)

// A transmitter is somebody with a radio that speaks a dialect.
type transmitter struct {
	*channel
	d      *dialect.Dialect
	always []any
	m      dialect.Message
}

func (e *Env) tune(ctx context.Context, name string, always ...any) (*transmitter, error) {
	c, err := e.dial(ctx, counted)
	if err != nil {
		return nil, err
	}
	return &transmitter{channel: c, d: radio.Sample(name), always: always}, nil
}

// How strong a receiver near by hears the device and those who talk to it.
const (
	channelHeard = 1
	rssiHeard    = -52
)

// log writes down a frame as a receiver near by would.
func (t *transmitter) log(frame []byte) error {
	if t.env.Log == nil {
		return nil
	}
	_, err := t.env.Log.Write(capture.AppendLogLine(nil, &capture.Frame{
		Time: t.env.now().UnixNano(), Data: frame, Link: capture.LinkFrameLog, Flags: capture.RadioFlags(channelHeard, rssiHeard),
	}, t.d.Name))
	return err
}

// again sends a frame as it is.
func (t *transmitter) again(frame []byte) error {
	if err := t.log(frame); err != nil {
		return err
	}
	t.env.pause(40 * time.Millisecond)
	return t.send(frame)
}

// say sends a frame.
func (t *transmitter) say(opcode string, fields ...any) error {
	b, err := radio.Compose(t.d, opcode, append(append([]any{}, t.always...), fields...)...)
	if err != nil {
		return err
	}
	return t.again(b)
}

// hear waits for a frame. One that refuses is errRefused; one that is of no dialect is
// whatever answers instead of the device, and means nothing.
func (t *transmitter) hear() (*dialect.Message, error) {
	b, err := t.receive()
	if err != nil {
		return nil, err
	}
	if err := t.log(b); err != nil {
		return nil, err
	}
	t.env.pause(40 * time.Millisecond)
	switch {
	case t.d.Parse(b, &t.m) != nil:
		return nil, errSilent
	case t.m.Outcome == dialect.Failed:
		return nil, errRefused
	}
	return &t.m, nil
}

// ask sends a frame and waits for the answer.
func (t *transmitter) ask(opcode string, fields ...any) (*dialect.Message, error) {
	if err := t.say(opcode, fields...); err != nil {
		return nil, err
	}
	return t.hear()
}

// A step is a frame to send: an opcode, and fields.
type step []any

// asks sends frames, each when the one before was answered.
func (t *transmitter) asks(steps ...step) error {
	for _, s := range steps {
		opcode, _ := s[0].(string)
		if _, err := t.ask(opcode, s[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// by is the run of an attack by radio.
func by(name string, always []any, do func(*transmitter) (how string, loot []byte, err error)) func(context.Context, *Env) (Result, error) {
	return func(ctx context.Context, env *Env) (Result, error) {
		t, err := env.tune(ctx, name, always...)
		if err != nil {
			return Result{}, err
		}
		defer t.Close()
		return result(do(t))
	}
}

// used is what those do who may.
func used(name string, always []any, steps ...step) func(context.Context, *Env) error {
	return func(ctx context.Context, env *Env) error {
		t, err := env.tune(ctx, name, always...)
		if err != nil {
			return err
		}
		defer t.Close()
		return t.asks(steps...)
	}
}

// sends is the run of an attack that sends some frames.
func sends(name string, always []any, how string, steps ...step) func(context.Context, *Env) (Result, error) {
	return by(name, always, func(t *transmitter) (string, []byte, error) { return how, nil, t.asks(steps...) })
}

// replays is the run of an attack that sends again, some times, each an hour later, the first n
// messages that were heard on their way to the device, whatever they are.
func replays(name, how string, n, times int) func(context.Context, *Env) (Result, error) {
	return by(name, nil, func(t *transmitter) (string, []byte, error) {
		for range times {
			t.env.pause(time.Hour)
			if err := t.replay(n, 1); err != nil {
				return "", nil, err
			}
		}
		return how, nil, nil
	})
}

// replay sends the first n messages that were heard, each some times.
func (t *transmitter) replay(n, times int) error {
	heard := t.env.Overheard
	if len(heard) == 0 {
		return errSilent
	}
	for _, frame := range heard[:min(n, len(heard))] {
		for range times {
			if err := t.again(frame); err != nil {
				return err
			}
			if _, err := t.hear(); err != nil {
				return err
			}
		}
	}
	return nil
}

// wakes is the run of an attack that wakes a device 1,000 times in a minute.
func wakes(name string, always []any) func(context.Context, *Env) (Result, error) {
	return by(name, always, func(t *transmitter) (string, []byte, error) {
		for range 1000 {
			if _, err := t.ask("wake"); err != nil {
				return "", nil, err
			}
		}
		return "woken 1,000 times in a minute or so", nil, nil
	})
}

// reads is the run of an attack that asks for what it may not have. What is taken is
// the text of the fields.
func reads(name string, always []any, how string, fields []string, steps ...step) func(context.Context, *Env) (Result, error) {
	return by(name, always, func(t *transmitter) (string, []byte, error) {
		var loot []byte
		for _, s := range steps {
			opcode, _ := s[0].(string)
			m, err := t.ask(opcode, s[1:]...)
			if err != nil {
				return "", loot, err
			}
			for _, f := range fields {
				loot = append(append(loot, m.Bytes(f)...), '\n')
				if n, ok := m.Int(f); ok {
					loot = fmt.Appendln(loot, n)
				}
			}
			if m.Device.Present {
				loot = fmt.Appendln(loot, m.Device.Value)
			}
		}
		return how, loot, nil
	})
}

// has reports whether all of it was taken.
func has(loot []byte, truth ...any) bool {
	for _, t := range truth {
		if !bytes.Contains(loot, fmt.Append(nil, t)) {
			return false
		}
	}
	return true
}

// took says what was taken, if it is all there, whatever the state of the device says.
func took(what string, truth ...any) func(before, after any, loot []byte) string {
	return func(_, _ any, loot []byte) string {
		if !has(loot, truth...) {
			return ""
		}
		return what + " read in clear"
	}
}

// hurt makes the judge of a kind of device, by its state before and after and by what was taken.
func hurt[S any](f func(before, after S, loot []byte) (bool, string)) func(before, after any, loot []byte) string {
	return func(before, after any, loot []byte) string {
		b, ok1 := before.(S)
		a, ok2 := after.(S)
		if !ok1 || !ok2 {
			return ""
		}
		if yes, how := f(b, a, loot); yes {
			return how
		}
		return ""
	}
}

// Who sends what to whom.
var (
	toICD     = []any{"device", uint32(radio.ICDAddress), "programmer", 0x0b0b, "session", []byte{0x5a, 0xa5}}
	byStudio  = []any{"device", uint32(radio.ICDAddress), "programmer", 0x91a2, "session", []byte{0x5a, 0xa5}}
	toWand    = []any{"serial", uint32(radio.WandSerial)}
	toCalm    = []any{"serial", uint32(radio.StimulatorSerial)}
	toClassic = []any{"serial", uint32(radio.ClassicSerial)}
	toPod     = []any{"pod", uint32(radio.PodSerial)}
)

const (
	handheld  = 0x2b0071c4 // of the patch's wearer
	accessory = 0x0ff1ce   // of somebody else
)

func drained(wakeUps int, used int64) (bool, string) {
	return wakeUps >= 1000 && used >= 1000*wakeCost, fmt.Sprintf("%d wake-ups, %d uAh of the battery used", wakeUps, used)
}

func ordered(b, a PumpState, _ []byte) (bool, string) {
	return a.Ordered > b.Ordered, fmt.Sprintf("%s of insulin that nobody wanted in %d boluses", units(a.Ordered-b.Ordered), a.Boluses-b.Boluses)
}

// token is what stands as a tag in a frame of okapi-patch that was heard.
func token(frames [][]byte) []byte {
	d := radio.Sample("okapi-patch")
	for _, f := range frames {
		var m dialect.Message
		if d.Parse(f, &m) == nil && m.Tag != nil {
			return m.Tag
		}
	}
	return nil
}

var patchUse = used("okapi-patch", toPod,
	step{"set-up", "pod-lot", 4417, "handheld", uint32(handheld)},
	step{"bolus", "sequence", 1, "amount", 40, "token", PairingKey(radio.PodSerial, handheld)})

// radioAttacks are those on devices with a radio of their own.
var radioAttacks = []Attack{
	{
		Row: "A01", Name: "telemetry", Device: "rhythm-a", Realism: Wire, About: "a stranger's wand reads name, diagnosis and electrogram",
		Run:  reads("halden-wand", toWand, "name, diagnosis and electrogram in clear", []string{"patient-name", "record", "diagnosis", "samples"}, step{"wake"}, step{"read-patient"}, step{"read-electrogram", "seconds", 2}),
		hurt: took("name, record number and diagnosis", radio.AnnaName, radio.AnnaRecord, "long QT"),
	},
	{
		Row: "A02", Name: "replay", Device: "rhythm-a", Realism: Wire, About: "recorded commands of a programmer again: therapies off, a test shock",
		use: used("halden-wand", toWand, step{"wake"}, step{"therapies", "state", 0x5a}, step{"shock", "energy", 50}, step{"therapies", "state", 0xa5}),
		Run: replays("halden-wand", "therapies off and a shock, by frames that were recorded", 3, 1),
		hurt: hurt(func(b, a DefibrillatorState, _ []byte) (bool, string) {
			return b.Therapies && !a.Therapies && a.Shocks > b.Shocks, "therapies off, and a shock delivered"
		}),
	},
	{
		Row: "A03", Name: "wake-flood", Device: "rhythm-a", Realism: Wire, About: "wake-ups, 1,000 a minute",
		Run: wakes("halden-wand", toWand),
		hurt: hurt(func(b, a DefibrillatorState, _ []byte) (bool, string) {
			return drained(a.WakeUps-b.WakeUps, a.Used-b.Used)
		}),
	},
	{
		Row: "A04", Name: "replay", Device: "rhythm-s", Realism: Wire, About: "yesterday's 'therapies off' again, and no rest in standby",
		use: used("halden-mics", byStudio, step{"wake"}, step{"therapies", "state", 0, "sequence", 1}, step{"therapies", "state", 1, "sequence", 2}),
		Run: by("halden-mics", nil, func(t *transmitter) (string, []byte, error) {
			t.env.pause(15 * time.Hour)
			err := t.replay(2, 1)
			if err == nil {
				err = t.replay(1, 1000)
			}
			return "therapies off by a recorded frame; then woken 1,000 times", nil, err
		}),
		hurt: hurt(func(b, a DefibrillatorState, _ []byte) (bool, string) {
			tired, how := drained(a.WakeUps-b.WakeUps, a.Used-b.Used)
			return b.Therapies && !a.Therapies && tired, "therapies off; " + how
		}),
	},
	{
		Row: "A05", Name: "spoof", Device: "calm", Realism: Wire, About: "made-up commands: the limit raised, the voltage, off",
		Run: sends("tessel-calm", toCalm, "limit and voltage raised, stimulation off", step{"wake"},
			step{"highest-amplitude", "message", 1, "amplitude", 1000, "amplitude-now", 400}, step{"amplitude", "message", 2, "amplitude", 950, "amplitude-now", 230}, step{"stimulation", "message", 3, "state", 0}),
		hurt: hurt(func(b, a StimulatorState, _ []byte) (bool, string) {
			return a.Amplitude > b.Highest && !a.On, fmt.Sprintf("amplitude %d.%02d V, then off", a.Amplitude/100, a.Amplitude%100)
		}),
	},
	{
		Row: "A05", Name: "replay", Device: "calm", Realism: Wire, About: "a recorded command again",
		use: used("tessel-calm", toCalm, step{"amplitude", "message", 1, "amplitude", 390, "amplitude-now", 230}, step{"amplitude", "message", 2, "amplitude", 230, "amplitude-now", 390}),
		Run: replays("tessel-calm", "a recorded amplitude again", 1, 1),
		hurt: hurt(func(b, a StimulatorState, _ []byte) (bool, string) {
			return a.Amplitude != b.Amplitude, "an amplitude of before"
		}),
	},
	{
		Row: "A06", Name: "sensor", Device: "dose-classic", Realism: Wire, About: "false glucose readings, on which the loop gives insulin",
		Run: by("okapi-classic", toClassic, func(t *transmitter) (string, []byte, error) {
			for i := range 4 {
				if err := t.say("glucose", "sensor", uint32(radio.SensorSerial), "count", 40+i, "glucose", 300+9*i); err != nil {
					return "", nil, err
				}
				t.env.pause(5 * time.Minute)
			}
			_, err := t.ask("calibration", "glucose", 320)
			return "the loop gave insulin on readings that were made up", nil, err
		}),
		hurt: hurt(func(b, a PumpState, _ []byte) (bool, string) {
			return a.Loop > b.Loop, units(a.Loop-b.Loop) + " of insulin by the loop, for a glucose that nobody had"
		}),
	},
	{
		Row: "A06", Name: "command", Device: "dose-classic", Realism: Wire, About: "a bolus by whoever knows the serial number",
		Run:  sends("okapi-classic", toClassic, "a bolus of 8 U", step{"wake"}, step{"bolus", "amount", 320}),
		hurt: hurt(ordered),
	},
	{
		Row: "A07", Name: "replay", Device: "dose-classic", Realism: Wire, About: "a remote control's bolus again",
		use:  used("okapi-classic", toClassic, step{"wake"}, step{"bolus", "amount", 160}),
		Run:  replays("okapi-classic", "the breakfast bolus again", 2, 1),
		hurt: hurt(ordered),
	},
	{
		Row: "A08", Name: "serial", Device: "dose-classic", Realism: Wire, About: "the serial number in clear, in every frame",
		use: used("okapi-classic", toClassic, step{"wake"}),
		Run: by("okapi-classic", nil, func(t *transmitter) (string, []byte, error) {
			for _, f := range t.env.Overheard {
				if t.d.Parse(f, &t.m) == nil && t.m.Device.Present {
					return "a serial number in a frame that was heard", fmt.Append(nil, t.m.Device.Value), nil
				}
			}
			return "", nil, errSilent
		}),
		hurt: took("serial number", radio.ClassicSerial),
	},
	{
		Row: "A09", Name: "inject", Device: "dose-classic", Realism: Wire, About: "an accessory that nobody knows: the limit raised, a bolus, an alarm widened, delivery stopped",
		Run: sends("okapi-classic", toClassic, "limit raised, 25 U, alarm widened, delivery stopped", step{"wake"},
			step{"highest-bolus", "amount", 3000, "amount-now", 400}, step{"bolus", "amount", 1000}, step{"low-alarm", "threshold", 40}, step{"delivery", "state", 1, "duration", 0}),
		hurt: hurt(func(b, a PumpState, _ []byte) (bool, string) {
			return a.HighestBol > b.HighestBol && a.Ordered > b.HighestBol && a.LowAlarm < b.LowAlarm && a.Suspended, "limit raised, " + units(a.Ordered) + " ordered, alarm widened, delivery stopped"
		}),
	},
	{
		Row: "A10", Name: "management", Device: "dose-classic", Realism: Wire, About: "status and history in clear",
		Run: reads("okapi-classic", toClassic, "glucose and history in clear", []string{"glucose", "records"}, step{"wake"}, step{"read-status"}, step{"read-history", "page", 1}),
		hurt: hurt(func(b, a PumpState, loot []byte) (bool, string) {
			return a.Told >= b.Told+2 && has(loot, radio.ClassicSerial, 109), "serial number, glucose and history read in clear"
		}),
	},
	{
		Row: "A11", Name: "crc-key", Device: "dose-patch", Realism: Wire, About: "the pairing's key is a CRC of two numbers, and never changes",
		use: patchUse,
		Run: by("okapi-patch", toPod, func(t *transmitter) (string, []byte, error) {
			for _, f := range t.env.Overheard {
				if t.d.Parse(f, &t.m) != nil || !t.m.Peer.Present {
					continue
				}
				t.env.pause(24 * time.Hour)
				return "a bolus with a key that was computed from two numbers", nil, t.asks(step{"bolus", "sequence", 9, "amount", 160, "token", PairingKey(uint32(t.m.Device.Value), uint32(t.m.Peer.Value))})
			}
			return "", nil, errSilent
		}),
		hurt: hurt(ordered),
	},
	{
		Row: "A11", Name: "same-key", Device: "dose-classic", Realism: Wire, About: "an accessory that pairs gets the same key each time, and knew it before",
		Run: by("okapi-classic", toClassic, func(t *transmitter) (string, []byte, error) {
			known := PairingKey(radio.ClassicSerial, accessory)
			for range 2 {
				m, err := t.ask("pair", "accessory", uint32(accessory))
				if err == nil && !bytes.Equal(m.Tag, known) {
					err = errRefused
				}
				if err == nil {
					_, err = t.ask("bolus", "amount", 400)
				}
				if err != nil {
					return "", nil, err
				}
				t.env.pause(24 * time.Hour)
			}
			return "paired twice under a key that was computed before, with a bolus each time", known, nil
		}),
		hurt: hurt(func(b, a PumpState, _ []byte) (bool, string) {
			_, how := ordered(b, a, nil)
			return a.Accessories > b.Accessories && a.Boluses >= b.Boluses+2, "an accessory paired; " + how
		}),
	},
	{
		Row: "A12", Name: "replay", Device: "dose-classic", Realism: Wire, About: "a remote control's bolus again, three times",
		use: used("okapi-classic", toClassic, step{"bolus", "amount", 160}),
		Run: replays("okapi-classic", "a recorded bolus three times", 1, 3),
		hurt: hurt(func(b, a PumpState, _ []byte) (bool, string) {
			_, how := ordered(b, a, nil)
			return a.Boluses >= b.Boluses+3, how
		}),
	},
	{
		Row: "A13", Name: "pair", Device: "dose-classic", Realism: Wire, About: "an accessory pairs without anybody at the pump, and gives a bolus",
		Run: sends("okapi-classic", toClassic, "paired, and a bolus of 10 U", step{"pair", "accessory", uint32(accessory)}, step{"bolus", "amount", 400}),
		hurt: hurt(func(b, a PumpState, _ []byte) (bool, string) {
			_, how := ordered(b, a, nil)
			return a.Accessories > b.Accessories && a.Ordered > b.Ordered, "an accessory paired; " + how
		}),
	},
	{
		Row: "A14", Name: "inject", Device: "dose-patch", Realism: Wire, About: "another handheld with the token that every frame shows",
		use: patchUse,
		Run: by("okapi-patch", toPod, func(t *transmitter) (string, []byte, error) {
			tag := token(t.env.Overheard)
			if tag == nil {
				return "", nil, errSilent
			}
			with := func(s step) step { return append(s, "token", tag) }
			t.env.pause(2 * time.Hour)
			return "basal, a bolus and the end of the pod by a token that was heard", nil, t.asks(
				with(step{"basal", "sequence", 4, "rate", 200}), with(step{"bolus", "sequence", 5, "amount", 180}), with(step{"deactivate", "sequence", 6}))
		}),
		hurt: hurt(func(b, a PumpState, _ []byte) (bool, string) {
			return a.Basal > b.Basal && a.Ordered > b.Ordered && a.Deactivated, "basal raised, " + units(a.Ordered-b.Ordered) + " ordered, pod ended"
		}),
	},
	{
		Row: "A20", Name: "memory", Device: "rhythm-s", Realism: Wire, About: "memory read and written by anybody",
		Run: by("halden-mics", toICD, func(t *transmitter) (string, []byte, error) {
			m, err := t.ask("read-memory", "sequence", 1, "start", MemoryPatient, "size", 32)
			if err != nil {
				return "", nil, err
			}
			loot := bytes.Clone(m.Bytes("contents"))
			// Mode off, 0 a minute, 0 V, no therapies, no detection; and the program.
			return "memory read; settings and program overwritten", loot, t.asks(
				step{"write-memory", "sequence", 2, "start", MemorySettings, "contents", []byte{0, 0, 0, 0, 0}},
				step{"write-memory", "sequence", 3, "start", MemoryProgram, "contents", bytes.Repeat([]byte{0xff}, 24)})
		}),
		hurt: hurt(func(b, a DefibrillatorState, loot []byte) (bool, string) {
			return a.Written >= b.Written+29 && a.Mode == "off" && !a.Therapies && has(loot, radio.AnnaName), "memory read and overwritten: pacing and therapies off"
		}),
	},
	{
		Row: "A21", Name: "read-out", Device: "rhythm-s", Realism: Wire, About: "settings and identity in clear",
		Run:  reads("halden-mics", toICD, "patient, settings and serial number in clear", []string{"patient-name", "serial"}, step{"wake"}, step{"interrogate", "sequence", 1}, step{"identify", "sequence", 2}),
		hurt: took("name and serial number", radio.AnnaName, radio.ICDSerial),
	},
	{
		Row: "A22", Name: "forged-session", Device: "rhythm-s", Realism: Wire, About: "a session opened by a number that all programmers compute from one key",
		Run: by("halden-mics", toICD, func(t *transmitter) (string, []byte, error) {
			// Without a session the device does not let it; that one opens is the point.
			if _, err := t.ask("pacing-rate", "sequence", 1, "rate", 180, "rate-now", 60); err == nil {
				return "pacing changed even without a session", nil, nil
			}
			clock := uint32(t.env.now().Unix())
			return "a session opened, and pacing changed in it", nil, t.asks(
				step{"wake"}, step{"open-session", "sequence", 2, "clock", clock, "proof", proofOf(clock)},
				step{"pacing-rate", "sequence", 3, "rate", 180, "rate-now", 60}, step{"output", "sequence", 4, "output", 0, "output-now", 50})
		}),
		hurt: hurt(func(b, a DefibrillatorState, _ []byte) (bool, string) {
			return a.Session && a.Rate == 180 && a.OutputMV == 0, "pacing at 180 a minute and 0 V"
		}),
	},
	{
		Row: "A23", Name: "wake-flood", Device: "rhythm-s", Realism: Wire, About: "wake-ups without a limit",
		Run: wakes("halden-mics", toICD),
		hurt: hurt(func(b, a DefibrillatorState, _ []byte) (bool, string) {
			return drained(a.WakeUps-b.WakeUps, a.Used-b.Used)
		}),
	},
	{
		Row: "A24", Name: "patient", Device: "rhythm-s", Realism: Wire, About: "name and record number in clear, over the radio and in the memory",
		Run: reads("halden-mics", toICD, "name and record number in clear, on the radio and at rest", []string{"patient-name", "record", "contents"},
			step{"interrogate", "sequence", 1}, step{"read-memory", "sequence", 2, "start", MemoryPatient, "size", 28}),
		hurt: hurt(func(b, a DefibrillatorState, loot []byte) (bool, string) {
			twice := strings.Count(string(loot), radio.AnnaName) >= 2
			return twice && a.Told > b.Told && has(loot, radio.AnnaRecord[3:]), "name and record number read in clear, from the radio and the memory"
		}),
	},
}
