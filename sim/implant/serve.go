// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/edhoc"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

const (
	maxSessions  = 16
	maxObservers = 8
	tickEvery    = time.Second
)

// TokenLabel is the label of external authorization data that has a token, in message_3 or,
// where the device begins, message_2: one for private use (RFC 9528 section 10.5). A token in it is as good as one that is
// posted to /authz-info right behind the handshake.
const TokenLabel = 0x8001

// A Radio is the device's end of link/coap: handshakes and sessions, by UDP or whatever
// else carries messages. It has to be closed.
type Radio struct {
	*coap.Endpoint
	implant *Implant

	mu       sync.Mutex // guards what follows
	sessions map[*coap.Session]*Session
	kept     map[*coap.Session][]byte // tokens from before a restart, until their holders come
	measured int64
}

// Radio makes one. EDHOC of cfg says who it is and whom it talks to at all, Keep where
// sessions survive a restart; it sets Handler, Open, Accept, Fresh, and bounds that are
// not set.
func (i *Implant) Radio(cfg coap.Config) (*Radio, error) {
	r := &Radio{implant: i, sessions: map[*coap.Session]*Session{}, kept: map[*coap.Session][]byte{}}
	if cfg.EDHOC == nil {
		return nil, errors.New("implant: no credentials for a handshake")
	}
	party := *cfg.EDHOC
	peers := party.Peers
	party.Peers = func(id *edhoc.ID, ead []edhoc.EAD) ([]*edhoc.Credential, error) {
		list, err := peers(id, ead)
		if err != nil {
			i.Failed("handshake", "a credential that is not known")
		}
		return list, err
	}
	known := party.EAD
	party.EAD = func(message int, item edhoc.EAD) error {
		switch {
		case message > 1 && item.Label == TokenLabel:
			return nil // it goes to accept
		case known == nil:
			return edhoc.ErrUnknownEAD
		}
		return known(message, item)
	}
	cfg.EDHOC = &party
	cfg.Handler, cfg.Accept, cfg.Fresh = r.handle, r.accept, Fresh
	cfg.Open = func(m *protocol.Message) bool { return resources[coap.Path(m)].open }
	if cfg.Sessions == 0 {
		cfg.Sessions = maxSessions
	}
	if cfg.Observers == 0 {
		cfg.Observers = maxObservers
	}
	e, err := coap.New(cfg)
	if err != nil {
		return nil, err
	}
	r.Endpoint = e
	return r, nil
}

// accept begins a session of the device for each of the channel's. A token that was kept
// over a restart is looked at again when its holder is there. One that is refused ends no
// handshake: it may be posted.
func (r *Radio) accept(s *coap.Session, ead []edhoc.EAD) error {
	key := s.Peer.Key()
	own := r.implant.Session(&key)
	for _, item := range ead {
		if item.Label == TokenLabel && r.implant.Admit(own, item.Value) == nil {
			_ = s.SetToken(item.Value) // what is not kept is posted again
		}
	}
	r.mu.Lock()
	r.sessions[s] = own
	if token := s.Token(); token != nil && s.Restored {
		r.kept[s] = token
	}
	r.mu.Unlock()
	return nil
}

func (r *Radio) handle(s *coap.Session, m *protocol.Message) protocol.Message {
	if s.Protection != coap.OSCORE {
		return r.implant.Handle(nil, 0, m)
	}
	r.mu.Lock()
	own := r.sessions[s]
	if token := r.kept[s]; token != nil {
		delete(r.kept, s)
		_ = r.implant.Admit(own, token) // before another request of the session is handled
	}
	r.mu.Unlock()
	channel := device.Encrypted | device.Authenticated
	if Fresh(m) > 0 {
		channel |= device.Fresh // the endpoint has asked
	}
	a := r.implant.Handle(own, channel, m)
	if coap.Path(m) == "/authz-info" && a.Code.Class() == 2 {
		token := m.Payload
		if m.Code == protocol.DELETE {
			token = nil
		}
		_ = s.SetToken(token) // what is not kept is posted again
	}
	return a
}

// end ends the device's sessions for those that the channel no longer has.
func (r *Radio) end() {
	here := map[*coap.Session]bool{}
	for _, s := range r.Sessions() {
		here[s] = true
	}
	var gone []*Session
	r.mu.Lock()
	for s, own := range r.sessions {
		if s.Confirmed() && !here[s] {
			gone = append(gone, own)
			delete(r.sessions, s)
			delete(r.kept, s)
		}
	}
	r.mu.Unlock()
	for _, own := range gone {
		r.implant.End(own)
	}
}

// Tick moves the therapy on, and tells those who observe /telemetry when it was measured
// anew.
func (r *Radio) Tick() error {
	r.end()
	err := r.implant.Tick()
	r.mu.Lock()
	at := r.implant.Measured()
	changed := at != r.measured
	r.measured = at
	r.mu.Unlock()
	if changed {
		r.Notify("/telemetry")
	}
	return err
}

// Serve answers on a socket until ctx ends, and ticks once a second.
func (r *Radio) Serve(ctx context.Context, s net.PacketConn) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(tickEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				// A journal that cannot be written refuses commands, and leaves the therapy.
				_ = r.Tick()
			}
		}
	})
	err := r.Endpoint.Serve(ctx, &watched{s, r.implant})
	stop()
	wg.Wait()
	return err
}

// A watched socket counts what the endpoint refuses: handshakes that fail, and messages
// that are forged or were received before are answered without protection.
type watched struct {
	net.PacketConn
	implant *Implant
}

func (w *watched) WriteTo(b []byte, addr net.Addr) (int, error) {
	var m protocol.Message
	if m.Parse(b) == nil && m.Code.Class() >= 4 && m.Code.Class() <= 5 {
		event := "message"
		if o, ok := m.Options.Get(protocol.ContentFormat); ok {
			if n, _ := o.Uint(); n == edhoc.ContentFormat {
				event = "handshake"
			}
		}
		if _, ok := m.Options.Get(protocol.OSCOREOption); !ok {
			w.implant.Failed(event, m.Code.String())
		}
	}
	return w.PacketConn.WriteTo(b, addr)
}
