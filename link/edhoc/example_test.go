// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
)

// enrol makes a static Diffie-Hellman key with a claims set that goes by kid.
func enrol(subject string, kid byte) *edhoc.Authenticator {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	public, err := cose.NewECDHKey(key.PublicKey())
	if err != nil {
		log.Fatal(err)
	}
	cred, err := edhoc.NewCCS(public, subject, []byte{kid})
	if err != nil {
		log.Fatal(err)
	}
	own, err := edhoc.NewStaticDH(key, cred)
	if err != nil {
		log.Fatal(err)
	}
	return own
}

// A pump, whose identity is the more sensitive, begins; a programmer answers.
func Example() {
	pump, programmer := enrol("pump", 0x21), enrol("programmer", 0x02)
	config := func(own, peer *edhoc.Authenticator) *edhoc.Config {
		return &edhoc.Config{
			Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Message4: true,
			Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(peer.Credential()),
		}
	}
	i, err := edhoc.NewInitiator(config(pump, programmer), nil)
	if err != nil {
		log.Fatal(err)
	}
	r, err := edhoc.NewResponder(config(programmer, pump))
	if err != nil {
		log.Fatal(err)
	}

	m1, err := i.Message1(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Message1(m1); err != nil {
		log.Fatal(err)
	}
	m2, err := r.Message2(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := i.Message2(m2); err != nil {
		log.Fatal(err)
	}
	m3, err := i.Message3(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Message3(m3); err != nil {
		log.Fatal(err)
	}
	m4, err := r.Message4(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := i.Message4(m4); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(m1), len(m2), len(m3), len(m4), "bytes")

	mine, err := i.Session()
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := r.Session()
	if err != nil {
		log.Fatal(err)
	}
	a, err := mine.OSCORE()
	if err != nil {
		log.Fatal(err)
	}
	b, err := theirs.OSCORE()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mine.Peer.Subject(), "and", theirs.Peer.Subject())
	fmt.Println(a.AEAD, "one secret:", bytes.Equal(a.Secret, b.Secret), "confirmed:", mine.Confirmed())
	// Output:
	// 37 45 19 9 bytes
	// programmer and pump
	// AES-CCM-16-64-128 one secret: true confirmed: true
}

// An error of this side is sent to the other; one that came from there is not answered.
func ExampleAppendError() {
	r, err := edhoc.NewResponder(&edhoc.Config{
		Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2},
		Own: []*edhoc.Authenticator{enrol("programmer", 0x02)}, Peers: edhoc.Only(),
	})
	if err != nil {
		log.Fatal(err)
	}
	message1 := append([]byte{3, 6, 0x58, 32}, make([]byte, 33)...) // in suite 6
	err = r.Message1(message1)
	answer := edhoc.AppendError(nil, err)
	fmt.Printf("%x: %v\n", answer, err)

	received, err := edhoc.ParseError(answer)
	fmt.Println(received.Suites, err)
	fmt.Printf("%q\n", edhoc.AppendError(nil, received))
	// Output:
	// 0202: edhoc: wrong selected cipher suite
	// [suite 2] <nil>
	// ""
}

// Peers says who is meant. Here whoever an authority, whose check stands for the
// verification of a signature and a revocation list, vouches for at this time.
func ExampleConfig() {
	vouchedFor := func(*edhoc.Credential) error { return nil }
	now := time.Unix(1795000000, 0)
	c := edhoc.Config{
		Peers: func(id *edhoc.ID, _ []edhoc.EAD) ([]*edhoc.Credential, error) {
			cred, err := id.Credential()
			switch {
			case err != nil:
				return nil, err
			case cred == nil: // a reference: this device keeps none
				return nil, edhoc.ErrUnknownCredential
			}
			if err := errors.Join(cred.ValidAt(now), vouchedFor(cred)); err != nil {
				return nil, err
			}
			return []*edhoc.Credential{cred}, nil
		},
	}
	id, err := edhoc.ParseID([]byte{0xa1, 4, 0x41, 2}) // {4: h'02'}, a kid
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Peers(id, nil)
	fmt.Println(err)
	// Output:
	// edhoc: unknown credential referenced
}

// A client in the forward flow, and the server that sorts what it gets.
func ExampleSplitPrefixed() {
	begin, _, message, err := edhoc.SplitPrefixed(edhoc.AppendStart(nil, []byte{3, 2}))
	fmt.Printf("%t %x %v\n", begin, message, err)
	begin, id, message, err := edhoc.SplitPrefixed(edhoc.AppendPrefixed(nil, []byte{0x18}, []byte{0x41, 0xff}))
	fmt.Printf("%t %x %x %v\n", begin, id, message, err)
	// Output:
	// true 0302 <nil>
	// false 18 41ff <nil>
}

func ExampleBudget() {
	b := edhoc.Budget{Limits: edhoc.Limits{Device: edhoc.Allowance{Attempts: 1, Per: time.Hour}}}
	first, err := b.Begin("stranger", false, 0)
	fmt.Println(err)
	b.End(first) // it proved nothing
	_, err = b.Begin("stranger", false, time.Minute)
	fmt.Println(err)
	rescuer, err := b.Begin("ambulance", true, 2*time.Minute)
	fmt.Println(err)
	b.Verified(rescuer)
	// Output:
	// <nil>
	// edhoc: device has used up its attempts
	// <nil>
}

func ExampleSuiteMemory() {
	config := &edhoc.Config{
		Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{5, 3, 2},
		Own: []*edhoc.Authenticator{enrol("pump", 0x21)}, Peers: edhoc.Only(),
	}
	var memory edhoc.SuiteMemory
	i, err := edhoc.NewInitiator(config, memory.Learned("programmer"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("offers", i.Offer())
	answer := &edhoc.Error{Code: edhoc.WrongSuite, Suites: []edhoc.Suite{2, 3}}
	if err := memory.Refused("programmer", i, answer); err != nil {
		log.Fatal(err)
	}
	i, err = edhoc.NewInitiator(config, memory.Learned("programmer"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("offers", i.Offer())
	// Output:
	// offers [suite 5]
	// offers [suite 5 suite 3]
}
