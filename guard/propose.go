// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/dicom"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/hl7"
	"github.com/myelin-health/myelin/guard/http"
	"github.com/myelin-health/myelin/guard/tcp"
	"github.com/myelin-health/myelin/internal/lazyregexp"
)

// What each kind of front tells of a use stands at its call of Learned.Saw; here
// it becomes the lists of its section.

// tally counts the different words of a list.
type tally map[string]int64

// list is a YAML list of the words, with how often each was seen behind it.
func (t tally) list() string {
	var words, counts []string
	for _, w := range slices.Sorted(maps.Keys(t)) {
		words = append(words, yamlText(w))
		counts = append(counts, strconv.FormatInt(t[w], 10))
	}
	return "[" + strings.Join(words, ", ") + "] # " + strings.Join(counts, ", ")
}

func (t tally) add(word string, n int64) {
	if word != "" {
		t[word] += n
	}
}

// all is how often anything was seen.
func (t tally) all() (n int64) {
	for _, more := range t {
		n += more
	}
	return n
}

var plainWord = lazyregexp.New(`^[A-Za-z0-9$][A-Za-z0-9._^$-]*$`)

// yamlText writes a word that came from a wire.
func yamlText(s string) string {
	if plainWord().MatchString(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// grouped calls f for each group of uses that have a key in common, in order.
func grouped(uses []front.Counted, key func(*front.Counted) string, f func([]front.Counted)) {
	groups := map[string][]front.Counted{}
	for _, u := range uses {
		k := key(&u)
		groups[k] = append(groups[k], u)
	}
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		f(groups[k])
	}
}

// line writes a list under a key, if it has anything.
func line(lines []string, indent, key string, t tally) []string {
	if len(t) == 0 {
		return lines
	}
	return append(lines, indent+key+": "+t.list())
}

// proposeDICOM: calling, called, operation, SOP class, destination, transfer syntax, certificate.
// Who calls by another certificate has a row of its own. What was only negotiated is
// proposed where nothing was asked for, or where answers to a C-GET need it.
func proposeDICOM(_ *dicom.Policy, uses []front.Counted) []string {
	lines := []string{"associations:"}
	grouped(uses, func(u *front.Counted) string { return u.Fields[0] + "\x00" + u.Fields[1] + "\x00" + u.Fields[6] }, func(g []front.Counted) {
		verbs, classes, destinations, syntaxes := tally{}, tally{}, tally{}, tally{}
		for _, u := range g {
			if u.Fields[2] != "A-ASSOCIATE" && u.Fields[2] != "unknown" {
				verbs.add(u.Fields[2], u.Count)
			}
			destinations.add(u.Fields[4], u.Count)
		}
		for _, u := range g {
			if u.Fields[2] == "A-ASSOCIATE" && len(verbs) > 0 && verbs["C-GET"] == 0 {
				continue
			}
			classes.add(u.Fields[3], u.Count)
			syntaxes.add(u.Fields[5], u.Count)
		}
		lines = append(lines, "  - calling: "+yamlText(g[0].Fields[0]), "    called: "+yamlText(g[0].Fields[1]))
		if proof := g[0].Fields[6]; proof != "" {
			lines = append(lines, "    certificate: "+yamlText(proof))
		}
		if len(verbs) == 0 {
			verbs.add("C-ECHO", 0)
		}
		if len(classes) == 0 {
			classes.add("verification", 0)
		}
		lines = line(lines, "    ", "verbs", verbs)
		lines = line(lines, "    ", "sop-classes", classes)
		lines = line(lines, "    ", "destinations", destinations)
		lines = line(lines, "    ", "transfer-syntaxes", syntaxes)
	})
	return lines
}

// proposeHL7: sending application and facility, receiving ones, type, who proved it. A sender
// that is listed keeps its name, its role and its way back.
func proposeHL7(p *hl7.Policy, uses []front.Counted) []string {
	if !p.Server {
		types := tally{}
		for _, u := range uses {
			types.add(u.Fields[4], u.Count)
		}
		return line(nil, "", "answers", types)
	}
	lines := []string{"senders:"}
	receivers := map[string]bool{}
	n := 0
	grouped(uses, func(u *front.Counted) string { return u.Fields[0] + "\x00" + u.Fields[1] }, func(g []front.Counted) {
		messages, certificates := tally{}, tally{}
		for _, u := range g {
			messages.add(u.Fields[4], u.Count)
			certificates.add(u.Fields[5], u.Count)
			r := "  - {application: " + yamlText(u.Fields[2])
			if u.Fields[3] != "" {
				r += ", facility: " + yamlText(u.Fields[3])
			}
			if u.Fields[2] != "" {
				receivers[r+"}"] = true
			}
		}
		if g[0].Fields[0] == "" {
			lines = append(lines, fmt.Sprintf("  # %d messages named no sending application, and no list can have them", messages.all()))
			return
		}
		n++
		name, role, returns := fmt.Sprintf("sender-%d", n), "", ""
		if slices.ContainsFunc(slices.Collect(maps.Keys(messages)), hl7.Orders) {
			role = device.Clinician.String() + " # it orders, and nobody saw on whose behalf: make sure"
		}
		for way := range p.Returns {
			if len(p.Returns) == 1 {
				returns = way
			}
		}
		for _, s := range p.Senders {
			if s.Application == g[0].Fields[0] && (s.Facility == "" || s.Facility == g[0].Fields[1]) {
				name, returns = s.Name, s.Returns
				if s.Role != device.NoRole {
					role = s.Role.String()
				}
			}
		}
		lines = append(lines, "  "+yamlText(name)+":", "    application: "+yamlText(g[0].Fields[0]))
		if g[0].Fields[1] != "" {
			lines = append(lines, "    facility: "+yamlText(g[0].Fields[1]))
		}
		if len(certificates) == 0 {
			lines = append(lines, "    certificates: [] # nothing proved it")
		}
		lines = line(lines, "    ", "certificates", certificates)
		if role != "" {
			lines = append(lines, "    role: "+role)
		}
		lines = line(lines, "    ", "messages", messages)
		if returns != "" {
			lines = append(lines, "    returns: "+yamlText(returns))
		}
	})
	if len(receivers) > 0 {
		lines = append(append(lines, "receivers:"), slices.Sorted(maps.Keys(receivers))...)
	}
	return lines
}

// proposeHTTP: name in the certificate, interaction, resource type, whether it includes
// others. A client that is listed keeps its name and what it may.
func proposeHTTP(p *http.Policy, uses []front.Counted) []string {
	clients, allow := map[string]string{}, []string(nil)
	id := func(known string) string {
		if known == "" {
			return ""
		}
		name, rest := known, ""
		for listed, c := range p.Clients {
			if strings.EqualFold(c.Certificate, known) {
				name, rest = listed, fmt.Sprintf(", requests: %d", c.Requests)
				if c.Role != device.NoRole {
					rest += ", role: " + c.Role.String()
				}
			}
		}
		clients[name] = "  " + yamlText(name) + ": {certificate: " + yamlText(known) + rest + "}"
		return yamlText(name)
	}
	grouped(uses, func(u *front.Counted) string { return u.Fields[0] + "\x00" + u.Fields[2] + "\x00" + u.Fields[3] }, func(g []front.Counted) {
		who := id(g[0].Fields[0])
		interactions := tally{}
		for _, u := range g {
			if u.Fields[1] == "path" {
				allow = append(allow, fmt.Sprintf("  # %d requests of %s outside FHIR: write their paths by hand, they are not kept", u.Count, cmp.Or(who, "the device")))
				continue
			}
			interactions.add(u.Fields[1], u.Count)
		}
		if len(interactions) == 0 {
			return
		}
		first := "  - "
		if who != "" {
			allow = append(allow, first+"clients: ["+who+"]")
			first = "    "
		}
		allow = append(allow, first+"interactions: "+interactions.list())
		if g[0].Fields[2] != "" {
			allow = append(allow, "    types: ["+yamlText(g[0].Fields[2])+"]")
		}
		if g[0].Fields[3] != "" {
			allow = append(allow, "    include: true")
		}
	})
	var lines []string
	if len(clients) > 0 {
		lines = append(lines, "clients:")
		for _, name := range slices.Sorted(maps.Keys(clients)) {
			lines = append(lines, clients[name])
		}
	}
	return append(append(lines, "allow:"), allow...)
}

// proposeTCP: connect, name in the certificate, address.
func proposeTCP(_ *tcp.Policy, uses []front.Counted) []string {
	clients, peers := tally{}, tally{}
	for _, u := range uses {
		clients.add(u.Fields[1], u.Count)
		peers.add(u.Fields[2], u.Count)
	}
	return line(line(nil, "", "clients", clients), "", "peers", peers)
}

// proposeEgress: connect, target.
func proposeEgress(p *tcp.EgressPolicy, uses []front.Counted) []string {
	if p.Forward.Address != "" {
		return []string{"# forward is all that it may open; there is no list to propose"}
	}
	lines := []string{"allow:"}
	for _, u := range uses {
		i := strings.LastIndexByte(u.Fields[1], ':')
		if i < 0 {
			lines = append(lines, fmt.Sprintf("  # %s: write it by hand, names are not kept # %d", u.Fields[1], u.Count))
			continue
		}
		key, host := "hosts", strings.Trim(u.Fields[1][:i], "[]")
		if strings.ContainsAny(host, ":") || strings.Trim(host, "0123456789.") == "" {
			key = "networks"
		}
		lines = append(lines, fmt.Sprintf("  - {%s: [%s], ports: [%s]} # %d", key, yamlText(host), yamlText(u.Fields[1][i+1:]), u.Count))
	}
	return lines
}
