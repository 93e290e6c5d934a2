// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// TestLegacyRadio has an old defibrillator attacked, and what a receiver heard of it assessed.
func TestLegacyRadio(t *testing.T) {
	for network, arg := range map[string]string{"udp": "", "tcp": "--network=tcp"} {
		t.Run(network, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			says, hint := io.Pipe()
			var did strings.Builder
			done := make(chan int)
			args := []string{"sim", "legacy", "--device", "rhythm-a", "--listen", "127.0.0.1:0"}
			if arg != "" {
				args = append(args, arg)
			}
			go func() {
				code := run(ctx, args, strings.NewReader(""), &did, hint)
				hint.Close()
				done <- code
			}()
			line, err := bufio.NewReader(says).ReadString('\n')
			addr, _, found := strings.Cut(strings.TrimPrefix(line, "myelin: listening on "), ",")
			if err != nil || !found {
				t.Fatalf("%q %v", line, err)
			}
			go io.Copy(io.Discard, says)

			heard := filepath.Join(t.TempDir(), "heard.jsonl")
			var out, errs strings.Builder
			args = []string{"sim", "legacy", "--attack", "A02", "--listen", addr, "--frames", heard}
			if arg != "" {
				args = append(args, arg)
			}
			code := run(t.Context(), args, strings.NewReader(""), &out, &errs)
			if code != exitDone || !strings.HasPrefix(out.String(), "A02/replay succeeded: ") {
				t.Fatalf("exit %d, %s%s", code, &out, &errs)
			}
			stop()
			if code := <-done; code != exitDone || !strings.Contains(did.String(), `"Therapies":false`) || strings.Count(did.String(), "a shock of 10.0 J") != 2 {
				t.Errorf("exit %d, %s", code, &did)
			}
			out.Reset()
			if code := run(t.Context(), []string{"assess", heard}, strings.NewReader(""), &out, &errs); code != exitDone || !strings.Contains(out.String(), "Rhythm A") {
				t.Errorf("exit %d, %s%s", code, &out, &errs)
			}
		})
	}
}
