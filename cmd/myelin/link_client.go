// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/report"
)

// cborFormat is the content format application/cbor.
const cborFormat = 60

// A client is what a programmer brings to a device.
type client struct {
	*console
	key, token, device string
	wait               time.Duration
	remote             bool
	format             formatFlag
}

func (p *client) register(v *cobra.Command) {
	v.Flags().StringVar(&p.key, "key", "", "`FILE` of one's own private key")
	v.Flags().StringVar(&p.token, "token", "", "`FILE` of the token to be let in by")
	v.Flags().StringVar(&p.device, "device", "", "`FILE` of the device's public key")
	v.Flags().DurationVar(&p.wait, "wait", 30*time.Second, "give up after this `DURATION`")
	v.Flags().BoolVar(&p.remote, "allow-remote", false, "ask a device that is not on this machine")
	p.format.register(v, "text", "json")
}

func linkGetVerb(c *console) *cobra.Command {
	p := &client{console: c}
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "get URL --key FILE --token FILE --device FILE",
		Short:                 "Read a resource of a device",
		Long: `Get shakes hands with a device (EDHOC), shows it the token, and reads one of its
resources: /therapy, /telemetry, /limits or /log.`,
		Example: `  myelin link get coap://127.0.0.1:5683/log --key nurse.key --token nurse.cwt \
    --device pump/device.key.pub`,
		Args: exactly(1, "get what? name a URL, such as coap://127.0.0.1:5683/therapy"),
		RunE: func(v *cobra.Command, args []string) error {
			return p.talk(v.Context(), args[0], func(ctx context.Context, t *talk) error {
				m, err := t.Do(ctx, t.s, t.request(protocol.GET, nil))
				if err != nil {
					return err
				}
				return p.answer(&m)
			})
		},
	}
	p.register(v)
	return v
}

func linkObserveVerb(c *console) *cobra.Command {
	p := &client{console: c}
	var count int
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "observe URL --key FILE --token FILE --device FILE [--count N]",
		Short:                 "Follow a resource of a device as it changes",
		Long: `Observe reads a resource and again whenever it has changed, until it is
interrupted. With --format json an answer is a line.`,
		Example: `  myelin link observe coap://127.0.0.1:5683/telemetry --key nurse.key \
    --token nurse.cwt --device pump/device.key.pub --format json`,
		Args: exactly(1, "observe what? name a URL, such as coap://127.0.0.1:5683/telemetry"),
		RunE: func(v *cobra.Command, args []string) error {
			return p.talk(v.Context(), args[0], func(ctx context.Context, t *talk) error {
				o, err := t.Observe(ctx, t.s, t.path)
				if err != nil {
					return err
				}
				for n := 0; count == 0 || n < count; n++ {
					m, err := o.Next(v.Context()) // --wait is for the first answer
					if err != nil {
						return err
					}
					if err := p.answer(&m); err != nil {
						return err
					}
				}
				return o.Close(ctx)
			})
		},
	}
	p.register(v)
	v.Flags().IntVar(&count, "count", 0, "end after `N` answers")
	return v
}

func linkCommandVerb(c *console) *cobra.Command {
	p := &client{console: c}
	var limit string
	var confirm bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "command URL VERB [QUANTITY] --key FILE --token FILE --device FILE",
		Short:                 "Command a device, as its token allows",
		Long: `Command asks a device to change its therapy, and says what it answered. The
device decides by its own limits and by the token; it asks whether the command
is made now (Echo), so that nobody can hold it back.`,
		Example: `  myelin link command coap://127.0.0.1:5683/therapy deliver-bolus 2U \
    --key nurse.key --token nurse.cwt --device pump/device.key.pub`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return errors.New("command what? name a URL, a verb such as deliver-bolus, and what it wants")
			}
			return nil
		},
		RunE: func(v *cobra.Command, args []string) error {
			verb, ok := device.ParseVerb(args[1])
			if !ok {
				return usageError{fmt.Errorf("%s: no such verb; deliver-bolus and suspend are two", args[1])}
			}
			value := ""
			if len(args) == 3 {
				value = args[2]
			}
			b, err := commandOf(verb, value, limit, confirm)
			if err != nil {
				return err
			}
			return p.talk(v.Context(), args[0], func(ctx context.Context, t *talk) error {
				m, err := t.Do(ctx, t.s, t.request(protocol.POST, b))
				if err != nil {
					return err
				}
				return p.answer(&m)
			})
		},
	}
	p.register(v)
	v.Flags().StringVar(&limit, "limit", "", "for this `QUANTITY` of time, such as 30min")
	v.Flags().BoolVar(&confirm, "confirm", false, "an external defibrillator is at hand")
	return v
}

// commandOf writes a command as a device reads it.
func commandOf(verb device.Verb, value, limit string, confirm bool) ([]byte, error) {
	r := therapy.Request{Verb: verb, Confirm: confirm}
	for _, of := range []struct {
		text string
		q    *device.Quantity
	}{{value, &r.Value}, {limit, &r.Limit}} {
		if of.text == "" {
			continue
		}
		q, err := device.ParseQuantity(of.text)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: want a number with its unit, such as 2U, 0.8U/h, 2.5mA or 30min", of.text)}
		}
		if q.Unit == device.NoUnit {
			q.Unit, _ = device.UnitOfUCUM("1") // a switch
		}
		*of.q = q
	}
	return r.Append(nil), nil
}

// A talk is a session with a device, and what of it is asked for.
type talk struct {
	*coap.Conn
	s           *coap.Session
	path, query string
}

func (t *talk) request(method protocol.Code, payload []byte) protocol.Message {
	m := coap.Request(method, t.path, cborFormat, payload)
	if t.query != "" {
		m.Options = protocol.AppendOption(m.Options, lastOf(m.Options), protocol.Option{Number: protocol.URIQuery, Value: []byte(t.query)})
	}
	return m
}

func lastOf(os protocol.Options) (last protocol.OptionNumber) {
	for o := range os.All() {
		last = o.Number
	}
	return last
}

// talk shakes hands, shows the token, and does what is to be done.
func (p *client) talk(ctx context.Context, where string, do func(context.Context, *talk) error) error {
	if err := p.format.check(); err != nil {
		return err
	}
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "coap" || u.Host == "" || u.User != nil {
		return usageError{fmt.Errorf("%s: want a URL such as coap://127.0.0.1:5683/therapy", where)}
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "5683"
	}
	addr := net.JoinHostPort(host, port)
	if err := onlyLoopback(addr, p.remote); err != nil {
		return err
	}
	if p.key == "" || p.device == "" {
		return usageError{errors.New("want --key, one's own, and --device, the device's public key")}
	}
	cfg, err := clientConfig(p.key, p.device)
	if err != nil {
		return err
	}
	var token []byte
	if p.token != "" {
		if token, err = readFile(p.token, cwt.MaxToken); err != nil {
			return err
		}
	}
	e, err := coap.New(coap.Config{EDHOC: cfg})
	if err != nil {
		return err
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	c, err := e.Dial(ctx, addr)
	if err != nil {
		return err
	}
	s, err := c.Handshake(ctx)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v; does a device listen there?", p.wait)
		}
		return fmt.Errorf("%s: %w", addr, err)
	}
	t := &talk{c, s, u.Path, u.RawQuery}
	if token != nil {
		m, err := c.Post(ctx, s, "/authz-info", cborFormat+1, token) // application/cwt
		if err != nil {
			return err
		}
		if m.Code.Class() != 2 {
			return fmt.Errorf("%s: the device does not take this token (%v); 'myelin link show %s' tells for what device and until when it is", p.token, m.Code, p.token)
		}
	}
	if err := do(ctx, t); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: no answer within %v", addr, p.wait)
		}
		return err
	}
	return nil
}

// clientConfig makes a handshake's configuration of two files of keys.
func clientConfig(own, peer string) (*edhoc.Config, error) {
	k, err := privateKey(own)
	if err != nil {
		return nil, err
	}
	d, err := publicKey(peer)
	if err != nil {
		return nil, err
	}
	a, err := staticKey(k, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", own, err)
	}
	cred, err := edhoc.NewCCS(d.Public(), "", d.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", peer, err)
	}
	return &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{a}, Peers: edhoc.Only(cred)}, nil
}

// staticKey dresses a key that goes by kid or, when that is nil, whole.
func staticKey(k cose.Key, kid []byte) (*edhoc.Authenticator, error) {
	public := k.Public()
	public.ID = nil
	cred, err := edhoc.NewCCS(public, "", kid)
	if err != nil {
		return nil, err
	}
	private, err := k.PrivateECDH()
	if err != nil {
		return nil, err
	}
	return edhoc.NewStaticDH(private, cred)
}

// onlyLoopback refuses an address of another machine.
func onlyLoopback(addr string, remote bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usageError{fmt.Errorf("%s: want an address and a port, such as 127.0.0.1:5683", addr)}
	}
	ip, err := netip.ParseAddr(host)
	if !remote && (err != nil || !ip.IsLoopback()) {
		return usageError{fmt.Errorf("%s: not this machine; --allow-remote lets it, where you have leave to", addr)}
	}
	return nil
}

// answer prints what a device answered; a refusal is an error.
func (p *client) answer(m *protocol.Message) error {
	if m.Code.Class() != 2 {
		why := ""
		if r, err := cbor.Parse(m.Payload); err == nil && len(m.Payload) > 0 {
			if fields, ok := jsonOf(&r).(map[string]any); ok {
				why, _ = fields["why"].(string)
			}
		}
		if why == "" {
			why = "the device gives no reason; its /log may"
		}
		return fmt.Errorf("refused: %v, %s", m.Code, report.Plain(why))
	}
	if p.format.name == "json" {
		answer := map[string]any{"code": m.Code.String()}
		if len(m.Payload) > 0 {
			r, err := cbor.Parse(m.Payload)
			if err != nil {
				return err
			}
			answer["content"] = jsonOf(&r)
		}
		e := json.NewEncoder(p.out)
		e.SetEscapeHTML(false)
		return e.Encode(answer)
	}
	if len(m.Payload) == 0 {
		_, err := fmt.Fprintln(p.out, m.Code)
		return err
	}
	text, err := therapy.Text(m.Payload)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(p.out, text)
	return err
}

// jsonOf is an item of what a device says, with the names of its fields. Its depth was
// bounded when it was parsed.
func jsonOf(r *cbor.Reader) any {
	switch r.Next() {
	case cbor.Uint, cbor.NegInt:
		return r.Int()
	case cbor.Bytes:
		return hex.EncodeToString(r.Bytes())
	case cbor.Text:
		return r.Text()
	case cbor.Float:
		return r.Float()
	case cbor.Array:
		list := []any{}
		for n := r.Array(); n > 0 && r.Err() == nil; n-- {
			list = append(list, jsonOf(r))
		}
		if len(list) == 3 { // a quantity
			c, ok := list[0].(int64)
			e, ok2 := list[1].(int64)
			text, ok3 := list[2].(string)
			if u, known := device.UnitOfUCUM(text); ok && ok2 && ok3 && known && e == int64(int8(e)) {
				return device.Quantity{Coefficient: c, Exponent: int8(e), Unit: u}.String()
			}
		}
		return list
	case cbor.Map:
		fields := map[string]any{}
		for n := r.Map(); n > 0 && r.Err() == nil; n-- {
			k := r.Uint()
			name := ""
			if k < 256 {
				name = therapy.Key(k).String()
			}
			if name == "" {
				name = fmt.Sprint(k)
			}
			fields[name] = jsonOf(r)
		}
		return fields
	case cbor.Simple:
		if r.Null() {
			return nil
		}
		return r.Bool()
	}
	r.Raw()
	return nil
}
