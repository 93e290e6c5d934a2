// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
)

// Forgetful makes PostgreSQL fast: what it says is durable is not, should the machine
// stop (or the server be killed with it).
const Forgetful = "fsync=off"

// PostgreSQL starts a server of its own, with an empty database, and returns how to
// connect. It makes durable what it says is durable, unless a setting ([Forgetful])
// says otherwise. Debian's package: postgresql. Started as root it runs as the user
// postgres, because it refuses root.
func PostgreSQL(t TB, settings ...string) (dsn string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		Missing(t, "PostgreSQL is not installed: apt-get install postgresql")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "postgresql") // under a short name, and not under one of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var as []string
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		as = []string{Tool(t, "setpriv", "util-linux"), "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups", "--"}
	}
	data := filepath.Join(dir, "data")
	initdb := append(as, filepath.Join(bin, "initdb"), "-D", data, "-U", "myelin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	Run(t, dir, initdb[0], initdb[1:]...)
	port := Port(t)
	server := append(as, filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=64MB")
	for _, s := range settings {
		server = append(server, "-c", s)
	}
	Start(t, dir, port, server[0], server[1:]...)
	ready, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for exec.CommandContext(ready, filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port)).Run() != nil {
		if ready.Err() != nil {
			t.Fatal("PostgreSQL does not become ready")
		}
	}
	return fmt.Sprintf("postgres://myelin@127.0.0.1:%d/postgres?sslmode=disable", port)
}
