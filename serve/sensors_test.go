// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	free "github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/serve/uplink"
)

// TestSensorsAddress: beside a server in clear sensors enrol by TLS, and find no page there.
func TestSensorsAddress(t *testing.T) {
	at, err := free.Free("tcp")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Sensors: at})
	address := runs(t, s)
	token, err := s.uplink.Enrolment(t.Context(), "icu", "", "sensor", "le", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c, err := uplink.Open(t.TempDir(), uplink.Config{Server: "https://" + at, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for try := time.NewTicker(10 * time.Millisecond); ; <-try.C { // until it listens
		if _, err := http.Get(address + "/healthz"); err == nil {
			break
		}
	}
	if err := c.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := s.store.Sensors(t.Context()); err != nil || len(list) != 1 || list[0].Name != "icu" {
		t.Errorf("%+v, %v", list, err)
	}
	if r, err := http.Get("http://" + at + "/sign-in"); err == nil && r.StatusCode == http.StatusOK {
		t.Error("it answers in clear")
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.sensing.current.Leaf)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	r, err := client.Get("https://" + at + "/sign-in")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusNotFound {
		t.Errorf("a page of people: %s", r.Status)
	}
	if r, err = client.Get("https://" + at + "/update/v1/no"); err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	// What is counted is bounded as well: who takes nothing of a file holds none of those that are read at once.
	if counts, err := s.metrics.registry.Gather(); err != nil || !strings.Contains(fmt.Sprint(counts), "/update/v1/{path...}") {
		t.Errorf("what sensors ask is not counted: %v", err)
	}
	if _, err := Open(t.Context(), Config{Data: t.TempDir(), Listen: "127.0.0.1:0", TLS: true, Sensors: at}); err == nil || !strings.Contains(err.Error(), "sensors") {
		t.Errorf("beside TLS: %v", err)
	}
}
