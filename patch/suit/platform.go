// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/myelin-health/myelin/link/cose"
)

// A Platform is the device that a [Processor] works on. Its methods are called one
// at a time. What it does not know it answers with [errors.ErrUnsupported]; any
// error ends the run, while false fails a condition.
//
// A run may be cut off anywhere and is then started again from its beginning: the
// processor leaves alone what is already as its digest says. The platform keeps its
// part by making [Writer.Commit], Swap and Unlink whole or not done at all.
type Platform interface {
	// SequenceNumber is the lowest that a manifest kept at id may have; id is nil of
	// a root manifest that says no component id. It is that of the last manifest
	// confirmed, so that what falls back is no downgrade.
	SequenceNumber(id ComponentID) (uint64, error)

	// Identified reports whether a component is of the vendor or class, or is in the
	// device, that id tells: a UUID, or an enterprise number with its tag. The
	// condition is the one of the three that asks.
	Identified(c ComponentID, condition Code, id []byte) (bool, error)

	// Slot reports whether the slot that an update of the component goes to, or that
	// it is started from, is this one.
	Slot(c ComponentID, slot uint64) (bool, error)

	// Version is the version of a component that is installed; nil if there is none.
	Version(c ComponentID) (Version, error)

	// Open returns the content of a component from its first byte. It is
	// [io/fs.ErrNotExist] when there is none.
	Open(c ComponentID) (io.ReadCloser, error)

	// Create begins to write a component.
	Create(c ComponentID, image Image) (Writer, error)

	// Fetch returns what is at a URI, from byte off on. Arguments are
	// fetch-arguments; nil is none.
	Fetch(uri string, arguments []byte, off int64) (io.ReadCloser, error)

	// Swap exchanges the contents of two components.
	Swap(a, b ComponentID) error

	// Invoke starts a component. It may not return.
	Invoke(c ComponentID, arguments []byte) error

	// Linked reports whether a manifest other than by, its digest, still needs a
	// component.
	Linked(c ComponentID, by Digest) (bool, error)

	// Unlink says that by needs a component no longer. Said twice it counts once.
	Unlink(c ComponentID, by Digest) error

	// Now is the time as a signed source tells it, in the zone where the device is.
	// The zero time is not known, and nothing that depends on the time holds.
	Now() time.Time

	// Battery is what is left, in mWh.
	Battery() (uint64, error)

	// Authorized asks whether an update of this priority may go on.
	Authorized(priority int64) (bool, error)

	// Ready reports whether an event of power, network or another device's version
	// has come.
	Ready(w WaitEvent) (bool, error)
}

// An Image is what is known of what will be written.
type Image struct {
	Digest   Digest // of the content; the zero Digest is not known, and nothing is resumed
	Size     int64  // bytes; -1 is not known
	Metadata []byte // component-metadata, encoded; nil is none. One that it has no way to apply it refuses
	Manifest bool   // it is the envelope of a dependency: Digest is of its manifest
}

// A Writer writes a component. Nothing that it wrote is the component's content
// before Commit. After Commit or Abort it is done with.
type Writer interface {
	io.Writer

	// Resume hands w what an interrupted run had written already of an image of the
	// same digest, and returns how many bytes that is. Writing goes on behind them.
	Resume(w io.Writer) (int64, error)

	// Commit makes what was written the content: all of it or, when the power goes,
	// nothing.
	Commit() error

	// Abort ends it without that. What was written may stay for a Resume if keep.
	Abort(keep bool) error
}

// A Processor runs manifests. The fields are set before the first run; Platform must
// be.
type Processor struct {
	Platform Platform

	// Keys are those that may vouch for dependencies.
	Keys []cose.Key

	// Decrypt are the device's secret keys, for encrypted payloads.
	Decrypt []cose.Key

	// MaxImage is how many bytes a component may have; zero is 64 MiB.
	MaxImage int64

	// AnyDevice runs manifests whose shared sequence has checked neither vendor nor
	// class. Without it such a manifest is refused (section 6.2 says it should be).
	AnyDevice bool

	// Permit decides whether whoever signed a manifest may use a command on a
	// component (section 9); nil permits all that is signed.
	Permit func(m *Manifest, c ComponentID, command Code) bool

	// Record is told of each command that was run on a component; nil is nobody.
	Record func(Record)
}

// A Record tells what became of a command.
type Record struct {
	Manifest  *Manifest
	Section   Section
	Shared    bool // of the shared sequence, which runs before the section
	Command   *Command
	Component ComponentID
	Skipped   bool  // the component was already as its digest says
	Err       error // nil is success
}

// A Procedure is a list of sections that run in order (section 8.4.6; trust-domains
// section 7).
type Procedure int

// The procedures.
const (
	// Update is dependency-resolution, payload-fetch, candidate-verification, install
	// and validate.
	Update Procedure = iota

	// Stage is the part of Update that changes nothing that runs: dependency-resolution
	// and payload-fetch.
	Stage

	// Install is the rest of it: candidate-verification, install and validate.
	Install

	// Invoke is validate, load and invoke.
	Invoke

	// Uninstall is uninstall.
	Uninstall
)

// Sections are those of the procedure.
func (p Procedure) Sections() []Section {
	switch p {
	case Update:
		return append(Stage.Sections(), Install.Sections()...)
	case Stage:
		return []Section{SectionDependencyResolution, SectionPayloadFetch}
	case Install:
		return []Section{SectionCandidateVerification, SectionInstall, SectionValidate}
	case Invoke:
		return []Section{SectionValidate, SectionLoad, SectionInvoke}
	case Uninstall:
		return []Section{SectionUninstall}
	}
	return nil
}

var (
	// ErrUnverified is returned for a manifest that [Envelope.Verify] did not return.
	ErrUnverified = errors.New("manifest that nobody vouches for")

	// ErrSequenceNumber is returned for a manifest that is older than one confirmed.
	ErrSequenceNumber = errors.New("sequence number lower than the device's")

	// ErrCondition is returned when a condition does not hold.
	ErrCondition = errors.New("condition does not hold")

	// ErrWait is returned when a wait has to wait: nothing is wrong, and the same run
	// is to be started again later.
	ErrWait = errors.New("waiting")

	// ErrPermission is returned when the signer may not do this to the component.
	ErrPermission = errors.New("signer has no right to do this")
)

// A RunError tells which command ended a run.
type RunError struct {
	Section   Section
	Code      Code        // zero: no command, but what the section as a whole lacks
	Component ComponentID // nil: none
	Off       int         // bytes from the start of the manifest's envelope
	Err       error
}

func (e *RunError) Error() string {
	s := "suit: " + e.Section.String()
	if e.Code != 0 {
		s += fmt.Sprintf(": %v at byte %d", e.Code, e.Off)
	}
	if e.Component != nil {
		s += fmt.Sprintf(" on component %v", e.Component)
	}
	return s + ": " + e.Err.Error()
}

func (e *RunError) Unwrap() error { return e.Err }

// A WaitError says what a run waits for. It is [ErrWait].
type WaitError struct{ Events []WaitEvent }

func (e *WaitError) Error() string { return fmt.Sprintf("waiting for %v", e.Events) }

// Is reports whether target is [ErrWait].
func (e *WaitError) Is(target error) bool { return target == ErrWait }
