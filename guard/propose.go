// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/guard/front"
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

// proposeDICOM: calling, called, operation, SOP class, destination, transfer syntax.
func proposeDICOM(uses []front.Counted) []string {
	lines := []string{"associations:"}
	grouped(uses, func(u *front.Counted) string { return u.Fields[0] + "\x00" + u.Fields[1] }, func(g []front.Counted) {
		verbs, classes, destinations, syntaxes := tally{}, tally{}, tally{}, tally{}
		for _, u := range g {
			classes.add(u.Fields[3], u.Count)
			syntaxes.add(u.Fields[5], u.Count)
			if u.Fields[2] != "A-ASSOCIATE" && u.Fields[2] != "unknown" {
				verbs.add(u.Fields[2], u.Count)
			}
			destinations.add(u.Fields[4], u.Count)
		}
		lines = append(lines, "  - calling: "+yamlText(g[0].Fields[0]), "    called: "+yamlText(g[0].Fields[1]),
			"    certificate: any # better: sha256:, subject: or san: of the one that it has; none where it shows none")
		if len(verbs) == 0 {
			verbs.add("C-ECHO", 0)
		}
		lines = line(lines, "    ", "verbs", verbs)
		lines = line(lines, "    ", "sop-classes", classes)
		lines = line(lines, "    ", "destinations", destinations)
		lines = line(lines, "    ", "transfer-syntaxes", syntaxes)
	})
	return lines
}

// proposeHL7: sending application and facility, receiving ones, type, who proved it.
func proposeHL7(uses []front.Counted) []string {
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
		n++
		lines = append(lines, fmt.Sprintf("  sender-%d:", n), "    application: "+yamlText(g[0].Fields[0]))
		if g[0].Fields[1] != "" {
			lines = append(lines, "    facility: "+yamlText(g[0].Fields[1]))
		}
		if len(certificates) == 0 {
			lines = append(lines, "    certificates: [] # nothing proved it")
		}
		lines = line(lines, "    ", "certificates", certificates)
		lines = line(lines, "    ", "messages", messages)
	})
	if len(receivers) > 0 {
		lines = append(append(lines, "receivers:"), slices.Sorted(maps.Keys(receivers))...)
	}
	return lines
}

// proposeHTTP: client, interaction, resource type.
func proposeHTTP(uses []front.Counted) []string {
	lines := []string{"allow:"}
	grouped(uses, func(u *front.Counted) string { return u.Fields[0] + "\x00" + u.Fields[2] }, func(g []front.Counted) {
		interactions := tally{}
		for _, u := range g {
			interactions.add(u.Fields[1], u.Count)
		}
		first := "  - "
		if g[0].Fields[0] != "" {
			lines = append(lines, first+"clients: ["+yamlText(g[0].Fields[0])+"]")
			first = "    "
		}
		lines = append(lines, first+"interactions: "+interactions.list())
		if g[0].Fields[2] != "" {
			lines = append(lines, "    types: ["+yamlText(g[0].Fields[2])+"]")
		}
	})
	return lines
}

// proposeTCP: connect, name in the certificate, address.
func proposeTCP(uses []front.Counted) []string {
	clients, peers := tally{}, tally{}
	for _, u := range uses {
		clients.add(u.Fields[1], u.Count)
		peers.add(u.Fields[2], u.Count)
	}
	return line(line(nil, "", "clients", clients), "", "peers", peers)
}

// proposeEgress: connect, target.
func proposeEgress(uses []front.Counted) []string {
	lines := []string{"allow:"}
	for _, u := range uses {
		i := strings.LastIndexByte(u.Fields[1], ':')
		if i < 0 {
			lines = append(lines, fmt.Sprintf("  # %s # %d", yamlText(u.Fields[1]), u.Count))
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
