// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"log"
	"slices"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch/suit"
)

// A maker signs the manifest of an image, and a device that has the maker's public
// key installs it.
func Example() {
	key, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key.Alg = cose.ESP256
	envelope := release([]byte("firmware 2.2.0"), key)

	e, err := suit.Decode(envelope)
	if err != nil {
		log.Fatal(err)
	}
	m, err := e.Verify(key.Public())
	if err != nil {
		log.Fatal(err)
	}
	install, _ := m.Commands(suit.SectionInstall)
	for _, line := range m.Outline(install) {
		fmt.Println(line.Text)
	}
	d := &shelf{images: map[string][]byte{}}
	p := suit.Processor{Platform: d}
	fmt.Println(p.Run(m, suit.Update))
	fmt.Printf("%s\n", d.images["app"])
	fmt.Println(p.Run(m, suit.Update)) // what is there already is not fetched again

	envelope[len(envelope)-1] ^= 1
	_, err = suit.Decode(envelope)
	fmt.Println(err)
	// Output:
	// set uri: "https://maker.example/2.2.0.bin"
	// fetch the image from the URI
	// check that the image is the one of the digest
	// fetching https://maker.example/2.2.0.bin
	// <nil>
	// firmware 2.2.0
	// <nil>
	// suit: manifest at byte 131: digest of other bytes
}

// release is the maker's side.
func release(image []byte, key cose.Key) []byte {
	const report = suit.RecordOnFailure
	vendor := suit.VendorUUID("maker.example")
	e, err := suit.NewEnvelope(&suit.Manifest{
		SequenceNumber: 220,
		Version:        suit.Version{2, 2, 0},
		Components:     []suit.ComponentID{suit.NewComponentID("app")},
		Shared: []suit.Command{
			suit.Override(
				suit.VendorIdentifier(vendor), suit.ClassIdentifier(suit.ClassUUID(vendor, "pump")),
				suit.ImageDigest(suit.Sum(image)), suit.ImageSize(uint64(len(image))),
			),
			suit.Do(suit.ConditionVendorIdentifier, report),
			suit.Do(suit.ConditionClassIdentifier, report),
		},
		Sections: []suit.SectionCommands{
			{Section: suit.SectionValidate, Commands: []suit.Command{suit.Do(suit.ConditionImageMatch, report)}},
			{Section: suit.SectionInstall, Commands: []suit.Command{
				suit.Override(suit.URI("https://maker.example/2.2.0.bin")),
				suit.Do(suit.DirectiveFetch, report),
				suit.Do(suit.ConditionImageMatch, report),
			}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := cose.NewSigner(key)
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Sign(signer, []byte("maker")); err != nil {
		log.Fatal(err)
	}
	return e.Append(nil)
}

// A shelf is a device with one place to keep an image. What it has no answer to,
// this example does not ask.
type shelf struct {
	suit.Platform
	images map[string][]byte
}

func (s *shelf) SequenceNumber(suit.ComponentID) (uint64, error) { return 210, nil }

func (s *shelf) Identified(_ suit.ComponentID, c suit.Code, id []byte) (bool, error) {
	vendor := suit.VendorUUID("maker.example")
	class := suit.ClassUUID(vendor, "pump")
	return bytes.Equal(id, vendor[:]) || c == suit.ConditionClassIdentifier && bytes.Equal(id, class[:]), nil
}

func (s *shelf) Open(c suit.ComponentID) (io.ReadCloser, error) {
	b, ok := s.images[c.String()]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s *shelf) Fetch(uri string, _ []byte, off int64) (io.ReadCloser, error) {
	fmt.Println("fetching", uri)
	return io.NopCloser(bytes.NewReader([]byte("firmware 2.2.0")[off:])), nil
}

func (s *shelf) Create(c suit.ComponentID, _ suit.Image) (suit.Writer, error) {
	return &box{shelf: s, component: c.String()}, nil
}

// A box is an image on its way to the shelf.
type box struct {
	bytes.Buffer
	shelf     *shelf
	component string
}

func (b *box) Resume(io.Writer) (int64, error) { return 0, nil }
func (b *box) Abort(bool) error                { return nil }

func (b *box) Commit() error {
	b.shelf.images[b.component] = slices.Clone(b.Bytes())
	return nil
}
