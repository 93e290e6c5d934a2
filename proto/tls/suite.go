// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls

import "strings"

// A Suite is the number of a cipher suite (IANA's registry of TLS cipher suites).
type Suite uint16

// Weakness is what is wrong with a channel: a set of bits, none set when
// nothing is known to be.
type Weakness uint16

// The weaknesses, the worst first.
const (
	WeakVersion  Weakness = 1 << iota // SSL 2.0, SSL 3.0, TLS 1.0, TLS 1.1 (RFC 6176, 7568, 8996)
	WeakNull                          // no encryption at all
	WeakAnon                          // nobody proves who she is: anybody in between can take part
	WeakExport                        // keys of 40 or 56 bits, made for export laws of the 1990s
	WeakDES                           // DES: a key of 56 bits
	WeakRC4                           // biased key stream (RFC 7465)
	WeakRC2                           // block of 64 bits, key of 40 or 128
	WeakIDEA                          // block of 64 bits (RFC 5469)
	Weak3DES                          // block of 64 bits: SWEET32, CVE-2016-2183
	WeakMD5                           // MD5 protects the records
	WeakCBC                           // CBC in SSL 3.0 or TLS 1.0: POODLE, BEAST
	WeakGroup                         // Diffie-Hellman prime under 2048 bits, or a curve under 224 (RFC 9325 section 4.5)
	WeakCompress                      // compression tells lengths of secrets: CRIME, CVE-2012-4929
)

var weaknesses = [...]string{
	"obsolete version", "no encryption", "no authentication", "export key", "DES", "RC4", "RC2", "IDEA",
	"3DES", "MD5", "CBC before TLS 1.1", "short key exchange", "compression",
}

// String names the weaknesses, the worst first: "obsolete version, RC4".
func (w Weakness) String() string {
	var names []string
	for i, name := range weaknesses {
		if w>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// suiteRange is a run of suites that have a weakness.
type suiteRange struct {
	first, last Suite
	weak        Weakness
}

// weakSuites is the one table of weak cipher suites, in the order of their
// numbers. What several ranges say of a suite adds up.
var weakSuites = []suiteRange{
	{0x0000, 0x0002, WeakNull},
	{0x0001, 0x0001, WeakMD5},
	{0x0003, 0x0003, WeakExport | WeakRC4 | WeakMD5},
	{0x0004, 0x0004, WeakRC4 | WeakMD5},
	{0x0005, 0x0005, WeakRC4},
	{0x0006, 0x0006, WeakExport | WeakRC2 | WeakMD5},
	{0x0007, 0x0007, WeakIDEA},
	{0x0008, 0x0008, WeakExport | WeakDES},
	{0x0009, 0x0009, WeakDES},
	{0x000a, 0x000a, Weak3DES},
	{0x000b, 0x000b, WeakExport | WeakDES},
	{0x000c, 0x000c, WeakDES},
	{0x000d, 0x000d, Weak3DES},
	{0x000e, 0x000e, WeakExport | WeakDES},
	{0x000f, 0x000f, WeakDES},
	{0x0010, 0x0010, Weak3DES},
	{0x0011, 0x0011, WeakExport | WeakDES},
	{0x0012, 0x0012, WeakDES},
	{0x0013, 0x0013, Weak3DES},
	{0x0014, 0x0014, WeakExport | WeakDES},
	{0x0015, 0x0015, WeakDES},
	{0x0016, 0x0016, Weak3DES},
	{0x0017, 0x001b, WeakAnon},
	{0x0017, 0x0017, WeakExport | WeakRC4 | WeakMD5},
	{0x0018, 0x0018, WeakRC4 | WeakMD5},
	{0x0019, 0x0019, WeakExport | WeakDES},
	{0x001a, 0x001a, WeakDES},
	{0x001b, 0x001b, Weak3DES},
	// Kerberos (RFC 2712)
	{0x001e, 0x001e, WeakDES},
	{0x001f, 0x001f, Weak3DES},
	{0x0020, 0x0020, WeakRC4},
	{0x0021, 0x0021, WeakIDEA},
	{0x0022, 0x0025, WeakMD5},
	{0x0022, 0x0022, WeakDES},
	{0x0023, 0x0023, Weak3DES},
	{0x0024, 0x0024, WeakRC4},
	{0x0025, 0x0025, WeakIDEA},
	{0x0026, 0x002b, WeakExport},
	{0x0026, 0x0026, WeakDES},
	{0x0027, 0x0027, WeakRC2},
	{0x0028, 0x0028, WeakRC4},
	{0x0029, 0x002b, WeakMD5},
	{0x0029, 0x0029, WeakDES},
	{0x002a, 0x002a, WeakRC2},
	{0x002b, 0x002b, WeakRC4},
	{0x002c, 0x002e, WeakNull}, // RFC 4785
	{0x0034, 0x0034, WeakAnon},
	{0x003a, 0x003a, WeakAnon},
	{0x003b, 0x003b, WeakNull},
	{0x0046, 0x0046, WeakAnon},
	// the draft of 56-bit export suites
	{0x0060, 0x0065, WeakExport},
	{0x0060, 0x0060, WeakRC4 | WeakMD5},
	{0x0061, 0x0061, WeakRC2 | WeakMD5},
	{0x0062, 0x0063, WeakDES},
	{0x0064, 0x0066, WeakRC4},
	{0x006c, 0x006d, WeakAnon},
	{0x0089, 0x0089, WeakAnon},
	// pre-shared keys (RFC 4279)
	{0x008a, 0x008a, WeakRC4},
	{0x008b, 0x008b, Weak3DES},
	{0x008e, 0x008e, WeakRC4},
	{0x008f, 0x008f, Weak3DES},
	{0x0092, 0x0092, WeakRC4},
	{0x0093, 0x0093, Weak3DES},
	// RFC 4162, RFC 5288
	{0x009b, 0x009b, WeakAnon},
	{0x00a6, 0x00a7, WeakAnon},
	// RFC 5487
	{0x00b0, 0x00b1, WeakNull},
	{0x00b4, 0x00b5, WeakNull},
	{0x00b8, 0x00b9, WeakNull},
	// RFC 5932
	{0x00bf, 0x00bf, WeakAnon},
	{0x00c5, 0x00c5, WeakAnon},
	// elliptic curves (RFC 8422, RFC 4492)
	{0xc001, 0xc001, WeakNull},
	{0xc002, 0xc002, WeakRC4},
	{0xc003, 0xc003, Weak3DES},
	{0xc006, 0xc006, WeakNull},
	{0xc007, 0xc007, WeakRC4},
	{0xc008, 0xc008, Weak3DES},
	{0xc00b, 0xc00b, WeakNull},
	{0xc00c, 0xc00c, WeakRC4},
	{0xc00d, 0xc00d, Weak3DES},
	{0xc010, 0xc010, WeakNull},
	{0xc011, 0xc011, WeakRC4},
	{0xc012, 0xc012, Weak3DES},
	{0xc015, 0xc019, WeakAnon},
	{0xc015, 0xc015, WeakNull},
	{0xc016, 0xc016, WeakRC4},
	{0xc017, 0xc017, Weak3DES},
	{0xc01a, 0xc01c, Weak3DES}, // RFC 5054
	// RFC 5489
	{0xc033, 0xc033, WeakRC4},
	{0xc034, 0xc034, Weak3DES},
	{0xc039, 0xc03b, WeakNull},
	// RFC 6209
	{0xc046, 0xc047, WeakAnon},
	{0xc05a, 0xc05b, WeakAnon},
	{0xc084, 0xc085, WeakAnon}, // RFC 6367
	{0xc0b4, 0xc0b5, WeakNull}, // RFC 9150: integrity only, in TLS 1.3
	// Netscape's, of 1998
	{0xfefe, 0xfefe, WeakDES},
	{0xfeff, 0xfeff, Weak3DES},
	// SSL 2.0, see suiteSSL2: RC4, RC4 export, RC2, RC2 export, IDEA, DES, 3DES, each with MD5
	{0xff01, 0xff07, WeakMD5},
	{0xff01, 0xff02, WeakRC4},
	{0xff02, 0xff02, WeakExport},
	{0xff03, 0xff04, WeakRC2},
	{0xff04, 0xff04, WeakExport},
	{0xff05, 0xff05, WeakIDEA},
	{0xff06, 0xff06, WeakDES},
	{0xff07, 0xff07, Weak3DES},
}

// Weakness is what is wrong with the suite, in whatever version.
func (s Suite) Weakness() (w Weakness) {
	for i := range weakSuites {
		if r := &weakSuites[i]; r.first <= s && s <= r.last {
			w |= r.weak
		}
	}
	return w
}

// Weakness is what is wrong with the version.
func (v Version) Weakness() Weakness {
	for i := range versions {
		if versions[i].version == v {
			return versions[i].weak
		}
	}
	return 0
}

// Weakness is what is wrong with the key exchange.
func (k KeyExchange) Weakness() Weakness {
	const minBits = 2048 // RFC 9325 section 4.5
	// The named curves under 224 bits: sect163 and sect193, secp160 and secp192
	// (RFC 8422 section 5.1.1 and RFC 4492 before it).
	if k.Bits > 0 && k.Bits < minBits || k.Group >= 1 && k.Group <= 5 || k.Group >= 15 && k.Group <= 19 {
		return WeakGroup
	}
	return 0
}

// Assess is what is wrong with a channel of this version, suite and key
// exchange (the zero one when it was not seen).
func Assess(v Version, s Suite, k KeyExchange) Weakness {
	w := v.Weakness() | s.Weakness() | k.Weakness()
	// Before AEADs (TLS 1.2) what is no stream cipher is CBC.
	if (v == SSL30 || v == TLS10) && w&(WeakNull|WeakRC4) == 0 && s != 0 {
		w |= WeakCBC
	}
	return w
}
