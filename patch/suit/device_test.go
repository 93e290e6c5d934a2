// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"
)

var errPower = errors.New("the power is gone")

// A fakeDevice is a device in memory. Its components, what is staged and what was
// unlinked survive a loss of power.
type fakeDevice struct {
	components map[string][]byte // by ComponentID.key
	staged     map[string][]byte
	stagedOf   map[string]Digest
	unlinked   map[string]bool
	links      map[string][]Digest

	files     map[string][]byte // by URI
	ids       map[Code][]byte
	slot      uint64
	versions  map[string]Version
	sequence  uint64
	now       time.Time
	battery   uint64
	priority  int64 // updates of this and of smaller numbers may go on
	power     int64
	network   int64
	others    map[string]Version
	metadata  map[string][]byte
	invoked   []string
	fetched   int64 // bytes
	refetches []int64

	left  int // steps until the power goes; negative: it stays
	off   bool
	steps int
}

func newDevice() *fakeDevice {
	return &fakeDevice{
		components: map[string][]byte{}, staged: map[string][]byte{}, stagedOf: map[string]Digest{},
		unlinked: map[string]bool{}, links: map[string][]Digest{}, files: map[string][]byte{},
		versions: map[string]Version{}, others: map[string]Version{}, metadata: map[string][]byte{},
		ids: map[Code][]byte{
			ConditionVendorIdentifier: unhexed("fa6b4a53d5ad5fdfbe9de663e4d41ffe"),
			ConditionClassIdentifier:  unhexed("1492af1425695e48bf429b2d51f2ab45"),
			ConditionDeviceIdentifier: unhexed("00000000000000000000000000000007"),
		},
		left: -1,
	}
}

func unhexed(s string) []byte {
	var b []byte
	fmt.Sscanf(s, "%x", &b)
	return b
}

// state is what is left when the power goes.
func (d *fakeDevice) state() string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(d.components)) {
		s += fmt.Sprintf("%x=%v\n", k, Sum(d.components[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(d.unlinked)) {
		s += fmt.Sprintf("unlinked %x\n", k)
	}
	return s
}

// step is where the power may go.
func (d *fakeDevice) step() error {
	d.steps++
	if d.left == 0 {
		d.off = true
	}
	if d.off {
		return errPower
	}
	d.left--
	return nil
}

func (d *fakeDevice) SequenceNumber(ComponentID) (uint64, error) { return d.sequence, d.step() }

func (d *fakeDevice) Identified(_ ComponentID, c Code, id []byte) (bool, error) {
	return bytes.Equal(d.ids[c], id), d.step()
}

func (d *fakeDevice) Slot(_ ComponentID, slot uint64) (bool, error) { return d.slot == slot, d.step() }

func (d *fakeDevice) Version(c ComponentID) (Version, error) { return d.versions[c.key()], d.step() }

func (d *fakeDevice) Open(c ComponentID) (io.ReadCloser, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	b, ok := d.components[c.key()]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (d *fakeDevice) Fetch(uri string, _ []byte, off int64) (io.ReadCloser, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	b, ok := d.files[uri]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if off > 0 {
		d.refetches = append(d.refetches, off)
	}
	b = b[min(off, int64(len(b))):]
	d.fetched += int64(len(b))
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (d *fakeDevice) Swap(a, b ComponentID) error {
	if err := d.step(); err != nil {
		return err
	}
	x, ok := d.components[b.key()]
	if !ok {
		return fs.ErrNotExist
	}
	d.components[b.key()] = d.components[a.key()]
	d.components[a.key()] = x
	return nil
}

func (d *fakeDevice) Invoke(c ComponentID, args []byte) error {
	if err := d.step(); err != nil {
		return err
	}
	d.invoked = append(d.invoked, fmt.Sprintf("%v %s", c, args))
	return nil
}

func (d *fakeDevice) Linked(c ComponentID, by Digest) (bool, error) {
	return slices.ContainsFunc(d.links[c.key()], func(x Digest) bool { return !x.Equal(by) }), d.step()
}

func (d *fakeDevice) Unlink(c ComponentID, by Digest) error {
	if err := d.step(); err != nil {
		return err
	}
	d.unlinked[c.key()] = true
	delete(d.components, c.key())
	return nil
}

func (d *fakeDevice) Now() time.Time { return d.now }

func (d *fakeDevice) Battery() (uint64, error) { return d.battery, d.step() }

func (d *fakeDevice) Authorized(priority int64) (bool, error) {
	return priority <= d.priority, d.step()
}

func (d *fakeDevice) Ready(w WaitEvent) (bool, error) {
	switch w.Event {
	case EventPower:
		return d.power >= w.Value, d.step()
	case EventNetwork:
		return d.network >= w.Value, d.step()
	}
	v, ok := d.others[string(w.Device)]
	return ok && !slices.ContainsFunc(w.Versions, func(m VersionMatch) bool { return !m.Match(v) }), d.step()
}

// A fakeWriter writes sectors of 4 KiB.
type fakeWriter struct {
	d   *fakeDevice
	key string
	b   []byte
	im  Image
}

func (d *fakeDevice) Create(c ComponentID, image Image) (Writer, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	w := &fakeWriter{d: d, key: c.key(), im: image}
	if image.Digest.Alg == 0 || !d.stagedOf[w.key].Equal(image.Digest) {
		delete(d.staged, w.key)
	}
	d.stagedOf[w.key] = image.Digest
	w.b = slices.Clone(d.staged[w.key]) // writing goes on behind it, whether it is asked for or not
	if image.Metadata != nil {
		d.metadata[w.key] = image.Metadata
	}
	return w, nil
}

func (w *fakeWriter) Resume(to io.Writer) (int64, error) {
	n, err := to.Write(w.b)
	return int64(n), err
}

func (w *fakeWriter) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		if err := w.d.step(); err != nil {
			return done, err
		}
		n := min(4096, len(b)-done)
		w.b = append(w.b, b[done:done+n]...)
		done += n
		w.d.staged[w.key] = slices.Clone(w.b)
	}
	return done, nil
}

func (w *fakeWriter) Commit() error {
	if err := w.d.step(); err != nil {
		return err
	}
	w.d.components[w.key] = w.b
	delete(w.d.staged, w.key)
	return nil
}

func (w *fakeWriter) Abort(keep bool) error {
	if !keep {
		delete(w.d.staged, w.key)
	}
	return nil
}
