// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"time"

	"github.com/myelin-health/myelin/device"
)

// Errors of a book.
var (
	ErrDamaged = errors.New("envelope: the journal of doses is damaged")
	ErrLocked  = errors.New("envelope: the journal of doses is in use by another process")
	ErrBroken  = errors.New("envelope: the journal of doses could not be written; restart the guard")
	ErrFull    = errors.New("envelope: the journal of doses has no room")
	ErrUnknown = errors.New("envelope: no such dose is in doubt")
)

// A Reading is what the clocks say.
type Reading struct {
	Wall   int64  // nanoseconds since 1970, as the machine believes
	Uptime int64  // nanoseconds since it started, time asleep included; monotonic (CLOCK_BOOTTIME)
	Boot   string // which start of the machine this is; none has the same twice
}

// A Config is what a book needs.
type Config struct {
	Path  string         // of the journal: one file, 0600, one process at a time
	Clock func() Reading // nil: the machine's own

	// Tell is called, outside of all locks, whenever somebody has to know something: a
	// dose in doubt, and its settling; a doubt about the clock; nil: nobody.
	Tell func(Notice)
}

// A Notice tells a person something about the doses of a device.
type Notice struct {
	Device string
	Doubt  *Doubt // a dose whose fate is unknown, or was and is settled
	Text   string // otherwise: what happened
}

// A Book is the one journal of the doses of all devices. Several goroutines may
// use it.
type Book struct{}

// OpenBook opens the journal, or makes it. What was in flight when the book was
// last written is in doubt from now on.
func OpenBook(cfg Config) (*Book, error) { return nil, errors.New("envelope: nothing decides yet") }

// Close writes what is left. What is in flight then is in doubt when the book is
// opened again.
func (b *Book) Close() error { return nil }

// Judge decides on a request for a device, as things are now, and changes
// nothing. A nil envelope has no limits: rescues pass, and changes are refused
// without being enforced. It takes no disk, no allocation and less than two
// microseconds with a few dozen doses in the windows.
func (b *Book) Judge(device string, e *Envelope, r *Request) Decision { return Decision{} }

// Reserve judges, and when the command may pass (allowed, or not enforced)
// counts what it may deliver, in one step, and returns when that is durable. The
// reservation is nil when the command does not pass. A rescue does not wait for
// the disk. An error is of the journal: the decision is then a refusal, but for
// a rescue.
func (b *Book) Reserve(device string, e *Envelope, r *Request) (Decision, *Reservation, error) {
	return Decision{}, nil, nil
}

// A Reservation is a command that may have been given. Exactly one of Accepted,
// Rejected, Doubted and Withdrawn ends it; whoever forgets leaves it counted until
// somebody settles it. They do not wait for the disk: an outcome that is lost
// leaves a doubt. A nil reservation may be used, and does nothing.
type Reservation struct{}

// ID names the reservation, for [Book.Settle] and [Report].
func (r *Reservation) ID() uint64 { return 0 }

// Sent says that the first byte is about to go to the device.
func (r *Reservation) Sent() {}

// Withdrawn says that nothing was sent, and never will be. After Sent it is as Doubted.
func (r *Reservation) Withdrawn() {}

// Accepted says that the device took the command.
func (r *Reservation) Accepted() {}

// Rejected says that the device itself answered that it did not.
func (r *Reservation) Rejected() {}

// Doubted says that nobody knows: no answer, or none that says. It counts as
// given until the device's own record or a person settles it.
func (r *Reservation) Doubted() {}

// A Report is what a device itself says that it gives: a history or status of
// the Insulin Delivery Service, a message of PCD-01 or PCD-10.
type Report struct {
	Rate   device.Quantity // running now, "0 mL/h" for none; zero when it does not say
	Amount device.Quantity // given as a bolus since the last report; zero when it does not say
	State  string          // of the therapy
	Time   time.Time       // by the device's clock; shown, and never used to count

	Weight        device.Quantity // of the patient; zero when unknown
	Concentration device.Quantity // of the drug; zero when unknown

	// Reservation is the id of the reservation that Amount was given for, and
	// Final says that it is over: the amount is then exactly what was given. 0: an
	// amount of somebody else, at the keypad or by a local loop.
	Reservation uint64
	Final       bool

	// Record numbers the amount in the device's own history, from 1: none is counted
	// twice, nor when it comes again after a restart. 0: it has no numbers.
	Record uint64
}

// Report takes what a device itself says that it gives. The envelope is the
// device's, for the unit in which its sums are counted. An error says what cannot
// be counted: units that need a weight or a concentration which is not there.
func (b *Book) Report(device string, e *Envelope, r *Report) error { return nil }

// A Doubt is a command whose fate nobody knows, or, once Settled, knew.
type Doubt struct {
	ID      uint64
	Device  string
	Verb    device.Verb
	Value   device.Quantity
	Limit   device.Quantity
	Actor   string    // who asked, as proven
	Since   time.Time // by the machine's clock, to show
	Why     string
	Settled bool
	Given   bool   // of a settled one
	By      string // of a settled one: a person's id, or "device"
}

// Doubts are the commands whose fate is unknown, of all devices, oldest first.
func (b *Book) Doubts() []Doubt { return nil }

// Settle says what became of a command in doubt, as a person found out. It
// returns when that is durable; [ErrUnknown] when no such command is in doubt.
func (b *Book) Settle(id uint64, given bool, by string) error { return nil }

// SignedTime credits time that is proven: now is t, or not more than within
// later. A guard that was given one before and after the machine was restarted
// knows how long that took, and doses age by it; without one they do not.
func (b *Book) SignedTime(t time.Time, within time.Duration) error { return nil }

// A View is what the book knows about a device, for a page.
type View struct {
	Device     string
	Sums       []SumView
	Rate       [2]device.Quantity // least and most that runs now
	RateKnown  bool               // false: the device has not said what runs, and nothing is counted for it
	Reported   time.Time          // when the device last said something; zero: never
	NotCounted string             // what the sums do not have, or ""
	ClockDoubt string             // why old doses may be counted longer than they matter, or ""
	Entries    int                // of Room
	Room       int
	Doubts     []Doubt
}

// A SumView is a sum in the window that ends now.
type SumView struct {
	Sum                Sum
	Delivered, Counted device.Quantity // least and most that was given
	Planned            device.Quantity // the most that any window to come will have, if nobody asks for more
}

// View returns what the book knows about a device. It allocates, and is not for
// judging.
func (b *Book) View(device string, e *Envelope) View { return View{} }
