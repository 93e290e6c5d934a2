// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// TestSplit splits a device and undoes that, as programs do.
func TestSplit(t *testing.T) {
	s := newServer(t)
	token := s.token("te", access.Engineer, "triage")
	read := s.token("te", access.Engineer, "read")
	d := device.Device{
		ID: "dev-both", Serial: "S7", Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 1"},
		Addresses: []device.Address{{Kind: device.IP, Value: "10.0.0.4"}, {Kind: device.IP, Value: "10.0.0.5"}},
	}
	say := func(sequence uint64) {
		t.Helper()
		if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: sequence, Devices: []device.Device{d}}); err != nil {
			t.Fatal(err)
		}
	}
	say(2)
	names := func(id string) (numbers map[string]int64, splits []any) {
		t.Helper()
		status, _, l := s.ask(read, "GET", "/devices/"+id+"/identities", "")
		if status != 200 {
			t.Fatal(status, l)
		}
		numbers = map[string]int64{}
		for _, n := range l["identities"].([]any) {
			n := n.(map[string]any)
			numbers[n["value"].(string)] = int64(n["number"].(float64))
		}
		return numbers, l["splits"].([]any)
	}
	all, _ := names(d.ID)
	path := "/devices/" + d.ID + "/split"
	off := fmt.Sprintf(`{"identities":[%d],"reason":"a hub"}`, all["10.0.0.5"])
	for body, want := range map[string]int{
		fmt.Sprintf(`{"identities":[%d]}`, all["10.0.0.5"]):        422,
		`{"identities":[],"reason":"x"}`:                           422,
		`{"identities":[999999],"reason":"x"}`:                     412,
		fmt.Sprintf(`{"identities":[%d],"reason":"x"}`, all[d.ID]): 412,
	} {
		if status, _, p := s.ask(token, "POST", path, body); status != want {
			t.Errorf("%s: %d %v, not %d", body, status, p, want)
		}
	}
	if status, _, _ := s.ask(read, "POST", path, off); status != 403 {
		t.Errorf("with a token that reads: %d", status)
	}
	if status, _, _ := s.ask(token, "POST", "/devices/none/split", off); status != 404 {
		t.Errorf("no device: %d", status)
	}
	var gone string
	for range 2 { // the second time it is only told again
		status, _, split := s.ask(token, "POST", path, off, "Idempotency-Key", "k1")
		if status != 200 || split["kept"] != d.ID || split["reason"] != "a hub" || split["by"] != "te" {
			t.Fatal(status, split)
		}
		gone = split["gone"].(string)
	}
	if status, _, p := s.ask(token, "POST", path, off); status != 412 {
		t.Errorf("what is split off already: %d %v", status, p)
	}
	say(3)
	if has, splits := names(gone); has["10.0.0.5"] == 0 || len(splits) != 1 {
		t.Errorf("%v, %v", has, splits)
	}
	left, splits := names(d.ID)
	if left["10.0.0.5"] != 0 || len(splits) != 1 {
		t.Fatalf("%v, %v", left, splits)
	}
	maker := s.token("norra", access.Manufacturer, "read") // whose the other one is not
	if status, _, l := s.ask(maker, "GET", "/devices/"+d.ID+"/identities", ""); status != 200 || l["splits"].([]any)[0].(map[string]any)["gone"] != "" {
		t.Errorf("%d %v", status, l)
	}
	undo := fmt.Sprintf("%s/%v/undo", path, splits[0].(map[string]any)["number"])
	if status, _, _ := s.ask(token, "POST", undo, `{"reason":""}`); status != 422 {
		t.Errorf("undone without a reason: %d", status)
	}
	if status, _, _ := s.ask(token, "POST", "/devices/"+device.IDOf("Norra Medical", "Flow", "1")+undo[len("/devices/"+d.ID):], `{"reason":"x"}`); status != 404 {
		t.Errorf("undone as another's: %d", status)
	}
	status, _, split := s.ask(token, "POST", undo, `{"reason":"one label"}`)
	if status != 200 || split["undone_by"] != "te" {
		t.Fatal(status, split)
	}
	if status, _, p := s.ask(token, "POST", undo, `{"reason":"again"}`); status != 412 {
		t.Errorf("undone again: %d %v", status, p)
	}
	if back, _ := names(d.ID); back["10.0.0.5"] == 0 {
		t.Errorf("%v", back)
	}
	all, _ = names(device.IDOf("Norra Medical", "Flow", "1"))
	if status, _, p := s.ask(token, "POST", "/devices/"+gone+"/split", fmt.Sprintf(`{"identities":[%d],"reason":"x"}`, all["norra medical flow 1 1"])); status != 412 {
		t.Errorf("another's: %d %v", status, p)
	}
}
