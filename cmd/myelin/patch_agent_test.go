// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/sim/update"
)

// scriptDepot serves a release, until the script ends, to one device, which has $DEVICE for its id.
func scriptDepot(ts *testscript.TestScript, _ bool, args []string) {
	device, err := publicKey(ts.MkAbs(args[1]))
	ts.Check(err)
	hospital, err := privateKey(ts.MkAbs(args[2]))
	ts.Check(err)
	signer, err := cose.NewSigner(hospital)
	ts.Check(err)
	sequence, err := strconv.ParseUint(args[4], 10, 64)
	ts.Check(err)
	files := map[string][]byte{}
	list, err := os.ReadDir(ts.MkAbs(args[5]))
	ts.Check(err)
	for _, f := range list {
		files[f.Name()], err = os.ReadFile(ts.MkAbs(args[5] + "/" + f.Name()))
		ts.Check(err)
	}
	depot := update.NewDepot(signer, patch.KeyID(&hospital), time.Now)
	depot.Devices[ts.Getenv("DEVICE")] = device
	envelope := files["envelope.suit"]
	depot.Put(patch.Release{
		Version: args[3], Sequence: sequence, Envelope: sha256.Sum256(envelope), Size: int64(len(envelope)),
		Demands: patch.Demands{Hardware: []string{"C", "sim"}, From: []string{"5.0"}, Keeps: patch.Delivering | patch.Dependent, Backup: time.Second, Longest: 5 * time.Minute, Resume: 2 * time.Minute, Battery: 40},
	}, "m9", envelope, files)

	pki, err := testpki.New("updates")
	ts.Check(err)
	cert, err := pki.Issue("127.0.0.1")
	ts.Check(err)
	var mu sync.Mutex
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			b, err := io.ReadAll(io.LimitReader(r.Body, patch.MaxMessage+1))
			if err == nil {
				b, err = depot.Poll(r.Context(), b)
			}
			if err != nil {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			w.Write(b)
			return
		}
		b := make([]byte, 1<<20)
		n, err := depot.ReadAt(r.Context(), strings.TrimPrefix(r.URL.Path, "/update/v1/"), b, 0)
		if errors.Is(err, fs.ErrNotExist) {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b[:n]))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	ts.Defer(s.Close)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), pki.PEM(), 0o600))
	ts.Setenv("SERVER", s.URL)
	if args[0] == "-" {
		return
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.ReplaceAll(b, []byte("SERVER"), []byte(s.URL)), 0o600))
}
