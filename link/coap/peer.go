// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// linkFormat is the content format application/link-format (RFC 6690).
const linkFormat = 40

// PeerHandler serves what shows that two OSCORE stacks understand each other: /time,
// which can be observed, and /.well-known/core.
func PeerHandler(now func() time.Time) Handler {
	return func(_ *Session, m *coap.Message) coap.Message {
		var a coap.Message
		switch path := Path(m); {
		case path != "/time" && path != "/.well-known/core":
			return coap.Message{Code: coap.NotFound}
		case m.Code != coap.GET:
			return coap.Message{Code: coap.MethodNotAllowed}
		case path == "/time":
			a = Response(coap.Content, 0, []byte(now().UTC().Format(time.RFC3339)))
			return WithOption(a, coap.Observe, nil)
		}
		return Response(coap.Content, linkFormat, []byte(`</time>;obs;ct=0;title="the time",</.well-known/core>;ct=40`))
	}
}

// AskPeer asks for what [PeerHandler] serves, and writes a line for each answer:
// its path, its code, and its payload.
func AskPeer(ctx context.Context, c *Conn, s *Session, w io.Writer) error {
	for _, path := range []string{"/time", "/.well-known/core"} {
		m, err := c.Get(ctx, s, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if _, err := fmt.Fprintf(w, "%s %v %q\n", path, m.Code, m.Payload); err != nil {
			return err
		}
	}
	return nil
}
