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
	"github.com/myelin-health/myelin/sim/radio"
)

// listen gives a sensor what it would hear of the attack, and looks for what
// it has to find. Of radios that are not Bluetooth that is the log of another
// receiver.
func listen(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	if len(row.Sensor) == 0 {
		return cell(report.DrillFailed, "nothing of it can be heard on a radio"), nil
	}
	var how, missed []string
	for i, h := range row.Sensor {
		file := filepath.Join(w.dir, fmt.Sprintf("%s-%d%s", row.ID, i, extension[h.Take.Layer]))
		found, err := hear(ctx, file, h)
		if err != nil {
			return report.DrillCell{}, err
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
		return cell(report.DrillFailed, "not found: %s", strings.Join(missed, ", ")), nil
	}
	return cell(report.DrillDetected, "%s", strings.Join(how, "; ")), nil
}

var extension = map[radio.Layer]string{radio.HCI: ".btsnoop", radio.Air: ".pcap", radio.Frames: ".jsonl"}

// hear plays a recording and assesses it.
func hear(ctx context.Context, file string, h Heard) (map[finding.Kind]string, error) {
	r, err := radio.Play(radio.Options{Device: h.Take.Device, Scenario: h.Take.Scenario, Form: h.Take.Form, Layer: h.Take.Layer})
	if err != nil {
		return nil, err
	}
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
	a, err := assess.Run(ctx, []string{file}, assess.Config{})
	if err != nil {
		return nil, err
	}
	found := map[finding.Kind]string{}
	for i := range a.Findings {
		f := &a.Findings[i]
		if !slices.Contains(h.Finds, f.Kind) || found[f.Kind] != "" {
			continue
		}
		found[f.Kind] = f.Kind.String()
		if len(f.Sightings) > 0 {
			found[f.Kind] += fmt.Sprintf(" (packet %d)", f.Sightings[0].Packet)
		}
	}
	return found, nil
}
