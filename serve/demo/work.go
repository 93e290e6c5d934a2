// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	_ "embed"
	"errors"
	"net/url"
	"strconv"

	"github.com/myelin-health/myelin/sim/radio"
)

// advisory is about a product whose name is nearly that of one in the house: somebody has
// to say whether it is the same.
//
//go:embed ada-2026-02.csaf.json
var advisory []byte

// work is what the staff does with what it sees, and leaves for who comes next.
func (d *demo) work(ctx context.Context) error {
	ls, err := d.signIn(ctx, "ls")
	if err != nil {
		return err
	}
	defer ls.close()
	mh, err := d.signIn(ctx, "mh")
	if err != nil {
		return err
	}
	defer mh.close()
	icd, err := merge(ctx, ls, "icd-1", "Halden Cardio Rhythm S", "read out at the bedside, with the programmer")
	if err == nil {
		_, err = merge(ctx, ls, "ipump-1", "Okapi Health Dose One", "it answered the clinic's own phone when its wearer came")
	}
	if err != nil {
		return err
	}
	// A serial number finds the patient: it is sealed, and a reason opens it.
	if err := mh.send(ctx, "/devices/"+icd+"/body/add", nil, "kind", "serial number", "value", radio.ICDSerial); err != nil {
		return err
	}
	ct, err := ls.device(ctx, "ct-1")
	if err != nil {
		return err
	}
	var page struct {
		Called, Ward string
		Edition      int
	}
	if err := ls.get(ctx, "/devices/"+ct, &page); err != nil {
		return err
	}
	err = ls.send(ctx, "/devices/"+ct, nil, "version", strconv.Itoa(page.Edition), "name", page.Called, "ward", page.Ward, "owner", "ls", "criticality", "high",
		"notes", "Off the network since the morning; the maker has been called.")
	return errors.Join(err, d.triage(ctx))
}

// merge says that a device that was heard on the radio is one of the hospital's list.
func merge(ctx context.Context, ls *browser, name, heard, why string) (id string, err error) {
	gone := ""
	err = until(ctx, name+" is heard", func() (ok bool, err error) {
		if id, err = ls.device(ctx, name); err == nil {
			gone, err = ls.device(ctx, heard)
		}
		return err == nil, err
	})
	if err != nil {
		return "", err
	}
	return id, ls.send(ctx, "/devices/"+id+"/merge", nil, "gone", gone, "why", why)
}

// triage is what the analyst says of the findings.
func (d *demo) triage(ctx context.Context) error {
	var list struct{ Rows []struct{ ID string } }
	of := func(kind string) (ids []string, err error) {
		if err := d.te.get(ctx, "/findings?kind="+url.QueryEscape(kind), &list); err != nil {
			return nil, err
		}
		for _, r := range list.Rows {
			ids = append(ids, "id", r.ID)
		}
		if ids == nil {
			return nil, errors.New("no finding " + kind)
		}
		return ids, nil
	}
	for _, t := range []struct {
		kind string
		says []string
	}{
		{"therapy-command-replayed", []string{"assignee", "ls", "comment", "The implant was read out: therapies are on, as they should be."}},
		{"scan-horizontal", []string{"state", "acknowledged", "assignee", "te", "reason", "the port of the laptop is shut; its owner is being looked for"}},
		{"sbom-missing", []string{"state", "acknowledged", "reason", "the makers have been asked"}},
		{"ble-trackable-address", []string{"state", "mitigated", "reason", "it is told to no receiver outside the clinic", "justification", "inline_mitigations_already_exist"}},
	} {
		ids, err := of(t.kind)
		if err == nil {
			err = d.te.send(ctx, "/findings/triage", nil, append(ids, t.says...)...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
