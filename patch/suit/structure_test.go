// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// envelopeOf puts a manifest, in diagnostic notation, into an envelope that is not signed.
func envelopeOf(t *testing.T, manifest, more string) []byte {
	t.Helper()
	m := parseDiag(t, "<< "+manifest+" >>").content()
	e := Envelope{manifest: m, Digest: Digest{Alg: cose.SHA256}.wrapped(m)}
	b := e.Append(nil)
	if more != "" {
		n := parseDiag(t, "{"+more+"}")
		b[2] += byte(len(n.items) / 2) // the pairs of the map
		for _, x := range n.items {
			b = x.encode(b)
		}
	}
	return b
}

// TestStructure has a row for each rule of the drafts that an envelope can break:
// what is wrong, where that is, and the words about it.
func TestStructure(t *testing.T) {
	const head, two = "{1:1, 2:0, 3:<<{2:[[h'00']]", "{1:1, 2:0, 3:<<{2:[[h'00'],[h'01']]"
	install := func(s string) string { return head + "}>>, 20:<<" + s + ">>}" }
	parameter := func(s string) string { return install("[20,{" + s + "}]") }
	// Of what is encrypted all is right but what a row is about.
	const iv, cek = "5:h'000000000000000000000000'", "[[h'',{1:-3},h'" + "000000000000000000000000000000000000000000000000" + "']]"
	encrypted := func(s string) string { return parameter("19:<<96([" + s + "])>>") }
	const info = "install[0]/encryption-info/COSE_Encrypt"
	deep := "[14,0]"
	for range maxNesting + 1 {
		deep = "[32,<<" + deep + ">>]"
	}
	for _, x := range []struct {
		name, manifest, more, path string
		err                        error
	}{
		{"version 2", "{1:2, 2:0, 3:<<{2:[[h'00']]}>>}", "", "manifest", ErrUnsupported},
		{"no version", "{2:0, 3:<<{2:[[h'00']]}>>, 4:\"x\"}", "", "manifest", ErrStructure},
		{"no sequence number", "{1:1, 3:<<{2:[[h'00']]}>>, 4:\"x\"}", "", "manifest", ErrStructure},
		{"no common", "{1:1, 2:0, 4:\"x\"}", "", "manifest", ErrStructure},
		{"nothing but a version", "{1:1}", "", "manifest", ErrStructure},
		{"unknown label", head + "}>>, 10:0}", "", "manifest", ErrUnsupported},
		{"custom label", head + "}>>, -1:0}", "", "manifest", ErrUnsupported},
		{"no components", "{1:1, 2:0, 3:<<{}>>}", "", "manifest/common", ErrStructure},
		{"empty components", "{1:1, 2:0, 3:<<{2:[]}>>}", "", "manifest/common", ErrStructure},
		{"component without segments", "{1:1, 2:0, 3:<<{2:[[]]}>>}", "", "manifest/common", ErrStructure},
		{"component that is text", "{1:1, 2:0, 3:<<{2:[[\"a\"]]}>>}", "", "manifest/common", cbor.ErrKind},
		{"a component twice", "{1:1, 2:0, 3:<<{2:[[h'00'],[h'00']]}>>}", "", "manifest/common", ErrStructure},
		{"65 components", "{1:1, 2:0, 3:<<{2:[" + strings.Repeat("[h'00'],", 65) + "]}>>}", "", "manifest/common", ErrLimit},
		{"a long component", "{1:1, 2:0, 3:<<{2:[[h'" + strings.Repeat("00", 257) + "']]}>>}", "", "manifest/common", ErrLimit},
		{"a dependency that is nowhere", "{1:1, 2:0, 3:<<{1:{1:{}}, 2:[[h'00']]}>>}", "", "manifest/common", ErrStructure},
		{"metadata of a dependency", "{1:1, 2:0, 3:<<{1:{0:{2:0}}, 2:[[h'00']]}>>}", "", "manifest/common", ErrUnsupported},
		{"unknown in common", head + ", 5:0}>>}", "", "manifest/common", ErrUnsupported},
		{"common not in a string", "{1:1, 2:0, 3:{2:[[h'00']]}}", "", "manifest", cbor.ErrKind},
		{"a fetch in the shared sequence", head + ", 4:<<[21,0]>>}>>}", "", "manifest/common/shared-sequence[0]", ErrStructure},
		{"a maker's parameter in the shared sequence", head + ", 4:<<[20,{-1:0}]>>}>>}", "", "manifest/common/shared-sequence[0]/parameter -1", ErrStructure},
		{"empty sequence", install("[]"), "", "install", ErrStructure},
		{"half a command", install("[3,15,1]"), "", "install", ErrStructure},
		{"unknown command", install("[3,15, 99,0]"), "", "install[1]", ErrUnsupported},
		{"custom command", install("[-257,0]"), "", "install[0]", ErrUnsupported},
		{"policy of five bits", install("[3,16]"), "", "install[0]", ErrStructure},
		{"no such component", install("[12,1]"), "", "install[0]", ErrStructure},
		{"no such component in a list", install("[12,[0,1]]"), "", "install[0]", ErrStructure},
		{"component index false", install("[12,null]"), "", "install[0]", cbor.ErrKind},
		{"component index that is text", install("[12,\"0\"]"), "", "install[0]", cbor.ErrKind},
		{"two components and no index", two + "}>>, 20:<<[3,15]>>}", "", "install", ErrStructure},
		{"one way to try", install("[15,[<<[14,0]>>]]"), "", "install[0]", ErrStructure},
		{"nil that is not last", install("[15,[null,<<[14,0]>>]]"), "", "install[0]", cbor.ErrKind},
		{"unknown command, tried", install("[15,[<<[14,0]>>,<<[14,0,99,0]>>]]"), "", "install[0]/try-each[1][1]", ErrUnsupported},
		{"nested too deep", install(deep), "", "install[0]" + strings.Repeat("/run-sequence[0]", maxNesting) + "/run-sequence", ErrLimit},
		{"1025 commands", install("[" + strings.Repeat("14,0,", 1025) + "]"), "", "install", ErrLimit},
		{"1025 commands in two sections", head + "}>>, 7:<<[" + strings.Repeat("14,0,", 1024) + "]>>, 20:<<[14,0]>>}", "", "install", ErrLimit},
		{"no parameters", parameter(""), "", "install[0]", ErrStructure},
		{"unknown parameter", parameter("99:0"), "", "install[0]/parameter 99", ErrUnsupported},
		{"UUID of 15 bytes", parameter("1:h'" + strings.Repeat("00", 15) + "'"), "", "install[0]/vendor-identifier", ErrStructure},
		{"class that is a number", parameter("2:112(h'01')"), "", "install[0]/class-identifier", cbor.ErrKind},
		{"digest not in a string", parameter("3:[-16,h'']"), "", "install[0]/image-digest", cbor.ErrKind},
		{"digest too short", parameter("3:<<[-16,h'00']>>"), "", "install[0]/image-digest/digest", ErrStructure},
		{"digest by MD5", parameter("3:<<[-3,h'00']>>"), "", "install[0]/image-digest/digest", ErrUnsupported},
		{"digest by a number beyond all", parameter("3:<<[4294967280,h'00']>>"), "", "install[0]/image-digest/digest", ErrUnsupported},
		{"digest of three", parameter("3:<<[-16,h'00',0]>>"), "", "install[0]/image-digest/digest", ErrStructure},
		{"negative size", parameter("14:-1"), "", "install[0]/image-size", cbor.ErrKind},
		{"no URI", parameter("21:\"\""), "", "install[0]/uri", ErrLimit},
		{"soft failure 1", parameter("13:1"), "", "install[0]/soft-failure", cbor.ErrKind},
		{"version of nothing", parameter("28:<<[3,[]]>>"), "", "install[0]/version/match", ErrStructure},
		{"version alpha", parameter("28:<<[3,[-3]]>>"), "", "install[0]/version/match", ErrStructure},
		{"comparison 6", parameter("28:<<[6,[1]]>>"), "", "install[0]/version/match", ErrUnsupported},
		{"wait for nothing", parameter("29:<<{}>>"), "", "install[0]/wait-info/events", ErrStructure},
		{"wait for 10", parameter("29:<<{10:0}>>"), "", "install[0]/wait-info/events", ErrUnsupported},
		{"wait for midnight", parameter("29:<<{6:86400}>>"), "", "install[0]/wait-info/events", ErrStructure},
		{"wait for the eighth day", parameter("29:<<{7:7}>>"), "", "install[0]/wait-info/events", ErrStructure},
		{"wait for a version of nobody", parameter("29:<<{4:[h'00',[]]}>>"), "", "install[0]/wait-info/events", ErrStructure},
		{"encrypted with nothing", encrypted("h'',{},null," + cek), "", info, ErrUnsupported},
		{"encrypted, not tagged", parameter("19:<<[<<{1:1}>>,{" + iv + "},null," + cek + "]>>"), "", info, ErrStructure},
		{"no recipients", encrypted("<<{1:1}>>,{" + iv + "},null,[]"), "", info, ErrStructure},
		{"algorithm that is not protected", encrypted("h'',{1:1," + iv + "},null," + cek), "", info, ErrStructure},
		{"IV too short", encrypted("<<{1:1}>>,{5:h'00'},null," + cek), "", info, ErrStructure},
		{"protected parameters of CTR", encrypted("<<{1:-65534}>>,{5:h'00000000000000000000000000000000'},null," + cek), "", info, ErrStructure},
		{"ciphertext in it", encrypted("<<{1:1}>>,{" + iv + "},h''," + cek), "", info, ErrUnsupported},
		{"critical parameters", encrypted("<<{1:1,2:[1]}>>,{" + iv + "},null," + cek), "", info, ErrUnsupported},
		{"an algorithm twice", encrypted("<<{1:1}>>,{1:1," + iv + "},null," + cek), "", info, ErrStructure},
		{"no COSE_recipient", encrypted("<<{1:1}>>,{" + iv + "},null,[[h'',{1:-3}]]"), "", info, ErrStructure},
		{"key for nobody", encrypted("<<{1:1}>>,{" + iv + "},null,[[h'',{1:-6},h'']]"), "", info, ErrUnsupported},
		{"key of another length", encrypted("<<{1:1}>>,{" + iv + "},null,[[h'',{1:-3},h'00']]"), "", info, ErrStructure},
		{"key wrap that protects", encrypted("<<{1:1}>>,{" + iv + "},null," + strings.Replace(cek, "h'',{1:-3}", "<<{4:h'00'}>>,{1:-3}", 1)), "", info, ErrStructure},
		{"no ephemeral key", encrypted("<<{1:1}>>,{" + iv + "},null," + strings.Replace(cek, "h'',{1:-3}", "<<{1:-29}>>,{}", 1)), "", info, ErrStructure},
		{"ephemeral key that is none", encrypted("<<{1:1}>>,{" + iv + "},null," + strings.Replace(cek, "h'',{1:-3}", "<<{1:-29}>>,{-1:{1:2}}", 1)), "", info, cose.ErrKey},
		{"keys not in order", parameter("14:1,3:<<[-16,h'']>>"), "", "install", cbor.ErrOrder},
		{"a key twice", parameter("14:1,14:1"), "", "install", cbor.ErrDuplicate},
		{"something behind", head + "}>>, 20:h'820e0000'}", "", "install", cbor.ErrTrailing},
		{"shortest form", head + "}>>, 20:h'820e1800'}", "", "install", cbor.ErrShortest},
		{"text in no language", head + "}>>, 23:<<{\"\":{1:\"x\"}}>>}", "", "text", ErrStructure},
		{"text in no language either", head + "}>>, 23:<<{\"en-\":{1:\"x\"}}>>}", "", "text", ErrStructure},
		{"text about what is no component", head + "}>>, 23:<<{\"en\":{[h'01']:{1:\"x\"}}}>>}", "", "text", ErrStructure},
		{"257 texts", head + "}>>, 23:<<{\"en\":{" + many(257) + "}}>>}", "", "text", ErrLimit},
		{"MUD whose URL is no URI", head + "}>>, -65536:<<{1:\"https://x\",2:[-16,h'']}>>}", "", "manifest/mud", cbor.ErrKind},
		{"MUD by a strange digest", head + "}>>, -65536:<<{1:32(\"https://x\"),2:[-1,h'']}>>}", "", "manifest/mud", ErrUnsupported},
		{"vendor that is another tag", parameter("1:111(h'01')"), "", "install[0]/vendor-identifier", ErrStructure},
		{"metadata that is a list", parameter("30:<<[]>>"), "", "install[0]/component-metadata/metadata", ErrStructure},
		{"a maker's parameter that is a map", parameter("-1:{}"), "", "install[0]/parameter -1", cbor.ErrKind},
		{"parameters of no component", install("[34,{1:{14:1}}]"), "", "install[0]", ErrStructure},
		{"parameters of nothing", install("[34,{}]"), "", "install[0]", ErrStructure},
		{"copied from no component", install("[35,{1:[14]}]"), "", "install[0]", ErrStructure},
		{"copied: nothing", install("[35,{0:[]}]"), "", "install[0]", ErrStructure},
		{"copied from nowhere", install("[35,{}]"), "", "install[0]", ErrStructure},
		{"no reference", head + "}>>, 4:\"\"}", "", "manifest", ErrLimit},
		{"no components in the ID", head + "}>>, 5:[]}", "", "manifest", ErrStructure},
		{"set-version that is none", head + "}>>, 6:<<[]>>}", "", "manifest/set-version", ErrStructure},
		{"MUD without a key", head + "}>>, -65536:<<{1:32(\"https://x\")}>>}", "", "manifest/mud", ErrStructure},

		{"label 1 of the envelope", head + "}>>}", "1:h''", "envelope", cbor.ErrOrder},
		{"unknown label of the envelope", head + "}>>}", "10:h''", "envelope", ErrUnsupported},
		{"a member that the manifest does not name", head + "}>>}", "20:<<[14,0]>>", "envelope/install", ErrStructure},
		{"a member that the manifest has itself", install("[14,0]"), "20:<<[14,0]>>", "envelope/install", ErrStructure},
		{"a member that is another", head + "}>>, 20:[-16,h'" + strings.Repeat("00", 32) + "']}", "20:<<[14,0]>>", "envelope/install", ErrDigest},
		{"a payload that no URI names", parameter("21:\"#a\""), "\"#b\":h''", "envelope", ErrStructure},
		{"a payload without a name", head + "}>>}", "\"\":h''", "envelope", ErrLimit},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := envelopeOf(t, x.manifest, x.more)
			e, err := Decode(b)
			if err == nil {
				_, err = e.UnverifiedManifest()
			}
			var s *SyntaxError
			if !errors.As(err, &s) || !errors.Is(err, x.err) || s.Off < 0 || s.Off > len(b) {
				t.Fatalf("%v, want %v", err, x.err)
			}
			if s.Path != x.path {
				t.Errorf("at %s, want %s", s.Path, x.path)
			}
		})
	}

	// The offset is of the envelope, whatever is nested in what.
	b := envelopeOf(t, install("[15,[<<[14,0]>>,<<[14,0,99,0]>>]]"), "")
	e, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.UnverifiedManifest()
	var s *SyntaxError
	if !errors.As(err, &s) || s.Off != bytes.Index(b, []byte{0x18, 99}) {
		t.Errorf("%v, want byte %d", err, bytes.Index(b, []byte{0x18, 99}))
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10)) + ":\"x\",")
	}
	return b.String()
}

// TestWrapper refuses authentication wrappers that are not one.
func TestWrapper(t *testing.T) {
	const manifest = "{1:1, 2:0, 3:<<{2:[[h'00']]}>>}"
	m := parseDiag(t, "<<"+manifest+">>").content()
	digest := string(Digest{Alg: cose.SHA256}.wrapped(m).append(nil))
	sign1 := "<<18([<<{1:-9}>>,{},null,h'00'])>>"
	for _, x := range []struct {
		name, diag string
		err        error
	}{
		{"as it should be", "107({2:<<[D," + sign1 + "]>>, 3:M})", nil},
		{"not tagged", "{2:<<[D]>>, 3:M}", nil},
		{"several signers", "107({2:<<[D,<<98([h'',{},null,[]])>>]>>, 3:M})", nil}, // which count for nothing
		{"another tag", "106({2:<<[D]>>, 3:M})", ErrStructure},
		{"no wrapper", "107({3:M})", ErrStructure},
		{"no manifest", "107({2:<<[D]>>})", ErrStructure},
		{"no digest", "107({2:<<[]>>, 3:M})", ErrStructure},
		{"digest of another", "107({2:<<[<<[-16,h'" + strings.Repeat("00", 32) + "']>>]>>, 3:M})", ErrDigest},
		{"block that says not what it is", "107({2:<<[D,<<[<<{1:-9}>>,{},null,h'00']>>]>>, 3:M})", ErrStructure},
		{"block of another kind", "107({2:<<[D,<<16([h'',{},null])>>]>>, 3:M})", ErrUnsupported},
		{"payload in the block", "107({2:<<[D,<<18([<<{1:-9}>>,{},h'00',h'00'])>>]>>, 3:M})", ErrStructure},
		{"critical header", "107({2:<<[D,<<18([<<{1:-9,2:[99],99:0}>>,{},null,h'00'])>>]>>, 3:M})", cose.ErrCritical},
		{"a short MAC", "107({2:<<[D,<<17([<<{1:4}>>,{},null,h'0000000000000000'])>>]>>, 3:M})", ErrUnsupported},
		{"nine blocks", "107({2:<<[D," + strings.Repeat(sign1+",", 9) + "]>>, 3:M})", ErrLimit},
	} {
		diag := strings.NewReplacer("D", "h'"+hexed(digest)+"'", "M", "h'"+hexed(string(m))+"'").Replace(x.diag)
		b := parseDiag(t, diag).encode(nil)
		e, err := Decode(b)
		if !errors.Is(err, x.err) || (err == nil) != (x.err == nil) {
			t.Errorf("%s: %v, want %v", x.name, err, x.err)
		}
		if err == nil && !bytes.Equal(e.Append(nil), b) {
			t.Errorf("%s: written again %x", x.name, e.Append(nil))
		}
	}
	if _, err := Decode(make([]byte, MaxEnvelope+1)); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

func hexed(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}
