// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/ledger"
)

var (
	tracedCall   = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	tracedResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>`)
	tracedFD     = regexp.MustCompile(`^(?:AT_FDCWD|\d+)<([^>]*)>`)
	tracedName   = regexp.MustCompile(`"([^"]*)"`)
)

// A disk knows what a loss of power would take: what was written to files since their
// last fsync, and names since that of their folder.
type disk struct {
	t       *testing.T
	root    string
	bytes   map[string]bool
	names   map[string]bool
	waiting map[string]string // by thread: what it is fsyncing
	told    int
	shown   int
}

// lost wants all that fits, below the ledger's folder, to be durable.
func (d *disk) lost(when, fits string) {
	for _, paths := range []map[string]bool{d.bytes, d.names} {
		for path := range paths {
			rel := strings.TrimPrefix(path, d.root+"/")
			if ok, _ := regexp.MatchString(fits, rel); ok {
				d.t.Errorf("%s, and a loss of power would take %s", when, rel)
			}
		}
	}
}

func (d *disk) synced(path string) {
	delete(d.bytes, path)
	maps.DeleteFunc(d.names, func(name string, _ bool) bool { return filepath.Dir(name) == path })
}

func (d *disk) call(thread, name, args string, unfinished bool) {
	names := tracedName.FindAllStringSubmatch(args, -1)
	fd := ""
	if m := tracedFD.FindStringSubmatch(args); m != nil {
		fd = m[1]
	}
	switch name {
	case "write":
		if filepath.Base(fd) == "told" {
			d.told++
			d.lost("somebody is told", `^journal$|^journal/\d+$`)
		} else if strings.HasPrefix(fd, d.root+"/") {
			d.bytes[fd] = true
		}
	case "openat", "mkdirat":
		if p := names[0][1]; strings.HasPrefix(p, d.root+"/") && (name == "mkdirat" || strings.Contains(args, "O_CREAT")) {
			d.names[p] = true
		}
	case "fsync":
		if unfinished {
			d.waiting[thread] = fd
		} else {
			d.synced(fd)
		}
	case "renameat":
		from, to := names[0][1], names[1][1]
		if d.bytes[from] {
			d.t.Errorf("%s has its name before its bytes are durable", to)
		}
		delete(d.names, from)
		if filepath.Base(to) == "checkpoint" {
			d.shown++
			d.lost("a checkpoint shows it", `^tile`)
		}
		d.names[to] = true
	case "unlinkat":
		d.lost("older files are removed", `^tile|^checkpoint$`)
	}
}

// TestDurableOrder watches the system calls of a process that keeps a ledger: whoever is
// told that an entry is durable, and whoever reads a checkpoint, could lose power then.
func TestDurableOrder(t *testing.T) {
	strace := testpeer.Tool(t, "strace", "strace")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "myelin-record")
	if err := os.Symlink(exe, program); err != nil {
		t.Fatal(err)
	}
	private, _, err := ledger.GenerateKey(nil, "ada.example/ledger", false)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	trace, root := filepath.Join(dir, "trace"), filepath.Join(dir, "ledger")
	for _, entries := range []string{"300", "30"} { // a new one, and one that is there
		out, err := exec.Command(strace, "-f", "-y", "-s", "0", "-o", trace, "-e", "trace=write,fsync,renameat,openat,mkdirat,unlinkat",
			program, root, key, filepath.Join(dir, "told"), entries).CombinedOutput()
		if err != nil {
			if strings.Contains(string(out), "ptrace") || strings.Contains(string(out), "PTRACE") {
				t.Skipf("strace may not look at processes here: %s", out)
			}
			t.Fatalf("%v: %s", err, out)
		}
		f, err := os.Open(trace)
		if err != nil {
			t.Fatal(err)
		}
		d := &disk{t: t, root: root, bytes: map[string]bool{}, names: map[string]bool{}, waiting: map[string]string{}}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if m := tracedResume.FindStringSubmatch(lines.Text()); m != nil {
				if m[2] == "fsync" {
					d.synced(d.waiting[m[1]])
				}
			} else if m := tracedCall.FindStringSubmatch(lines.Text()); m != nil {
				d.call(m[1], m[2], m[3], strings.HasSuffix(m[3], "<unfinished ...>"))
			}
		}
		f.Close()
		if d.told < 30 || d.shown < 2 {
			t.Errorf("%d times told, %d checkpoints", d.told, d.shown)
		}
	}
}
