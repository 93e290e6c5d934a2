// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"testing"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/update"
)

// TestDevicesAsk: a device whose key a program registered is answered, without a
// certificate or with one of somebody enrolled, where people come and where sensors alone do.
func TestDevicesAsk(t *testing.T) {
	o := newOutside(t, Config{})
	program := o.program(o.person("le", access.Engineer), "admin")
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public()
	body, _ := json.Marshal(map[string]any{"keys": []update.Key{{Device: pump3, Key: public.AppendPublic(nil)}}})
	if a := program.json("POST", "/api/v1/update-keys", string(body)); a.status != 200 || a.body != "{\"added\":1}\n" {
		t.Fatal(a.status, a.body)
	}
	count := uint64(0)
	ask := func(v *visitor) *reply {
		count++
		b, err := patch.Sign(&patch.State{Device: pump3, Count: count}, signer, patch.KeyID(&public))
		if err != nil {
			t.Fatal(err)
		}
		return v.send(v.request("POST", "/update/v1/poll", `application/cose; cose-type="cose-sign1"`, bytes.NewReader(b)))
	}
	answered := func(who string, a *reply) {
		t.Helper()
		var said patch.Answer
		if a.status != 200 || patch.Parse([]byte(a.body), &said) != nil || said.Device != pump3 || len(said.Challenge) == 0 {
			t.Errorf("%s: %d %.200s", who, a.status, a.body)
		}
	}
	answered("without a certificate", ask(o.visitor("")))
	gateway, id := o.sensor("sensor")
	answered("with a gateway's", ask(gateway))
	if err := o.s.store.RevokeSensor(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if a := ask(o.visitor("")); a.status != 200 {
		t.Errorf("the device itself: %d", a.status)
	}
	v := o.visitor("le")
	if a := v.get("/update/v1/none.suit"); a.status != 404 {
		t.Errorf("no such file: %d", a.status)
	}
}
