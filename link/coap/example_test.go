// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"time"

	linkcoap "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/proto/coap"
)

// A programmer reads a pump's therapy: handshake, then a protected request that
// message_3 travels with.
func Example() {
	enrol := func(subject string, kid byte) *edhoc.Authenticator {
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
	programmer, pump := enrol("programmer", 0x02), enrol("pump", 0x21)
	config := func(own, peer *edhoc.Authenticator) *edhoc.Config {
		return &edhoc.Config{
			Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2},
			Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(peer.Credential()),
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	device, err := linkcoap.New(linkcoap.Config{
		EDHOC: config(pump, programmer),
		Handler: func(s *linkcoap.Session, m *coap.Message) coap.Message {
			return linkcoap.Response(coap.Content, 0, []byte("basal 0.8 U/h, for the "+s.Peer.Subject()))
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- device.Serve(ctx, socket) }()

	client, err := linkcoap.New(linkcoap.Config{EDHOC: config(programmer, pump), Combined: true})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	conn, err := client.Dial(ctx, socket.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	session, err := conn.Handshake(ctx)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := conn.Get(ctx, session, "/therapy")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(session.Peer.Subject(), answer.Code, string(answer.Payload))
	cancel()
	fmt.Println(<-served)
	// Output:
	// pump 2.05 basal 0.8 U/h, for the programmer
	// <nil>
}
