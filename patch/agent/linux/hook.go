// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
)

// busy is how a self-test that is under way ends the hook (EX_TEMPFAIL of sysexits.h).
const busy = 75

const (
	maxOutput = 16 << 10        // bytes of a hook
	lastWait  = 5 * time.Second // for what a hook left behind, after it
	maxReason = 160
)

// A hook is a program that does on the machine what an agent asks of a device. It is
// an agent.Device.
type hook struct {
	ctx     context.Context
	argv    []string
	timeout time.Duration
	say     func(format string, args ...any)

	restart error // of the last Restart
}

// An exitError is a hook that ended with another code than 0.
type exitError struct {
	verb   string
	code   int
	reason string // the first line of its standard error
}

func (e *exitError) Error() string {
	if e.reason == "" {
		return fmt.Sprintf("the hook ended %s with %d", e.verb, e.code)
	}
	return fmt.Sprintf("the hook ended %s with %d: %s", e.verb, e.code, e.reason)
}

// run calls the hook with a verb and its arguments, as words, and returns what it printed.
func (h *hook) run(words ...string) ([]byte, error) { return h.call(h.ctx, words...) }

func (h *hook) call(parent context.Context, words ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(parent, h.timeout)
	defer cancel()
	c := exec.CommandContext(ctx, h.argv[0], append(h.argv[1:len(h.argv):len(h.argv)], words...)...)
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &limited{&out, maxOutput}, &limited{&complaint, maxOutput}
	c.WaitDelay = lastWait
	group(c)
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case parent.Err() != nil:
		return nil, parent.Err()
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the hook did not end %s within %v", words[0], h.timeout)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		line, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return nil, &exitError{words[0], exit.ExitCode(), plain(line)}
	case err != nil:
		return nil, fmt.Errorf("the hook %s: %w", words[0], err)
	}
	return out.Bytes(), nil
}

// plain is text that a terminal and a Result bear.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for len(s) > maxReason {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "")
}

// errOutput ends a hook that prints more than anybody reads.
var errOutput = errors.New("it prints too much")

// limited takes the first bytes of what is written.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	if n < len(b) {
		return n, errOutput
	}
	return l.w.Write(b)
}

// A condition is what the hook prints of the device, as JSON. What it leaves out is not
// known.
type condition struct {
	Doing     patch.Activity `json:"doing"`
	Known     patch.Activity `json:"known"`
	Battery   int            `json:"battery"`
	Mains     bool           `json:"mains"`
	Longevity int            `json:"longevity"`
	Link      int            `json:"link"`
	Near      bool           `json:"near"`
	Settings  patch.Digest   `json:"settings"`
	Saved     patch.Digest   `json:"saved"`
}

func parseCondition(b []byte) (condition, error) {
	c := condition{Battery: -1, Longevity: -1, Link: -1}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return condition{}, fmt.Errorf("what the hook says of the device: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return condition{}, errors.New("what the hook says of the device: more than one value")
	}
	if c.Battery < -1 || c.Battery > 100 || c.Link < -1 || c.Link > 100 || c.Longevity < -1 {
		return condition{}, errors.New("what the hook says of the device: a number that is none of percent or days")
	}
	return c, nil
}

// State implements agent.Device. A hook that fails knows nothing, and nothing is
// installed.
func (h *hook) State(s *patch.State) {
	b, err := h.run("state")
	if err == nil {
		var c condition
		if c, err = parseCondition(b); err == nil {
			s.Doing, s.Known, s.Battery, s.Mains, s.Longevity = c.Doing, c.Known, c.Battery, c.Mains, c.Longevity
			s.Link, s.Near, s.Settings, s.Saved = c.Link, c.Near, c.Settings, c.Saved
		}
	}
	if err != nil {
		h.say("%v", err)
	}
}

// Save implements agent.Device.
func (h *hook) Save() (d patch.Digest, err error) {
	b, err := h.run("save")
	if err == nil {
		err = d.UnmarshalText(bytes.TrimSpace(b))
	}
	return d, err
}

// Quiesce implements agent.Device.
func (h *hook) Quiesce() error {
	_, err := h.run("quiesce")
	return err
}

// Release implements agent.Device. Therapy may begin again though the agent is being
// stopped.
func (h *hook) Release() {
	if _, err := h.call(context.WithoutCancel(h.ctx), "release"); err != nil {
		h.say("%v", err)
	}
}

// Watch implements agent.Device.
func (h *hook) Watch(d time.Duration) error {
	ctx := h.ctx
	if d == 0 { // nothing restarts the device later, though the agent is being stopped
		ctx = context.WithoutCancel(ctx)
	}
	_, err := h.call(ctx, "watch", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
	return err
}

// Restart implements agent.Device.
func (h *hook) Restart() { _, h.restart = h.run("restart") }

// SelfTest implements agent.Device.
func (h *hook) SelfTest() error {
	_, err := h.run("selftest")
	var exit *exitError
	if errors.As(err, &exit) && exit.code == busy {
		return agent.ErrBusy
	}
	return err
}

// Resumed implements agent.Device.
func (h *hook) Resumed() bool {
	_, err := h.run("resumed")
	return err == nil
}
