// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// TestTrace holds the worked trace of docs/LINK.md to the code. When it fails, what it
// prints is what has to stand there.
func TestTrace(t *testing.T) {
	var b strings.Builder
	line := func(name string, v []byte) { fmt.Fprintf(&b, "    %-22s %x\n", name, v) }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	party := func(seed byte, kid []byte) (*edhoc.Authenticator, cose.Key) {
		k, err := cose.GenerateKey(cose.P256, rand.NewChaCha8([32]byte{seed}))
		check(err)
		a, err := staticKey(k, kid)
		check(err)
		return a, k
	}
	programmer, kI := party(1, nil)
	pump, kR := party(2, []byte{0x05})
	config := func(own *edhoc.Authenticator, peers func(*edhoc.ID, []edhoc.EAD) ([]*edhoc.Credential, error), id, seed byte) *edhoc.Config {
		return &edhoc.Config{
			Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Own: []*edhoc.Authenticator{own}, Peers: peers,
			Random: rand.NewChaCha8([32]byte{seed}), ConnectionID: func([]byte) ([]byte, error) { return []byte{id}, nil },
		}
	}
	line("private key, I", kI.D)
	line("CRED_I", programmer.Credential().Bytes())
	line("private key, R", kR.D)
	line("CRED_R", pump.Credential().Bytes())
	i, err := edhoc.NewInitiator(config(programmer, edhoc.Only(pump.Credential()), 0x0a, 3), nil)
	check(err)
	r, err := edhoc.NewResponder(config(pump, anyKey, 0x0b, 4))
	check(err)
	m1, err := i.Message1(nil)
	check(err)
	check(r.Message1(m1))
	m2, err := r.Message2(nil)
	check(err)
	check(i.Message2(m2))
	m3, err := i.Message3(nil)
	check(err)
	check(r.Message3(m3))
	line("message_1", m1)
	line("message_2", m2)
	line("message_3", m3)
	contexts := [2]*oscore.Context{}
	for n, session := range []func() (*edhoc.Session, error){i.Session, r.Session} {
		s, err := session()
		check(err)
		o, err := s.OSCORE()
		check(err)
		if n == 0 {
			line("master secret", o.Secret)
			line("master salt", o.Salt)
			line("sender id, I", o.SenderID)
			line("recipient id, I", o.RecipientID)
		}
		contexts[n], err = oscore.New(oscore.Params{MasterSecret: o.Secret, MasterSalt: o.Salt, SenderID: o.SenderID, RecipientID: o.RecipientID, AEAD: o.AEAD, Hash: o.Hash})
		check(err)
	}
	scope, err := (&cwt.Grant{Role: device.Clinician, Verbs: []cwt.VerbGrant{
		{Verb: device.DeliverBolus, Limits: cwt.Limits{Highest: device.Quantity{Coefficient: 1, Exponent: 1, Unit: unit(t, "[iU]")}}},
	}}).Append(nil)
	check(err)
	line("scope", scope)
	command, err := commandOf(device.DeliverBolus, "2U", "", false)
	check(err)
	line("command", command)
	m := coap.Request(protocol.POST, "/therapy", cborFormat, command)
	m.Type, m.ID, m.Token = protocol.Confirmable, 0x1001, []byte{0xca, 0xfe}
	plain, err := m.Append(nil)
	check(err)
	line("request", plain)
	var x, y oscore.Exchange
	protected, err := contexts[0].ProtectRequest(nil, plain, &x)
	check(err)
	line("protected request", protected)
	if _, err := contexts[1].UnprotectRequest(nil, protected, &y); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/LINK.md")
	check(err)
	if !strings.Contains(string(page), b.String()) {
		t.Errorf("docs/LINK.md has another trace than\n%s", &b)
	}
}

func unit(t *testing.T, code string) device.Unit {
	t.Helper()
	u, ok := device.UnitOfUCUM(code)
	if !ok {
		t.Fatal(code)
	}
	return u
}
