// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"testing"
)

// TestTap holds that both sides of all connections are heard, the device's own too, and who opened them.
func TestTap(t *testing.T) {
	a, ok := Find("A25/impostor")
	if !ok {
		t.Fatal("no attack")
	}
	tap := new(Tap)
	o, err := a.Try(context.Background(), Config{Tap: tap}, nil)
	if err != nil || !o.Hurt {
		t.Fatal(o, err)
	}
	talks := tap.Talks()
	if len(talks) != 2 || talks[0].By != Attacker || talks[1].By != Itself {
		t.Fatalf("%+v", talks)
	}
	if said := talks[0].Said; len(said) != 4 || !bytes.HasPrefix(said[0].Bytes, []byte("cloud 127.0.0.1:")) || !said[1].Answer || string(said[1].Bytes) != "ok\n" {
		t.Errorf("the attacker's side: %+v", said)
	}
	var asked, answered bytes.Buffer
	for _, s := range talks[1].Said {
		if s.Answer {
			answered.Write(s.Bytes)
		} else {
			asked.Write(s.Bytes)
		}
	}
	q, err := http.ReadRequest(bufio.NewReader(&asked))
	if err != nil {
		t.Fatal(err)
	}
	if user, password, _ := q.BasicAuth(); user != monitorUser || password != monitorPassword || q.Method != http.MethodOptions || q.RequestURI != "*" {
		t.Errorf("%s %s as %s", q.Method, q.RequestURI, user)
	}
	_, tls, _ := bytes.Cut(answered.Bytes(), []byte("\r\n\r\n"))
	if !bytes.HasPrefix(tls, []byte{22, 3, 3}) || bytes.Contains(tls, []byte("program")) {
		t.Errorf("no TLS behind the upgrade: %.8x", tls)
	}
}
