// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A ParameterKey is a label of SUIT_Parameters.
type ParameterKey int64

// The parameters (section 11.5; firmware-encryption 4; update-management 7.4).
const (
	ParameterVendorIdentifier  ParameterKey = 1
	ParameterClassIdentifier   ParameterKey = 2
	ParameterImageDigest       ParameterKey = 3
	ParameterUseBefore         ParameterKey = 4
	ParameterComponentSlot     ParameterKey = 5
	ParameterStrictOrder       ParameterKey = 12
	ParameterSoftFailure       ParameterKey = 13
	ParameterImageSize         ParameterKey = 14
	ParameterContent           ParameterKey = 18
	ParameterEncryptionInfo    ParameterKey = 19
	ParameterURI               ParameterKey = 21
	ParameterSourceComponent   ParameterKey = 22
	ParameterInvokeArgs        ParameterKey = 23
	ParameterDeviceIdentifier  ParameterKey = 24
	ParameterFetchArguments    ParameterKey = 25
	ParameterMinimumBattery    ParameterKey = 26
	ParameterUpdatePriority    ParameterKey = 27
	ParameterVersion           ParameterKey = 28
	ParameterWaitInfo          ParameterKey = 29
	ParameterComponentMetadata ParameterKey = 30
)

var parameterNames = map[ParameterKey]string{
	ParameterVendorIdentifier:  "vendor-identifier",
	ParameterClassIdentifier:   "class-identifier",
	ParameterImageDigest:       "image-digest",
	ParameterUseBefore:         "use-before",
	ParameterComponentSlot:     "component-slot",
	ParameterStrictOrder:       "strict-order",
	ParameterSoftFailure:       "soft-failure",
	ParameterImageSize:         "image-size",
	ParameterContent:           "content",
	ParameterEncryptionInfo:    "encryption-info",
	ParameterURI:               "uri",
	ParameterSourceComponent:   "source-component",
	ParameterInvokeArgs:        "invoke-args",
	ParameterDeviceIdentifier:  "device-identifier",
	ParameterFetchArguments:    "fetch-arguments",
	ParameterMinimumBattery:    "minimum-battery",
	ParameterUpdatePriority:    "update-priority",
	ParameterVersion:           "version",
	ParameterWaitInfo:          "wait-info",
	ParameterComponentMetadata: "component-metadata",
}

// String is the draft's name of the parameter.
func (k ParameterKey) String() string {
	if name, ok := parameterNames[k]; ok {
		return name
	}
	return "parameter " + strconv.FormatInt(int64(k), 10)
}

// tagPEN is of a private enterprise number (RFC 9090), a vendor identifier that is
// no UUID; tagEncrypt of a COSE_Encrypt.
const (
	tagPEN     = 112
	tagEncrypt = 96
)

// A Parameter is a key and its value, encoded. The functions of this file make it.
type Parameter struct {
	Key   ParameterKey
	Value []byte
}

// Parameters are parameters in the order of their encoded keys, none twice.
type Parameters []Parameter

// NewParameters sorts parameters. Of two with one key the last counts.
func NewParameters(p ...Parameter) Parameters {
	var s Parameters
	for _, x := range p {
		s = s.with(x)
	}
	return s
}

func compareKeys(a, b ParameterKey) int {
	return bytes.Compare(cbor.AppendInt(nil, int64(a)), cbor.AppendInt(nil, int64(b)))
}

func (s Parameters) find(k ParameterKey) (int, bool) {
	return slices.BinarySearchFunc(s, k, func(p Parameter, k ParameterKey) int { return compareKeys(p.Key, k) })
}

// with returns the parameters with one more. It does not change s.
func (s Parameters) with(p Parameter) Parameters {
	i, found := s.find(p.Key)
	if found {
		s = slices.Clone(s)
		s[i] = p
		return s
	}
	return slices.Insert(slices.Clone(s), i, p)
}

// Get returns the encoded value of a parameter, or nil.
func (s Parameters) Get(k ParameterKey) []byte {
	if i, found := s.find(k); found {
		return s[i].Value
	}
	return nil
}

// read returns a reader of a value, which was checked when it came in.
func (s Parameters) read(k ParameterKey) (cbor.Reader, bool) {
	b := s.Get(k)
	if b == nil {
		return cbor.Reader{}, false
	}
	r, err := cbor.Parse(b)
	return r, err == nil
}

// Uint returns a parameter that is an unsigned integer: ImageSize, ComponentSlot,
// SourceComponent, UseBefore (seconds since 1970), MinimumBattery (mWh).
func (s Parameters) Uint(k ParameterKey) (uint64, bool) {
	r, ok := s.read(k)
	if !ok {
		return 0, false
	}
	n := r.Uint()
	return n, r.Err() == nil
}

// Bytes returns a parameter that is a byte string: identifiers, Content, InvokeArgs,
// FetchArguments, EncryptionInfo, ComponentMetadata. A vendor identifier that is a
// private enterprise number is returned with its tag.
func (s Parameters) Bytes(k ParameterKey) ([]byte, bool) {
	r, ok := s.read(k)
	if !ok {
		return nil, false
	}
	if r.Next() == cbor.Tag {
		return r.Raw(), true
	}
	b := r.Bytes()
	return b, r.Err() == nil
}

// URI returns the URI, or "".
func (s Parameters) URI() string {
	r, _ := s.read(ParameterURI)
	return r.Text()
}

// ImageDigest returns the digest of the image.
func (s Parameters) ImageDigest() (Digest, bool) {
	b, ok := s.Bytes(ParameterImageDigest)
	if !ok {
		return Digest{}, false
	}
	r, err := newReader(b, 0, "image-digest")
	if err != nil {
		return Digest{}, false
	}
	d, err := r.digest()
	return d, err == nil
}

// Priority returns the priority of the update: the smaller, the more urgent.
func (s Parameters) Priority() (int64, bool) {
	r, ok := s.read(ParameterUpdatePriority)
	if !ok {
		return 0, false
	}
	n := r.Int()
	return n, r.Err() == nil
}

// Version returns what the version of a component is compared with.
func (s Parameters) Version() (VersionMatch, bool) {
	b, ok := s.Bytes(ParameterVersion)
	if !ok {
		return VersionMatch{}, false
	}
	r, err := newReader(b, 0, "version")
	if err != nil {
		return VersionMatch{}, false
	}
	v, err := r.versionMatch()
	return v, err == nil
}

// Wait returns the events to wait for.
func (s Parameters) Wait() ([]WaitEvent, bool) {
	b, ok := s.Bytes(ParameterWaitInfo)
	if !ok {
		return nil, false
	}
	r, err := newReader(b, 0, "wait-info")
	if err != nil {
		return nil, false
	}
	w, err := r.waitInfo()
	return w, err == nil
}

// bool returns a parameter that is true or false.
func (s Parameters) bool(k ParameterKey) (v, ok bool) {
	r, ok := s.read(k)
	return ok && r.Bool(), ok
}

func uintParameter(k ParameterKey, n uint64) Parameter {
	return Parameter{k, cbor.AppendUint(nil, n)}
}

func bytesParameter(k ParameterKey, b []byte) Parameter {
	return Parameter{k, cbor.AppendBytes(nil, b)}
}

// VendorIdentifier is the UUID of the maker (section 8.4.8.3).
func VendorIdentifier(uuid [16]byte) Parameter {
	return bytesParameter(ParameterVendorIdentifier, uuid[:])
}

// ClassIdentifier is the UUID of the model.
func ClassIdentifier(uuid [16]byte) Parameter {
	return bytesParameter(ParameterClassIdentifier, uuid[:])
}

// DeviceIdentifier is the UUID of one unit.
func DeviceIdentifier(uuid [16]byte) Parameter {
	return bytesParameter(ParameterDeviceIdentifier, uuid[:])
}

// ImageDigest is the digest of a component's content; of a dependency, of its
// manifest.
func ImageDigest(d Digest) Parameter {
	return bytesParameter(ParameterImageDigest, d.append(nil))
}

// ImageSize is the size of a component's content in bytes.
func ImageSize(n uint64) Parameter { return uintParameter(ParameterImageSize, n) }

// ComponentSlot is the slot that a component has to be in.
func ComponentSlot(n uint64) Parameter { return uintParameter(ParameterComponentSlot, n) }

// Content is what a write writes: tens of bytes.
func Content(b []byte) Parameter { return bytesParameter(ParameterContent, b) }

// URI is where a fetch gets a component.
func URI(s string) Parameter { return Parameter{ParameterURI, cbor.AppendText(nil, s)} }

// SourceComponent is the index of the component that a copy reads, or a swap
// exchanges.
func SourceComponent(i uint64) Parameter { return uintParameter(ParameterSourceComponent, i) }

// InvokeArgs is what an invoked component is handed.
func InvokeArgs(b []byte) Parameter { return bytesParameter(ParameterInvokeArgs, b) }

// FetchArguments is what the device is handed with a URI.
func FetchArguments(b []byte) Parameter { return bytesParameter(ParameterFetchArguments, b) }

// UseBefore is when a manifest expires, in seconds since 1970.
func UseBefore(unix uint64) Parameter { return uintParameter(ParameterUseBefore, unix) }

// MinimumBattery is what the battery has to have left, in mWh.
func MinimumBattery(mWh uint64) Parameter { return uintParameter(ParameterMinimumBattery, mWh) }

// UpdatePriority is how urgent the update is: the smaller, the more.
func UpdatePriority(n int64) Parameter {
	return Parameter{ParameterUpdatePriority, cbor.AppendInt(nil, n)}
}

// VersionIs is what the version of a component has to be.
func VersionIs(m VersionMatch) Parameter {
	return bytesParameter(ParameterVersion, m.append(nil))
}

// WaitInfo is what a wait waits for: all of it.
func WaitInfo(events ...WaitEvent) Parameter {
	return bytesParameter(ParameterWaitInfo, appendWaitInfo(nil, events))
}

// SoftFailure lets a sequence of a try-each or run-sequence fail without failing
// what it is in.
func SoftFailure(v bool) Parameter {
	return Parameter{ParameterSoftFailure, cbor.AppendBool(nil, v)}
}

// parameters reads a map of parameters. What is not known is refused, but for those
// of makers, which are hints (section 8.4.8.16).
func (r *reader) parameters(shared bool) (Parameters, error) {
	n := r.Map()
	if err := r.count(n, 1, maxParameters); err != nil {
		return nil, err
	}
	s := make(Parameters, 0, n)
	for range n {
		at := r.Off()
		k := ParameterKey(r.Int())
		from := r.Off()
		x := *r
		raw := r.Raw()
		if err := r.err(); err != nil {
			return nil, err
		}
		x.path += "/" + k.String()
		if err := x.parameter(k, shared, at); err != nil {
			return nil, err
		}
		if x.Off()-from != len(raw) {
			return nil, r.bad(from, ErrStructure, k.String())
		}
		s = append(s, Parameter{k, raw})
	}
	return s, nil
}

// parameter checks a value.
func (r *reader) parameter(k ParameterKey, shared bool, at int) error {
	switch k {
	case ParameterVendorIdentifier:
		if r.Next() == cbor.Tag {
			if r.Tag() != tagPEN || len(r.Bytes()) == 0 {
				return r.bad(at, ErrStructure, "neither a UUID nor an enterprise number")
			}
			break
		}
		if len(r.Bytes()) != 16 {
			return r.bad(at, ErrStructure, "a UUID has 16 bytes")
		}
	case ParameterClassIdentifier, ParameterDeviceIdentifier:
		if len(r.Bytes()) != 16 {
			return r.bad(at, ErrStructure, "a UUID has 16 bytes")
		}
	case ParameterUseBefore, ParameterComponentSlot, ParameterImageSize, ParameterSourceComponent, ParameterMinimumBattery:
		r.Uint()
	case ParameterUpdatePriority:
		r.Int()
	case ParameterStrictOrder, ParameterSoftFailure:
		r.Bool()
	case ParameterContent, ParameterInvokeArgs, ParameterFetchArguments:
		r.Bytes()
	case ParameterURI:
		if s := r.Text(); r.Err() == nil && (s == "" || len(s) > maxURI) {
			return r.bad(at, ErrLimit, "URI")
		}
	case ParameterImageDigest:
		return r.within("digest", func(x *reader) error { _, err := x.digest(); return err })
	case ParameterVersion:
		return r.within("match", func(x *reader) error { _, err := x.versionMatch(); return err })
	case ParameterWaitInfo:
		return r.within("events", func(x *reader) error { _, err := x.waitInfo(); return err })
	case ParameterEncryptionInfo:
		return r.within("COSE_Encrypt", func(x *reader) error { _, err := x.encryptionInfo(); return err })
	case ParameterComponentMetadata:
		return r.within("metadata", func(x *reader) error {
			if x.Next() != cbor.Map {
				return x.bad(0, ErrStructure, "metadata is a map")
			}
			x.Raw()
			return nil
		})
	default:
		if k >= 0 {
			return r.bad(at, ErrUnsupported, k.String())
		}
		if shared {
			return r.bad(at, ErrStructure, "a maker's parameter in the shared sequence") // section 8.4.8.16
		}
		switch r.Next() {
		case cbor.Uint, cbor.NegInt, cbor.Text, cbor.Bytes:
			r.Raw()
		default:
			r.Bool()
		}
	}
	return r.err()
}

// within reads an item in a byte string.
func (r *reader) within(name string, read func(*reader) error) error {
	x, err := r.nested(name)
	if err != nil {
		return err
	}
	if err := read(&x); err != nil {
		return err
	}
	return x.done()
}

func (s Parameters) append(dst []byte) []byte {
	dst = cbor.AppendMap(dst, len(s))
	for _, p := range s {
		dst = append(cbor.AppendInt(dst, int64(p.Key)), p.Value...)
	}
	return dst
}
