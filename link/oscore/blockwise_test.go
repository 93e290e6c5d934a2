// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/proto/coap"
)

func block1(num uint32, more bool, szx uint8) coap.Option {
	return coap.Option{Number: coap.Block1, Value: coap.Block{Num: num, More: more, SZX: szx}.Append(nil)}
}

func block2(num uint32, more bool, szx uint8) coap.Option {
	return coap.Option{Number: coap.Block2, Value: coap.Block{Num: num, More: more, SZX: szx}.Append(nil)}
}

// filler is n bytes of which each block differs.
func filler(n int) string {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = binary.BigEndian.AppendUint32(b, uint32(i))
	}
	return string(b[:n])
}

// talk runs a transfer between two contexts, with the handler behind them.
func talk(t testing.TB, client, server *Context, a *Assembler, tr *Transfer, szx uint8, handle func(whole []byte) []byte) ([]byte, int, error) {
	t.Helper()
	for n := 1; ; n++ {
		plain, err := tr.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		var x, y Exchange
		q, err := client.ProtectRequest(nil, plain, &x)
		if err != nil {
			t.Fatal(err)
		}
		received, err := server.UnprotectRequest(nil, q, &y)
		if err != nil {
			t.Fatal(err)
		}
		whole, answer, err := a.Add(string(server.RecipientID()), received, 0)
		if whole != nil {
			answer, err = AppendBlock(nil, received, handle(whole), szx)
		}
		if answer == nil {
			t.Fatal(err)
		}
		b, err := server.ProtectResponse(nil, answer, &y)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = client.UnprotectResponse(nil, b, &x); err != nil {
			t.Fatal(err)
		}
		got, done, err := tr.Receive(b)
		if done {
			return got, n, err
		}
	}
}

// TestTransfer sends bodies of any size in blocks of any size, and takes answers
// of any size, each block protected.
func TestTransfer(t *testing.T) {
	client, server := pair(t, nil)
	rapid.Check(t, func(r *rapid.T) {
		szx, other := uint8(rapid.IntRange(0, 6).Draw(r, "szx")), uint8(rapid.IntRange(0, 6).Draw(r, "server's szx"))
		size := rapid.IntRange(0, 600).Draw(r, "size")
		get := rapid.Bool().Draw(r, "get")
		var a Assembler
		if get {
			msg := message(t, coap.GET, "", option(coap.URIPath, "log"))
			tr, err := NewTransfer(msg, szx, nil, 600)
			if err != nil {
				r.Fatal(err)
			}
			got, n, err := talk(t, client, server, &a, tr, other, func([]byte) []byte {
				return message(t, coap.Content, filler(size), option(coap.ETag, "v1"))
			})
			if err != nil || !bytes.Equal(got, message(t, coap.Content, filler(size), option(coap.ETag, "v1"))) {
				r.Fatalf("%x, %v", got, err)
			}
			if want := max(1, (size+16<<other-1)/(16<<other)); n != want {
				r.Fatalf("%d requests; want %d", n, want)
			}
			return
		}
		msg := message(t, coap.PUT, filler(size), option(coap.URIPath, "update"))
		tr, err := NewTransfer(msg, szx, []byte{1, byte(size)}, 600)
		if err != nil {
			r.Fatal(err)
		}
		var whole []byte
		got, _, err := talk(t, client, server, &a, tr, other, func(w []byte) []byte {
			whole = w
			return message(t, coap.Changed, "")
		})
		var m coap.Message
		if err != nil || m.Parse(got) != nil || m.Code != coap.Changed {
			r.Fatalf("%x, %v", got, err)
		}
		if err := m.Parse(whole); err != nil || string(m.Payload) != filler(size) || m.Code != coap.PUT || string(m.Options.AppendPath(nil)) != "/update" {
			r.Fatalf("%x, %v", whole, err)
		}
		if len(a.bodies) != 0 {
			r.Fatal("a body is left")
		}
	})
}

// TestAssembler has what must not be put together.
func TestAssembler(t *testing.T) {
	b16 := filler(16)
	type step struct {
		peer    string
		msg     []byte
		at      time.Duration
		code    coap.Code // of the answer; 0 none
		payload string    // of what is whole
		err     error
	}
	put := func(payload string, options ...coap.Option) []byte { return message(t, coap.PUT, payload, options...) }
	tag := func(s string) coap.Option { return option(coap.RequestTag, s) }
	for name, steps := range map[string][]step{
		"in order":         {{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil}, {"p", put("end", block1(1, false, 0)), 0, 0, b16 + "end", nil}},
		"no blocks":        {{"p", put("all"), 0, 0, "all", nil}},
		"one block":        {{"p", put("all", block1(0, false, 0)), 0, 0, "all", nil}},
		"smaller on":       {{"p", put(filler(32), block1(0, true, 1)), 0, coap.Continue, "", nil}, {"p", put("end", block1(2, false, 0)), 0, 0, filler(32) + "end", nil}},
		"the middle first": {{"p", put(b16, block1(1, true, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock}},
		"one left out": {
			{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil},
			{"p", put(b16, block1(2, true, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock},
			{"p", put("end", block1(1, false, 0)), 0, 0, b16 + "end", nil}, // and nothing was lost by it
		},
		"one twice": {
			{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil},
			{"p", put(b16, block1(1, true, 0)), 0, coap.Continue, "", nil},
			{"p", put(b16, block1(1, true, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock},
		},
		"begun again": {
			{"p", put(strings.Repeat("a", 16), block1(0, true, 0)), 0, coap.Continue, "", nil},
			{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil},
			{"p", put("end", block1(1, false, 0)), 0, 0, b16 + "end", nil},
		},
		"of another peer":        {{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil}, {"q", put("end", block1(1, false, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock}},
		"of another body":        {{"p", put(b16, block1(0, true, 0), tag("a")), 0, coap.Continue, "", nil}, {"p", put("end", block1(1, false, 0), tag("b")), 0, coap.RequestEntityIncomplete, "", ErrBlock}},
		"without the tag":        {{"p", put(b16, block1(0, true, 0), tag("a")), 0, coap.Continue, "", nil}, {"p", put("end", block1(1, false, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock}},
		"of another resource":    {{"p", put(b16, option(coap.URIPath, "a"), block1(0, true, 0)), 0, coap.Continue, "", nil}, {"p", put("end", option(coap.URIPath, "b"), block1(1, false, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock}},
		"of another method":      {{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil}, {"p", message(t, coap.POST, "end", block1(1, false, 0)), 0, coap.RequestEntityIncomplete, "", ErrBlock}},
		"too late":               {{"p", put(b16, block1(0, true, 0)), 0, coap.Continue, "", nil}, {"p", put("end", block1(1, false, 0)), DefaultLifetime + 1, coap.RequestEntityIncomplete, "", ErrBlock}},
		"short, and more":        {{"p", put("short", block1(0, true, 0)), 0, coap.BadRequest, "", ErrBlock}},
		"longer than its size":   {{"p", put(filler(17), block1(0, false, 0)), 0, coap.BadRequest, "", ErrBlock}},
		"SZX 7":                  {{"p", put(b16, block1(0, true, 7)), 0, coap.BadRequest, "", ErrBlock}},
		"an option of 4 bytes":   {{"p", put(b16, option(coap.Block1, "\x00\x00\x00\x08")), 0, coap.BadRequest, "", ErrBlock}},
		"a size that is too big": {{"p", put(b16, block1(0, true, 0), option(coap.Size1, "\x00\x65")), 0, coap.RequestEntityTooLarge, "", ErrTooLarge}},
		"too big in the end": {
			{"p", put(filler(64), block1(0, true, 2)), 0, coap.Continue, "", nil},
			{"p", put(filler(37), block1(1, false, 2)), 0, coap.RequestEntityTooLarge, "", ErrTooLarge},
			{"p", put("end", block1(1, false, 2)), 0, coap.RequestEntityIncomplete, "", ErrBlock},
		},
		"a response": {{"p", message(t, coap.Changed, "", block1(0, true, 0)), 0, 0, "", ErrMessage}},
		"no CoAP":    {{"p", []byte("x"), 0, 0, "", ErrMessage}},
	} {
		a := Assembler{MaxBody: 100}
		for i, s := range steps {
			whole, answer, err := a.Add(s.peer, s.msg, s.at)
			var m coap.Message
			if !errors.Is(err, s.err) {
				t.Errorf("%s, step %d: %v; want %v", name, i, err, s.err)
			}
			if whole != nil {
				if err := m.Parse(whole); err != nil || string(m.Payload) != s.payload {
					t.Errorf("%s, step %d: %q, %v", name, i, m.Payload, err)
				}
				if _, ok := m.Options.Get(coap.Block1); ok {
					t.Errorf("%s, step %d: Block1 is left", name, i)
				}
			} else if s.payload != "" {
				t.Errorf("%s, step %d: nothing is whole", name, i)
			}
			m = coap.Message{}
			if answer != nil && m.Parse(answer) != nil || m.Code != s.code {
				t.Errorf("%s, step %d: answer %v; want %v", name, i, m.Code, s.code)
			}
		}
	}
}

// TestFlood floods an outer assembler: it stays within its bounds, the one behind
// the decryption is not disturbed, and a body that a proxy cut is decrypted.
func TestFlood(t *testing.T) {
	client, server := pair(t, nil)
	a := Assembler{MaxBody: 2048, MaxBodies: 4}
	for i := range 5000 {
		tag := binary.BigEndian.AppendUint16(nil, uint16(i))
		for n := range uint32(1 + i%4) {
			_, _, err := a.Add(fmt.Sprint("attacker", i%7), message(t, coap.POST, filler(1024), option(coap.OSCOREOption, "\x09\x00\x01"), block1(n, true, 6), option(coap.RequestTag, string(tag))), time.Duration(i))
			if want := n >= 2; errors.Is(err, ErrTooLarge) != want && !errors.Is(err, ErrBlock) {
				t.Fatalf("block %d: %v", n, err)
			}
		}
		held := 0
		for _, b := range a.bodies {
			held += cap(b.bytes)
		}
		if len(a.bodies) > 4 || held > 4*2*2048 {
			t.Fatalf("%d bodies, %d bytes", len(a.bodies), held)
		}
	}
	// A proxy cuts a protected request, which outer blocks do not change.
	q, x := protectRequest(t, client, message(t, coap.PUT, filler(300), option(coap.URIPath, "update")))
	proxy, err := NewTransfer(q, 2, []byte("p"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	var whole []byte
	for whole == nil {
		part, err := proxy.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		var y Exchange
		if _, err := server.UnprotectRequest(nil, part, &y); err == nil {
			t.Fatal("a part was taken for the whole")
		}
		var answer []byte
		if whole, answer, err = a.Add("proxy", part, time.Hour); err != nil {
			t.Fatal(err)
		}
		if whole == nil {
			if _, _, err := proxy.Receive(answer); err != nil {
				t.Fatal(err)
			}
		}
	}
	answer := message(t, coap.Changed, "")
	if got, err := client.UnprotectResponse(nil, serve(t, server, whole, answer), x); err != nil || !bytes.Equal(got, answer) {
		t.Error(err)
	}
}

// TestOuterAnswer has a proxy cut a protected answer: it is put together before it
// is decrypted (RFC 8613 section 8.4.1), up to the limit.
func TestOuterAnswer(t *testing.T) {
	for _, limit := range []int{4096, 100} {
		client, server := pair(t, nil)
		q, x := protectRequest(t, client, message(t, coap.GET, "", option(coap.URIPath, "log")))
		answer := message(t, coap.Content, filler(300))
		protected := serve(t, server, q, answer)
		var p coap.Message
		if err := p.Parse(protected); err != nil {
			t.Fatal(err)
		}
		tr, err := NewTransfer(q, 2, nil, limit)
		if err != nil {
			t.Fatal(err)
		}
		var whole []byte
		for n, done := 0, false; !done; n++ {
			part := p
			part.Payload = p.Payload[n*64 : min(n*64+64, len(p.Payload))]
			part.Options = withOptions(p.Options, nil, block2(uint32(n), n*64+64 < len(p.Payload), 2))
			b, err := part.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			asked, err := tr.Next(nil)
			var m coap.Message
			if err != nil || m.Parse(asked) != nil {
				t.Fatal(err)
			}
			if v, ok := Identify(append(asked, 0xff, 0)); n > 0 && (len(m.Payload) > 0 || !ok || !bytes.Equal(v.PartialIV, x.piv[:x.pivSize])) {
				t.Errorf("block %d is asked for with %x", n, asked)
			}
			if whole, done, err = tr.Receive(b); err != nil && (limit > 300 || !errors.Is(err, ErrTooLarge)) {
				t.Fatal(err)
			}
		}
		if limit < 300 {
			continue
		}
		if got, err := client.UnprotectResponse(nil, whole, x); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("%v", err)
		}
	}
}

// TestMixed has an attacker answer one body's block with another's: what is put
// together is refused by the client, or is what the server sent (RFC 9175 section
// 3.1).
func TestMixed(t *testing.T) {
	get := message(t, coap.GET, "", option(coap.URIPath, "log"))
	v := func(etag string, num uint32, more bool, payload string) []byte {
		return message(t, coap.Content, payload, option(coap.ETag, etag), block2(num, more, 0))
	}
	b16 := filler(16)
	for name, tt := range map[string]struct {
		answers [][]byte
		err     error
	}{
		"as it should be":             {[][]byte{v("a", 0, true, b16), v("a", 1, false, "end")}, nil},
		"changed in between":          {[][]byte{v("a", 0, true, b16), v("b", 1, false, "end")}, ErrBlock},
		"the ETag is gone":            {[][]byte{v("a", 0, true, b16), message(t, coap.Content, "end", block2(1, false, 0))}, ErrBlock},
		"one left out":                {[][]byte{v("a", 0, true, b16), v("a", 2, false, "end")}, ErrBlock},
		"the first again":             {[][]byte{v("a", 0, true, b16), v("a", 0, true, b16)}, ErrBlock},
		"not the first":               {[][]byte{v("a", 1, true, b16)}, ErrBlock},
		"an error in between":         {[][]byte{v("a", 0, true, b16), message(t, coap.NotFound, "")}, ErrBlock},
		"no block in between":         {[][]byte{v("a", 0, true, b16), message(t, coap.Content, "x", option(coap.ETag, "a"))}, ErrBlock},
		"short, and more":             {[][]byte{v("a", 0, true, "x")}, ErrBlock},
		"longer than its size":        {[][]byte{v("a", 0, false, filler(17))}, ErrBlock},
		"SZX 7":                       {[][]byte{message(t, coap.Content, b16, block2(0, true, 7))}, ErrBlock},
		"without end":                 {[][]byte{v("a", 0, true, b16), v("a", 1, true, b16), v("a", 2, true, b16)}, ErrTooLarge},
		"2.31 to what had no body":    {[][]byte{message(t, coap.Continue, "", block1(0, true, 0))}, ErrBlock},
		"a request":                   {[][]byte{get}, ErrMessage},
		"an error, and nothing more":  {[][]byte{message(t, coap.NotFound, "")}, nil},
		"an answer without any block": {[][]byte{message(t, coap.Content, "all")}, nil},
	} {
		tr, err := NewTransfer(get, 0, nil, 40)
		if err != nil {
			t.Fatal(err)
		}
		var done bool
		for i, a := range tt.answers {
			if _, err = tr.Next(nil); err != nil {
				t.Fatal(name, err)
			}
			_, done, err = tr.Receive(a)
			if done != (i == len(tt.answers)-1) {
				t.Errorf("%s: done %v after %d", name, done, i)
			}
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", name, err, tt.err)
		}
		if _, err := tr.Next(nil); !errors.Is(err, ErrBlock) {
			t.Errorf("%s: goes on when it is done", name)
		}
	}
	// And while it sends.
	for name, tt := range map[string]struct {
		answer []byte
		err    error
		done   bool
	}{
		"as it should be":             {message(t, coap.Continue, "", block1(0, true, 1)), nil, false},
		"smaller ones are wanted":     {message(t, coap.Continue, "", block1(0, true, 0)), nil, false},
		"larger ones are wanted":      {message(t, coap.Continue, "", block1(0, true, 2)), ErrBlock, true},
		"of another block":            {message(t, coap.Continue, "", block1(1, true, 1)), ErrBlock, true},
		"without a block":             {message(t, coap.Continue, ""), ErrBlock, true},
		"done before all was sent":    {message(t, coap.Changed, ""), ErrBlock, true},
		"refused":                     {message(t, coap.RequestEntityTooLarge, ""), nil, true},
		"a challenge, to begin again": {message(t, coap.Unauthorized, "", option(coap.Echo, "e")), nil, true},
	} {
		tr, err := NewTransfer(message(t, coap.PUT, filler(100)), 1, []byte{1}, 40)
		if err != nil {
			t.Fatal(err)
		}
		first, err := tr.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, done, err := tr.Receive(tt.answer); !errors.Is(err, tt.err) || done != tt.done {
			t.Errorf("%s: %v, done %v", name, err, done)
		}
		if tt.done {
			continue
		}
		second, err := tr.Next(nil)
		var m, n coap.Message
		if err != nil || m.Parse(first) != nil || n.Parse(second) != nil {
			t.Fatal(err)
		}
		o, _ := n.Options.Get(coap.Block1)
		b, _ := coap.ParseBlock(o.Value)
		if int(b.Num)*b.Size() != 32 || !bytes.Equal(n.Payload, []byte(filler(100))[32:32+b.Size()]) || n.ID != m.ID+1 {
			t.Errorf("%s: block %v of %q", name, b, n.Payload)
		}
		if o, _ := n.Options.Get(coap.RequestTag); !bytes.Equal(o.Value, []byte{1}) {
			t.Errorf("%s: Request-Tag %x", name, o.Value)
		}
	}
	// The answer to a body in blocks is in blocks: the Request-Tag goes on.
	tr, err := NewTransfer(message(t, coap.PUT, filler(20)), 0, []byte{1}, 40)
	if err != nil {
		t.Fatal(err)
	}
	var last []byte
	for _, a := range [][]byte{message(t, coap.Continue, "", block1(0, true, 0)), v("a", 0, true, b16), v("a", 1, false, "end")} {
		if last, err = tr.Next(nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := tr.Receive(a); err != nil {
			t.Fatal(err)
		}
	}
	if want := message(t, coap.PUT, "", block2(1, false, 0), option(coap.RequestTag, "\x01")); !bytes.Equal(last[4:], want[4:]) {
		t.Errorf("%x; want %x", last, want)
	}
	if _, err := NewTransfer(get, 7, nil, 0); err == nil {
		t.Error("SZX 7")
	}
	if _, err := NewTransfer(get, 0, make([]byte, 9), 0); err == nil {
		t.Error("a Request-Tag of nine bytes")
	}
	if _, err := NewTransfer(message(t, coap.Content, ""), 0, nil, 0); err == nil {
		t.Error("a response")
	}
}

// TestAppendBlock cuts only what can be made again.
func TestAppendBlock(t *testing.T) {
	long := message(t, coap.Content, filler(100))
	for name, tt := range map[string]struct {
		request []byte
		err     error
	}{
		"GET":                                {message(t, coap.GET, ""), nil},
		"a block of it":                      {message(t, coap.GET, "", block2(3, false, 1)), nil},
		"a block behind its end":             {message(t, coap.GET, "", block2(4, false, 1)), ErrBlock},
		"the highest number":                 {message(t, coap.GET, "", block2(coap.MaxBlockNum, false, 6)), ErrBlock},
		"SZX 7":                              {message(t, coap.GET, "", block2(0, false, 7)), ErrBlock},
		"POST: would be done for each block": {message(t, coap.POST, ""), ErrTooLarge},
		"a response":                         {long, ErrMessage},
	} {
		got, err := AppendBlock([]byte("kept"), tt.request, long, 1)
		if !errors.Is(err, tt.err) || err != nil && string(got) != "kept" {
			t.Errorf("%s: %v; want %v", name, err, tt.err)
		}
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add(message(f, coap.PUT, filler(16), block1(0, true, 0)), message(f, coap.PUT, "x", block1(1, false, 0)))
	f.Add(message(f, coap.GET, "", block2(1, false, 2)), message(f, coap.Content, filler(100), block2(0, true, 0)))
	f.Fuzz(func(t *testing.T, p, q []byte) {
		a := Assembler{MaxBody: 64, MaxBodies: 2}
		for _, msg := range [][]byte{p, q, p, q} {
			whole, _, err := a.Add("p", msg, 0)
			if err == nil && whole != nil {
				var m coap.Message
				if err := m.Parse(whole); err != nil {
					t.Fatal(err)
				}
			}
			if len(a.bodies) > 2 {
				t.Fatal(len(a.bodies))
			}
		}
		if b, err := AppendBlock(nil, p, q, 1); err == nil {
			var m coap.Message
			if m.Parse(b) != nil || len(m.Payload) > 32 {
				t.Fatalf("%x", b)
			}
		}
		tr, err := NewTransfer(p, 0, nil, 64)
		if err != nil {
			return
		}
		for range 3 {
			if _, err := tr.Next(nil); err != nil {
				return
			}
			whole, _, _ := tr.Receive(slices.Clone(q))
			var m coap.Message
			if whole != nil && m.Parse(whole) != nil {
				t.Fatalf("%x", whole)
			}
		}
	})
}
