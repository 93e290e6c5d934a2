// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/radio"
)

// listen gives a sensor what it would hear of the attack, and looks for what
// it has to find. Of radios that are not Bluetooth that is the log of another
// receiver; of what goes over IP, what goes over loopback while the attack runs.
func listen(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	if len(row.Sensor) == 0 {
		return cell(report.DrillFailed, "%v", errNoWay), nil
	}
	var how, missed, reasons []string
	for i, h := range row.Sensor {
		a, err := hear(ctx, w, fmt.Sprintf("%s-%d", row.ID, i), h)
		if err != nil {
			return report.DrillCell{}, err
		}
		found := sighted(a, h.Finds)
		if h.Capture != nil && len(found) == 0 {
			reasons = append(reasons, unheard(a))
		}
		for _, k := range h.Finds {
			switch f, ok := found[k]; {
			case !ok:
				missed = append(missed, k.String())
			case len(how) < 3:
				how = append(how, f)
			}
		}
	}
	if len(missed) > 0 {
		why := ""
		if len(reasons) > 0 {
			why = ": " + strings.Join(slices.Compact(reasons), "; ")
		}
		return cell(report.DrillFailed, "not found: %s%s", strings.Join(missed, ", "), why), nil
	}
	return cell(report.DrillDetected, "%s", strings.Join(how, "; ")), nil
}

var extension = map[radio.Layer]string{radio.HCI: ".btsnoop", radio.Air: ".pcap", radio.Frames: ".jsonl"}

// hear plays a recording, or records an attack, and assesses it.
func hear(ctx context.Context, w *world, name string, h Heard) (*report.Assessment, error) {
	if h.Capture != nil {
		heard, err := recorded(ctx, h.Capture, legacy.Config{})
		if err != nil {
			return nil, err
		}
		return w.watched(ctx, name, h.Capture, heard)
	}
	r, err := radio.Play(radio.Options{Device: h.Take.Device, Scenario: h.Take.Scenario, Form: h.Take.Form, Layer: h.Take.Layer})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(w.dir, name+extension[h.Take.Layer])
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	err = r.Write(f, radio.Format{Decrypted: h.Take.Decrypted})
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	return assess.Run(ctx, []string{file}, assess.Config{})
}

// sighted are the kinds of finding that were wanted and are in an assessment, and where.
func sighted(a *report.Assessment, wanted []finding.Kind) map[finding.Kind]string {
	found := map[finding.Kind]string{}
	for i := range a.Findings {
		f := &a.Findings[i]
		if !slices.Contains(wanted, f.Kind) || found[f.Kind] != "" {
			continue
		}
		found[f.Kind] = f.Kind.String()
		if len(f.Sightings) > 0 {
			found[f.Kind] += fmt.Sprintf(" (packet %d)", f.Sightings[0].Packet)
		}
	}
	return found
}
