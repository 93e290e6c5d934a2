// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// clinic is the authority of programmers: who may command which implant.
func (d *demo) clinic(ctx context.Context) error {
	in := func(name string) string { return d.path("guard/" + name) }
	verbs := [][]string{}
	for _, key := range []string{"studio", "medic", "dr3", "dr5"} {
		verbs = append(verbs, []string{"link", "keygen", "--out", in(key + ".key")})
	}
	enrol := func(args ...string) {
		verbs = append(verbs, append([]string{"link", "enrol", "--authority", in("clinic")}, args...))
	}
	issue := func(args ...string) {
		verbs = append(verbs, append([]string{"link", "issue", "--authority", in("clinic")}, args...))
	}
	enrol("--subject", "prog-1", "--role", "clinician", in("studio.key.pub"))
	enrol("--subject", "dr-3", "--approver", in("dr3.key.pub"))
	enrol("--subject", "dr-5", "--approver", in("dr5.key.pub"))
	enrol("--subject", "ambulance-2", "--role", "emergency", in("medic.key.pub"))
	for device, allowed := range map[string][]string{
		"ipump-1": {"deliver-bolus", "suspend", "resume"}, "icd-1": {"set-therapies", "set-pacing-rate"}, "stim-1": {"set-amplitude", "stimulation-off", "resume"},
	} {
		args := []string{"--subject", "prog-1", "--device", device, "--hours", "24", "--out", in(device + ".cwt")}
		for _, verb := range allowed {
			args = append(args, "--allow", verb)
		}
		issue(args...)
	}
	issue("--subject", "ambulance-2", "--role", "emergency", "--class", "pacemaker", "--break-glass", "--allow", "emergency-preset", "--request", in("er.request"))
	for _, dr := range []string{"dr3", "dr5"} {
		verbs = append(verbs, []string{"link", "approve", "--key", in(dr + ".key"), "--out", in(dr + ".approval"), in("er.request")})
	}
	issue("--break-glass", "--request", in("er.request"), "--approve", in("dr3.approval"), "--approve", in("dr5.approval"), "--out", in("er.cwt"))
	for _, v := range verbs {
		if err := d.quietly(ctx, v...); err != nil {
			return fmt.Errorf("%q: %w", v, err)
		}
	}
	return nil
}

// Where the guard stands before each implant, and by which key it is known.
var fronts = map[string]struct{ port, key string }{"icd-1": {"5684", "icd-front"}, "ipump-1": {"5685", "pump-front"}, "stim-1": {"5688", "stim-front"}}

// An act is something that somebody does to a device. That it is refused is no error.
type act func(ctx context.Context, d *demo)

// order is an order for the pump at bed 3, by who has a certificate.
func order(as, rate string) act {
	return func(ctx context.Context, d *demo) {
		if as == "ehr" && d.still.Load() {
			return
		}
		tls := func(name string) string { return d.path("guard/tls/" + name) }
		_ = d.quietly(ctx, "sim", "legacy", "--order", rate+" ug/kg/min", "--listen", d.guard.at("24001"),
			"--cert", tls(as+".pem"), "--cert-key", tls(as+".key"), "--ca", tls("ca.pem"))
	}
}

// attack is an attack of sim/legacy, at a front's outside.
func attack(name, port, network string) act {
	return func(ctx context.Context, d *demo) {
		ctx, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		_ = d.quietly(ctx, "sim", "legacy", "--attack", name, "--network", network, "--listen", d.guard.at(port))
	}
}

// command is a programmer's, in the clinic.
func command(device string, what ...string) act { return as("studio", device+".cwt", device, what...) }

func as(who, token, device string, what ...string) act {
	return func(ctx context.Context, d *demo) {
		in := func(name string) string { return d.path("guard/" + name) }
		f := fronts[device]
		args := append([]string{"link", "command", "coap://" + d.guard.at(f.port) + "/therapy"}, what...)
		_ = d.quietly(ctx, append(args, "--key", in(who+".key"), "--token", in(token), "--device", in(f.key+".key.pub"))...)
	}
}

// knock is somebody who talks to the archive in clear: an association that C-MOVE would follow.
func knock(ctx context.Context, d *demo) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.guard.at("11113"))
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write(append([]byte{1, 0, 0, 0, 0, 68, 0, 1, 0, 0}, fmt.Sprintf("%-16s%-16s%32s", "ADAPACS", "XFER1", "")...)) // A-ASSOCIATE-RQ, PS3.8 section 9.3.2
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<10))
}

// report is the gateway that tells what its pumps give, as it does each minute.
func report(ctx context.Context, d *demo) { d.devices.pumps.Report(ctx) }

// hold sees to it that an order waits for somebody to confirm it.
func hold(ctx context.Context, d *demo) {
	var page struct{ Held []struct{ Device string } }
	err := d.te.get(ctx, "/guard", &page)
	if err == nil && len(page.Held) == 0 {
		order("ehr", "0.6")(ctx, d)
	}
	if err != nil && ctx.Err() == nil { // nobody is signed in for more than a shift
		if again, err := d.signIn(ctx, "te"); err == nil {
			d.te.close()
			d.te = again
		}
	}
}

// doubt is a bolus of which nobody hears whether it was given.
func doubt(ctx context.Context, d *demo) {
	d.devices.deaf.Store(true)
	command("ipump-1", "deliver-bolus", "0.5U")(ctx, d)
	d.devices.deaf.Store(false)
}

// The morning at the guard, by when it happened.
var story = []struct {
	after time.Duration // of 07:00
	act
}{
	{0, report},
	{1 * time.Minute, order("ehr", "0.25")},
	{2 * time.Minute, command("ipump-1", "deliver-bolus", "1U")},
	{3 * time.Minute, command("stim-1", "set-amplitude", "2.50 V")},
	{4 * time.Minute, hold},
	{5 * time.Minute, doubt},
	{9 * time.Minute, attack("step 3/forged-order", "24001", "tcp")},
	{10 * time.Minute, order("ct-1", "4")},
	{11 * time.Minute, order("ehr", "4")},
	{12 * time.Minute, knock},
	{13 * time.Minute, as("medic", "er.cwt", "icd-1", "emergency-preset")},
	{15 * time.Minute, command("ipump-1", "deliver-bolus", "25U")},
	{16 * time.Minute, attack("A09/inject", "5685", "udp")},
	{17 * time.Minute, attack("A04/replay", "5684", "udp")},
	{18 * time.Minute, command("stim-1", "set-amplitude", "9.50 V")},
	{19 * time.Minute, attack("A05/spoof", "5688", "udp")},
}

// tell lives through the morning.
func (d *demo) tell(ctx context.Context, heard chan error) error {
	files := map[string][]byte{"ada-2026-02.csaf.json": advisory}
	for _, name := range papers[1:] {
		b, err := sample(name)
		if err != nil {
			return err
		}
		files[name] = b
	}
	if err := d.te.upload(ctx, "/documents", files); err != nil {
		return err
	}
	began := time.Now()
	for i := range story {
		if left := story[i].after/fast - time.Since(began); left > 0 {
			if err := awhile(ctx, left); err != nil {
				return err
			}
		}
		story[i].act(ctx, d)
	}
	for range sensors {
		select {
		case err := <-heard:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return d.work(ctx)
}

// The day after the morning, by turns: most of it is work, and each so often something
// is refused.
var (
	routine = []act{
		report, order("ehr", "0.25"), hold, command("stim-1", "set-amplitude", "2.40 V"), order("ehr", "0.3"), command("stim-1", "set-amplitude", "2.50 V"),
	}
	trouble = []act{
		order("ct-1", "4"), attack("step 3/forged-order", "24001", "tcp"), knock, command("ipump-1", "deliver-bolus", "25U"), order("ehr", "4"),
		attack("A05/spoof", "5688", "udp"), attack("A09/inject", "5685", "udp"),
	}
)

// seldomWrong is how many acts come to one that is refused.
const seldomWrong = 8

// At first something happens every few seconds; who still has it open after a while looks
// less often, and the ledger does not grow without end.
const (
	often, seldom = 4 * time.Second, time.Minute
	busy          = time.Hour
)

// day goes on until ctx ends.
func (d *demo) day(ctx context.Context) error {
	began := time.Now()
	for i := 0; ; i++ {
		every := often
		if time.Since(began) > busy {
			every = seldom
		}
		if err := awhile(ctx, every); err != nil {
			return err
		}
		if n := i / seldomWrong; i%seldomWrong == seldomWrong-1 {
			trouble[n%len(trouble)](ctx, d)
		} else {
			routine[(i-n)%len(routine)](ctx, d)
		}
	}
}
