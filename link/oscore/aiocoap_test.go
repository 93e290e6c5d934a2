// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/proto/coap"
)

// aiocoapPeer is a peer on standard input and output. For each algorithm it
// answers one request, and then asks itself.
const aiocoapPeer = `
import sys
from aiocoap import Message, oscore, POST, CHANGED, NON, ACK
class Context(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):
    authenticated_claims = []
    echo_recovery = None
    sender_sequence_number = 0
    def __init__(self, name):
        self.alg_aead, self.hashfun = oscore.algorithms[name], oscore.hashfunctions["sha256"]
        self.sender_id, self.recipient_id, self.id_context = b"\2", b"\1", b"ward"
        self.derive_keys(b"salt", b"0123456789abcdef")
        self.recipient_replay_window = oscore.ReplayWindow(32, lambda: None)
        self.recipient_replay_window.initialize_empty()
    def post_seqnoincrease(self): pass
def read():
    return Message.decode(bytes.fromhex(sys.stdin.readline()))
def write(m, mtype):
    if hasattr(m, "direction"):
        from aiocoap.message import Direction
        m.direction = Direction.OUTGOING
    m.mtype, m.mid, m.token = mtype, 7, b"\xaa"
    print(m.encode().hex(), flush=True)
for name in sys.argv[1:]:
    c = Context(name)
    plain, id = c.unprotect(read())
    assert plain.code is POST and plain.opt.uri_path == ("therapy",) and plain.payload == b"2 U", plain
    write(c.protect(Message(code=CHANGED, payload=b"given"), id)[0], ACK)
    q, id = c.protect(Message(code=POST, uri_path=["limits"], payload=b"ask"))
    write(q, NON)
    plain, _ = c.unprotect(read(), id)
    assert plain.code is CHANGED and plain.payload == b"told", plain
    print("good", flush=True)
`

// TestAiocoap talks to aiocoap under every AEAD that both have, in both roles.
func TestAiocoap(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), python, "-c", "from aiocoap import oscore").CombinedOutput(); err != nil {
		t.Skipf("python3 has no aiocoap with OSCORE: pip install aiocoap[oscore]: %s", bytes.TrimSpace(out[bytes.LastIndexByte(bytes.TrimSpace(out), '\n')+1:]))
	}
	algs := []cose.Algorithm{
		cose.AESCCM16_64_128, cose.AESCCM16_64_256, cose.AESCCM64_64_128, cose.AESCCM64_64_256, cose.AESCCM16_128_128, cose.AESCCM16_128_256,
		cose.AESCCM64_128_128, cose.AESCCM64_128_256, cose.ChaCha20Poly1305, cose.A128GCM, cose.A192GCM, cose.A256GCM,
	}
	args := []string{"-c", aiocoapPeer}
	for _, a := range algs {
		args = append(args, a.String())
	}
	cmd := exec.CommandContext(t.Context(), python, args...)
	var trouble strings.Builder
	cmd.Stderr = &trouble
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	read := func() string {
		t.Helper()
		if !lines.Scan() {
			_ = cmd.Wait()
			t.Fatal(trouble.String())
		}
		return lines.Text()
	}
	for _, alg := range algs {
		c, _ := pair(t, func(c, _ *Params) { c.AEAD, c.IDContext = alg, []byte("ward") })
		q, x := protectRequest(t, c, bolus(t))
		fmt.Fprintf(in, "%x\n", q)
		got, err := c.UnprotectResponse(nil, unhex(t, read()), x)
		if want := message(t, coap.Changed, "given"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v; want %x", alg, got, err, want)
		}
		var y Exchange
		got, err = c.UnprotectRequest(nil, unhex(t, read()), &y)
		var m coap.Message
		if err != nil || m.Parse(got) != nil || string(m.Payload) != "ask" || string(m.Options.AppendPath(nil)) != "/limits" {
			t.Fatalf("%v: %x, %v", alg, got, err)
		}
		b, err := c.ProtectResponse(nil, message(t, coap.Changed, "told"), &y)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(in, "%x\n", b)
		if got := read(); got != "good" {
			t.Errorf("%v: %s", alg, got)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, trouble.String())
	}
}
