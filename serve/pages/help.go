// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/serve/access"
)

func (p *Pages) helpRoutes() []access.Route {
	return []access.Route{{Pattern: "GET /help", Needs: access.SignedIn, Handle: p.help}}
}

// helpPage says what keys do, and what shapes and words mean.
type helpPage struct {
	frame     `json:"-"`
	Keys      []meaning
	Decisions []meaning
	Verdicts  []meaning
	Harms     []string
}

type meaning struct{ Name, Text string }

func (p *Pages) help(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	page := &helpPage{
		frame: p.framed(r, who, "Help"),
		Keys:  []meaning{{"/", "to the search box"}, {"?", "this page"}, {"j", "to the next row of a list"}, {"k", "to the row before"}, {"x", "tick the row one is at"}},
		Decisions: []meaning{
			{decisions[0], "now, before other work: tell who leads, and do it as fast as it can be done"},
			{decisions[1], "sooner than usual, and somebody in charge knows of it"},
			{decisions[2], "with the usual updates, and look at it often: it may become urgent"},
			{decisions[3], "with the usual updates"},
		},
		Verdicts: []meaning{
			{device.Allow.String(), "the command went to the device"},
			{device.Hold.String(), "it waits for a second person, and is refused when nobody confirms it in time"},
			{device.Deny.String(), "it did not go to the device"},
			{device.AllowEmergency.String(), "it went through because somebody opened emergency access"},
		},
	}
	for _, n := range page.Nav {
		page.Keys = append(page.Keys, meaning{"g " + n.Key, "to " + n.Word})
	}
	for h := device.Catastrophic; h > device.NoHarm; h-- {
		page.Harms = append(page.Harms, h.String())
	}
	return p.show(w, r, "help", page)
}
