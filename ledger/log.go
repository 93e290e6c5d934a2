// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/flock"
)

// The errors that callers branch on.
var (
	ErrLocked = errors.New("ledger: another process has it open")
	ErrClosed = errors.New("ledger: closed")
	ErrLength = fmt.Errorf("ledger: an entry has more than %d bytes", MaxEntry)
)

// backlogBytes is how much may be durable in the journal and not in tiles. Who
// appends more waits, or is told why no tiles can be written.
const backlogBytes = 32 << 20

// A Config says how a ledger is written.
type Config struct {
	// Signer signs the checkpoints. Its name is the ledger's.
	Signer note.Signer
	// Verifier is of the same key: what stands in the folder must be signed by it.
	Verifier note.Verifier
	// Every is how long an entry may be durable before a checkpoint shows it. Zero is
	// a second; below zero only [Log.Checkpoint] and [Log.Close] write checkpoints.
	Every time.Duration
}

// A Log is a ledger that one process appends to. Its methods may be called from any
// number of goroutines: the more of them wait, the more entries share an fsync.
type Log struct {
	dir    string
	cfg    Config
	locked *os.File

	mu      sync.Mutex // guards the following
	open    *group     // takes entries, and waits for the one before it
	next    int64      // index of the next entry that is written
	err     error      // no more is written
	backlog []*group   // durable, and not in tiles
	bytes   int        // of these
	usual   int        // bytes of the last group
	files   []int64    // of the journal

	commit  sync.Mutex // guards the journal: one group is written at a time
	journal journal

	publishing sync.Mutex // guards the following
	tree       *tree      // of what the checkpoint shows
	bundle     []byte     // its last entries, that fill no bundle
	pending    []*group   // taken from the backlog
	checkpoint Checkpoint
	out        *writer
	leaves     leafHasher

	wake    chan struct{} // something is durable that no checkpoint shows
	hurry   chan struct{} // and it is much
	stop    chan struct{}
	stopped chan struct{}
}

// Open opens the ledger in a folder, or begins one, and holds its lock until
// [Log.Close], or until the process ends however it ends.
//
// What a crash left is put in order: a group of entries that was not written whole, and
// so was not acknowledged, is cut off; entries that are durable and in no checkpoint
// get one. Anything else that is missing or not as it was written is a [*DamageError],
// and nothing is changed.
func Open(dir string, cfg Config) (*Log, error) {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Signer == nil || cfg.Verifier == nil || cfg.Signer.Name() != cfg.Verifier.Name() || cfg.Signer.KeyHash() != cfg.Verifier.KeyHash() || isWitness(cfg.Verifier) {
		return nil, errors.New("ledger: wants both halves of one key, which is no witness's")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	l := &Log{
		dir: dir, cfg: cfg, journal: journal{dir: dir}, out: newWriter(dir),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if l.locked, err = lock(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	go l.run()
	return l, nil
}

// makeFolder makes a folder, and those around it, durable.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

func (l *Log) release() error {
	if l.journal.file != nil {
		l.journal.file.Close()
	}
	return l.locked.Close()
}

func (l *Log) load() error {
	d := folder(l.dir)
	b, err := d.read("checkpoint", maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return l.begin()
	}
	if err != nil {
		return err
	}
	if l.checkpoint, err = ParseCheckpoint(b, l.cfg.Verifier); err != nil {
		return &DamageError{"checkpoint", -1, -1, err.Error()}
	}
	if l.files, err = d.segments(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if l.tree, err = d.edge(l.checkpoint.Size, l.checkpoint.Size); err != nil {
		return err
	}
	begin := l.tree.size
	// Files of the journal that are older were to be removed: a loss of power may have
	// kept any of them.
	needed := len(l.files) - 1
	for needed >= 0 && l.files[needed] > begin {
		needed--
	}
	if needed < 0 {
		return &DamageError{segmentPath(begin), begin, -1, "is missing: the journal does not begin where whole bundles end"}
	}
	old := l.files[:needed]
	l.files = l.files[needed:]
	// Up to the checkpoint the entries must be those that were signed.
	tail := &group{first: l.checkpoint.Size}
	last, _, err := d.journal(l.files, func(g group) {
		parseBundle(g.entries, g.count, func(i int, entry []byte) error {
			switch n := g.first + int64(i); {
			case n >= l.checkpoint.Size:
				tail.entries = appendEntry(tail.entries, entry)
				tail.count++
			case n >= begin:
				l.bundle = appendEntry(l.bundle, entry)
				return l.tree.push(l.leaves.hash(entry), nil) // no tile is whole before the checkpoint ends
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if last.next < l.checkpoint.Size {
		return &DamageError{segmentPath(last.first), last.next, int64(last.end), fmt.Sprintf("the journal ends here, and the checkpoint shows %d entries", l.checkpoint.Size)}
	}
	if l.tree.root() != l.checkpoint.Hash {
		return &DamageError{"checkpoint", -1, -1, "tiles and journal do not have the root that was signed; 'ledger verify' says where"}
	}
	if l.next = last.next; tail.count > 0 {
		l.backlog, l.bytes = []*group{tail}, len(tail.entries)
	}
	if err := l.journal.resume(last); err != nil {
		return err
	}
	for _, first := range old {
		l.out.remove(segmentPath(first))
	}
	// The names may be younger than the last time that this folder was durable.
	if err := errors.Join(syncFolder(filepath.Join(l.dir, "journal")), syncFolder(l.dir)); err != nil {
		return err
	}
	_, err = l.publish()
	return err
}

// begin makes an empty ledger.
func (l *Log) begin() error {
	d := folder(l.dir)
	l.tree = &tree{}
	segments, err := d.segments()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A journal is there before the first checkpoint is, and entries only after that.
	if len(segments) > 0 {
		last, torn, err := d.journal(segments, func(group) {})
		if err != nil {
			return err
		}
		if last.next > 0 || torn > 0 || len(segments) > 1 {
			return &DamageError{"checkpoint", -1, -1, "is missing, and there are entries"}
		}
	}
	if _, err := os.Stat(filepath.Join(l.dir, "tile")); err == nil {
		return &DamageError{"checkpoint", -1, -1, "is missing, and there are tiles"}
	}
	if err := l.out.mkdir(filepath.Join(l.dir, "journal")); err != nil {
		return err
	}
	if err := l.journal.begin(0); err != nil {
		return err
	}
	l.files = []int64{0}
	if l.checkpoint, err = sign(0, l.tree.root(), l.cfg.Signer); err != nil {
		return err
	}
	if err := l.out.replace("checkpoint", l.checkpoint.Note); err != nil {
		return err
	}
	return errors.Join(l.out.flush(), syncFolder(l.dir), syncFolder(filepath.Dir(l.dir)))
}

// edge reads the right edge that the tree had at a size, but for the entries that fill
// no bundle, where tiles are shown for a size that is not below it.
func (d folder) edge(size, shown int64) (*tree, error) {
	t := &tree{size: size &^ (tileWidth - 1)}
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		tile := make([]byte, 0, tileBytes)
		n := size >> (tileHeight * (level + 1))
		if w := widthAt(size, level, n); level > 0 && w > 0 {
			b, _, err := d.tile(level, n, widthAt(shown, level, n))
			if err != nil {
				return nil, err
			}
			tile = append(tile, b[:w*tlog.HashSize]...)
		}
		t.tiles = append(t.tiles, tile)
	}
	return t, nil
}

// Append adds an entry, which it copies, and returns its index when it is durable.
// After an error of the disk the entry is not there once another one is, and until then
// it may be there or not.
func (l *Log) Append(entry []byte) (int64, error) {
	if len(entry) > MaxEntry {
		return -1, ErrLength
	}
	l.mu.Lock()
	for {
		if err := l.err; err != nil {
			l.mu.Unlock()
			return -1, err
		}
		full := l.open
		switch {
		case l.bytes >= backlogBytes:
			l.mu.Unlock()
			if _, err := l.publish(); err != nil {
				return -1, err
			}
		case full != nil && len(full.entries) >= groupBytes:
			l.mu.Unlock()
			<-full.done
		default:
			return l.join(entry)
		}
		l.mu.Lock()
	}
}

// join puts an entry into the open group, whose first entry's caller writes all of it.
// l.mu is held, and is not afterwards.
func (l *Log) join(entry []byte) (int64, error) {
	g := l.open
	leads := g == nil
	if leads {
		g = &group{entries: make([]byte, 0, l.usual), done: make(chan struct{})}
		l.open = g
	}
	at := int64(g.count)
	g.entries = appendEntry(g.entries, entry)
	g.count++
	l.mu.Unlock()
	if leads {
		l.write(g)
	} else {
		<-g.done
	}
	if g.err != nil {
		return -1, g.err
	}
	return g.first + at, nil
}

// write makes a group durable.
func (l *Log) write(g *group) {
	l.commit.Lock()
	defer l.commit.Unlock()
	// Those whose group has just become durable have their next entries ready soon:
	// without this each second group would have one entry.
	runtime.Gosched()
	l.mu.Lock()
	l.open = nil
	g.first = l.next
	err := l.err
	l.mu.Unlock()
	if err == nil {
		err = l.journal.mend()
	}
	if err == nil && l.journal.size >= segmentBytes {
		if err = l.journal.begin(g.first); err == nil {
			l.mu.Lock()
			l.files = append(l.files, g.first)
			l.mu.Unlock()
		}
	}
	if err == nil {
		err = l.journal.write(g)
	}
	l.mu.Lock()
	if g.err = err; err == nil {
		l.next += int64(g.count)
		l.backlog = append(l.backlog, g)
		l.bytes += len(g.entries)
		l.usual = len(g.entries)
		if l.bytes > backlogBytes/2 {
			signal(l.hurry)
		}
	}
	l.mu.Unlock()
	close(g.done)
	signal(l.wake)
}

// signal says that there is something to do, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Record adds an event as an entry, and returns when it is durable.
func (l *Log) Record(e *event.Event) error {
	var b [512]byte
	_, err := l.Append(event.Append(b[:0], e))
	return err
}

// run writes checkpoints. One that cannot be written is tried again; who appends
// notices when too much has gathered, and Close says it.
func (l *Log) run() {
	defer close(l.stopped)
	if l.cfg.Every < 0 {
		<-l.stop
		return
	}
	for {
		select {
		case <-l.wake:
		case <-l.stop:
			return
		}
		t := time.NewTimer(l.cfg.Every)
		select {
		case <-t.C:
		case <-l.hurry:
		case <-l.stop:
			t.Stop()
			return
		}
		if _, err := l.publish(); err != nil {
			signal(l.wake)
		}
	}
}

// Checkpoint returns a checkpoint of all entries that are durable, and writes it if
// it is not the last one.
func (l *Log) Checkpoint() (Checkpoint, error) {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if errors.Is(err, ErrClosed) {
		return Checkpoint{}, err
	}
	return l.publish()
}

// publish writes what is durable in the journal into tiles, and a checkpoint of it.
func (l *Log) publish() (c Checkpoint, err error) {
	l.publishing.Lock()
	defer l.publishing.Unlock()
	defer func() {
		if err != nil {
			l.out = newWriter(l.dir) // nothing is known of what is there
		}
	}()
	l.mu.Lock()
	l.pending = append(l.pending, l.backlog...)
	l.backlog = nil
	l.mu.Unlock()
	if len(l.pending) == 0 {
		return l.checkpoint, nil
	}

	t, bundle := l.tree.clone(), bytes.Clone(l.bundle)
	var whole []string // tiles of which there were partial ones
	full := func(level int, n int64, tile []byte) error {
		if level == 0 {
			if err := l.out.write(tilePath(entriesLevel, n, tileWidth), bundle); err != nil {
				return err
			}
			whole = append(whole, tilePath(entriesLevel, n, tileWidth))
			bundle = bundle[:0]
		}
		whole = append(whole, tilePath(level, n, tileWidth))
		return l.out.write(tilePath(level, n, tileWidth), tile)
	}
	for _, g := range l.pending {
		_, err := parseBundle(g.entries, g.count, func(_ int, entry []byte) error {
			bundle = appendEntry(bundle, entry)
			return t.push(l.leaves.hash(entry), full)
		})
		if err != nil {
			return Checkpoint{}, err
		}
	}
	for level := entriesLevel; level < len(t.tiles); level++ {
		shift := tileHeight * max(level, 0)
		if t.size>>shift == l.tree.size>>shift {
			continue // it is there; a tile that a checkpoint shows is never written again
		}
		n := t.size >> (shift + tileHeight)
		b := bundle
		if level >= 0 {
			b = t.tiles[level]
		}
		if w := widthAt(t.size, level, n); w > 0 {
			// At once: when this is cut off the next one may be of another width, and
			// half of it would stay.
			if err := l.out.replace(tilePath(level, n, w), b); err != nil {
				return Checkpoint{}, err
			}
		}
	}
	if err := l.out.flush(); err != nil {
		return Checkpoint{}, err
	}
	if c, err = sign(t.size, t.root(), l.cfg.Signer); err != nil {
		return Checkpoint{}, err
	}
	if err := l.out.replace("checkpoint", c.Note); err != nil {
		return Checkpoint{}, err
	}
	if err := l.out.flush(); err != nil {
		return Checkpoint{}, err
	}

	l.tree, l.bundle, l.checkpoint = t, bundle, c
	done := 0
	for _, g := range l.pending {
		done += len(g.entries)
	}
	l.pending = nil
	l.mu.Lock()
	l.bytes -= done
	var old []int64
	for len(l.files) > 1 && l.files[1] <= t.size&^(tileWidth-1) {
		old, l.files = append(old, l.files[0]), l.files[1:]
	}
	l.mu.Unlock()
	for _, path := range whole {
		l.out.remove(path + ".p")
	}
	for _, first := range old {
		l.out.remove(segmentPath(first))
	}
	return c, nil
}

// Close writes a checkpoint of all that is durable, and lets another process have the
// ledger. Entries that are being appended may get [ErrClosed].
func (l *Log) Close() error {
	l.mu.Lock()
	if errors.Is(l.err, ErrClosed) {
		l.mu.Unlock()
		return nil
	}
	l.err = ErrClosed
	l.mu.Unlock()
	close(l.stop)
	<-l.stopped
	l.commit.Lock() // the last group is written, or refused
	defer l.commit.Unlock()
	_, err := l.publish()
	return errors.Join(err, l.release())
}

// lock takes a file for this process alone.
func lock(path string) (*os.File, error) {
	f, err := flock.Take(path)
	if errors.Is(err, flock.ErrHeld) {
		err = ErrLocked
	}
	return f, err
}
