// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"fmt"
	"strings"

	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/proto/coap"
)

// A DoseAppState is what a phone's app for a Dose One is and did.
type DoseAppState struct {
	Synced  int
	Shown   string // glucose on its screen
	GaveKey int    // how often it sent its key, in clear
}

// A DoseApp is the app on Ben's phone.
type DoseApp struct {
	box
	s    DoseAppState
	pump string
}

// NewDoseApp returns a DoseApp. Upstream of cfg is its pump.
func NewDoseApp(cfg Config) (*DoseApp, error) {
	if cfg.Upstream != "" {
		if err := hereText(cfg.Upstream); err != nil {
			return nil, err
		}
	}
	a := &DoseApp{pump: cfg.Upstream}
	return a, a.serve(cfg, map[string]func(context.Context, []string) string{"heard": a.heard, "sync": a.sync})
}

// State returns a [DoseAppState].
func (a *DoseApp) State() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.s
}

// heard is an advertisement that says it is the pump's.
func (a *DoseApp) heard(_ context.Context, args []string) string {
	if hereText(given(args, 0)) != nil {
		return "no address"
	}
	a.pump = given(args, 0)
	return "ok"
}

// sync pairs with what it takes for its pump, and shows what that says.
func (a *DoseApp) sync(ctx context.Context, _ []string) string {
	if a.cfg.Mended {
		a.note("a pump that does not prove who it is")
		return "no pump that proves who it is"
	}
	p, err := (&Env{Target: address{"udp", a.pump, a.cfg.Tap, Itself}, Patience: cloudPatience, Rand: a.cfg.Rand}).phone(ctx)
	if err != nil {
		return "no pump"
	}
	defer p.Close()
	a.s.GaveKey++
	if _, err := p.do(coap.POST, "/pair", formatBytes, AppKey(seedOfBen)); err != nil {
		return "no pump"
	}
	b, err := p.do(coap.GET, "/telemetry", 0, nil)
	if err != nil {
		return "no pump"
	}
	text, err := therapy.Text(b)
	if err != nil {
		return "no pump"
	}
	for line := range strings.Lines(text) {
		if v, found := strings.CutPrefix(strings.TrimSpace(line), "glucose: "); found && len(v) < 16 {
			a.s.Shown = v
		}
	}
	a.s.Synced++
	a.note("synced")
	return fmt.Sprintf("ok %d", a.s.Synced)
}
