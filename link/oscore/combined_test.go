// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/proto/coap"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCombined is the example of RFC 9668 section 3.4, both ways.
func TestCombined(t *testing.T) {
	message3 := unhex(t, "52d5535f3147e85f1cfacd9e78abf9e0a81bbf")
	whole := unhex(t, "44025d1f0000397493090001c0ff52d5535f3147e85f1cfacd9e78abf9e0a81bbf612f1092f1776f1c1668b3825e")
	alone := unhex(t, "44025d1f0000397493090001ff612f1092f1776f1c1668b3825e")
	got, err := AppendCombined([]byte("kept"), alone, message3, 32)
	if err != nil || !bytes.Equal(got, append([]byte("kept"), whole...)) {
		t.Errorf("%x, %v", got, err)
	}
	request, m3, cR, err := SplitCombined([]byte("kept"), whole)
	if err != nil || !bytes.Equal(request, append([]byte("kept"), alone...)) || !bytes.Equal(m3, message3) || !bytes.Equal(cR, []byte{1}) {
		t.Errorf("%x, %x, %x, %v", request, m3, cR, err)
	}
	if !Combined(whole) || Combined(alone) || Combined(nil) {
		t.Error("which of them has the option")
	}
	// A value is ignored, and the option goes.
	valued := unhex(t, "44025d1f0000397493090001c2abcdff52d5535f3147e85f1cfacd9e78abf9e0a81bbf612f1092f1776f1c1668b3825e")
	if request, _, _, err := SplitCombined(nil, valued); err != nil || !bytes.Equal(request, alone) {
		t.Errorf("%x, %v", request, err)
	}
}

// TestCombinedRules has a row for each rule of RFC 9668 section 3.
func TestCombinedRules(t *testing.T) {
	oscore, edhoc := option(coap.OSCOREOption, "\x09\x00\x01"), option(coap.EDHOC, "")
	payload := "\x43abc" + "ciphertext"
	for _, tt := range []struct {
		name string
		msg  []byte
		err  error
	}{
		{"as it should be", message(t, coap.POST, payload, oscore, edhoc), nil},
		{"in a response", message(t, coap.Changed, payload, oscore, edhoc), ErrMessage},
		{"no OSCORE option", message(t, coap.POST, payload, edhoc), ErrCombined},
		{"an OSCORE option without kid", message(t, coap.POST, payload, option(coap.OSCOREOption, "\x01\x00"), edhoc), ErrCombined},
		{"an OSCORE option that cannot be read", message(t, coap.POST, payload, option(coap.OSCOREOption, "\xff"), edhoc), ErrCombined},
		{"no EDHOC option", message(t, coap.POST, payload, oscore), ErrCombined},
		{"two EDHOC options", message(t, coap.POST, payload, oscore, edhoc, edhoc), ErrCombined},
		{"no payload", message(t, coap.POST, "", oscore, edhoc), ErrCombined},
		{"message_3 alone", message(t, coap.POST, "\x43abc", oscore, edhoc), ErrCombined},
		{"message_3 is no byte string", message(t, coap.POST, "\x63abcciphertext", oscore, edhoc), ErrCombined},
		{"C_R in front", message(t, coap.POST, "\x01"+payload, oscore, edhoc), ErrCombined},
		{"message_3 longer than the payload", message(t, coap.POST, "\x58\x40abc", oscore, edhoc), ErrCombined},
		{"a length that is not the shortest", message(t, coap.POST, "\x58\x03abcciphertext", oscore, edhoc), ErrCombined},
		{"a length that is not the shortest, in two bytes", message(t, coap.POST, "\x59\x00\x03abcciphertext", oscore, edhoc), ErrCombined},
		{"a length in four bytes", message(t, coap.POST, "\x5a\x00\x00\x00\x03abcciphertext", oscore, edhoc), ErrCombined},
		{"an indefinite length", message(t, coap.POST, "\x5f\x43abc\xffciphertext", oscore, edhoc), ErrCombined},
		{"in blocks that nobody put together", message(t, coap.POST, payload, oscore, edhoc, option(coap.Block1, "\x08")), ErrCombined},
		{"a block that is not the first", message(t, coap.POST, payload, oscore, edhoc, option(coap.Block1, "\x10")), ErrCombined},
		{"no CoAP", []byte("x"), ErrMessage},
	} {
		request, m3, cR, err := SplitCombined([]byte("kept"), tt.msg)
		if !errors.Is(err, tt.err) || err != nil && (string(request) != "kept" || m3 != nil || cR != nil) {
			t.Errorf("%s: %q, %x, %x, %v; want %v", tt.name, request, m3, cR, err, tt.err)
		}
	}
	// The client's.
	request := message(t, coap.POST, "ciphertext", oscore)
	message3 := []byte("\x43abc")
	for _, tt := range []struct {
		name              string
		request, message3 []byte
		limit             int
		err               error
	}{
		{"as it should be", request, message3, 14, nil},
		{"above MAX_UNFRAGMENTED_SIZE", request, message3, 13, ErrTooLarge},
		{"not protected", bolus(t), message3, 100, ErrMessage},
		{"a response", message(t, coap.Changed, "ciphertext", oscore), message3, 100, ErrMessage},
		{"combined already", message(t, coap.POST, payload, oscore, edhoc), message3, 100, ErrMessage},
		{"no message_3", request, nil, 100, ErrMessage},
		{"C_R in front", request, []byte("\x01\x43abc"), 100, ErrMessage},
		{"more behind message_3", request, []byte("\x43abcd"), 100, ErrMessage},
	} {
		if got, err := AppendCombined([]byte("kept"), tt.request, tt.message3, tt.limit); !errors.Is(err, tt.err) || err != nil && string(got) != "kept" {
			t.Errorf("%s: %q, %v; want %v", tt.name, got, err, tt.err)
		}
	}
	// An error is a plain 4.00.
	b, err := AppendError(nil, message(t, coap.POST, payload, edhoc), ErrCombined)
	var m coap.Message
	if err != nil || m.Parse(b) != nil || m.Code != coap.BadRequest {
		t.Errorf("%v, %v", m.Code, err)
	}
}

// TestCombinedRequest sends the first command with message_3, of each length
// that CBOR writes in its own way, and answers it.
func TestCombinedRequest(t *testing.T) {
	for _, size := range []int{2, 23, 24, 255, 256, 3000} {
		client, server := pair(t, nil)
		message3 := cbor.AppendBytes(nil, make([]byte, size))
		q, x := protectRequest(t, client, message(t, coap.GET, "", observe(0)))
		both, err := AppendCombined(nil, q, message3, 4000)
		if err != nil {
			t.Fatal(err)
		}
		var y Exchange
		if _, err := server.UnprotectRequest(nil, both, &y); err == nil {
			t.Error("not taken apart")
		}
		alone, m3, cR, err := SplitCombined(nil, both)
		if err != nil || !bytes.Equal(m3, message3) || !bytes.Equal(cR, client.senderID) || !bytes.Equal(alone, q) {
			t.Fatal(err)
		}
		answer := message(t, coap.Content, "x")
		if got, err := client.UnprotectResponse(nil, serve(t, server, alone, answer), x); err != nil || !bytes.Equal(got, answer) {
			t.Error(err)
		}
	}
}

func FuzzSplitCombined(f *testing.F) {
	f.Add(unhex(f, "44025d1f0000397493090001c0ff52d5535f3147e85f1cfacd9e78abf9e0a81bbf612f1092f1776f1c1668b3825e"))
	f.Add(message(f, coap.POST, "\x43abc", option(coap.OSCOREOption, "\x09\x00\x01"), option(coap.EDHOC, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		request, message3, cR, err := SplitCombined(nil, b)
		if err != nil {
			return
		}
		if _, err := cbor.Parse(message3); err != nil {
			t.Errorf("message_3 %x: %v", message3, err)
		}
		if v, ok := Identify(request); !ok || !bytes.Equal(v.KID, cR) || Combined(request) {
			t.Errorf("request %x", request)
		}
		again, err := AppendCombined(nil, request, message3, len(b))
		if err != nil {
			t.Fatal(err)
		}
		if r, m3, _, err := SplitCombined(nil, again); err != nil || !bytes.Equal(r, request) || !bytes.Equal(m3, message3) {
			t.Errorf("%x, %x, %v", r, m3, err)
		}
	})
}
