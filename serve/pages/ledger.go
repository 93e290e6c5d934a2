// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// A Ledger is the server's own: where it is, and its public key.
type Ledger struct {
	Dir, Key string

	mu       sync.Mutex
	checking sync.WaitGroup
	running  bool
	last     *verification
}

// Wait waits for a verification that is under way.
func (l *Ledger) Wait() { l.checking.Wait() }

// Bounds of the ledger's pages.
const (
	ledgerRows = 50
	maxExport  = 100_000 // entries of a file
)

func (p *Pages) ledgerRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /ledger", Needs: access.SeeLedger, Handle: p.ledger},
		{Pattern: "GET /ledger.json", Needs: access.SeeLedger, Handle: p.ledger},
		{Pattern: "GET /ledger.csv", Needs: access.SeeLedger, Handle: p.ledger},
		{Pattern: "GET /ledger/{index}", Needs: access.SeeLedger, Handle: p.entry},
		{Pattern: "GET /ledger/{index}/proof", Needs: access.SeeLedger, Handle: p.proof},
		{Pattern: "GET /ledger/export", Needs: access.SeeLedger, Handle: p.exportLedger},
		{Pattern: "POST /ledger/verify", Needs: access.SeeLedger, Handle: p.verifyLedger},
	}
}

// ledgerPage answers: what did people do here, and is that as it was signed?
type ledgerPage struct {
	frame   `json:"-"`
	Answer  string
	Origin  string
	Size    int64
	Root    string
	Running bool
	Damage  string // why these entries cannot be shown
	Last    *verification
	Entries []entryLine
	Next    string
	Export  string
}

// A verification is what came of reading all of it.
type verification struct {
	At       when
	By       string
	Entries  int64
	OK       bool
	Problems []string
	More     int
}

type entryLine struct {
	Index                                         int64
	Kind, Actor, Operation, Target, Reason, Where string
	Count                                         int64
	Outcome                                       string
	At                                            when
}

func (p *Pages) entryLine(i int64, entry []byte) entryLine {
	e, err := event.Parse(entry)
	if err != nil {
		return entryLine{Index: i, Kind: "no event"}
	}
	return entryLine{i, e.Kind.String(), e.Text(event.Actor), e.Text(event.Operation), e.Text(event.Target), e.Text(event.Reason), e.Device.Value, e.Int(event.Count), event.Result(e.Int(event.Outcome)).String(), p.when(e.Time)}
}

// rows are the entries of the page as CSV, the newest first: at most 100,000.
func (page *ledgerPage) rows() [][]string {
	out := [][]string{{"number", "time", "kind", "who", "did", "to", "count", "why", "where", "outcome"}}
	for _, e := range page.Entries {
		out = append(out, []string{strconv.FormatInt(e.Index, 10), e.At.Machine, e.Kind, e.Actor, e.Operation, e.Target, strconv.FormatInt(e.Count, 10), e.Reason, e.Where, e.Outcome})
	}
	return out
}

func (l *Ledger) read() (*ledger.Reader, error) {
	if l == nil {
		return nil, store.ErrNotFound
	}
	k, err := ledger.ParseVerifier(l.Key)
	if err != nil {
		return nil, err
	}
	return ledger.Read(l.Dir, k)
}

func (p *Pages) ledger(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	l, err := p.Ledger.read()
	if err != nil {
		return err
	}
	size := l.Checkpoint.Size
	page := &ledgerPage{frame: p.framed(r, who, "Ledger"), Origin: l.Checkpoint.Origin, Size: size, Root: l.Checkpoint.Hash.String()}
	p.Ledger.mu.Lock()
	page.Running, page.Last = p.Ledger.running, p.Ledger.last
	p.Ledger.mu.Unlock()
	to := size
	if s := r.FormValue("before"); s != "" {
		if to, err = strconv.ParseInt(s, 10, 64); err != nil || to < 0 || to > size {
			return store.ErrCursor
		}
	}
	rows := int64(ledgerRows)
	if strings.HasSuffix(r.URL.Path, ".csv") {
		rows = maxExport
	}
	from := max(0, to-rows)
	err = l.Entries(from, to, func(i int64, entry []byte) error {
		page.Entries = append(page.Entries, p.entryLine(i, entry))
		return nil
	})
	slices.Reverse(page.Entries) // the newest first
	var damage *ledger.DamageError
	switch {
	case errors.As(err, &damage):
		page.Entries, page.Damage = nil, damage.Error()
	case err != nil:
		return err
	}
	if from > 0 {
		page.Next = "/ledger?before=" + strconv.FormatInt(from, 10)
	}
	if who.May(access.Export) {
		page.Export = "/ledger/export"
	}
	page.Answer = plural(int(size), "entry") + " " + are(int(size)) + " signed."
	switch v := page.Last; {
	case page.Running:
		page.Answer += " They are being verified now."
	case page.Damage != "":
		page.Answer += " Some of it is not as it was signed."
	case v == nil:
		page.Answer += " Nobody has verified them since the server began."
	case v.OK:
		page.Answer += " The first " + strconv.FormatInt(v.Entries, 10) + " were verified " + v.At.Relative + ": all is as it was signed."
	default:
		page.Answer += " Some of it is not as it was signed."
	}
	return p.show(w, r, "ledger", page)
}

// entryPage shows that an entry is in the ledger.
type entryPage struct {
	frame  `json:"-"`
	Entry  entryLine
	Text   string // the entry, as it is in the ledger
	Raw    json.RawMessage
	Hashes []string
	Root   string
	Size   int64
	Origin string
	Proven bool
	Export string
}

// prove reads an entry and its proof, and verifies that as somebody would who has
// the key alone.
func (p *Pages) prove(index string) (*ledger.Proof, *ledger.Reader, error) {
	i, err := strconv.ParseInt(index, 10, 64)
	if err != nil || i < 0 {
		return nil, nil, store.ErrNotFound
	}
	l, err := p.Ledger.read()
	if err != nil {
		return nil, nil, err
	}
	proof, err := l.Prove(i)
	if errors.Is(err, ledger.ErrNoEntry) {
		return nil, nil, store.ErrNotFound
	}
	return proof, l, err
}

func (p *Pages) entry(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	proof, l, err := p.prove(strings.TrimSuffix(r.PathValue("index"), ".json"))
	if err != nil {
		return err
	}
	k, err := ledger.ParseVerifier(p.Ledger.Key)
	if err != nil {
		return err
	}
	_, err = proof.Verify(k)
	page := &entryPage{
		frame: p.framed(r, who, "Ledger"), Entry: p.entryLine(proof.Index, proof.Entry), Size: l.Checkpoint.Size, Root: l.Checkpoint.Hash.String(), Origin: l.Checkpoint.Origin,
		Proven: err == nil,
	}
	var b bytes.Buffer
	if json.Indent(&b, proof.Entry, "", "  ") == nil {
		page.Text, page.Raw = b.String(), proof.Entry
	} else {
		page.Text = fmt.Sprintf("%q", proof.Entry)
	}
	for _, h := range proof.Hashes {
		page.Hashes = append(page.Hashes, h.String())
	}
	if who.May(access.Export) {
		page.Export = "/ledger/" + strconv.FormatInt(proof.Index, 10) + "/proof"
	}
	return p.show(w, r, "entry", page)
}

// proof is the file by which anybody who has the key sees that an entry is in it.
func (p *Pages) proof(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if !who.May(access.Export) {
		return access.ErrForbidden
	}
	proof, _, err := p.prove(r.PathValue("index"))
	if err != nil {
		return err
	}
	b, err := proof.AppendText(nil)
	if err != nil {
		return err
	}
	if err := p.Access.Acted(who.Person.Login, "export", "ledger proof", strconv.FormatInt(proof.Index, 10), 1, event.Succeeded); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="entry-`+strconv.FormatInt(proof.Index, 10)+`.tlog-proof"`)
	_, err = w.Write(b)
	return err
}

// exportLedger writes entries as lines of JSON, as they are in the ledger.
func (p *Pages) exportLedger(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if !who.May(access.Export) {
		return access.ErrForbidden
	}
	l, err := p.Ledger.read()
	if err != nil {
		return err
	}
	to := l.Checkpoint.Size
	from := max(0, to-maxExport)
	for name, n := range map[string]*int64{"from": &from, "to": &to} {
		if s := r.FormValue(name); s != "" {
			if *n, err = strconv.ParseInt(s, 10, 64); err != nil {
				return store.ErrCursor
			}
		}
	}
	if from < 0 || to < from || to > l.Checkpoint.Size || to-from > maxExport {
		return &access.Error{Status: http.StatusBadRequest, Text: "A file has at most " + strconv.Itoa(maxExport) + " entries: say from and to, which is not in it."}
	}
	if err := p.Access.Acted(who.Person.Login, "export", "ledger", fmt.Sprintf("entries from %d to before %d", from, to), int(to-from), event.Succeeded); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Content-Disposition", `attachment; filename="ledger-`+strconv.FormatInt(from, 10)+`.jsonl"`)
	begun := false
	err = l.Entries(from, to, func(_ int64, entry []byte) error {
		begun = true
		_, err := w.Write(append(entry[:len(entry):len(entry)], '\n'))
		return err
	})
	if err != nil && begun {
		panic(http.ErrAbortHandler) // what is written is not all: the connection ends without saying so
	}
	return err
}

// verifyLedger reads all of it, while nobody waits; once at a time.
func (p *Pages) verifyLedger(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	l := p.Ledger
	if l == nil {
		return store.ErrNotFound
	}
	k, err := ledger.ParseVerifier(l.Key)
	if err != nil {
		return err
	}
	l.mu.Lock()
	begin := !l.running
	l.running = true
	l.mu.Unlock()
	if begin {
		login := who.Person.Login
		l.checking.Go(func() {
			v := &verification{By: login}
			rep, err := ledger.Verify(l.Dir, ledger.VerifyConfig{Ledger: k})
			outcome := event.Succeeded
			switch {
			case err != nil:
				v.Problems = []string{"it could not be read: " + err.Error()}
			default:
				v.OK, v.Entries, v.More = rep.OK(), rep.Entries, rep.More
				for i := range rep.Problems {
					v.Problems = append(v.Problems, rep.Problems[i].Error())
				}
			}
			if !v.OK {
				outcome = event.Failed
			}
			v.At = p.when(p.Now().UnixNano())
			if err := p.Access.Acted(login, "verify", "ledger", strings.Join(v.Problems, "; "), int(v.Entries), outcome); err != nil {
				v.OK, v.Problems = false, append(v.Problems, "and nothing can be written to it now")
			}
			l.mu.Lock()
			l.running, l.last = false, v
			l.mu.Unlock()
		})
	}
	p.Access.Say(r.Context(), "All entries are being read; the result stands here when that is done.", "")
	http.Redirect(w, r, "/ledger", http.StatusSeeOther)
	return nil
}
