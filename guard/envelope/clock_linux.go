// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const clockBoottime = 7 // CLOCK_BOOTTIME: time asleep counts

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil { // then each process counts as a start of the machine
		return strconv.FormatInt(time.Now().UnixNano(), 10)
	}
	return strings.TrimSpace(string(b))
})

// lookAgain is how long the uptime is worked out from the runtime's own monotonic
// clock, which costs no system call, but misses what the machine sleeps: a twentieth of a
// second of being awake later that is seen, and the wall clock shows it at once.
const lookAgain = 50 * time.Millisecond

// looked is when the uptime was read last, and what it was.
var looked struct {
	sync.Mutex
	at     time.Time
	uptime int64
}

// ReadClock is what this machine's clocks say.
func ReadClock() Reading {
	now := time.Now()
	looked.Lock()
	since := now.Sub(looked.at)
	if looked.at.IsZero() || since < 0 || since > lookAgain {
		var t syscall.Timespec
		syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&t)), 0) // cannot fail since Linux 2.6.39
		looked.at, looked.uptime, since = now, t.Nano(), 0
	}
	uptime := looked.uptime + int64(since)
	looked.Unlock()
	return Reading{Wall: now.UnixNano(), Uptime: uptime, Boot: bootID()}
}
