// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package documents

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// Bounds of a folder that is watched.
const (
	maxWatched = 10_000 // files
	maxTrouble = 50     // of those that could not be taken, that are told
)

// A Folder is watched: what is put there is taken in, once. Files stay where they are.
// A file is read when it was the same at two looks, so that one that is being written
// is not; names that begin with a dot are passed over, and so are links.
type Folder struct {
	dir    string
	intake *Intake
	server string
	seen   map[string]print
	done   map[string]taken
}

// A print changes when a file does.
type print struct {
	size int64
	at   time.Time
}

type taken struct {
	print
	trouble string
}

// A Looked is how a folder was at the last look.
type Looked struct {
	Dir, Server string
	At          int64
	Files       int // that were taken, or were here before
	Coming      int // that are being written, or are read at the next look
	Trouble     []Trouble
	More        int    // files that could not be taken, that are not told
	Wrong       string // why it could not be looked at
}

// A Trouble is a file that could not be taken, and why.
type Trouble struct{ File, Why string }

// NewFolder watches a folder, for a server of this name.
func NewFolder(dir, server string, t *Intake) *Folder {
	return &Folder{dir: dir, server: server, intake: t, seen: map[string]print{}, done: map[string]taken{}}
}

// watched is the setting that has the last look.
const watched = "watched folder"

// LastLook is what the last look at the folder found, whichever of the servers looked; nil: none did.
func LastLook(ctx context.Context, s *store.Store) (*Looked, error) {
	b, err := s.Setting(ctx, watched)
	if err != nil || b == nil {
		return nil, err
	}
	l := &Looked{}
	return l, json.Unmarshal(b, l)
}

// Look looks at the folder, takes in what is new, and keeps what it found for [LastLook].
func (f *Folder) Look(ctx context.Context) error {
	l := &Looked{Dir: f.dir, Server: f.server, At: f.intake.Now().UnixNano()}
	err := f.look(ctx, l)
	if err != nil {
		l.Wrong = plainly(err)
	}
	old, kept := f.intake.Store.Setting(ctx, watched)
	b, coded := json.Marshal(l)
	if kept = errors.Join(kept, coded); kept == nil {
		kept = f.intake.Store.SetSetting(ctx, watched, old, b)
	}
	return errors.Join(err, kept)
}

func (f *Folder) look(ctx context.Context, l *Looked) error {
	var names []string
	err := filepath.WalkDir(f.dir, func(file string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && file == f.dir:
			return err
		case err != nil: // it went meanwhile, or is not ours to read
			return nil
		case file != f.dir && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
		case e.Type().IsRegular():
			if names = append(names, file); len(names) > maxWatched {
				return errors.New("there are more than 10,000 files in it: take out what was read")
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	seen, done := map[string]print{}, map[string]taken{}
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		now := print{info.Size(), info.ModTime()}
		was, read := f.done[name]
		if read = read && was.print == now; !read && f.seen[name] != now {
			seen[name] = now
			l.Coming++
			continue
		}
		if !read {
			if was, err = f.take(ctx, name, now); err != nil {
				f.seen[name] = now
				return err
			}
		}
		if done[name] = was; was.trouble == "" {
			l.Files++
		} else if len(l.Trouble) < maxTrouble {
			file, _ := filepath.Rel(f.dir, name)
			l.Trouble = append(l.Trouble, Trouble{clip(file, maxName), was.trouble})
		} else {
			l.More++
		}
		f.done[name] = was
	}
	f.seen, f.done = seen, done // what is gone is forgotten
	slices.SortFunc(l.Trouble, func(a, b Trouble) int { return strings.Compare(a.File, b.File) })
	return nil
}

// take takes in a file. An error is the server's; what is wrong with the file is told.
func (f *Folder) take(ctx context.Context, name string, now print) (taken, error) {
	in, err := os.Open(name)
	if err != nil {
		return taken{now, plainly(err)}, nil
	}
	defer in.Close()
	_, _, err = f.intake.Add(ctx, "watched folder", filepath.Base(name), in)
	var said *access.Error
	if errors.As(err, &said) {
		return taken{now, said.Text}, nil
	}
	return taken{print: now}, err
}

// plainly is an error without the path, which stands beside it.
func plainly(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return report.Plain(err.Error())
}
