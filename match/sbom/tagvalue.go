// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// spdxTags are the tags of SPDX 2's tag-value spelling, with the field that
// each is; "" for those that are passed over, those of files, snippets and
// licences among them.
var spdxTags = map[string]string{
	"SPDXVersion": "spdx.spdxVersion", "DataLicense": "spdx.dataLicense", "DocumentName": "spdx.name", "DocumentNamespace": "spdx.documentNamespace", "DocumentComment": "spdx.comment",
	"ExternalDocumentRef": "",

	"Creator": "creation.creators", "Created": "creation.created", "CreatorComment": "creation.comment", "LicenseListVersion": "creation.licenseListVersion",

	"PackageName": "package.name", "PackageVersion": "package.versionInfo", "PackageFileName": "package.packageFileName", "PackageSupplier": "package.supplier",
	"PackageOriginator": "package.originator", "PackageDownloadLocation": "package.downloadLocation", "FilesAnalyzed": "package.filesAnalyzed", "PackageVerificationCode": "",
	"PackageChecksum": "", "PackageHomePage": "package.homepage", "PackageSourceInfo": "package.sourceInfo", "PackageLicenseConcluded": "package.licenseConcluded",
	"PackageLicenseInfoFromFiles": "", "PackageLicenseDeclared": "package.licenseDeclared", "PackageLicenseComments": "package.licenseComments", "PackageCopyrightText": "package.copyrightText",
	"PackageSummary": "package.summary", "PackageDescription": "package.description", "PackageComment": "package.comment", "PackageAttributionText": "package.attributionTexts",
	"ExternalRef": "", "ExternalRefComment": "", "PrimaryPackagePurpose": "package.primaryPackagePurpose", "ReleaseDate": "package.releaseDate", "BuiltDate": "package.builtDate",
	"ValidUntilDate": "package.validUntilDate",

	"FileName": "file.fileName", "FileType": "", "FileChecksum": "", "LicenseConcluded": "", "LicenseInfoInFile": "", "LicenseComments": "", "LicenseComment": "", "FileCopyrightText": "",
	"FileComment": "", "FileNotice": "", "FileContributor": "", "FileAttributionText": "", "FileDependency": "",
	"ArtifactOfProjectName": "", "ArtifactOfProjectHomePage": "", "ArtifactOfProjectURI": "",

	"SnippetSPDXID": "", "SnippetFromFileSPDXID": "", "SnippetByteRange": "", "SnippetLineRange": "", "SnippetLicenseConcluded": "", "LicenseInfoInSnippet": "", "SnippetLicenseComments": "",
	"SnippetCopyrightText": "", "SnippetComment": "", "SnippetName": "", "SnippetAttributionText": "",

	"LicenseID": "", "ExtractedText": "", "LicenseName": "", "LicenseCrossReference": "",

	"Relationship": "", "RelationshipComment": "", "Annotator": "", "AnnotationDate": "", "AnnotationType": "", "SPDXREF": "", "AnnotationComment": "",
	"Reviewer": "", "ReviewDate": "", "ReviewComment": "", "SPDXID": "",
}

var (
	errTagName = errors.New("not a tag of SPDX 2")
	errHex     = errors.New("must be hexadecimal")
	errParts   = errors.New("has not the parts that this tag asks for")
	errOutside = errors.New("belongs to nothing")
)

// A section is what the tags that follow belong to.
type section struct {
	shape *shape
	seen  uint64
}

// tagDocument reads SPDX 2's tag-value spelling: a line a tag, values that span
// lines between <text> and </text>.
func (r *reader) tagDocument(shapes map[string]*shape) error {
	spdx, creation := section{shape: shapes["spdx"]}, section{shape: shapes["creation"]}
	var part section // package or file
	part.shape = shapes["spdx"]
	packages, files := -1, -1
	finish := func() error {
		switch part.shape.name {
		case "package":
			r.path = append(r.path[:0], step{"packages", packages})
			if err := r.complete(part.shape, part.seen, false); err != nil {
				return err
			}
			return r.endComponent()
		case "file":
			r.path = append(r.path[:0], step{"files", files})
			return r.complete(part.shape, part.seen, false)
		}
		return nil
	}
	for {
		r.path = r.path[:0]
		tag, value, err := r.tagLine()
		if err != nil {
			return r.fail(err)
		}
		if tag == nil {
			break
		}
		at, ok := spdxTags[string(tag)]
		if !ok {
			return r.fail(errTagName)
		}
		switch string(tag) {
		case "PackageName":
			if err := finish(); err != nil {
				return err
			}
			packages++
			part = section{shape: shapes["package"]}
			if err := r.beginComponent(); err != nil {
				return err
			}
		case "FileName":
			if err := finish(); err != nil {
				return err
			}
			files++
			part = section{shape: shapes["file"]}
		case "LicenseID", "SnippetSPDXID":
			if err := finish(); err != nil {
				return err
			}
			part = section{shape: shapes["annotation"]} // nothing that is kept
		}
		r.path = r.path[:0]
		switch part.shape.name {
		case "package":
			r.path = append(r.path, step{"packages", packages})
		case "file":
			r.path = append(r.path, step{"files", files})
		}
		where := &part
		shape, key, _ := strings.Cut(at, ".")
		switch shape {
		case "spdx":
			where, r.path = &spdx, r.path[:0]
		case "creation":
			where, r.path = &creation, append(r.path[:0], step{"creationInfo", -1})
		case "package", "file":
			if part.shape.name != shape {
				r.path = append(r.path, step{key, -1})
				return r.fail(errOutside)
			}
		default:
			if err := r.composed(string(tag), value, &part, &spdx); err != nil {
				return err
			}
			continue
		}
		if err := r.tagged(where, key, value); err != nil {
			return err
		}
	}
	if err := finish(); err != nil {
		return err
	}
	r.path = r.path[:0]
	spdx.mark("creationInfo")
	if err := r.complete(spdx.shape, spdx.seen, false); err != nil {
		return err
	}
	r.path = append(r.path, step{"creationInfo", -1})
	return r.complete(creation.shape, creation.seen, false)
}

func (s *section) mark(key string) { s.seen |= 1 << s.shape.keys[key] }

// tagged gives a value to the field of a section.
func (r *reader) tagged(s *section, key string, value []byte) error {
	i := s.shape.keys[key]
	f := &s.shape.fields[i]
	r.path = append(r.path, step{key, -1})
	if f.item != nil {
		f = f.item
	} else if s.seen>>i&1 == 1 {
		return r.fail(errDuplicate)
	}
	s.seen |= 1 << i
	if s.shape.fields[i].since != everyVersion {
		if err := r.deny(^s.shape.fields[i].since, errVersion); err != nil {
			return err
		}
	}
	return r.scalar(f, value, f.kind != boolean)
}

// composed reads the tags whose value has parts.
func (r *reader) composed(tag string, value []byte, part, spdx *section) error {
	r.path = append(r.path, step{tag, -1})
	switch tag {
	case "SPDXID":
		switch part.shape.name {
		case "package", "file":
			r.path = r.path[:len(r.path)-1]
			return r.tagged(part, "SPDXID", value)
		case "spdx":
			r.path = r.path[:len(r.path)-1]
			return r.tagged(spdx, "SPDXID", value)
		}
		return r.fail(errOutside)
	case "PackageChecksum":
		if part.shape.name != "package" {
			return r.fail(errOutside)
		}
		algorithm, hex, ok := bytes.Cut(value, []byte(":"))
		if !ok {
			return r.fail(errParts)
		}
		known := spdxShapes()["checksum"]
		if err := r.scalar(&known.fields[known.keys["algorithm"]], bytes.TrimSpace(algorithm), true); err != nil {
			return err
		}
		if err := r.takeHex(bytes.TrimSpace(hex)); err != nil {
			return err
		}
		return r.endHash()
	case "ExternalRef":
		if part.shape.name != "package" {
			return r.fail(errOutside)
		}
		f := bytes.Fields(value)
		if len(f) != 3 {
			return r.fail(errParts)
		}
		r.reference.kind = append(r.reference.kind[:0], f[1]...)
		r.reference.locator = append(r.reference.locator[:0], f[2]...)
		return r.endReference()
	case "Relationship":
		f := bytes.Fields(value)
		if len(f) != 3 {
			return r.fail(errParts)
		}
		r.relation.from, r.relation.kind, r.relation.to = append(r.relation.from[:0], f[0]...), append(r.relation.kind[:0], f[1]...), append(r.relation.to[:0], f[2]...)
		return r.endRelation()
	}
	return nil
}

// tagLine reads the next tag and its value, or nil at the end. Both are valid
// until the next call.
func (r *reader) tagLine() (tag, value []byte, err error) {
	for {
		line, err := r.line(0)
		if err != nil {
			return nil, nil, err
		}
		if line == nil {
			return nil, nil, nil
		}
		text := bytes.TrimSpace(line)
		if len(text) == 0 || text[0] == '#' {
			r.pos += len(line)
			continue
		}
		tag, value, ok := bytes.Cut(text, []byte(":"))
		if !ok {
			return nil, nil, errParts
		}
		n := len(line)
		if value = bytes.TrimSpace(value); bytes.HasPrefix(value, []byte("<text>")) {
			colon := bytes.IndexByte(line, ':')
			for closed := bytes.Contains(value, []byte("</text>")); !closed; {
				more, err := r.line(n)
				if err != nil {
					return nil, nil, err
				}
				if more == nil {
					return nil, nil, errTruncated
				}
				closed = bytes.Contains(more, []byte("</text>"))
				n += len(more)
			}
			line = r.buf[r.pos : r.pos+n]
			tag = bytes.TrimSpace(line[:colon])
			value = bytes.TrimSpace(line[colon+1:])
			value, _, _ = bytes.Cut(value[len("<text>"):], []byte("</text>"))
		}
		r.pos += n
		if !utf8.Valid(value) {
			return nil, nil, errUTF8
		}
		return tag, value, nil
	}
}

// line returns the line that begins skip bytes into the window, with its end,
// and leaves it there; nil at the end of the document.
func (r *reader) line(skip int) ([]byte, error) {
	n := skip
	for {
		if i := bytes.IndexByte(r.buf[r.pos+n:r.end], '\n'); i >= 0 {
			return r.buf[r.pos+skip : r.pos+n+i+1], nil
		}
		n = r.end - r.pos
		if !r.more() {
			if !errors.Is(r.why(), errTruncated) {
				return nil, r.why()
			}
			if n == skip {
				return nil, nil
			}
			return r.buf[r.pos+skip : r.pos+n], nil
		}
	}
}
