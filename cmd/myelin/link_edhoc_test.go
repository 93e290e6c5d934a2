// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudflare/circl/dh/x448"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
)

// rfcCredentials are those of RFC 9529 section 3: P-256, method 3, suite 2.
const rfcCredentials = `{
 "I": {"kid": -12, "p256": {
  "priv": "fb13adeb6518cee5f88417660841142e830a81fe334380a953406a1305e8706b",
  "x": "ac75e9ece3e50bfc8ed60399889522405c47bf16df96660a41298cb4307f7eb6",
  "y": "6e5de611388a4b8a8211334ac7d37ecb52a387d257e6db3c2a93df21ff3affc8",
  "ccs": "a2027734322d35302d33312d46462d45462d33372d33322d333908a101a5010202412b2001215820ac75e9ece3e50bfc8ed60399889522405c47bf16df96660a41298cb4307f7eb62258206e5de611388a4b8a8211334ac7d37ecb52a387d257e6db3c2a93df21ff3affc8"}},
 "R": {"kid": -19, "p256": {
  "priv": "72cc4761dbd4c78f758931aa589d348d1ef874a7e303ede2f140dcf3e6aa4aac",
  "x": "bbc34960526ea4d32e940cad2a234148ddc21791a12afbcbac93622046dd44f0",
  "y": "4519e257236b2a0ce2023f0931f1f386ca7afda64fcde0108c224c51eabf6072",
  "ccs": "a2026b6578616d706c652e65647508a101a501020241322001215820bbc34960526ea4d32e940cad2a234148ddc21791a12afbcbac93622046dd44f02258204519e257236b2a0ce2023f0931f1f386ca7afda64fcde0108c224c51eabf6072"}}
}`

func writeRFCCredentials(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(rfcCredentials), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// writeCredentials writes keys of both sides on every curve.
func writeCredentials(t *testing.T) string {
	t.Helper()
	type key struct {
		Priv string `json:"priv"`
		X    string `json:"x"`
		Y    string `json:"y,omitempty"`
		CCS  string `json:"ccs"`
	}
	random := rand.NewChaCha8([32]byte{5})
	file := map[string]map[string]any{}
	for kid, side := range []string{"I", "R"} {
		party := map[string]any{"kid": kid + 1}
		put := func(name string, k cose.Key) {
			c, err := edhoc.NewCCS(k.Public(), "test", []byte{byte(kid + 1)})
			if err != nil {
				t.Fatal(err)
			}
			party[name] = key{hex.EncodeToString(k.D), hex.EncodeToString(k.X), hex.EncodeToString(k.Y), hex.EncodeToString(c.Bytes())}
		}
		for name, curve := range map[string]cose.Curve{"p256": cose.P256, "p384": cose.P384, "x25519": cose.X25519, "ed25519": cose.CurveEd25519} {
			k, err := cose.GenerateKey(curve, random)
			if err != nil {
				t.Fatal(err)
			}
			put(name, k)
		}
		var secret, public x448.Key
		random.Read(secret[:])
		x448.KeyGen(&public, &secret)
		put("x448", cose.Key{Type: cose.OKP, Curve: cose.X448, X: public[:], D: secret[:]})
		ed := make([]byte, 57)
		random.Read(ed)
		_, x, err := edhoc.NewEd448Signer(ed)
		if err != nil {
			t.Fatal(err)
		}
		put("ed448", cose.Key{Type: cose.OKP, Curve: cose.CurveEd448, X: x, D: ed})
		file[side] = party
	}
	b, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// program is this program, as a file that can be run.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "myelin") // TestMain goes by the name
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestEDHOCPeers lets two processes shake hands, by every method and suite, with
// message_4 and without.
func TestEDHOCPeers(t *testing.T) {
	all, rfc, myelin := writeCredentials(t), writeRFCCredentials(t), program(t)
	for _, s := range edhoc.Suites() {
		for method := range 4 {
			for _, m4 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v method %d m4 %v", s, method, m4), func(t *testing.T) {
					t.Parallel()
					shakeHands(t, myelin, all, int(s), method, m4)
				})
			}
		}
	}
	t.Run("RFC 9529 section 3", func(t *testing.T) { shakeHands(t, myelin, rfc, 2, 3, true) })
}

func shakeHands(t *testing.T, myelin, creds string, suite, method int, m4 bool) {
	t.Helper()
	args := []string{"link", "edhoc-peer", "--method", strconv.Itoa(method), "--suite", strconv.Itoa(suite), "--creds", creds}
	if m4 {
		args = append(args, "--m4")
	}
	i := exec.CommandContext(t.Context(), myelin, append(args, "--role", "initiator")...)
	r := exec.CommandContext(t.Context(), myelin, append(args, "--role", "responder")...)
	// Each reads what the other writes, and the test reads along.
	var said [2]strings.Builder
	for n, pair := range [][2]*exec.Cmd{{i, r}, {r, i}} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		defer write.Close()
		pair[1].Stdin = read
		pair[0].Stdout = io.MultiWriter(&said[n], write)
		pair[0].Stderr = os.Stderr
	}
	for _, p := range []*exec.Cmd{i, r} {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*exec.Cmd{i, r} {
		if err := p.Wait(); err != nil {
			t.Errorf("%v: %v", p.Args, err)
		}
	}
	last := func(s string) []string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		return strings.Split(lines[len(lines)-1], " ")
	}
	a, b := last(said[0].String()), last(said[1].String())
	if len(a) != 5 || len(b) != 5 || a[0] != "oscore" || a[1] != b[1] || a[2] != b[2] || a[3] != b[4] || a[4] != b[3] || len(a[1]) != 32 && suite != 24 && suite != 25 && suite != 4 && suite != 5 {
		t.Errorf("initiator %q, responder %q", a, b)
	}
	want := 3
	if m4 {
		want = 4
	}
	if n := strings.Count(said[0].String()+said[1].String(), "\n") - 2; n != want {
		t.Errorf("%d messages, want %d", n, want)
	}
}

// An edhocPlay is one side in this process, whose lines the test writes and reads.
type edhocPlay struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Reader
	errs strings.Builder
	code chan int
}

func playEDHOC(t *testing.T, role, creds string) *edhocPlay {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &edhocPlay{t: t, in: inW, out: bufio.NewReader(outR), code: make(chan int, 1)}
	go func() {
		code := run(t.Context(), []string{"link", "edhoc-peer", "--role", role, "--method", "3", "--suite", "2", "--creds", creds}, inR, outW, &p.errs)
		inR.Close()
		outW.Close()
		p.code <- code
	}()
	return p
}

// say does not wait: what is too long is not read to its end.
func (p *edhocPlay) say(line string) { go io.WriteString(p.in, line+"\n") }

func (p *edhocPlay) hear() string {
	line, _ := p.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n")
}

// refuses waits for the end, which has to be an error that begins like this.
func (p *edhocPlay) refuses(want string) {
	p.t.Helper()
	line := p.hear()
	if !strings.HasPrefix(line, want) {
		p.in.Close()
	}
	if code := <-p.code; code != exitError || !strings.HasPrefix(line, want) || want == "" && line != "" || p.hear() != "" {
		p.t.Errorf("exit %d, %q; want %q", code, line, want)
	}
	if !strings.HasPrefix(p.errs.String(), "myelin: ") {
		p.t.Errorf("standard error has %q", p.errs.String())
	}
}

func TestEDHOCHostileLines(t *testing.T) {
	creds := writeRFCCredentials(t)
	first := func() string {
		i := playEDHOC(t, "initiator", creds)
		m := i.hear()
		i.in.Close()
		<-i.code
		return m
	}()
	for _, tt := range []struct{ name, line, want string }{
		{"another number", "2" + first[1:], "error 1 want message 1"},
		{"number with zeros", "01" + first[1:], "error 1 want message 1"},
		{"no number", first[2:], "error 1 want message 1"},
		{"empty line", "", "error 1 want message 1"},
		{"no hex", "1 xyz", "error 1 message 1 is not in hex"},
		{"half a byte", "1 030", "error 1 message 1 is not in hex"},
		{"no message", "1 ", "error 1 message 1 is not in hex"},
		{"two spaces", "1  " + first[2:], "error 1 message 1 is not in hex"},
		{"too long", "1 " + strings.Repeat("00", edhoc.MaxMessage+10), "error 1 line too long"},
		{"longest", "1 " + strings.Repeat("00", edhoc.MaxMessage), "error 1 "},
		{"cut", first[:len(first)-2], "error 1 "},
		{"one byte more", first + "f6", "error 1 "},
		{"another suite", "1 0300" + first[6:], "error 2 supported suites: 2"},
		{"another method", "1 00" + first[4:], "error 1 "},
		{"their error", "error 1 no", ""},
		{"error message", "1 01626e6f", "error 1 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := playEDHOC(t, "responder", creds)
			r.say(tt.line)
			r.refuses(tt.want)
		})
	}
	t.Run("end of file", func(t *testing.T) {
		r := playEDHOC(t, "responder", creds)
		r.in.Close()
		r.refuses("")
	})
	t.Run("end of file in the middle", func(t *testing.T) {
		r := playEDHOC(t, "responder", creds)
		r.say(first)
		r.hear()
		r.in.Close()
		r.refuses("")
	})
	t.Run("end of file in a line", func(t *testing.T) {
		r := playEDHOC(t, "responder", creds)
		io.WriteString(r.in, first[:20])
		r.in.Close()
		r.refuses("error 1 ")
	})
	t.Run("message_1 twice", func(t *testing.T) {
		r := playEDHOC(t, "responder", creds)
		r.say(first)
		r.hear()
		r.say(first)
		r.refuses("error 1 want message 3")
	})
	t.Run("message_1 as message_3", func(t *testing.T) {
		r := playEDHOC(t, "responder", creds)
		r.say(first)
		r.hear()
		r.say("3" + first[1:])
		r.refuses("error 1 ")
	})
	t.Run("message_2 comes back", func(t *testing.T) {
		r := playEDHOC(t, "responder", creds)
		r.say(first)
		r.say("3" + r.hear()[1:])
		r.refuses("error 1 ")
	})
	t.Run("message_2 of another session", func(t *testing.T) {
		i, r := playEDHOC(t, "initiator", creds), playEDHOC(t, "responder", creds)
		i.hear()
		r.say(first)
		i.say(r.hear())
		i.refuses("error 1 ")
		r.in.Close()
		r.refuses("")
	})
	t.Run("message_3 of another session", func(t *testing.T) {
		i, r, s := playEDHOC(t, "initiator", creds), playEDHOC(t, "responder", creds), playEDHOC(t, "responder", creds)
		m1 := i.hear()
		r.say(m1)
		s.say(m1)
		i.say(r.hear())
		s.hear()
		s.say(i.hear())
		s.refuses("error 1 ")
		r.in.Close()
		r.refuses("")
	})
	t.Run("error message for message_2", func(t *testing.T) {
		i := playEDHOC(t, "initiator", creds)
		i.hear()
		i.say("2 020a")
		i.refuses("error 2 ")
	})
}

func TestEDHOCCredentials(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"no JSON", rfcCredentials, "{", "unexpected end"},
		{"no kid", `"kid": -19, `, "", `R: no "kid" that is an integer`},
		{"kid as text", `"kid": -19`, `"kid": "-19"`, `R: no "kid" that is an integer`},
		{"no such key", `"p256": {`, `"p521": {`, `I: no "p256", which suite 2 wants`},
		{"no ccs", `"ccs": "a2026b`, `"css": "a2026b`, `R: p256: no "ccs" in hex`},
		{"ccs with a byte more", `bf6072"}}`, `bf607200"}}`, "R: p256: ccs: edhoc: credential: cbor: byte 95: trailing bytes"},
		{"another x", `"x": "ac75`, `"x": "ac76`, "I: p256: x is not that of the ccs"},
		{"another y", `"y": "4519`, `"y": "4518`, "R: p256: y is not that of the ccs"},
		{"another private key", `"priv": "fb13`, `"priv": "fb14`, "I: p256: priv: not the private key of the ccs"},
		{"no private key", `"priv": "fb13`, `"prov": "fb13`, "I: p256: priv: not the private key of the ccs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(rfcCredentials, tt.old, tt.new, 1)
			if text == rfcCredentials {
				t.Fatal("nothing was replaced")
			}
			file := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs strings.Builder
			code := run(t.Context(), []string{"link", "edhoc-peer", "--role", "initiator", "--method", "3", "--suite", "2", "--creds", file}, strings.NewReader(""), &out, &errs)
			if code != exitError || out.Len() > 0 || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit %d, %q, %q; want %q", code, &out, errs.String(), tt.want)
			}
			for _, secret := range []string{"fb13adeb", "fb14adeb", "72cc4761"} {
				if strings.Contains(errs.String(), secret) {
					t.Error("a private key is in what was said")
				}
			}
		})
	}
}
