// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// A recorder is a connection that remembers what passed.
type recorder struct {
	net.Conn
	mu    sync.Mutex
	lines []line
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.note(true, b[:n])
	return n, err
}

func (r *recorder) Write(b []byte) (int, error) {
	r.note(false, b) // before the peer can answer
	return r.Conn.Write(b)
}

func (r *recorder) note(server bool, b []byte) {
	if len(b) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line{server: server, bytes: append([]byte(nil), b...)})
}

func (r *recorder) said() []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]line(nil), r.lines...)
}

// connect lets a client and a server talk over loopback, and returns what they said.
func connect(t testpeer.TB, client, server func(net.Conn) error) []line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = server(c)
			c.Close()
		}
		served <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Conn: c}
	if err := client(r); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return r.said()
}

// now is what clocks show when certificates are checked.
func now() time.Time { return morning }

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// certificate makes a key, and a certificate that is valid that morning. A nil
// authority signs itself.
func (a *authority) certificate(t testpeer.TB, organisation, name string, isCA bool) (tls.Certificate, *authority) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{organisation}, CommonName: name},
		// Long, so that the tools that make a later ward still take it.
		NotBefore: morning.AddDate(0, -6, 0), NotAfter: morning.AddDate(9, 6, 0), BasicConstraintsValid: true, IsCA: isCA,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if isCA {
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	} else {
		template.DNSNames = []string{name}
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}, &authority{cert, key}
}

// root makes an authority.
func root(t testpeer.TB, organisation string) *authority {
	t.Helper()
	_, a := (*authority)(nil).certificate(t, organisation, organisation+" Root", true)
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// chat is a conversation inside TLS: sizes of what the sides say by turns, the
// client first.
func chat(t testpeer.TB, client, server *tls.Config, sizes ...int) []line {
	t.Helper()
	return connect(t, func(c net.Conn) error {
		s := tls.Client(c, client)
		if err := turns(s, sizes, 0); err != nil {
			return err
		}
		return s.Close()
	}, func(c net.Conn) error {
		return turns(tls.Server(c, server), sizes, 1)
	})
}

// turns writes every second size and reads the others.
func turns(c net.Conn, sizes []int, mine int) error {
	for i, n := range sizes {
		b := make([]byte, n)
		var err error
		if i%2 == mine {
			_, err = c.Write(b)
		} else {
			_, err = io.ReadFull(c, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spread makes the client's lines after the first few wait.
func spread(lines []line, skip int, wait time.Duration) []line {
	for i := range lines {
		if !lines[i].server && i >= skip {
			lines[i].wait = wait + time.Duration(i%7)*wait/10
		}
	}
	return lines
}

// web lets a client of net/http talk with a handler, over one connection, and
// returns what they said. conf is the TLS of both sides, or nil.
func web(t testpeer.TB, handler http.Handler, server, client *tls.Config, requests func(*http.Client, string)) []line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler, TLSConfig: server}
	done := make(chan error, 1)
	go func() {
		if server != nil {
			done <- srv.ServeTLS(l, "", "")
		} else {
			done <- srv.Serve(l)
		}
	}()
	var r *recorder
	tr := &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: client, DialContext: func(_ context.Context, network, _ string) (net.Conn, error) {
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			return nil, err
		}
		r = &recorder{Conn: c}
		return r, nil
	}}
	scheme := "http"
	if server != nil {
		scheme = "https"
	}
	requests(&http.Client{Transport: tr}, scheme)
	tr.CloseIdleConnections()
	srv.Close()
	<-done
	return r.said()
}

// send makes one request and reads the answer.
func send(t testpeer.TB, c *http.Client, method, url, kind, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", kind)
	req.Header.Set("User-Agent", "ada-client/3")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
}

// dated answers with that morning's date.
func dated(at string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", morning.Add(clock(at)).UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}

// secure is everything that the ward says inside TLS, but for DICOM.
func (s *span) secure(t testpeer.TB, e *envelopes) {
	hospital := root(t, "St. Ada Hospital Devices")
	desk, _ := hospital.certificate(t, "St. Ada Hospital", desk3.fqdn(), false)
	vent, _ := hospital.certificate(t, "Aeris", vent3.fqdn(), false)
	// IEEE 11073-20701 asks for mutual authentication. TLS 1.2 shows the certificates.
	server := &tls.Config{Certificates: []tls.Certificate{vent}, ClientCAs: hospital.pool(), ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12, Time: now, NextProtos: []string{"http/1.1"}}
	client := &tls.Config{Certificates: []tls.Certificate{desk}, RootCAs: hospital.pool(), MaxVersion: tls.VersionTLS12, Time: now}
	lines := web(t, dated("07:00:36", ventilatorService(e)), server, client, func(c *http.Client, scheme string) {
		url := fmt.Sprintf("%s://%s:%d/%s", scheme, vent3.fqdn(), vent3Port, vent3UUID)
		get, _ := e.envelope(url, transferNS+"/Get", "", "")
		send(t, c, "POST", url, "application/soap+xml", get)
		mdib, _ := e.envelope(url+"/Get", sdcNS+"/GetService/GetMdib", "", "<msg:GetMdib/>")
		for range 20 {
			send(t, c, "POST", url+"/Get", "application/soap+xml", mdib)
		}
	})
	s.tcp(talk{at: "07:00:36", client: desk3, server: vent3, port: vent3Port, end: left}, spread(lines, 6, 40*time.Second))

	// The maker's remote service calls in every morning: this is as it should be.
	trust := root(t, "Example Trust Services")
	remote, _ := trust.certificate(t, "Lumen Imaging", lumenService, false)
	lines = chat(t, &tls.Config{ServerName: lumenService, RootCAs: trust.pool(), MaxVersion: tls.VersionTLS12, Time: now},
		&tls.Config{Certificates: []tls.Certificate{remote}, Time: now}, 420, 900, 2300, 260, 1800, 260, 14200, 380)
	s.tcp(talk{at: "07:01:05", client: ct1, server: service, port: 443}, spread(lines, 4, 700*time.Millisecond))
}
