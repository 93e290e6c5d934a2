// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
)

// An authority's folder.
const (
	authorityKey   = "authority.key"
	authorityState = "authority.cbor" // who is enrolled, what was issued and revoked
	trustFile      = "trust.json"     // what a device is given
)

// maxAuthority is how many bytes the state may have.
const maxAuthority = 16 << 20

func roleOf(name string) (device.Role, error) {
	var names []string
	for _, r := range cwt.Roles {
		if r.String() == name {
			return r, nil
		}
		names = append(names, r.String())
	}
	return 0, usageError{fmt.Errorf("--role %s: want %s", name, enumerate(names))}
}

func roleNames() (names []string) {
	for _, r := range cwt.Roles {
		names = append(names, r.String())
	}
	return names
}

func readTrust(file string) (t cwt.Trust, err error) {
	b, err := readFile(file, maxKeyFile<<3)
	if err == nil {
		if t, err = cwt.ParseTrust(b); err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
	}
	return t, err
}

// openAuthority reads an authority's folder.
func openAuthority(dir string) (*cwt.Authority, error) {
	if dir == "" {
		return nil, usageError{errors.New("which authority? --authority names its folder; 'myelin link enrol --create NAME' makes one")}
	}
	k, err := privateKey(filepath.Join(dir, authorityKey))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no authority here; 'myelin link enrol --authority %s --create NAME' makes one", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	b, err := readFile(filepath.Join(dir, authorityState), maxAuthority)
	if err != nil {
		return nil, err
	}
	a, err := cwt.ParseAuthority(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, authorityState), err)
	}
	a.Random = rand.Reader
	a.Signer, err = cose.NewSigner(k)
	return a, err
}

func keepAuthority(dir string, a *cwt.Authority) error {
	return replace(filepath.Join(dir, authorityState), a.Append(nil))
}

func linkEnrolVerb(c *console) *cobra.Command {
	var dir, name, subject, role, curve string
	var approver bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "enrol --authority DIR --subject NAME --role ROLE FILE.pub",
		Short:                 "Make the holder of a key known to an authority",
		Long: `Enrol makes a person or station known to an authority by its public key and a
pseudonym, never a name. --create makes the authority first: its key, and
DIR/trust.json, which a device is given. Approvers approve break-glass tokens.`,
		Example: `  myelin link enrol --authority clinic --create clinic.example
  myelin link enrol --authority clinic --subject nurse-7 --role clinician n.pub
  myelin link enrol --authority clinic --subject dr-3 --approver dr.key.pub`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 0 && name == "" {
				return errors.New("enrol whom? name the file of one public key")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if name != "" {
				if err := createAuthority(dir, name, curve); err != nil {
					return err
				}
				c.hint("%s: an authority; give %s to devices", dir, filepath.Join(dir, trustFile))
				if len(args) == 0 {
					return nil
				}
			}
			a, err := openAuthority(dir)
			if err != nil {
				return err
			}
			if subject == "" || approver == (role != "") {
				return usageError{errors.New("enrol wants --subject, a pseudonym, and --role or --approver")}
			}
			k, err := publicKey(args[0])
			if err != nil {
				return err
			}
			if approver {
				file := filepath.Join(dir, trustFile)
				t, err := readTrust(file)
				if err != nil {
					return err
				}
				text := hex.EncodeToString(k.AppendPublic(nil))
				for name, other := range t.Approvers {
					if name == subject || other == text {
						return fmt.Errorf("%s: %w", subject, cwt.ErrEnrolled)
					}
				}
				if t.Approvers == nil {
					t.Approvers = map[string]string{}
				}
				t.Approvers[subject] = text
				c.hint("%s may approve; give %s to devices again", subject, file)
				return writeTrust(file, &t)
			}
			r, err := roleOf(role)
			if err != nil {
				return err
			}
			if err := a.Enrol(cwt.Holder{Subject: subject, Role: r, Key: k}); err != nil {
				return fmt.Errorf("%s: %w", subject, err)
			}
			if err := keepAuthority(dir, a); err != nil {
				return err
			}
			c.hint("%s is enrolled; 'myelin link issue' makes a token", subject)
			return nil
		},
	}
	v.Flags().StringVar(&dir, "authority", "", "`DIR` of the authority")
	v.Flags().StringVar(&name, "create", "", "make an authority of this `NAME` in DIR")
	v.Flags().StringVar(&curve, "curve", "p256", "`NAME` of its key's curve: p256 or ed25519")
	v.Flags().StringVar(&subject, "subject", "", "`NAME` of the holder: a pseudonym")
	v.Flags().StringVar(&role, "role", "", "`ROLE`: patient, carer, clinician, technician, emergency, updater or controller")
	v.Flags().BoolVar(&approver, "approver", false, "the holder approves break-glass tokens, and is given none")
	complete(v, "role", roleNames()...)
	return v
}

func createAuthority(dir, name, curve string) error {
	if dir == "" {
		return usageError{errors.New("--create wants --authority: the folder to make it in")}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	k, err := newKey(curve)
	if err != nil {
		return err
	}
	if err := createKey(filepath.Join(dir, authorityKey), k); err != nil {
		return err
	}
	a := &cwt.Authority{Name: name, KID: k.ID}
	if err := keepAuthority(dir, a); err != nil {
		return err
	}
	return writeTrust(filepath.Join(dir, trustFile), &cwt.Trust{Name: name, Key: hex.EncodeToString(k.AppendPublic(nil))})
}

func writeTrust(file string, t *cwt.Trust) error {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return replace(file, append(b, '\n'))
}

// grantOf reads what may be commanded, and in which limits:
// "deliver-bolus<=3U,sum<=8U/4h", "set-amplitude>=1mA,<=3mA", "suspend,for<=4h".
func grantOf(text string) (g cwt.VerbGrant, err error) {
	wrong := func(what string) (cwt.VerbGrant, error) {
		return g, usageError{fmt.Errorf("--allow %s: %s; as in 'deliver-bolus<=3U,sum<=8U/4h' or 'suspend,for<=4h'", text, what)}
	}
	for i, part := range strings.Split(text, ",") {
		at := strings.IndexAny(part, "<>")
		if at < 0 {
			at = len(part)
		}
		name, limit := part[:at], part[at:]
		if i == 0 {
			var ok bool
			if g.Verb, ok = device.ParseVerb(name); !ok {
				return wrong(fmt.Sprintf("%q is no verb", name))
			}
			if name = ""; limit == "" {
				continue
			}
		}
		if len(limit) < 3 || limit[1] != '=' {
			return wrong("want <= or >=")
		}
		text, window, _ := strings.Cut(limit[2:], "/")
		if name != "sum" {
			text = limit[2:] // a rate has a / of its own
		}
		q, err := device.ParseQuantity(text)
		if err != nil || q.Unit == device.NoUnit {
			return wrong(fmt.Sprintf("%q is no quantity with a unit", text))
		}
		switch name + limit[:2] {
		case "<=":
			g.Highest = q
		case ">=":
			g.Lowest = q
		case "for<=":
			g.Longest = q
		case "sum<=":
			g.Sum = q
			if g.Window, err = time.ParseDuration(window); err != nil || g.Window <= 0 {
				return wrong("sum wants a window behind it, such as /4h")
			}
		default:
			return wrong(fmt.Sprintf("%q is no limit", part))
		}
	}
	return g, nil
}

func linkIssueVerb(c *console) *cobra.Command {
	var dir, subject, role, deviceID, class, out, request string
	var allow, approvals []string
	var hours, window float64
	var need int
	var breakGlass, noClock bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "issue --authority DIR --role ROLE --device ID --out FILE [flags]",
		Short:                 "Sign a token: who may command what of which device",
		Long: `Issue signs a token for one who is enrolled, for a device or a class of them.
A break-glass token is for an emergency: without --approve its request is
written, for --need people to 'myelin link approve'; with them the token.`,
		Example: `  myelin link issue --authority clinic --subject nurse-7 --role clinician \
    --device pump-1 --allow 'deliver-bolus<=10U' --hours 8 --out nurse.cwt
  myelin link issue --authority clinic --role emergency --class insulin-pump \
    --break-glass --allow suspend --request er.request
  myelin link issue --authority clinic --break-glass --request er.request \
    --approve dr3.approval --approve dr5.approval --out er.cwt`,
		Args: exactly(0, "issue takes no arguments; --subject says for whom"),
		RunE: func(*cobra.Command, []string) error {
			a, err := openAuthority(dir)
			if err != nil {
				return err
			}
			finish := func(token []byte) error {
				if out == "" {
					return usageError{errors.New("issue wants --out: the file for the token")}
				}
				if err := keepAuthority(dir, a); err != nil { // before the token is anywhere
					return err
				}
				if err := create(out, 0o600, token); err != nil {
					return err
				}
				c.hint("wrote %s; 'myelin link show %s' tells what it says", out, out)
				return nil
			}
			if breakGlass && len(approvals) > 0 {
				token, err := approved(dir, a, request, approvals)
				if err != nil {
					return err
				}
				return finish(token)
			}
			if subject, err = holderOf(a, subject, role); err != nil {
				return err
			}
			now := time.Now().Unix()
			t := &cwt.Terms{Audience: deviceID, IssuedAt: now, NotBefore: now, Expires: now + int64(hours*3600)}
			switch {
			case (deviceID == "") == (class == ""):
				return usageError{errors.New("issue wants --device ID or --class NAME")}
			case class != "":
				t.Audience = "class:" + class
			}
			if hours <= 0 || hours > 24*3660 {
				return usageError{fmt.Errorf("--hours %v: want more than 0, and less than ten years", hours)}
			}
			for _, text := range append([]string{"read-telemetry", "read-settings"}, allow...) {
				g, err := grantOf(text)
				if err != nil {
					return err
				}
				t.Verbs = append(t.Verbs, g)
			}
			if noClock {
				t.Expires, t.NotBefore, t.ExpiresIn = 0, 0, int64(hours*3600)
			}
			if !breakGlass {
				token, err := a.Issue(subject, t)
				if err != nil {
					return issueError(err)
				}
				return finish(token)
			}
			t.Emergency = &cwt.Emergency{Need: need, Window: int64(window * 60)}
			b, err := a.Request(subject, t)
			if err != nil {
				return issueError(err)
			}
			if request == "" {
				return usageError{errors.New("--break-glass wants --request: the file that people approve")}
			}
			if err := create(request, 0o600, b); err != nil {
				return err
			}
			c.hint("wrote %s; let %d people 'myelin link approve' it, and issue again with --approve", request, need)
			return nil
		},
	}
	v.Flags().StringVar(&dir, "authority", "", "`DIR` of the authority")
	v.Flags().StringVar(&subject, "subject", "", "`NAME` of the holder; may be left out where one has the role")
	v.Flags().StringVar(&role, "role", "", "`ROLE` that the holder is enrolled in")
	v.Flags().StringVar(&deviceID, "device", "", "`ID` of the device")
	v.Flags().StringVar(&class, "class", "", "`NAME` of a class: insulin-pump, pacemaker or neurostimulator")
	v.Flags().StringArrayVar(&allow, "allow", nil, "`VERB` with its limits; repeatable")
	v.Flags().Float64Var(&hours, "hours", 8, "valid for `N` hours")
	v.Flags().BoolVar(&noClock, "no-clock", false, "count the hours from first use, for a device without a clock")
	v.Flags().BoolVar(&breakGlass, "break-glass", false, "for an emergency, with approvals")
	v.Flags().StringVar(&request, "request", "", "`FILE` of what is approved")
	v.Flags().StringArrayVar(&approvals, "approve", nil, "`FILE` of one approval; repeatable")
	v.Flags().IntVar(&need, "need", 2, "`N` people have to approve")
	v.Flags().Float64Var(&window, "minutes", 30, "a device stays open for `N` minutes")
	v.Flags().StringVar(&out, "out", "", "`FILE` for the token")
	complete(v, "role", roleNames()...)
	complete(v, "class", "insulin-pump", "pacemaker", "neurostimulator")
	return v
}

// issueError says what to do about what an authority refuses.
func issueError(err error) error {
	if errors.Is(err, cwt.ErrScope) {
		return fmt.Errorf("%w: the role may not be given that verb, or only with a highest value ('deliver-bolus<=3U')", err)
	}
	return err
}

// holderOf finds a holder by subject, or by a role that only one has.
func holderOf(a *cwt.Authority, subject, role string) (string, error) {
	var found []string
	for _, h := range a.Holders() {
		if (subject == "" || h.Subject == subject) && (role == "" || h.Role.String() == role) {
			found = append(found, h.Subject)
		}
	}
	if role != "" {
		if _, err := roleOf(role); err != nil {
			return "", err
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", usageError{errors.New("for whom? --subject says it")}
	case subject != "" && role != "":
		return "", fmt.Errorf("%s is not enrolled as %s; 'myelin link enrol' does that", subject, role)
	}
	return "", fmt.Errorf("%s is not enrolled; 'myelin link enrol' does that", cmp.Or(subject, role, "anybody"))
}

// approved makes the break-glass token of a request.
func approved(dir string, a *cwt.Authority, request string, files []string) ([]byte, error) {
	if request == "" {
		return nil, usageError{errors.New("--approve wants --request: the file that was approved")}
	}
	r, err := readFile(request, cwt.MaxToken)
	if err != nil {
		return nil, err
	}
	var approvals [][]byte
	for _, file := range files {
		b, err := readFile(file, cwt.MaxToken)
		if err != nil {
			return nil, err
		}
		approvals = append(approvals, b)
	}
	t, err := readTrust(filepath.Join(dir, trustFile))
	if err != nil {
		return nil, err
	}
	anchors, err := t.Anchors()
	if err != nil {
		return nil, err
	}
	token, err := a.IssueEmergency(r, approvals, &cwt.Verifier{Anchors: anchors})
	if errors.Is(err, cwt.ErrApprovals) {
		err = fmt.Errorf("%w; each has to be by another enrolled approver, of this very request", err)
	}
	return token, err
}

func linkApproveVerb(c *console) *cobra.Command {
	var keyFile, out string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "approve --key FILE --out FILE REQUEST",
		Short:                 "Approve a break-glass token, as one of the people it needs",
		Long: `Approve prints what a request for a break-glass token states and signs it. The
approval is for that request alone.`,
		Example: `  myelin link approve --key dr.key --out dr3.approval er.request`,
		Args:    exactly(1, "approve which request? 'myelin link issue --break-glass' makes one"),
		RunE: func(_ *cobra.Command, args []string) error {
			if keyFile == "" || out == "" {
				return usageError{errors.New("approve wants --key, the approver's, and --out")}
			}
			k, err := privateKey(keyFile)
			if err != nil {
				return err
			}
			b, err := readFile(args[0], cwt.MaxToken)
			if err != nil {
				return err
			}
			claims, err := cwt.ParseClaims(b)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if claims.Emergency == nil {
				return fmt.Errorf("%s: not a request for a break-glass token", args[0])
			}
			s, err := cose.NewSigner(k)
			if err != nil {
				return err
			}
			if b, err = cwt.Approve(b, s, k.ID); err != nil {
				return err
			}
			if err := create(out, 0o600, b); err != nil {
				return err
			}
			said := showClaims(claims)
			said.File, said.Kind = args[0], "approved request for a break-glass token"
			return showText(c.out, said)
		},
	}
	v.Flags().StringVar(&keyFile, "key", "", "`FILE` of the approver's private key")
	v.Flags().StringVar(&out, "out", "", "`FILE` for the approval")
	return v
}

func linkRevokeVerb(c *console) *cobra.Command {
	var dir, subject, serial, out string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "revoke --authority DIR [--subject NAME | --serial HEX] --out FILE",
		Short:                 "Take back a token or a key, and sign the list of what is revoked",
		Long: `Revoke takes back one token by its serial, or the key of a holder with all that
was issued for it, and signs the whole list under the next number. A device
takes no list older than the one it has.`,
		Example: `  myelin link revoke --authority clinic --subject nurse-7 --out revoked.cwt
  myelin link revoke --authority clinic --serial 5f0c19d2 --out revoked.cwt`,
		Args: exactly(0, "revoke takes no arguments; --subject or --serial say what"),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usageError{errors.New("revoke wants --out: the file for the list")}
			}
			a, err := openAuthority(dir)
			if err != nil {
				return err
			}
			if subject != "" {
				found := false
				for _, h := range a.Holders() {
					if h.Subject == subject {
						found = true
						err = a.RevokeKey(h.Key.Thumbprint())
						break
					}
				}
				if !found {
					return fmt.Errorf("%s is not enrolled: nothing to revoke", subject)
				}
			}
			if serial != "" && err == nil {
				b, e := hex.DecodeString(serial)
				if e != nil {
					return usageError{fmt.Errorf("--serial %s: want the hex that 'myelin link show' prints", serial)}
				}
				err = a.Revoke(b)
			}
			if err != nil {
				return err
			}
			list, err := a.List(time.Now().Unix())
			if err != nil {
				return err
			}
			if err := keepAuthority(dir, a); err != nil {
				return err
			}
			if err := create(out, 0o644, list); err != nil {
				return err
			}
			c.hint("wrote %s; 'myelin link show %s' tells its number", out, out)
			return nil
		},
	}
	v.Flags().StringVar(&dir, "authority", "", "`DIR` of the authority")
	v.Flags().StringVar(&subject, "subject", "", "`NAME` of the holder whose key is taken back")
	v.Flags().StringVar(&serial, "serial", "", "`HEX` of the token that is taken back")
	v.Flags().StringVar(&out, "out", "", "`FILE` for the list")
	return v
}
