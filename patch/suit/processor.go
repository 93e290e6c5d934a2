// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"

	"github.com/myelin-health/myelin/link/cose"
)

const (
	maxExecuted     = 1 << 14  // commands that one run executes, one for each component
	maxDependencies = 4        // manifests in a row that depend on each other, after the root
	defaultMaxImage = 64 << 20 // bytes
	maxTag          = 16       // bytes that an AEAD adds to a plaintext
)

// Run runs a procedure of a root manifest. It ends at the first section that fails,
// with a *[RunError]; a run that is started again does what is left to do.
//
// Before each section parameters are cleared and the shared sequence is run, so
// that a section does the same whatever ran before it. A sequence that fails softly
// leaves no parameters behind, and none changes the component index of what it is
// in. A try-each or run-sequence that fails is a directive that fails: it ends the
// run, within another try-each too (section 6.4).
func (p *Processor) Run(m *Manifest, procedure Procedure) error {
	sections := procedure.Sections()
	if len(sections) == 0 {
		return fmt.Errorf("suit: %w: no such procedure", ErrUnsupported)
	}
	x := &run{p: p, checked: map[checkedKey]*Manifest{}}
	f := &frame{run: x, m: m}
	x.section = sections[0]
	if m.signers == nil {
		return f.fail(nil, nil, ErrUnverified)
	}
	if err := f.fresh(m.ID); err != nil {
		return err
	}
	for _, s := range sections {
		x.section = s
		x.parameters, x.matched = map[string]Parameters{}, map[string]bool{}
		x.vendor, x.class = false, false
		if err := f.exec(); err != nil {
			return err
		}
	}
	return nil
}

// A run is one procedure.
type run struct {
	p             *Processor
	section       Section
	executed      int
	parameters    map[string]Parameters    // by component
	matched       map[string]bool          // components whose content is as a digest says
	checked       map[checkedKey]*Manifest // dependencies whose integrity was checked
	vendor, class bool                     // the shared sequence of the root checked them
}

// A checkedKey is a dependency in the context of the manifest that checked it:
// what another has checked does not count (trust-domains 5.6.4).
type checkedKey struct {
	m         *Manifest
	component string
}

// A frame is one manifest in a run: the root, or a dependency.
type frame struct {
	*run
	m         *Manifest
	prefix    ComponentID // before the components of m
	depth     int
	parent    *frame
	shared    bool            // the shared sequence runs
	processed map[uint64]bool // dependencies that the section has processed
}

// fail is the error of a command that fails hard.
func (f *frame) fail(c *Command, id ComponentID, err error) *RunError {
	e := &RunError{Section: f.section, Component: id, Err: err}
	if c != nil {
		e.Code, e.Off = c.Code, c.Off
	}
	return e
}

// fresh compares the sequence number with that of the device (section 8.4.2).
func (f *frame) fresh(id ComponentID) error {
	least, err := f.p.Platform.SequenceNumber(id)
	if err == nil && f.m.SequenceNumber < least {
		err = ErrSequenceNumber
	}
	if err != nil {
		return f.fail(nil, id, err)
	}
	return nil
}

// exec runs the section of a manifest, if it has it, after its shared sequence.
func (f *frame) exec() error {
	f.processed = map[uint64]bool{}
	for i := range f.m.Sections {
		s := &f.m.Sections[i]
		if s.Section != f.section {
			continue
		}
		if s.Severed {
			return f.fail(nil, nil, fmt.Errorf("%w: the section was severed", ErrUnsupported))
		}
		first := Index{List: f.m.indices()[:1]}
		f.shared = true
		err := f.sequence(f.m.Shared, first, nil)
		f.shared = false
		if err != nil {
			return err
		}
		if f.parent == nil && !f.p.AnyDevice && !(f.vendor && f.class) {
			return f.fail(nil, nil, fmt.Errorf("%w: the shared sequence has not checked vendor and class", ErrCondition))
		}
		if err := f.sequence(s.Commands, first, nil); err != nil {
			return err
		}
	}
	return f.complete()
}

// complete checks that each dependency that has the section was processed in it
// (trust-domains 5.1). Of invoke it does not: what is invoked takes over, and
// nothing behind it has to run.
func (f *frame) complete() error {
	if f.section == SectionInvoke {
		return nil
	}
	for _, d := range f.m.Dependencies {
		id, _ := f.component(d.Index)
		if f.processed[d.Index] {
			continue
		}
		m := f.checked[checkedKey{f.m, id.key()}]
		if m == nil {
			e, err := f.envelope(id)
			if errors.Is(err, fs.ErrNotExist) {
				continue // and nothing of it could have been run
			}
			if err == nil {
				m, err = e.UnverifiedManifest()
			}
			if err != nil {
				return f.fail(nil, id, err)
			}
		}
		if _, has := m.Commands(f.section); has {
			return f.fail(nil, id, fmt.Errorf("%w: a dependency has this section, and it was not processed", ErrStructure))
		}
	}
	return nil
}

// component is the identifier behind an index.
func (f *frame) component(i uint64) (ComponentID, bool) {
	id, ok := f.m.index(i)
	if f.prefix != nil && i < uint64(len(f.m.Components)) {
		id = append(append(ComponentID{}, f.prefix...), id...)
	}
	return id, ok
}

// list is the indices that an Index means.
func (f *frame) list(x Index) []uint64 {
	if x.All {
		return f.m.indices()
	}
	return x.List
}

// errSoft marks a condition that fails where that is soft.
type errSoft struct{ *RunError }

// sequence runs commands. Soft is the sequence's Soft Failure; nil is none, for what
// is in no try-each or run-sequence. The error is an errSoft, or a *RunError.
func (f *frame) sequence(s []Command, at Index, soft *bool) error {
	for i := range s {
		c := &s[i]
		switch c.Code {
		case DirectiveSetComponentIndex:
			at = c.Index
			continue
		case DirectiveOverrideMultiple:
			for _, x := range c.Multiple {
				if err := f.command(&Command{Code: DirectiveOverrideParameters, Parameters: x.Parameters, Off: c.Off}, x.Index, soft); err != nil {
					return err
				}
				at = Index{List: []uint64{x.Index}}
			}
			continue
		}
		for _, n := range f.list(at) {
			if c.Code == DirectiveProcessDependency && at.All && f.m.dependency(n) == nil {
				continue // trust-domains 5.6.2: it is about all dependencies
			}
			if err := f.command(c, n, soft); err != nil {
				return err
			}
		}
	}
	return nil
}

// command runs a command on one component.
func (f *frame) command(c *Command, i uint64, soft *bool) error {
	id, ok := f.component(i)
	if !ok {
		return f.fail(c, nil, fmt.Errorf("%w: no such component", ErrStructure))
	}
	if f.executed++; f.executed > maxExecuted {
		return f.fail(c, id, fmt.Errorf("%w: commands", ErrLimit))
	}
	var (
		skipped bool
		err     error
	)
	switch c.Code {
	case DirectiveTryEach:
		return f.tryEach(c, i)
	case DirectiveRunSequence:
		v := false
		_, err := f.nested(c.Sequences[0], i, &v)
		return err
	case DirectiveOverrideParameters, DirectiveSetParameters:
		err = f.set(c, id, soft)
	case DirectiveCopyParams:
		err = f.copyParams(c, id)
	default:
		if f.p.Permit != nil && !f.p.Permit(f.m, id, c.Code) {
			err = ErrPermission
			break
		}
		x := &operation{f, c, i, id, f.parameters[id.key()], false}
		if c.Code.Condition() {
			err = x.condition()
		} else {
			err = x.directive()
		}
		skipped = x.skipped
	}
	if f.p.Record != nil {
		f.p.Record(Record{f.m, f.section, f.shared, c, id, skipped, err})
	}
	if err == nil {
		return nil
	}
	e := f.fail(c, id, err)
	if soft != nil && *soft && err == ErrCondition { // as it is: what wraps it comes from elsewhere
		return errSoft{e}
	}
	return e
}

// tryEach runs one sequence after the other until one does not fail.
func (f *frame) tryEach(c *Command, i uint64) error {
	var last error = ErrCondition
	for _, s := range c.Sequences {
		v := true
		failed, err := f.nested(s, i, &v)
		if err != nil {
			return err
		}
		if failed == nil {
			return nil
		}
		last = failed
	}
	id, _ := f.component(i)
	return f.fail(c, id, fmt.Errorf("none of them succeeded; the last: %w", last))
}

// nested runs a sequence on one component. It returns a soft failure apart from
// others, with what it did to parameters undone.
func (f *frame) nested(s []Command, i uint64, soft *bool) (failed *RunError, err error) {
	before := maps.Clone(f.parameters)
	err = f.sequence(s, Index{List: []uint64{i}}, soft)
	if e, ok := err.(errSoft); ok {
		f.parameters = before
		return e.RunError, nil
	}
	return nil, err
}

// Error is that of the failure.
func (e errSoft) Error() string { return e.RunError.Error() }

// set sets parameters. Soft Failure is one of the sequence, and Strict Order of the
// processor, which keeps the order anyhow.
func (f *frame) set(c *Command, id ComponentID, soft *bool) error {
	key := id.key()
	for _, p := range c.Parameters {
		switch p.Key {
		case ParameterStrictOrder:
		case ParameterSoftFailure:
			if soft == nil {
				return fmt.Errorf("%w: soft-failure outside of try-each and run-sequence", ErrStructure)
			}
			if c.Code == DirectiveOverrideParameters { // it is always set already
				*soft, _ = c.Parameters.bool(p.Key)
			}
		default:
			if c.Code == DirectiveSetParameters && f.parameters[key].Get(p.Key) != nil {
				continue
			}
			f.parameters[key] = f.parameters[key].with(p)
		}
	}
	return nil
}

func (f *frame) copyParams(c *Command, id ComponentID) error {
	key := id.key()
	for _, x := range c.Copy {
		from, _ := f.component(x.Index)
		for _, k := range x.Keys {
			v := f.parameters[from.key()].Get(k)
			if v == nil {
				return fmt.Errorf("%w: component %v has no %v to copy", ErrStructure, from, k)
			}
			f.parameters[key] = f.parameters[key].with(Parameter{k, v})
		}
	}
	return nil
}

// envelope reads the envelope that is the content of a component.
func (f *frame) envelope(id ComponentID) (*Envelope, error) {
	r, err := f.p.Platform.Open(id)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxEnvelope+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return Decode(b)
}

// An operation is a condition or directive on one component.
type operation struct {
	*frame
	c       *Command
	i       uint64
	id      ComponentID
	p       Parameters
	skipped bool
}

// hold is what a condition returns.
func hold(ok bool, err error) error {
	if err == nil && !ok {
		err = ErrCondition
	}
	return err
}

func (x *operation) condition() error {
	platform := x.run.p.Platform
	switch x.c.Code {
	case ConditionVendorIdentifier:
		err := x.identified(ParameterVendorIdentifier)
		x.vendor = x.vendor || err == nil && x.shared && x.parent == nil
		return err
	case ConditionClassIdentifier:
		err := x.identified(ParameterClassIdentifier)
		x.class = x.class || err == nil && x.shared && x.parent == nil
		return err
	case ConditionDeviceIdentifier:
		return x.identified(ParameterDeviceIdentifier)
	case ConditionImageMatch, ConditionImageNotMatch:
		d, ok := x.p.ImageDigest()
		if !ok {
			return ErrCondition
		}
		same, err := x.matches(d)
		if x.c.Code == ConditionImageNotMatch {
			return hold(!same, err)
		}
		x.matched[x.id.key()] = same
		return hold(same, err)
	case ConditionCheckContent:
		want, ok := x.p.Bytes(ParameterContent)
		if !ok {
			return ErrCondition
		}
		return hold(x.contains(want))
	case ConditionComponentSlot:
		n, ok := x.p.Uint(ParameterComponentSlot)
		if !ok {
			return ErrCondition
		}
		return hold(platform.Slot(x.id, n))
	case ConditionUseBefore:
		n, ok := x.p.Uint(ParameterUseBefore)
		now := platform.Now()
		return hold(ok && !now.IsZero() && now.Unix() >= 0 && uint64(now.Unix()) < n, nil)
	case ConditionMinimumBattery:
		n, ok := x.p.Uint(ParameterMinimumBattery)
		if !ok {
			return ErrCondition
		}
		have, err := platform.Battery()
		return hold(have >= n, err)
	case ConditionUpdateAuthorized:
		n, ok := x.p.Priority()
		if !ok {
			return ErrCondition
		}
		return hold(platform.Authorized(n))
	case ConditionVersion:
		m, ok := x.p.Version()
		if !ok {
			return ErrCondition
		}
		v, err := platform.Version(x.id)
		return hold(v != nil && m.Match(v), err)
	case ConditionIsDependency:
		return hold(x.m.dependency(x.i) != nil, nil)
	case ConditionDependencyIntegrity:
		return x.dependencyIntegrity()
	}
	return ErrCondition // abort
}

func (x *operation) identified(k ParameterKey) error {
	id, ok := x.p.Bytes(k)
	if !ok {
		return ErrCondition
	}
	return hold(x.run.p.Platform.Identified(x.id, x.c.Code, id))
}

// matches reports whether the content is what a digest is of: of image-size bytes
// where that is set, and of a dependency its manifest.
func (x *operation) matches(d Digest) (bool, error) {
	if x.m.dependency(x.i) != nil {
		e, err := x.envelope(x.id)
		var s *SyntaxError
		if errors.Is(err, fs.ErrNotExist) || errors.As(err, &s) {
			return false, nil
		}
		return err == nil && e.Digest.Equal(d), err
	}
	r, err := x.run.p.Platform.Open(x.id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	limit := x.maxImage()
	size, sized := x.size()
	if sized {
		limit = size
	}
	h := newHash(d.Alg)
	n, err := io.Copy(h, io.LimitReader(r, limit))
	if err = errors.Join(err, r.Close()); err != nil {
		return false, err
	}
	return (!sized || n == size) && d.Equal(Digest{d.Alg, h.Sum(nil)}), nil
}

// contains reports whether the content is want, in time that does not depend on
// where it differs.
func (x *operation) contains(want []byte) (bool, error) {
	r, err := x.run.p.Platform.Open(x.id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	have, err := io.ReadAll(io.LimitReader(r, int64(len(want))+1))
	return subtle.ConstantTimeCompare(have, want) == 1, errors.Join(err, r.Close())
}

func (x *operation) maxImage() int64 {
	if n := x.run.p.MaxImage; n > 0 {
		return n
	}
	return defaultMaxImage
}

// size is image-size. One that no device has is beyond all bounds.
func (x *operation) size() (int64, bool) {
	n, ok := x.p.Uint(ParameterImageSize)
	if !ok || n > 1<<62 {
		return 1 << 62, ok
	}
	return int64(n), true
}

// dependencyIntegrity is the check that process-dependency wants to have been made
// (trust-domains 5.6.4). What fails it ends the run, softly nowhere.
func (x *operation) dependencyIntegrity() error {
	if x.m.dependency(x.i) == nil {
		return fmt.Errorf("%w: not a dependency", ErrStructure)
	}
	d, ok := x.p.ImageDigest()
	if !ok {
		return fmt.Errorf("%w: no image-digest", ErrStructure)
	}
	e, err := x.envelope(x.id)
	if err != nil {
		return err
	}
	if !e.Digest.Equal(d) {
		return ErrDigest
	}
	m, err := e.Verify(x.run.p.Keys...)
	if err != nil {
		return err
	}
	x.checked[checkedKey{x.m, x.id.key()}] = m
	return nil
}

func (x *operation) directive() error {
	platform := x.run.p.Platform
	switch x.c.Code {
	case DirectiveProcessDependency:
		m := x.checked[checkedKey{x.m, x.id.key()}]
		d := x.m.dependency(x.i)
		if d == nil || m == nil {
			return fmt.Errorf("%w: no dependency whose integrity was checked", ErrStructure)
		}
		x.processed[x.i] = true
		return x.enter(m, d)
	case DirectiveWrite:
		content, ok := x.p.Bytes(ParameterContent)
		if !ok {
			return fmt.Errorf("%w: no content", ErrStructure)
		}
		return x.store(from(content), true)
	case DirectiveFetch:
		return x.fetch()
	case DirectiveCopy:
		source, err := x.source()
		if err != nil {
			return err
		}
		return x.store(func(off int64) (io.ReadCloser, error) {
			r, err := platform.Open(source)
			if err != nil {
				return nil, err
			}
			if _, err := io.CopyN(io.Discard, r, off); err != nil && err != io.EOF {
				r.Close()
				return nil, err
			}
			return r, nil
		}, x.matched[source.key()])
	case DirectiveSwap:
		source, err := x.source()
		if err != nil {
			return err
		}
		d, ok := x.p.ImageDigest()
		if !ok { // after a cut nobody could tell whether it was done
			return fmt.Errorf("%w: a swap without image-digest", ErrUnsupported)
		}
		if x.skipped, err = x.matches(d); err != nil || x.skipped {
			return err
		}
		x.changed(x.id)
		x.changed(source)
		return platform.Swap(x.id, source)
	case DirectiveInvoke:
		args, _ := x.p.Bytes(ParameterInvokeArgs)
		return platform.Invoke(x.id, args)
	case DirectiveWait:
		return x.wait()
	case DirectiveUnlink:
		return x.unlink()
	}
	return ErrUnsupported
}

// enter runs the section of a dependency. What fails there fails here.
func (x *operation) enter(m *Manifest, d *Dependency) error {
	if x.depth == maxDependencies {
		return fmt.Errorf("%w: dependencies of dependencies", ErrLimit)
	}
	f := &frame{run: x.run, m: m, parent: x.frame, depth: x.depth + 1}
	f.prefix = x.frame.prefix
	if d.Prefix != nil && d.Index < uint64(len(x.m.Components)) {
		f.prefix = append(append(ComponentID{}, f.prefix...), d.Prefix...)
	}
	if err := f.fresh(x.id); err != nil {
		return err
	}
	return f.exec()
}

// source is the component that source-component means.
func (x *operation) source() (ComponentID, error) {
	n, ok := x.p.Uint(ParameterSourceComponent)
	if !ok {
		return nil, fmt.Errorf("%w: no source-component", ErrStructure)
	}
	id, ok := x.component(n)
	if !ok || id.Equal(x.id) {
		return nil, fmt.Errorf("%w: source-component is none, or the component itself", ErrStructure)
	}
	if x.run.p.Permit != nil && !x.run.p.Permit(x.m, id, x.c.Code) {
		return nil, ErrPermission
	}
	return id, nil
}

func (x *operation) fetch() error {
	uri := x.p.URI()
	if uri == "" {
		return fmt.Errorf("%w: no uri", ErrStructure)
	}
	for f := x.frame; f != nil; f = f.parent {
		if b, ok := f.m.envelope.payload(uri); ok {
			return x.store(from(b), false)
		}
	}
	if integrated(uri) {
		return fmt.Errorf("%w: an integrated payload that is not in the envelope", fs.ErrNotExist)
	}
	args, _ := x.p.Bytes(ParameterFetchArguments)
	return x.store(func(off int64) (io.ReadCloser, error) { return x.run.p.Platform.Fetch(uri, args, off) }, false)
}

// from opens bytes that are in memory.
func from(b []byte) func(off int64) (io.ReadCloser, error) {
	return func(off int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[min(off, int64(len(b))):])), nil
	}
}

// changed forgets what was found of a component's content.
func (x *operation) changed(id ComponentID) {
	delete(x.matched, id.key())
	maps.DeleteFunc(x.checked, func(k checkedKey, _ *Manifest) bool { return k.component == id.key() })
}

// store writes the component out of what open returns, decrypted if there is
// encryption-info. Content that is not what image-digest and image-size say is not
// made the component's: that counts as the image-match that would find it, and a
// component that is right already is left alone. Authentic says that what open
// returns was checked as it is.
func (x *operation) store(open func(off int64) (io.ReadCloser, error), authentic bool) (err error) {
	digest, known := x.p.ImageDigest()
	if known {
		if x.skipped, err = x.matches(digest); err != nil || x.skipped {
			return err
		}
	}
	image := Image{Digest: digest, Size: -1, Manifest: x.m.dependency(x.i) != nil}
	limit := x.maxImage()
	if image.Manifest {
		limit = min(limit, MaxEnvelope)
	}
	if size, ok := x.size(); ok {
		if size > limit {
			return fmt.Errorf("%w: image-size", ErrLimit)
		}
		image.Size, limit = size, size
	}
	image.Metadata, _ = x.p.Bytes(ParameterComponentMetadata)
	var info *encryptionInfo
	if b, ok := x.p.Bytes(ParameterEncryptionInfo); ok {
		r, err := newReader(b, 0, "encryption-info")
		if err != nil {
			return err
		}
		if info, err = r.encryptionInfo(); err != nil {
			return err
		}
		if counterMode(info.alg) && !known && !authentic {
			return fmt.Errorf("%w: encrypted without authentication, and no digest of it was checked or is set", ErrUnsupported)
		}
	}

	x.changed(x.id)
	resumable := known && info == nil && !image.Manifest
	if !resumable {
		image.Digest = Digest{}
	}
	w, err := x.run.p.Platform.Create(x.id, image)
	if err != nil {
		return err
	}
	n, sum, err := x.fill(w, open, info, image.Manifest, digest.Alg, limit, resumable)
	keep := err != nil // what was got is right as far as it goes
	if err == nil && (image.Size >= 0 && n != image.Size || n > limit || known && !sum.Equal(digest)) {
		err, keep = ErrCondition, n < image.Size // there may be more to come of a transfer that stopped short
	}
	if err == nil {
		x.matched[x.id.key()] = known
		return w.Commit()
	}
	if aborted := w.Abort(keep && resumable); aborted != nil {
		return errors.Join(err, aborted)
	}
	return err
}

// fill writes what open returns, and returns how many bytes that is and their
// digest: of an envelope, that of its manifest. It stops one byte beyond the limit.
func (x *operation) fill(w Writer, open func(off int64) (io.ReadCloser, error), info *encryptionInfo, envelope bool, a cose.Algorithm, limit int64, resume bool) (n int64, sum Digest, err error) {
	h := newHash(a)
	if h == nil { // no digest is known
		h = newHash(cose.SHA256)
	}
	if resume {
		if n, err = w.Resume(h); err != nil {
			return n, sum, err
		}
	}
	if n >= limit {
		return n, Digest{a, h.Sum(nil)}, nil
	}
	r, err := open(n)
	if err != nil {
		return n, sum, err
	}
	defer r.Close()
	var plain io.Reader = r
	if info != nil {
		if plain, err = info.decrypt(io.LimitReader(r, limit+maxTag+1), x.run.p.Decrypt); err != nil {
			return n, sum, err
		}
	}
	plain = io.LimitReader(plain, limit-n+1)
	if envelope {
		b, err := io.ReadAll(plain)
		if err != nil {
			return n, sum, err
		}
		if e, err := Decode(b); err == nil {
			sum = e.Digest
		}
		_, err = w.Write(b)
		return int64(len(b)), sum, err
	}
	more, err := io.Copy(io.MultiWriter(h, w), plain)
	return n + more, Digest{a, h.Sum(nil)}, err
}

// wait ends the run, to be started again, unless all events have come.
func (x *operation) wait() error {
	events, ok := x.p.Wait()
	if !ok {
		return fmt.Errorf("%w: no wait-info", ErrStructure)
	}
	platform := x.run.p.Platform
	now := platform.Now()
	var pending []WaitEvent
	for _, w := range events {
		come, timed := w.timed(now)
		var err error
		switch {
		case timed:
			come = come && !now.IsZero()
		case w.Event == EventAuthorization:
			come, err = platform.Authorized(w.Value)
		default:
			come, err = platform.Ready(w)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", w.Event, err)
		}
		if !come {
			pending = append(pending, w)
		}
	}
	if pending != nil {
		return &WaitError{pending}
	}
	return nil
}

// unlink says that the manifest needs the component no longer. Of a dependency that
// nothing else needs uninstall is run before (trust-domains 5.6.5), so that a cut
// between the two leaves it to be done again.
func (x *operation) unlink() error {
	platform := x.run.p.Platform
	by := x.m.Digest()
	if d := x.m.dependency(x.i); d != nil {
		others, err := platform.Linked(x.id, by)
		if err != nil {
			return err
		}
		m := x.checked[checkedKey{x.m, x.id.key()}]
		if !others && m == nil {
			e, err := x.envelope(x.id)
			if errors.Is(err, fs.ErrNotExist) {
				return platform.Unlink(x.id, by) // it was done before
			}
			if err != nil {
				return err
			}
			if m, err = e.Verify(x.run.p.Keys...); err != nil {
				return err
			}
		}
		if !others {
			section := x.section
			x.section = SectionUninstall
			x.processed[x.i] = true
			err := x.enter(m, d)
			x.section = section
			if err != nil {
				return err
			}
		}
	}
	return platform.Unlink(x.id, by)
}
