// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/myelin-health/myelin/serve/notify"
)

// lookForReceivers is how often a server looks whether others are to be told.
const lookForReceivers = 5 * time.Second

// tell tells the receivers of the settings, and others when these change.
func (s *Server) tell(ctx context.Context) {
	var kept []byte
	var telling sync.WaitGroup
	stop := func() {}
	defer func() { stop(); telling.Wait() }()
	tick := time.NewTicker(lookForReceivers)
	defer tick.Stop()
	for {
		b, err := s.sealer.Secret(ctx, s.store, notify.SettingName)
		switch {
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Error("the receivers cannot be read", "err", err)
		case err == nil && !bytes.Equal(b, kept):
			stop()
			telling.Wait()
			kept = b
			c := notify.Config{Store: s.store, Receivers: s.receivers(b), Holder: s.name, Site: s.cfg.Site, URL: s.cfg.URL, Now: s.cfg.Now, Log: s.cfg.Log}
			if s.cfg.Store != "" {
				c.Settle = lookForReceivers // PostgreSQL gives numbers before transactions end
			}
			within, end := context.WithCancel(ctx)
			stop = end
			telling.Go(func() { notify.Run(within, c) })
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) receivers(b []byte) (out []notify.Receiver) {
	list, err := notify.ParseSettings(b)
	if err != nil {
		s.cfg.Log.Error("nobody is told", "err", err)
	}
	for i := range list {
		r, err := list[i].Receiver(s.name, s.cfg.Version)
		if err != nil {
			s.cfg.Log.Error("a receiver is not told", "err", err)
			continue
		}
		out = append(out, r)
	}
	return out
}
