// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) documentsRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /documents", Needs: access.SeeDocuments, Handle: p.documents},
		{Pattern: "GET /documents.json", Needs: access.SeeDocuments, Handle: p.documents},
		{Pattern: "GET /documents.csv", Needs: access.Export, Handle: p.documents},
		{Pattern: "POST /documents", Needs: access.AddDocuments, Handle: p.upload, Most: documents.Most + maxParts},
		{Pattern: "POST /names", Needs: access.AddDocuments, Handle: p.decideName},
		{Pattern: "POST /names/undo/{at}", Needs: access.AddDocuments, Handle: p.undecide},
		{Pattern: "GET /documents/{digest}", Needs: access.SeeDocuments, Handle: p.document},
		{Pattern: "GET /documents/{digest}/content", Needs: access.Export, Handle: p.content},
		{Pattern: "POST /documents/{digest}/remove", Needs: access.AddDocuments, Handle: p.removeDocument},
	}
}

const (
	maxParts   = 1 << 20 // bytes of an upload beside its documents
	maxUploads = 100     // documents at once
)

// documentsPage lists advisories and bills of materials.
type documentsPage struct {
	frame    `json:"-"`
	Answer   string
	Filter   string
	Kind     string
	Kinds    []string
	Rows     []documentLine
	Next     string
	Known    when // as of when the devices are known
	Ready    bool
	Reviews  []documents.Review
	Decided  []decidedLine
	CanAdd   bool
	Most     int // MiB
	Folder   *watchedLine
	MoreRows int // reviews that are not shown
}

type documentLine struct {
	Digest, Kind, Name, ID, Title, By string
	Bytes                             int64
	Added                             when
	Devices                           int
	Trouble                           string
}

// A watchedLine tells how a folder is that the server watches.
type watchedLine struct {
	documents.Looked
	When when
}

func (p *Pages) watched(r *http.Request, who *access.Principal) (*watchedLine, error) {
	if who.Products() != nil {
		return nil, nil
	}
	l, err := documents.LastLook(r.Context(), p.Store)
	if l == nil || err != nil {
		return nil, err
	}
	return &watchedLine{*l, p.when(l.At)}, nil
}

type decidedLine struct {
	documents.Naming
	When when
}

// documentKinds are those of documents, as they are kept.
var documentKinds = []string{"csaf", "osv", "cve", "nvd", "github", "recalls", "cyclonedx", "spdx", "vex", "openvex", "mds2", documents.KEV, documents.EPSS}

// shownReviews is how many pairs of names stand on the page.
const shownReviews = 20

func (p *Pages) documentLine(d *store.Document, v *documents.View, who *access.Principal) documentLine {
	line := documentLine{Digest: d.Digest, Kind: d.Kind, Name: d.Name, ID: d.ID, Title: cmp.Or(d.Title, d.Name, d.Digest), By: d.By, Bytes: d.Bytes, Added: p.when(d.Added), Trouble: v.Trouble[d.Digest]}
	line.Devices = v.Total[d.Digest]
	if who.Products() != nil {
		line.Devices = len(p.affected(d.Digest, v, who))
	}
	return line
}

func (p *Pages) documents(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	asked := r.URL.Query()
	words, kind := strings.TrimSpace(asked.Get("q")), asked.Get("kind")
	if len(words) > maxWord {
		return &access.Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("A search has at most %d characters.", maxWord)}
	}
	var kinds []string
	if kind != "" {
		kinds = []string{kind}
	}
	v := p.fleet.View()
	list, err := documents.List(r.Context(), p.Store, p.seesDocument(v, who), kinds, words, store.Page{After: asked.Get("after"), Limit: rowsOfPage})
	if err != nil {
		return err
	}
	page := &documentsPage{frame: p.framed(r, who, "Advisories and SBOMs"), Filter: words, Kind: kind, Kinds: documentKinds, Ready: !v.At.IsZero(), CanAdd: who.May(access.AddDocuments), Most: documents.Most >> 20}
	page.Words = ""
	if page.Ready {
		page.Known = p.when(v.At.UnixNano())
	}
	for i := range list.Rows {
		page.Rows = append(page.Rows, p.documentLine(&list.Rows[i], v, who))
	}
	if list.Next != "" {
		page.Next = "/documents?" + url.Values{"q": {words}, "kind": {kind}, "after": {list.Next}}.Encode()
	}
	page.Answer = plural(list.Total, "document") + "."
	if page.Folder, err = p.watched(r, who); err != nil {
		return err
	}
	if who.Products() == nil {
		decided, err := p.fleet.Namings(r.Context())
		if err != nil {
			return err
		}
		for _, d := range slices.Backward(decided) {
			page.Decided = append(page.Decided, decidedLine{d, p.when(d.At)})
		}
		page.Reviews = v.Reviews[:min(len(v.Reviews), shownReviews)]
		page.MoreRows = len(v.Reviews) - len(page.Reviews)
		if n := len(v.Reviews); n > 0 {
			page.Answer += " Of " + plural(n, "pair") + " of names somebody has to say whether they are one product."
		}
	}
	return p.show(w, r, "documents", page)
}

func (page *documentsPage) rows() [][]string {
	out := [][]string{{"digest", "id", "kind", "title", "file", "bytes", "devices", "added", "by", "trouble"}}
	for _, d := range page.Rows {
		out = append(out, []string{d.Digest, d.ID, d.Kind, d.Title, d.Name, strconv.Itoa(int(d.Bytes)), strconv.Itoa(d.Devices), d.Added.Machine, d.By, d.Trouble})
	}
	return out
}

// upload takes in documents, each on its own: what is wrong with one does not stop the others.
func (p *Pages) upload(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return &access.Error{Status: http.StatusUnsupportedMediaType, Text: "Choose files, and send them by the form."}
	}
	added, had := 0, 0
	var wrong []string
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return badUpload(err)
		}
		if part.FormName() != "file" || part.FileName() == "" {
			continue
		}
		if added+had+len(wrong) >= maxUploads {
			return &access.Error{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("At most %d documents at once; the first of them are here.", maxUploads)}
		}
		_, fresh, err := p.intake.Add(r.Context(), who.Person.Login, part.FileName(), part)
		var said *access.Error
		switch {
		case errors.As(err, &said):
			wrong = append(wrong, part.FileName()+": "+said.Text)
		case err != nil:
			return badUpload(err)
		case !fresh:
			had++
		default:
			added++
		}
	}
	said := plural(added, "document") + " added."
	if had > 0 {
		said += " " + plural(had, "document") + " " + map[bool]string{true: "was", false: "were"}[had == 1] + " here before."
	}
	if added+had == 0 && len(wrong) == 0 {
		said = "No file was chosen."
	}
	const most = 5
	for i, s := range wrong {
		if i == most {
			said += fmt.Sprintf(" And %d more that could not be taken.", len(wrong)-most)
			break
		}
		said += " " + s
	}
	p.Access.Say(r.Context(), said, "")
	http.Redirect(w, r, "/documents", http.StatusSeeOther)
	return nil
}

// badUpload says what is wrong with an upload that ended early.
func badUpload(err error) error {
	var too *http.MaxBytesError
	if errors.As(err, &too) {
		return &access.Error{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("At most %d MiB at once.", documents.Most>>20)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &access.Error{Status: http.StatusBadRequest, Text: "The upload ended early. Send it again."}
	}
	return err
}

// seesDocument says which documents who may see: of a manufacturer, what names its
// products or concerns devices of them. nil is all of them.
func (p *Pages) seesDocument(v *documents.View, who *access.Principal) func(*store.Document) bool {
	only := who.Products()
	if only == nil {
		return nil
	}
	return func(d *store.Document) bool {
		return documents.Names(d, only) || len(p.affected(d.Digest, v, who)) > 0
	}
}

// affected are the devices that a document concerns, of the products of who asks.
func (p *Pages) affected(digest string, v *documents.View, who *access.Principal) []documents.Affected {
	if who.Products() == nil {
		return v.Of[digest]
	}
	return slices.DeleteFunc(slices.Clone(v.Of[digest]), func(a documents.Affected) bool { return !who.Sees(a.Model) })
}

// documentPage is one document, and which devices it concerns.
type documentPage struct {
	frame    `json:"-"`
	Document documentLine
	Answer   string
	Products []string
	Affected []documents.Affected
	More     int
	Ready    bool
	Known    when
	About    bool // devices are made of it, rather than concerned by it
	CanAdd   bool
	Findings string // list of those that name it
}

func (p *Pages) document(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	d, _, err := p.Store.Content(r.Context(), strings.TrimSuffix(r.PathValue("digest"), ".json"))
	if err != nil {
		return err
	}
	v := p.fleet.View()
	if sees := p.seesDocument(v, who); sees != nil && !sees(d) {
		return store.ErrNotFound
	}
	page := &documentPage{
		frame: p.framed(r, who, cmp.Or(d.Title, d.Name)), Document: p.documentLine(d, v, who), Products: d.Products, Affected: p.affected(d.Digest, v, who),
		Ready: !v.At.IsZero(), About: slices.Contains([]string{"cyclonedx", "spdx", "mds2"}, d.Kind), CanAdd: who.May(access.AddDocuments),
	}
	if page.Ready {
		page.Known = p.when(v.At.UnixNano())
	}
	if d.ID != "" && who.May(access.SeeAll) {
		page.Findings = "/findings?" + url.Values{"q": {d.ID}}.Encode()
	}
	page.More = page.Document.Devices - len(page.Affected)
	look := 0
	for _, a := range page.Affected {
		if a.Certainty == string(match.Review) {
			look++
		}
	}
	switch {
	case !page.Ready:
		page.Answer = "Which devices it concerns is being found out."
	case page.Document.Devices == 0:
		page.Answer = "It concerns no device that is known here."
	case page.About:
		page.Answer = plural(page.Document.Devices, "device") + " " + are(page.Document.Devices) + map[bool]string{true: " of this product.", false: " made of this."}[d.Kind == "mds2"]
	default:
		page.Answer = "It concerns " + plural(page.Document.Devices, "device") + "."
	}
	if look > 0 {
		page.Answer += " At " + plural(look, "device") + " a person has to look."
	}
	return p.show(w, r, "document", page)
}

// content gives the document as it was sent.
func (p *Pages) content(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	d, content, err := p.Store.Content(r.Context(), r.PathValue("digest"))
	if err != nil {
		return err
	}
	if err := p.Access.Acted(who.Person.Login, "export", "document "+d.Digest, "", 1, event.Succeeded); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Security-Policy", "sandbox")
	h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(d.Name))
	_, err = w.Write(content)
	return err
}

func (p *Pages) removeDocument(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	digest := r.PathValue("digest")
	if r.PostForm.Get("sure") != "yes" {
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: "Tick that you are sure: it can be added again, but not put back."}
	}
	if err := p.Access.Act(who.Person.Login, "remove document", digest, "", func() (int, error) {
		return 1, p.Store.RemoveDocument(r.Context(), digest)
	}); err != nil {
		return err
	}
	p.fleet.Changed()
	p.Access.Say(r.Context(), "The document is removed.", "")
	http.Redirect(w, r, "/documents", http.StatusSeeOther)
	return nil
}

// decide keeps, once for all documents, whether two names are of one product.
func (p *Pages) decideName(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	form := r.PostForm
	n := documents.Naming{
		Maker: form.Get("maker"), Model: form.Get("model"), AsMaker: form.Get("as-maker"), AsModel: form.Get("as-model"), Same: form.Get("same") == "yes",
		Reason: strings.TrimSpace(form.Get("reason")), By: who.Person.Login, At: p.Now().UnixNano(),
	}
	for _, s := range [...]string{n.Maker, n.Model, n.AsMaker, n.AsModel} {
		if len(s) > maxValue {
			return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf("A name has at most %d characters.", maxValue)}
		}
	}
	switch same := form.Get("same"); {
	case same != "yes" && same != "no", n.Model == "", n.AsModel == "":
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say of which names, and whether they are one product."}
	case n.Reason == "" || len(n.Reason) > maxReason:
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf("Say why, in at most %d characters: others will rely on it.", maxReason)}
	}
	did := map[bool]string{true: "same product", false: "another product"}[n.Same]
	if err := p.Access.Act(who.Person.Login, did, joined(n.Maker+" "+n.Model, n.AsMaker+" "+n.AsModel), n.Reason, func() (int, error) {
		return 1, p.fleet.Decide(r.Context(), n)
	}); err != nil {
		return err
	}
	p.Access.Say(r.Context(), "Decided for all documents. Which devices they concern is found out again.", "/names/undo/"+strconv.FormatInt(n.At, 10))
	http.Redirect(w, r, "/documents", http.StatusSeeOther)
	return nil
}

func (p *Pages) undecide(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	at, err := strconv.ParseInt(r.PathValue("at"), 10, 64)
	if err != nil {
		return store.ErrNotFound
	}
	if err := p.Access.Act(who.Person.Login, "undo a decision about names", strconv.FormatInt(at, 10), "", func() (int, error) {
		return 1, p.fleet.Forget(r.Context(), at)
	}); err != nil {
		return err
	}
	p.Access.Say(r.Context(), "The decision is taken back.", "")
	http.Redirect(w, r, "/documents", http.StatusSeeOther)
	return nil
}
