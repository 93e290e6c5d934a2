// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent/https"
	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/store"
)

// TestPoll: a device is heard once for each Count, is told the time when it asks for it,
// and what it said is in the store.
func TestPoll(t *testing.T) {
	s := newSite(t)
	c := s.client(t)
	u := s.device(t, "pump-3")
	a := s.say(t, c, u)
	if a.Device != "pump-3" || !a.Time.Equal(s.now()) || len(a.Challenge) != challengeSize || a.Next < 4*time.Minute || a.Next > 6*time.Minute || a.Offer != nil || a.Heard != 0 {
		t.Errorf("%+v", a)
	}
	again := u.sign(t)
	u.Nonce = []byte{1, 2, 3, 4}
	if a := s.say(t, c, u); !bytes.Equal(a.Nonce, []byte{1, 2, 3, 4}) {
		t.Errorf("%+v", a)
	}
	if status, b := s.post(t, c, again); status != http.StatusConflict { // of a Count that was
		t.Errorf("a replay: %d %s", status, b)
	}
	u.Result = &patch.Result{Envelope: patch.Digest{7}, Offer: 1, Version: "2.2.0", Outcome: patch.Refused}
	if a := s.say(t, c, u); a.Heard != 3 {
		t.Errorf("the receipt: heard %d", a.Heard)
	}
	must(t, s.keep.flush(t.Context()))
	m, kids, err := s.store.UpdateMemberOf(t.Context(), "pump-3")
	must(t, err)
	var st patch.State
	must(t, patch.Open(m.State, &st, func([]byte) *cose.Key { return &u.key }))
	if m.Count != 3 || m.Seen != s.now().UnixNano() || m.Version != "2.1.4" || m.Sequence != 7 || len(kids) != 1 || !bytes.Equal(m.KID, u.kid) || st.Result == nil {
		t.Errorf("%+v %+v", m, st)
	}
}

// TestPollRefuses: what no registered key signed for the device is not heard, whatever
// else is right of it.
func TestPollRefuses(t *testing.T) {
	s := newSite(t)
	c := s.client(t)
	u, other := s.device(t, "pump-3"), s.device(t, "pump-4")
	stranger := newUnit(t, "pump-3", cose.P256)
	as := func(u *unit, device string) []byte {
		v := *u
		v.Device = device
		return v.sign(t)
	}
	good := u.sign(t)
	for name, b := range map[string][]byte{
		"a stranger":             stranger.sign(t),
		"another device":         as(other, "pump-3"),
		"a device nobody has":    as(u, "pump-9"),
		"nothing":                nil,
		"no CBOR":                []byte("hello"),
		"what nobody signed":     patch.Append(nil, &u.State),
		"cut":                    good[:len(good)-1],
		"more":                   append(bytes.Clone(good), 0),
		"without a Count":        func() []byte { v := *u; v.Count = 0; return v.sign(t) }(),
		"an answer, not a state": func() []byte { b, _ := patch.Sign(&patch.Answer{Device: "pump-3"}, u.signer, u.kid); return b }(),
		"too long":               make([]byte, patch.MaxMessage+1),
	} {
		if status, b := s.post(t, c, b); status < 400 || status > 499 {
			t.Errorf("%s: %d %s", name, status, b)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if _, err := s.hear(t.Context(), b, s.now()); err == nil {
			t.Errorf("with byte %d changed it is heard", i)
		}
	}
	if _, err := s.hear(t.Context(), good, s.now()); err != nil {
		t.Error(err)
	}
	must(t, s.store.RevokeUpdateKey(t.Context(), u.kid))
	s.forget()
	u.Count++
	if _, err := s.hear(t.Context(), u.sign(t), s.now()); err == nil {
		t.Error("a key that was revoked is heard")
	}
	if _, err := s.store.AddUpdateKeys(t.Context(), []store.UpdateKey{u.registered("le")}); err == nil {
		t.Error("a key that was revoked is registered")
	}
}

// TestGatewaySpeaks: a gateway's key speaks for the devices that it is registered for.
func TestGatewaySpeaks(t *testing.T) {
	s := newSite(t)
	g := newUnit(t, "gw-icu", cose.CurveEd25519)
	var keys []store.UpdateKey
	for _, d := range []string{"pump-3", "pump-4"} {
		k := g.registered("le")
		k.Device = d
		keys = append(keys, k)
	}
	_, err := s.store.AddUpdateKeys(t.Context(), keys)
	must(t, err)
	for device, want := range map[string]bool{"pump-3": true, "pump-4": true, "pump-5": false} {
		g.Device = device
		if _, err := s.hear(t.Context(), g.sign(t), s.now()); (err == nil) != want {
			t.Errorf("%s: %v", device, err)
		}
	}
}

// TestChallenge: an echo says how old a State is, of the one device that it was given to.
func TestChallenge(t *testing.T) {
	s := newSite(t)
	e := s.challenge(s.now(), "pump-3")
	s.pass(40 * time.Second)
	if age, ok := s.age(s.now(), "pump-3", e); !ok || age != 40*time.Second {
		t.Error(age, ok)
	}
	if _, ok := s.age(s.now(), "pump-4", e); ok {
		t.Error("it holds for another device")
	}
	if _, ok := s.age(s.now().Add(-time.Hour), "pump-3", e); ok {
		t.Error("it is of the time to come")
	}
	for i := range e {
		for bit := range 8 {
			f := bytes.Clone(e)
			f[i] ^= 1 << bit
			if _, ok := s.age(s.now(), "pump-3", f); ok {
				t.Errorf("with bit %d of byte %d changed it holds", bit, i)
			}
		}
	}
	for _, f := range [][]byte{nil, e[:8], append(bytes.Clone(e), 0)} {
		if _, ok := s.age(s.now(), "pump-3", f); ok {
			t.Errorf("%d bytes hold", len(f))
		}
	}
}

// TestBounds: a device that asks too often waits, and so does an address from which comes
// what is not to be believed; others are heard meanwhile.
func TestBounds(t *testing.T) {
	s := newSite(t)
	u, other := s.device(t, "pump-3"), s.device(t, "pump-4")
	hear := func(u *unit) error {
		_, err := s.hear(t.Context(), u.sign(t), s.now())
		u.Count++
		return err
	}
	for i := range pollsOnce {
		if err := hear(u); err != nil {
			t.Fatal(i, err)
		}
	}
	if hear(u) == nil {
		t.Error("one more is heard")
	}
	if err := hear(other); err != nil {
		t.Error("another device:", err)
	}
	s.pass(pollsEvery)
	if err := hear(u); err != nil {
		t.Error("a while later:", err)
	}
	for range failsOnce {
		s.fails.count("10.0.0.1:1", s.now())
	}
	if s.fails.may("10.0.0.1:2", s.now()) || !s.fails.may("10.0.0.2:1", s.now()) {
		t.Error("the wrong address has to wait")
	}
	if s.pass(failsEvery * failsOnce); !s.fails.may("10.0.0.1:2", s.now()) {
		t.Error("it waits for ever")
	}
}

// TestFile: a file comes whole and in parts; nothing else of the folder, or beside it.
func TestFile(t *testing.T) {
	s := newSite(t)
	c := s.client(t)
	folder := filepath.Join(s.dir, "updates", "flow500")
	must(t, os.Mkdir(folder, 0o700))
	image := bytes.Repeat([]byte("0123456789"), 1000)
	must(t, os.WriteFile(filepath.Join(folder, "2.2.0.bin"), image, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, ".hidden"), image, 0o600))
	must(t, os.Symlink(filepath.Join(s.dir, "update.key"), filepath.Join(folder, "link")))
	for _, name := range []string{"receipts/r.cose", "devices/pump-3.pub", "hospital/trusted/root.json", "hospital/metadata/1.root.json"} {
		file := filepath.Join(s.dir, "updates", name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, image, 0o600))
	}
	get := func(path, part string) (int, []byte) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.addr+"/update/v1/"+path, nil)
		must(t, err)
		if part != "" {
			r.Header.Set("Range", part)
		}
		res, err := c.Do(r)
		must(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		must(t, err)
		return res.StatusCode, b
	}
	if status, b := get("flow500/2.2.0.bin", ""); status != 200 || !bytes.Equal(b, image) {
		t.Errorf("whole: %d, %d bytes", status, len(b))
	}
	if status, b := get("flow500/2.2.0.bin", "bytes=9000-"); status != 206 || !bytes.Equal(b, image[9000:]) {
		t.Errorf("resumed: %d, %d bytes", status, len(b))
	}
	if status, _ := get("hospital/metadata/1.root.json", ""); status != 200 {
		t.Errorf("metadata: %d", status)
	}
	for _, path := range []string{"", "flow500", "flow500/", "flow500/no", "..%2fupdate.key", "flow500/..%2f..%2fupdate.key", "flow500/.hidden", "flow500/link", "receipts/r.cose", "devices/pump-3.pub", "hospital/trusted/root.json", "%2fetc%2fpasswd", "flow500%5c2.2.0.bin", "flow500/%00", strings.Repeat("a", 300)} {
		if status, b := get(path, ""); status == 200 || status >= 500 && path != "flow500/link" || bytes.Contains(b, image[:20]) {
			t.Errorf("%q: %d %.40q", path, status, b)
		}
	}
}

// TestClientCertificate: none is asked for, and one that is shown is of somebody enrolled.
func TestClientCertificate(t *testing.T) {
	s := newSite(t)
	s.t = time.Now()
	u := s.device(t, "pump-3")
	known, stranger := s.gateway(t, "gw-1"), newSite(t)
	stranger.t = time.Now()
	for name, c := range map[string]struct {
		pair tls.Certificate
		want int
	}{"enrolled": {known, 200}, "of another authority": {stranger.gateway(t, "gw-1"), 401}} {
		client := s.client(t)
		client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.pair, nil }
		if status, b := s.post(t, client, u.sign(t)); status != c.want {
			t.Errorf("%s: %d %s", name, status, b)
		}
		u.Count++
	}
	must(t, s.store.RevokeSensor(t.Context(), "gw-1"))
	s.pass(clientTime)
	client := s.client(t)
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{known}
	if status, _ := s.post(t, client, u.sign(t)); status != 403 {
		t.Errorf("revoked: %d", status)
	}
}

// TestAgentAsks: what an agent asks, and fetches, by its own means.
func TestAgentAsks(t *testing.T) {
	s := newSite(t)
	u := s.device(t, "pump-3")
	tr := s.client(t).Transport
	c, err := https.New("https://"+s.addr, tr)
	must(t, err)
	defer c.Close()
	b, err := c.Poll(t.Context(), u.sign(t))
	must(t, err)
	var a patch.Answer
	if must(t, patch.Parse(b, &a)); a.Device != "pump-3" {
		t.Errorf("%+v", a)
	}
	image := bytes.Repeat([]byte("0123456789"), 10_000)
	must(t, os.WriteFile(filepath.Join(s.dir, "updates", "image.bin"), image, 0o600))
	got := make([]byte, 0, len(image))
	part := make([]byte, 1<<12)
	for {
		n, err := c.ReadAt(t.Context(), "image.bin", part, int64(len(got)))
		if got = append(got, part[:n]...); errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if len(got) == 40960 { // as after a restart
			c.Close()
		}
	}
	if !bytes.Equal(got, image) {
		t.Errorf("%d bytes of %d", len(got), len(image))
	}
}

// TestCarried: receipts that a stick brought into the folder are taken in, in their order,
// once.
func TestCarried(t *testing.T) {
	s := newSite(t)
	u := s.device(t, "pump-3")
	folder := filepath.Join(s.dir, "updates", receiptsFolder)
	_, err := repo.OpenSite(filepath.Join(s.dir, "updates")) // which makes the folder
	must(t, err)
	for i, name := range []string{"b", "a"} { // the folder lists the later one first
		u.Count, u.Result = uint64(5+i), &patch.Result{Envelope: patch.Digest{7}, Offer: uint64(1 + i), Version: "2.2.0", Outcome: patch.FellBack}
		must(t, os.WriteFile(filepath.Join(folder, name+".cose"), u.sign(t), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(folder, "c.cose"), []byte("no receipt"), 0o600))
	for range 2 {
		must(t, s.found(t.Context()))
		m, _, err := s.store.UpdateMemberOf(t.Context(), "pump-3")
		must(t, err)
		if m.Count != 6 || len(s.taken) != 3 {
			t.Errorf("%+v, %v", m, s.taken)
		}
	}
	u.Count = 7
	seventh := u.sign(t)
	u.Count = 8
	out, err := s.Receipts(t.Context(), lea, [][]byte{u.sign(t), seventh, seventh, []byte("x")})
	must(t, err)
	for i, want := range []Receipt{{"pump-3", 8, true, ""}, {"pump-3", 7, true, ""}, {"pump-3", 7, false, "this was said before"}, {"", 0, false, "this is no state of a device"}} {
		if out[i] != want {
			t.Errorf("receipt %d: %+v", i, out[i])
		}
	}
}
