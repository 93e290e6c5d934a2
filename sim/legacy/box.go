// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// A box is a device that is asked in lines: a word that says what for, and words behind a
// blank each. Bytes are hexadecimal. It answers with a line that begins with "ok", or with "no"
// and why.
type box struct {
	port
	verbs map[string]func(ctx context.Context, args []string) string
}

const maxWords = 8 // of a line; the rest of it is the last one

func (x *box) serve(cfg Config, verbs map[string]func(context.Context, []string) string) error {
	x.verbs = verbs
	return x.open(cfg, lines, x.line)
}

// inner is what a device that lies before x is given: what it does stands in the journal of
// x, too.
func (x *box) inner(cfg Config) Config {
	return Config{Now: cfg.Now, Rand: cfg.Rand, Noted: x.noted}
}

func (x *box) noted(e Entry) { x.note("implant: %s", e.What) }

// adopt has a device lie before x that lay before another one.
func (x *box) adopt(inner *port) {
	inner.mu.Lock()
	defer inner.mu.Unlock()
	inner.cfg.Noted = x.noted
}

func (x *box) line(ctx context.Context, b []byte) [][]byte {
	words := strings.SplitN(strings.TrimRight(string(b), "\r"), " ", maxWords)
	do := x.verbs[words[0]]
	if do == nil {
		return [][]byte{[]byte("no such thing")}
	}
	return [][]byte{[]byte(do(ctx, words[1:]))}
}

// given returns what stands at a place, or "".
func given(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// bytesAt reads bytes at a place.
func bytesAt(args []string, i int) ([]byte, bool) {
	b, err := hex.DecodeString(given(args, i))
	return b, err == nil
}

func ok(b []byte) string { return "ok " + hex.EncodeToString(b) }

// The key of the maker of programs. Its private part is at the maker's, who is not in
// this room but for what he signed.
var makersKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x4d}, ed25519.SeedSize))

// GenuineImage is what the maker released: a signature of 64 bytes, and the program behind it.
func GenuineImage() []byte {
	program := []byte("release 7.2\n")
	return append(ed25519.Sign(makersKey, program), program...)
}

// genuine reports whether the maker signed an image.
func genuine(image []byte) bool {
	n := ed25519.SignatureSize
	return len(image) > n && ed25519.Verify(makersKey.Public().(ed25519.PublicKey), image[n:], image[:n])
}

// A FirmwareState is what runs in a device.
type FirmwareState struct {
	Digest  [8]byte // front of SHA-256
	Genuine bool    // the maker signed it
	Runs    int     // how many commands it has sent to the implant
}

// maxCommands is how many commands of a program are run.
const maxCommands = 16

// run is a device starting a program. Behind the signature it is lines, of which those that begin
// with "send" have a message to the implant that lies before it.
func (f *FirmwareState) run(ctx context.Context, image []byte, implant Device) {
	h := sha256.Sum256(image)
	f.Digest, f.Genuine = [8]byte(h[:8]), genuine(image)
	if len(image) < ed25519.SignatureSize {
		return
	}
	n := 0
	for line := range strings.Lines(string(image[ed25519.SignatureSize:])) {
		text, found := strings.CutPrefix(strings.TrimSpace(line), "send ")
		b, err := hex.DecodeString(text)
		if !found || err != nil || n == maxCommands {
			continue
		}
		n++
		implant.Handle(ctx, b)
		f.Runs++
	}
}

// alteredImage is a genuine image with commands behind it.
func alteredImage(messages ...[]byte) []byte {
	b := GenuineImage()
	for _, m := range messages {
		b = append(append(b, "send "...), hex.EncodeToString(m)...)
		b = append(b, '\n')
	}
	return b
}
