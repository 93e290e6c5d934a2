// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/sim/legacy"
)

// readAttack reads an attack: the name of one of sim/legacy, or a script of frames.
func readAttack(r *strictyaml.Reader, n ast.Node, row string, i int) *legacy.Attack {
	if name, ok := strictyaml.Scalar(n); ok {
		a, known := legacy.Find(name)
		if !known {
			r.Fail(n, "there is no attack %s; 'myelin drill --list' names them, or write a script", strictyaml.Quoted(name))
		}
		return a
	}
	s := r.Section(n, "an attack", "device", "say", "changes")
	var script legacy.Script
	script.Device = r.Text(s.Need("device", "a model of sim/legacy that has a radio, such as calm"), "device")
	for _, l := range r.List(s.Need("say", "the frames: an opcode of its dialect, and field=value"), "say", legacy.MaxScript) {
		script.Say = append(script.Say, r.Text(l, "say"))
	}
	for _, f := range r.List(s.Need("changes", "what of the device's state is different when it succeeded"), "changes", 16) {
		script.Changes = append(script.Changes, r.Text(f, "changes"))
	}
	if r.Err() != nil {
		return nil
	}
	a, err := script.Attack(row, "script-"+strconv.Itoa(i+1))
	if err != nil {
		r.Fail(n, "%v", err)
	}
	return a
}

// A bareResult is what the attacks of a row did to the unprotected device.
type bareResult struct {
	realism   string
	succeeded bool
	how       string
}

func (b *bareResult) word() string {
	if b.succeeded {
		return "succeeded"
	}
	return "failed"
}

// story is when the drill happens: the ward's morning.
var story = time.Date(2026, 3, 3, 6, 17, 0, 0, time.UTC)

// bare runs the attacks against the unprotected device. All have to succeed, by what the
// device's own state says.
func (w *world) bare(ctx context.Context, row *Row) (*bareResult, error) {
	b := &bareResult{realism: string(legacy.Wire), succeeded: len(row.Attack) > 0}
	var how []string
	for _, a := range row.Attack {
		o, err := a.Try(ctx, legacy.Config{}, &legacy.Env{Clock: legacy.NewClock(story)})
		if err != nil {
			return nil, err
		}
		if a.Realism == legacy.Modelled {
			b.realism = string(legacy.Modelled)
		}
		if b.succeeded = b.succeeded && o.Hurt; !o.Hurt {
			how = append(how, a.Name+" did nothing to the device")
			continue
		}
		how = append(how, o.How)
	}
	b.how = strings.Join(how, "; ")
	return b, nil
}

// patience is how long an attack on something that defends itself waits for an answer.
const patience = 150 * time.Millisecond

// attackAt runs an attack, with what was overheard of an unprotected device, against what listens at an
// address. It is not run where it cannot even reach that: lines do not go over a radio.
func attackAt(ctx context.Context, a *legacy.Attack, network, addr string) (r legacy.Result, run bool, err error) {
	if legacy.NetworkOf(a.Device) != network {
		return r, false, nil
	}
	env := &legacy.Env{Clock: legacy.NewClock(story), Patience: patience}
	if _, err := a.Try(ctx, legacy.Config{}, env); err != nil { // what is overheard there stays in env
		return r, false, err
	}
	if env.Target, err = legacy.At(network, addr); err != nil {
		return r, false, err
	}
	r, err = a.Run(ctx, env)
	return r, true, err
}
