// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/myelin-health/myelin/serve/pages"
)

// A job is done once in a while by one of the servers of a store, whichever comes first.
type job struct {
	name  string
	every time.Duration
	most  time.Duration // that it takes; then another server may begin it
	do    func(ctx context.Context) error
}

// lookForJobs is how often a server looks whether something is due.
const lookForJobs = time.Minute

func (s *Server) jobs() []job {
	list := []job{{"retention", 24 * time.Hour, time.Hour, s.retain}}
	if s.folder != nil { // who looked at it goes on: it knows which files are being written
		list = append(list, job{"watch", 0, 10 * time.Minute, s.folder.Look})
	}
	return list
}

// schedule does what is due until ctx is done.
func (s *Server) schedule(ctx context.Context) {
	tick := time.NewTicker(lookForJobs)
	defer tick.Stop()
	for {
		for _, j := range s.jobs() {
			if err := s.once(ctx, &j); err != nil && ctx.Err() == nil {
				s.cfg.Log.Error("a job failed and is tried again", "job", j.name, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// once does a job when it is due and nobody else does it.
func (s *Server) once(ctx context.Context, j *job) error {
	done := "done " + j.name
	mine, err := s.store.Lease(ctx, done, s.name, j.most)
	if err != nil || !mine {
		return err
	}
	last, err := s.store.Setting(ctx, done) // after the lease: what another did is seen
	if err != nil {
		return err
	}
	if at, err := strconv.ParseInt(string(last), 10, 64); err == nil && s.cfg.Now().Sub(time.Unix(0, at)) < j.every {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.most)
	defer cancel()
	if err := j.do(ctx); err != nil {
		return fmt.Errorf("%s: %w", j.name, err)
	}
	return s.store.SetSetting(ctx, done, last, strconv.AppendInt(nil, s.cfg.Now().UnixNano(), 10))
}

// retain forgets what is older than its kind is kept.
func (s *Server) retain(ctx context.Context) error {
	b, err := s.store.Setting(ctx, pages.RetentionSetting)
	if err != nil {
		return err
	}
	keep, err := pages.Retention(b)
	if err != nil {
		return err
	}
	return s.access.Act(s.name, "retention", "store", "daily", func() (int, error) { return s.store.Retain(ctx, keep) })
}
