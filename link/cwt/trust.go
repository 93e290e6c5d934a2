// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
)

// Roles are those that a token may be for.
var Roles = []device.Role{device.Patient, device.Carer, device.Clinician, device.Technician, device.Emergency, device.Updater, device.Controller}

// A Trust is what a device has to know of one authority: the public keys of it and of
// those who approve its break-glass tokens. Its JSON is the file that a device is given.
type Trust struct {
	Name      string            `json:"name"`
	Key       string            `json:"key"` // COSE_Key in hex
	Approvers map[string]string `json:"approvers,omitempty"`
}

// ParseTrust reads the JSON of a [Trust].
func ParseTrust(b []byte) (t Trust, err error) {
	if err = json.Unmarshal(b, &t); err != nil {
		err = fmt.Errorf("%w; want the trust.json of an authority's folder", err)
	}
	return t, err
}

// Anchors are the keys as a device trusts them: the authority for everything, its
// approvers to approve.
func (t *Trust) Anchors() ([]Anchor, error) {
	all := []Anchor{{Name: t.Name, Uses: Issues | Emergencies | Revokes | TellsTime, Roles: Roles}}
	keys := []string{t.Key}
	for _, name := range slices.Sorted(maps.Keys(t.Approvers)) {
		all, keys = append(all, Anchor{Name: name, Uses: Approves}), append(keys, t.Approvers[name])
	}
	for i := range all {
		b, err := hex.DecodeString(keys[i])
		if err == nil {
			all[i].Key, err = cose.ParseKey(b)
		}
		if err != nil {
			return nil, fmt.Errorf("the key of %s: %w", all[i].Name, err)
		}
	}
	return all, nil
}
