// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"

	"github.com/myelin-health/myelin/serve"
	"github.com/myelin-health/myelin/serve/demo"
)

// demo serves the sample ward, and lives through its morning. Without a folder the data
// are in one that goes with it.
func (c *console) demo(ctx context.Context, cfg serve.Config) (err error) {
	if err := onlyLoopback(cfg.Listen, false); err != nil {
		return err
	}
	if cfg.Data == "" {
		if cfg.Data, err = os.MkdirTemp("", "myelin-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.Data)) }()
	} else if list, err := os.ReadDir(cfg.Data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if len(list) > 0 {
		return usageError{fmt.Errorf("--data %s: a demo begins in an empty folder, and this one has something", cfg.Data)}
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	sensors, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg.Sensors = sensors.Addr().String()
	sensors.Close()
	cfg.Site, cfg.Version, cfg.Log = "St. Ada Hospital", version(), slog.New(slog.NewTextHandler(c.err, nil))
	s, err := serve.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ln, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	address, _ := s.Address(ln)
	link, err := s.SetUpLink(ctx)
	if err != nil {
		ln.Close()
		return err
	}
	c.introduce(address)
	dir := filepath.Join(cfg.Data, "demo")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	said, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer said.Close()
	log := &bounded{to: said, left: maxDemoLog}
	serving, end := context.WithCancel(context.WithoutCancel(ctx)) // the server ends last
	defer end()
	ctx, over := context.WithCancel(ctx)
	defer over()
	var lived error
	var all sync.WaitGroup
	all.Go(func() {
		defer end()
		lived = demo.Run(ctx, demo.Config{
			Dir: dir, Data: cfg.Data, Server: address, Sensors: "https://" + cfg.Sensors, SetUp: link, Did: log, Log: cfg.Log,
			Verb: func(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
				var errs strings.Builder
				code := run(ctx, args, in, out, io.MultiWriter(log, &bounded{to: &errs, left: 1 << 10}))
				if code != exitDone && code != exitFound {
					return errors.New(strings.TrimSpace(errs.String()))
				}
				return nil
			},
			Told: func(what string) { c.hint("%s", what) },
		})
	})
	err = s.Run(serving, ln)
	over()
	all.Wait()
	return errors.Join(lived, err)
}

const maxDemoLog = 16 << 20

// introduce says where the demo is, and who can sign in.
func (c *console) introduce(address string) {
	fmt.Fprintf(c.out, `%s/

This is a demo. St. Ada Hospital, its people, devices and patients are invented;
its morning is lived through within half a minute, and then the day goes on.
Sign in with the password "%s" as

`, address, demo.Password)
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for i := range demo.Staff {
		p := &demo.Staff[i]
		fmt.Fprintf(t, "  %s\t%s\t%s\n", p.Login, p.Name, p.Says())
	}
	t.Flush()
	fmt.Fprintln(c.out, "\nCtrl-C ends it.")
}

// A bounded writer drops what is too much.
type bounded struct {
	mu   sync.Mutex
	to   io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := min(len(p), b.left); n > 0 {
		b.left -= n
		if _, err := b.to.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
