// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/update"
	"github.com/myelin-health/myelin/store"
)

// A Rollout as programs are told of it: how far it is, and its rings.
type Rollout struct {
	ID       string         `json:"id"`
	Product  string         `json:"product"`
	Version  string         `json:"version"`
	Status   string         `json:"status" doc:"not begun, under way, paused, halted, ended"`
	By       string         `json:"by,omitempty" doc:"who stopped it; nothing: it did so itself"`
	Why      string         `json:"why,omitempty"`
	Final    bool           `json:"final,omitempty" doc:"halted for good"`
	Began    *time.Time     `json:"began,omitempty"`
	Devices  int            `json:"devices"`
	Ended    int            `json:"ended" doc:"in whatever way"`
	Out      int            `json:"out" doc:"told to install"`
	Silent   int            `json:"silent" doc:"of them, those that should have said how it went"`
	Outcomes map[string]int `json:"outcomes"`
	Rings    []Ring         `json:"rings" nullable:"false"`
	Gates    []GateCount    `json:"gates" nullable:"false" doc:"what devices wait for, most first"`
}

// A Ring of a roll-out.
type Ring struct {
	Name     string         `json:"name"`
	Began    *time.Time     `json:"began,omitempty"`
	Devices  int            `json:"devices"`
	Finished int            `json:"finished"`
	Wanted   int            `json:"wanted" doc:"finished, before the next ring"`
	Soaked   *time.Time     `json:"soaked,omitempty" doc:"when the next may begin"`
	Outcomes map[string]int `json:"outcomes"`
	Out      int            `json:"out"`
	Waiting  int            `json:"waiting"`
	Shows    string         `json:"shows" doc:"what its results show, and no more"`
}

// A GateCount is how many devices wait for a gate.
type GateCount struct {
	Gate  string `json:"gate"`
	Count int    `json:"count"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func outcomesOf(m map[patch.Outcome]int) map[string]int {
	out := map[string]int{}
	for o, n := range m {
		out[o.String()] = n
	}
	return out
}

func rolloutOf(p *rollout.Progress) Rollout {
	out := Rollout{
		ID: p.ID, Product: p.Product, Version: p.Version, Status: p.Status, By: p.By, Why: p.Why, Final: p.Final, Began: moment(p.Began),
		Devices: p.Devices, Ended: p.Ended, Out: p.Out, Silent: p.Silent, Outcomes: outcomesOf(p.Outcomes), Rings: []Ring{}, Gates: []GateCount{},
	}
	for i := range p.Rings {
		r := &p.Rings[i]
		out.Rings = append(out.Rings, Ring{r.Name, moment(r.Began), r.Devices, r.Finished, r.Wanted, moment(r.Soaked), outcomesOf(r.Outcomes), r.Out, r.Waiting, r.Shows})
	}
	for _, g := range p.Gates {
		out.Gates = append(out.Gates, GateCount{g.Gate.String(), g.Count})
	}
	return out
}

// A Member is a device in a roll-out.
type Member struct {
	Device     string     `json:"device"`
	Ward       string     `json:"ward"`
	Dependency string     `json:"dependency,omitempty" doc:"of its patient, as a clinician judged"`
	Ring       string     `json:"ring"`
	Status     string     `json:"status" doc:"waiting, staging, told to install, silent, ended"`
	Outcome    string     `json:"outcome,omitempty"`
	Waits      string     `json:"waits,omitempty" doc:"gates, with a comma between"`
	Why        string     `json:"why,omitempty"`
	Ended      *time.Time `json:"ended,omitempty"`
	Owner      string     `json:"owner,omitempty" doc:"of one that cannot be updated"`
	Control    string     `json:"control,omitempty" doc:"what holds instead"`
	Review     *time.Time `json:"review,omitempty"`
}

func memberOf(m *rollout.Member) Member {
	out := Member{Device: m.Device, Ward: m.Ward, Dependency: m.Dependency, Ring: m.Ring, Status: m.Status.String(), Waits: m.Shut.String(), Why: m.Why, Ended: moment(m.Ended), Owner: m.Owner, Control: m.Control, Review: moment(m.Review)}
	if m.Outcome != patch.NoOutcome {
		out.Outcome = m.Outcome.String()
	}
	return out
}

// A RolloutEvent is a step of a roll-out, as the ledger has it.
type RolloutEvent struct {
	Number int64             `json:"number"`
	Kind   string            `json:"kind"`
	Time   *time.Time        `json:"time"`
	Device string            `json:"device,omitempty"`
	Says   map[string]string `json:"says"`
}

func rolloutEventOf(e *store.RolloutEvent) RolloutEvent {
	out := RolloutEvent{Number: e.Seq, Kind: e.Kind.String(), Time: at(e.Time), Device: e.Device, Says: map[string]string{}}
	for _, a := range e.Attrs() {
		info := event.Keys[a.Key]
		out.Says[info.Name] = a.Text
		if !info.Text {
			out.Says[info.Name] = strconv.FormatInt(a.Int, 10)
		}
	}
	return out
}

// An UpdateKey speaks for a device.
type UpdateKey struct {
	ID      string     `json:"id" doc:"the first eight bytes of its thumbprint (RFC 9679), in hexadecimal"`
	Device  string     `json:"device"`
	By      string     `json:"by"`
	Added   *time.Time `json:"added"`
	Revoked *time.Time `json:"revoked,omitempty"`
}

// Because is why somebody does something.
type Because struct {
	Reason string `json:"reason,omitempty" maxLength:"2000"`
}

type oneRollout struct{ Body Rollout }

func (a *API) tellRollout(who *access.Principal, id string) (*oneRollout, error) {
	out := &oneRollout{}
	err := a.Updates.View(who, id, func(r *rollout.Rollout, _ time.Time) error {
		p := r.Progress()
		out.Body = rolloutOf(&p)
		return nil
	})
	return out, err
}

// A RolloutPath says which roll-out.
type RolloutPath struct {
	ID string `path:"id" maxLength:"80"`
}

// A DevicePath says which device of which roll-out.
type DevicePath struct {
	ID     string `path:"id" maxLength:"80"`
	Device string `path:"device" maxLength:"256"`
}

type oneMember struct{ Body Member }

func (a *API) tellMember(who *access.Principal, of DevicePath) (*oneMember, error) {
	out := &oneMember{}
	err := a.Updates.View(who, of.ID, func(r *rollout.Rollout, _ time.Time) error {
		m, ok := r.Member(of.Device)
		if !ok {
			return store.ErrNotFound
		}
		out.Body = memberOf(&m)
		return nil
	})
	return out, err
}

const maxReceipts = 1 << 20 // bytes of a body

func (a *API) updates() {
	if a.Updates == nil {
		return
	}
	add(a, operation{id: "list-releases", method: http.MethodGet, path: "/releases", needs: access.SeeDevices, says: "Releases that were taken in, the newest first"},
		func(ctx context.Context, who *access.Principal, _ *struct{}) (*struct{ Body json.RawMessage }, error) {
			list, err := a.Updates.Releases(ctx, who)
			if err != nil {
				return nil, err
			}
			b, err := json.Marshal(map[string]any{"items": list, "total": len(list)})
			return &struct{ Body json.RawMessage }{b}, err
		})
	add(a, operation{id: "add-release", method: http.MethodPost, path: "/releases", needs: access.RunUpdates, says: "Take in a release whose envelope is in the folder updates", status: http.StatusNoContent, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Body struct {
				Path    string          `json:"path" maxLength:"500" doc:"of the envelope, in the folder updates of the server"`
				Release json.RawMessage `json:"release" doc:"as myelin patch release writes it"`
			}
		},
		) (*struct{}, error) {
			var r patch.Release
			if err := json.Unmarshal(in.Body.Release, &r); err != nil {
				return nil, huma.Error422UnprocessableEntity("that is no release: " + err.Error())
			}
			return nil, a.Updates.AddRelease(ctx, who, &r, in.Body.Path)
		})
	add(a, operation{id: "list-never", method: http.MethodGet, path: "/releases/never", needs: access.SeeDevices, says: "Releases that no roll-out offers any more, and why"},
		func(_ context.Context, who *access.Principal, _ *struct{}) (*struct{ Body json.RawMessage }, error) {
			list := a.Updates.Never(who)
			b, err := json.Marshal(map[string]any{"items": list, "total": len(list)})
			return &struct{ Body json.RawMessage }{b}, err
		})
	add(a, operation{id: "list-rollouts", method: http.MethodGet, path: "/rollouts", needs: access.SeeDevices, says: "Roll-outs, the newest first"},
		func(_ context.Context, who *access.Principal, _ *struct{}) (*listed[Rollout], error) {
			all := a.Updates.List(who)
			return listOf(&store.List[rollout.Progress]{Rows: all, Total: len(all)}, rolloutOf), nil
		})
	add(a, operation{id: "create-rollout", method: http.MethodPost, path: "/rollouts", needs: access.RunUpdates, says: "Make a roll-out of a release by a plan; it begins when it is started", status: http.StatusCreated, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Body struct {
				ID      string `json:"id" maxLength:"80" doc:"its name: small letters, digits, dots, dashes"`
				Release string `json:"release" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of its envelope"`
				Plan    string `json:"plan" maxLength:"60000" doc:"YAML: see docs/updates.md"`
				Because
			}
		},
		) (*oneRollout, error) {
			var d patch.Digest
			if err := d.UnmarshalText([]byte(in.Body.Release)); err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			if err := a.Updates.Create(ctx, who, in.Body.ID, d, []byte(in.Body.Plan), in.Body.Reason); err != nil {
				return nil, err
			}
			return a.tellRollout(who, in.Body.ID)
		})
	add(a, operation{id: "get-rollout", method: http.MethodGet, path: "/rollouts/{id}", needs: access.SeeDevices, says: "How far a roll-out is"},
		func(_ context.Context, who *access.Principal, in *RolloutPath) (*oneRollout, error) {
			return a.tellRollout(who, in.ID)
		})
	for _, d := range []struct {
		verb, says string
		needs      access.Permission
		do         func(ctx context.Context, who *access.Principal, id, reason string) error
	}{
		{"start", "Send a roll-out on its way", access.RunUpdates, a.Updates.Start},
		{"pause", "Let nothing more begin", access.HaltUpdates, a.Updates.Pause},
		{"resume", "Let a roll-out go on that pauses, or was halted and not for good", access.RunUpdates, a.Updates.Resume},
	} {
		add(a, operation{id: d.verb + "-rollout", method: http.MethodPost, path: "/rollouts/{id}/" + d.verb, needs: d.needs, says: d.says, once: true},
			func(ctx context.Context, who *access.Principal, in *struct {
				RolloutPath
				Body Because
			},
			) (*oneRollout, error) {
				if err := d.do(ctx, who, in.ID, in.Body.Reason); err != nil {
					return nil, err
				}
				return a.tellRollout(who, in.ID)
			})
	}
	add(a, operation{id: "halt-rollout", method: http.MethodPost, path: "/rollouts/{id}/halt", needs: access.HaltUpdates, says: "Void every offer of a roll-out", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			RolloutPath
			Body struct {
				Because
				Final bool `json:"final,omitempty" doc:"for good: no roll-out ever offers the release again"`
			}
		},
		) (*oneRollout, error) {
			if err := a.Updates.Halt(ctx, who, in.ID, in.Body.Reason, in.Body.Final); err != nil {
				return nil, err
			}
			return a.tellRollout(who, in.ID)
		})
	add(a, operation{id: "list-rollout-devices", method: http.MethodGet, path: "/rollouts/{id}/devices", needs: access.SeeDevices, says: "The devices of a roll-out, and what they wait for"},
		func(_ context.Context, who *access.Principal, in *struct {
			RolloutPath
			Status string `query:"status" enum:"waiting,staging,told to install,silent,ended"`
			Gate   string `query:"gate" maxLength:"40" doc:"only those that wait for it"`
			Ward   string `query:"ward" maxLength:"200"`
			After  int    `query:"after" minimum:"0" doc:"so many are left out"`
			Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
		},
		) (*listed[Member], error) {
			var gate patch.Gate
			if in.Gate != "" {
				if err := gate.UnmarshalText([]byte(in.Gate)); err != nil {
					return nil, huma.Error422UnprocessableEntity(err.Error())
				}
			}
			l := &store.List[rollout.Member]{}
			err := a.Updates.View(who, in.ID, func(r *rollout.Rollout, _ time.Time) error {
				for m := range r.Members() {
					if in.Status != "" && m.Status.String() != in.Status || in.Ward != "" && m.Ward != in.Ward || in.Gate != "" && !m.Shut.Has(gate) {
						continue
					}
					if l.Total++; l.Total > in.After && len(l.Rows) < in.Limit {
						l.Rows = append(l.Rows, m)
					}
				}
				return nil
			})
			if n := in.After + len(l.Rows); n < l.Total {
				l.Next = strconv.Itoa(n)
			}
			return listOf(l, memberOf), err
		})
	add(a, operation{id: "get-rollout-device", method: http.MethodGet, path: "/rollouts/{id}/devices/{device}", needs: access.SeeDevices, says: "A device of a roll-out, and what it waits for now"},
		func(ctx context.Context, who *access.Principal, in *DevicePath) (*struct {
			Body struct {
				Member
				Now []struct {
					Gate string `json:"gate"`
					Why  string `json:"why"`
				} `json:"now" nullable:"false" doc:"gates that are shut, by what it said last"`
			}
		}, error,
		) {
			m, err := a.tellMember(who, *in)
			if err != nil {
				return nil, err
			}
			waits, err := a.Updates.Waits(ctx, who, in.ID, in.Device)
			if err != nil {
				return nil, err
			}
			out := &struct {
				Body struct {
					Member
					Now []struct {
						Gate string `json:"gate"`
						Why  string `json:"why"`
					} `json:"now" nullable:"false" doc:"gates that are shut, by what it said last"`
				}
			}{}
			out.Body.Member = m.Body
			out.Body.Now = []struct {
				Gate string `json:"gate"`
				Why  string `json:"why"`
			}{}
			for _, w := range waits {
				out.Body.Now = append(out.Body.Now, struct {
					Gate string `json:"gate"`
					Why  string `json:"why"`
				}{w.Gate.String(), w.Why})
			}
			return out, nil
		})
	add(a, operation{id: "list-rollout-events", method: http.MethodGet, path: "/rollouts/{id}/events", needs: access.SeeDevices, says: "What was decided, and what came of it, the newest first"},
		func(ctx context.Context, who *access.Principal, in *struct {
			RolloutPath
			Device string `query:"device" maxLength:"256"`
			Before int64  `query:"before" minimum:"0" doc:"number of an event"`
			Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
		},
		) (*listed[RolloutEvent], error) {
			list, err := a.Updates.Events(ctx, who, in.ID, in.Device, in.Before, in.Limit)
			if err != nil {
				return nil, err
			}
			l := &store.List[store.RolloutEvent]{Rows: list, Total: len(list)}
			if len(list) == in.Limit {
				l.Next = strconv.FormatInt(list[len(list)-1].Seq, 10)
			}
			return listOf(l, rolloutEventOf), nil
		})
	type consent struct {
		DevicePath
		Body struct {
			Whose string `json:"whose" enum:"clinician,patient"`
			Terms string `json:"terms,omitempty" maxLength:"80" doc:"version of the text that was agreed to"`
			Because
		}
	}
	whose := func(word string) rollout.Whose {
		if word == rollout.Patient.String() {
			return rollout.Patient
		}
		return rollout.Clinician
	}
	const device = "/rollouts/{id}/devices/{device}"
	add(a, operation{id: "consent-to-update", method: http.MethodPost, path: device + "/consent", needs: access.ConsentUpdates, says: "Record the clinician's, or the patient's, consent", once: true},
		func(ctx context.Context, who *access.Principal, in *consent) (*oneMember, error) {
			if err := a.Updates.Consent(ctx, who, in.ID, in.Device, whose(in.Body.Whose), in.Body.Terms, in.Body.Reason); err != nil {
				return nil, err
			}
			return a.tellMember(who, in.DevicePath)
		})
	add(a, operation{id: "withdraw-consent", method: http.MethodPost, path: device + "/withdraw", needs: access.ConsentUpdates, says: "Take consent back: what was offered to the device is void", once: true},
		func(ctx context.Context, who *access.Principal, in *consent) (*oneMember, error) {
			if err := a.Updates.Withdraw(ctx, who, in.ID, in.Device, whose(in.Body.Whose), in.Body.Reason); err != nil {
				return nil, err
			}
			return a.tellMember(who, in.DevicePath)
		})
	add(a, operation{id: "attend-update", method: http.MethodPost, path: device + "/attend", needs: access.AttendUpdates, says: "Say who is beside a device, and for how long", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			DevicePath
			Body struct {
				As      string `json:"as" enum:"patient present,clinician present,in clinic\\, with backup equipment,unattended" doc:"patient present; clinician present; in clinic, with backup equipment"`
				Spare   bool   `json:"spare,omitempty" doc:"a spare device is at hand"`
				Minutes int    `json:"minutes" minimum:"1" maximum:"1440"`
			}
		},
		) (*oneMember, error) {
			var as patch.Supervision
			if err := as.UnmarshalText([]byte(in.Body.As)); err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			if err := a.Updates.Attend(ctx, who, in.ID, in.Device, as, in.Body.Spare, time.Duration(in.Body.Minutes)*time.Minute); err != nil {
				return nil, err
			}
			return a.tellMember(who, in.DevicePath)
		})
	add(a, operation{id: "rule-out-device", method: http.MethodPost, path: device + "/rule-out", needs: access.AttendUpdates, says: "Say that a device cannot be updated, who owns that, and which control holds instead", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			DevicePath
			Body struct {
				Owner   string    `json:"owner" minLength:"1" maxLength:"100"`
				Control string    `json:"control" minLength:"1" maxLength:"200"`
				Reason  string    `json:"reason" minLength:"1" maxLength:"2000"`
				Review  time.Time `json:"review,omitempty" doc:"when it is looked at again"`
			}
		},
		) (*oneMember, error) {
			if err := a.Updates.RuleOut(ctx, who, in.ID, in.Device, in.Body.Owner, in.Body.Control, in.Body.Reason, in.Body.Review); err != nil {
				return nil, err
			}
			return a.tellMember(who, in.DevicePath)
		})
	add(a, operation{id: "report-update", method: http.MethodPost, path: device + "/report", needs: access.AttendUpdates, says: "Say how a work order went, or that an update did harm", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			DevicePath
			Body struct {
				Outcome  string `json:"outcome" enum:"installed,fell back,refused,settings lost,loss of function"`
				Resumed  bool   `json:"resumed,omitempty" doc:"therapy was seen resumed"`
				SelfTest bool   `json:"self_test,omitempty" doc:"it passed its self-test"`
				Kept     bool   `json:"settings_kept,omitempty" doc:"its settings are what they were"`
				Seconds  int    `json:"seconds,omitempty" minimum:"0" maximum:"86400" doc:"from the switch until therapy was resumed"`
				Because
			}
		},
		) (*oneMember, error) {
			res := patch.Result{Resumed: in.Body.Resumed, SelfTest: in.Body.SelfTest, Before: patch.Digest{1}, Took: time.Duration(in.Body.Seconds) * time.Second, Reason: in.Body.Reason}
			if err := res.Outcome.UnmarshalText([]byte(in.Body.Outcome)); err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			if in.Body.Kept {
				res.After = res.Before
			}
			if err := a.Updates.Report(ctx, who, in.ID, in.Device, res); err != nil {
				return nil, err
			}
			return a.tellMember(who, in.DevicePath)
		})
	add(a, operation{id: "relax-gate", method: http.MethodPost, path: "/rollouts/{id}/override", needs: access.RelaxUpdates, says: "Relax a gate, as one of the two people who have to", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			RolloutPath
			Body struct {
				Device  string `json:"device,omitempty" maxLength:"256" doc:"nothing: all of the roll-out"`
				Gate    string `json:"gate" maxLength:"40"`
				Minutes int    `json:"minutes" minimum:"1" maximum:"44640"`
				Reason  string `json:"reason" minLength:"1" maxLength:"2000"`
			}
		}) (*struct {
			Body struct {
				Relaxed bool `json:"relaxed" doc:"false: a second person has to ask for it, within an hour"`
			}
		}, error,
		) {
			var g patch.Gate
			if err := g.UnmarshalText([]byte(in.Body.Gate)); err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			out := &struct {
				Body struct {
					Relaxed bool `json:"relaxed" doc:"false: a second person has to ask for it, within an hour"`
				}
			}{}
			var err error
			out.Body.Relaxed, err = a.Updates.Override(ctx, who, in.ID, in.Body.Device, g, time.Duration(in.Body.Minutes)*time.Minute, in.Body.Reason)
			return out, err
		})
	add(a, operation{id: "judge-dependency", method: http.MethodPost, path: "/devices/{id}/dependency", needs: access.ConsentUpdates, says: "Say how much the patient who has a device now depends on it", status: http.StatusNoContent, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID   string `path:"id" maxLength:"256"`
			Body struct {
				Dependency string `json:"dependency" maxLength:"80" doc:"a word that plans have; empty takes it back"`
				Because
			}
		},
		) (*struct{}, error) {
			return nil, a.Updates.Judge(ctx, who, in.ID, in.Body.Dependency, in.Body.Reason)
		})
	add(a, operation{id: "list-orders", method: http.MethodGet, path: "/orders", needs: access.SeeDevices, says: "Devices that a person is to update, the first to expire first"},
		func(_ context.Context, who *access.Principal, _ *struct{}) (*listed[update.Order], error) {
			all := a.Updates.Orders(who)
			return listOf(&store.List[update.Order]{Rows: all, Total: len(all)}, func(o *update.Order) update.Order { return *o }), nil
		})
	add(a, operation{id: "list-update-keys", method: http.MethodGet, path: "/update-keys", needs: access.SeeAll, says: "Which keys speak for which devices"},
		func(ctx context.Context, _ *access.Principal, in *struct {
			Page
			Device string `query:"device" maxLength:"256"`
		},
		) (*listed[UpdateKey], error) {
			l, err := a.Updates.Keys(ctx, in.Device, in.Page.of())
			if err != nil {
				return nil, err
			}
			return listOf(l, func(k *store.UpdateKey) UpdateKey {
				return UpdateKey{hex.EncodeToString(k.KID), k.Device, k.By, at(k.At), at(k.Revoked)}
			}), nil
		})
	add(a, operation{id: "add-update-keys", method: http.MethodPost, path: "/update-keys", needs: access.ManageSensors, says: "Let keys speak for devices, all or none", most: 4 << 20, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Body struct {
				Keys []update.Key `json:"keys" minItems:"1" maxItems:"10000" nullable:"false"`
			}
		}) (*struct {
			Body struct {
				Added int `json:"added"`
			}
		}, error,
		) {
			out := &struct {
				Body struct {
					Added int `json:"added"`
				}
			}{}
			var err error
			out.Body.Added, err = a.Updates.Register(ctx, who, in.Body.Keys)
			return out, err
		})
	add(a, operation{id: "revoke-update-key", method: http.MethodPost, path: "/update-keys/{key}/revoke", needs: access.ManageSensors, says: "End what a key speaks for, for good", status: http.StatusNoContent, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Key  string `path:"key" pattern:"^[0-9a-f]{16}$"`
			Body Because
		},
		) (*struct{}, error) {
			kid, err := hex.DecodeString(in.Key)
			if err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			return nil, a.Updates.Revoke(ctx, who, kid, in.Body.Reason)
		})
	add(a, operation{id: "add-receipts", method: http.MethodPost, path: "/receipts", needs: access.AttendUpdates, says: "Take in what devices signed, and a stick carried", most: maxReceipts, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Body struct {
				Receipts [][]byte `json:"receipts" minItems:"1" maxItems:"1000" nullable:"false" doc:"each a State as its device signed it, in base64"`
			}
		}) (*struct {
			Body struct {
				Items []update.Receipt `json:"items" nullable:"false"`
			}
		}, error,
		) {
			out := &struct {
				Body struct {
					Items []update.Receipt `json:"items" nullable:"false"`
				}
			}{}
			var err error
			out.Body.Items, err = a.Updates.Receipts(ctx, who, in.Body.Receipts)
			return out, err
		})
}
