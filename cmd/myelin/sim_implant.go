// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	updates "github.com/myelin-health/myelin/patch/agent/coap"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/sim/implant"
	"github.com/myelin-health/myelin/sim/update"
)

func simImplantVerb(c *console) *cobra.Command {
	var kind, listen, state, id, trusts, presence string
	var firmware firmwareFlags
	var revoked []string
	var remote, noClock bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "implant --kind KIND --state DIR --trust FILE [flags]",
		Short:                 "Be an insulin pump, pacemaker or neurostimulator on a port",
		Long: `Implant plays a device with its therapy behind the secure channel, until it is
interrupted. What it is and did stays in DIR, whatever ends it: key, log,
sessions. 'myelin link get | observe | command' talk to it. It treats nobody.
With --firmware it takes updates that 'myelin patch push' brings.`,
		Example: `  myelin sim implant --kind pump --listen 127.0.0.1:5683 --state pump \
    --trust clinic/trust.json`,
		Args: exactly(0, "sim implant takes no arguments; --kind says what it is"),
		RunE: func(v *cobra.Command, _ []string) error {
			k, ok := implant.ParseKind(kind)
			if !ok {
				return usageError{fmt.Errorf("--kind %s: want pump, pacemaker or neurostimulator", kind)}
			}
			if state == "" || trusts == "" {
				return usageError{errors.New("sim implant wants --state, a folder, and --trust, the trust.json of an authority")}
			}
			if err := onlyLoopback(listen, remote); err != nil {
				return err
			}
			kinds := map[string]cwt.PresenceKind{"": 0}
			for p := cwt.Wand; p <= cwt.Button; p++ {
				kinds[p.String()] = p
			}
			there, ok := kinds[presence]
			if !ok {
				return usageError{fmt.Errorf("--presence %s: want wand, tap, heartbeat, magnet or button", presence)}
			}
			if id == "" {
				id = kind + "-1"
			}
			t, err := readTrust(trusts)
			if err != nil {
				return err
			}
			anchors, err := t.Anchors()
			if err != nil {
				return fmt.Errorf("%s: %w", trusts, err)
			}
			key, err := deviceKey(state)
			if err != nil {
				return err
			}
			own, err := staticKey(key, key.ID)
			if err != nil {
				return err
			}
			began := time.Now()
			i, err := implant.Open(implant.Config{
				Kind: k, ID: id, Journal: filepath.Join(state, "journal"), Anchors: anchors,
				Clock: func() (time.Duration, int64) {
					if noClock {
						return time.Since(began), 0
					}
					return time.Since(began), time.Now().Unix()
				},
			})
			if err != nil {
				return err
			}
			defer i.Close()
			for _, file := range revoked {
				b, err := readFile(file, maxAuthority)
				if err == nil {
					err = i.Revoke(b)
				}
				if err != nil {
					return fmt.Errorf("--revoked %s: %w", file, said(err))
				}
			}
			if err := i.Couple(there); err != nil {
				return err
			}
			store, err := coap.OpenStore(filepath.Join(state, "sessions"))
			if err != nil {
				return err
			}
			defer store.Close()
			r, err := i.Radio(coap.Config{
				EDHOC: &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{own}, Peers: anyKey},
				Keep:  store,
			})
			if err != nil {
				return err
			}
			defer r.Close()
			s, err := net.ListenPacket("udp", listen)
			if err != nil {
				return err
			}
			stop, err := firmware.run(v.Context(), c, i, k, id, state, key)
			if err != nil {
				return err
			}
			defer stop()
			c.hint("%s, a simulated %s, listens on %v; its public key is %s", id, kind, s.LocalAddr(), filepath.Join(state, deviceKeyFile+".pub"))
			return r.Serve(v.Context(), s)
		},
	}
	v.Flags().StringVar(&kind, "kind", "", "`KIND`: pump, pacemaker or neurostimulator")
	v.Flags().StringVar(&listen, "listen", "127.0.0.1:5683", "`ADDRESS` and port")
	v.Flags().StringVar(&state, "state", "", "`DIR` for what must survive")
	v.Flags().StringVar(&trusts, "trust", "", "`FILE`: the trust.json of the authority whose tokens it takes")
	v.Flags().StringVar(&id, "id", "", "`NAME` that tokens are for; else the kind and -1")
	v.Flags().StringVar(&presence, "presence", "", "its hardware measures somebody at the patient: `KIND`")
	v.Flags().StringArrayVar(&revoked, "revoked", nil, "`FILE` of a list that 'myelin link revoke' signed")
	v.Flags().BoolVar(&noClock, "no-clock", false, "it does not know the time")
	v.Flags().BoolVar(&remote, "allow-remote", false, "listen on an address that others reach")
	firmware.register(v)
	complete(v, "kind", "pump", "pacemaker", "neurostimulator")
	complete(v, "presence", "wand", "tap", "heartbeat", "magnet", "button")
	return v
}

// firmwareFlags say what firmware a simulated implant has, and whose it takes.
type firmwareFlags struct{ version, maker, hospital string }

func (f *firmwareFlags) register(v *cobra.Command) {
	v.Flags().StringVar(&f.version, "firmware", "", "`VERSION` that it was delivered with: it takes updates")
	v.Flags().StringVar(&f.maker, "maker", "", "`FILE`: the public key of its maker")
	v.Flags().StringVar(&f.hospital, "hospital", "", "`FILE`: the public key of the hospital's offers")
}

// Of simulated firmware: its maker's domain, what manifests call it, and its slots.
const (
	simMaker     = "sim.example"
	simComponent = "firmware"
	simSlot      = 256 << 10
	simBlock     = 4 << 10
)

// run has the device take updates, until stop.
func (f *firmwareFlags) run(ctx context.Context, c *console, i *implant.Implant, kind implant.Kind, id, state string, key cose.Key) (stop func(), err error) {
	if f.version == "" {
		return func() {}, nil
	}
	var keys [2]cose.Key
	for n, file := range []string{f.maker, f.hospital} {
		if file == "" {
			return nil, usageError{errors.New("--firmware wants --maker and --hospital: whose updates it takes")}
		}
		if keys[n], err = publicKey(file); err != nil {
			return nil, err
		}
	}
	signer, err := cose.NewSigner(key)
	if err != nil {
		return nil, err
	}
	var flash [3]*agent.File
	for n, name := range []string{"record", "slot-a", "slot-b"} {
		size := int64(simSlot)
		if n == 0 {
			size = 2 * simBlock
		}
		if flash[n], err = agent.OpenFile(filepath.Join(state, name), size, simBlock); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	public, vendor := key.Public(), suit.VendorUUID(simMaker)
	pushed := updates.NewDevice(clock)
	u, err := update.New(update.Config{
		Agent: agent.Config{
			ID: id, Hardware: "sim", Vendor: vendor, Class: suit.ClassUUID(vendor, kind.String()), Component: suit.NewComponentID(simComponent),
			Layout: agent.Layout{Record: flash[0], Slots: [2]agent.Flash{flash[1], flash[2]}}, Server: pushed, Clock: clock,
			Signer: signer, KeyID: patch.KeyID(&public), Makers: keys[:1], Offers: keys[1:], Answers: keys[1:],
		},
		Body: i.Body(), Version: f.version, Sequence: 1,
	})
	if err != nil {
		return nil, err
	}
	i.Updates(pushed)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = pushed.Run(ctx, u.Step, func(err error) { c.hint("update: %v", err) })
	})
	return func() {
		cancel()
		wg.Wait()
		for _, d := range flash {
			_ = d.Close()
		}
	}, nil
}

// anyKey lets in everybody who proves a key, sent whole: what he may do his token says.
func anyKey(id *edhoc.ID, _ []edhoc.EAD) ([]*edhoc.Credential, error) {
	c, err := id.Credential()
	if err != nil || c == nil || c.Certificate() != nil {
		return nil, edhoc.ErrUnknownCredential
	}
	return []*edhoc.Credential{c}, nil
}

// deviceKeyFile is the device's own key, in its folder.
const deviceKeyFile = "device.key"

// deviceKey reads the device's key, and makes one at its first start.
func deviceKey(state string) (cose.Key, error) {
	file := filepath.Join(state, deviceKeyFile)
	k, err := privateKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return k, err
	}
	if k, err = newKey("p256"); err != nil {
		return k, err
	}
	k.ID = []byte{k.ID[0] % 24} // a byte on the air, as a number (RFC 9528 section 3.3.2)
	return k, createKey(file, k)
}
