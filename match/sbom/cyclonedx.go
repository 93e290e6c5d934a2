// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"errors"
	"sync"
)

// cyclonedxTable is what CycloneDX 1.1 to 1.7 allow, in JSON (which begins at
// 1.2) and XML, as far as a component, what is said about it, its licences,
// dependencies and vulnerabilities go. Of machine learning, cryptography,
// formulation, declarations and signatures only the place is checked. Objects
// that say the same as another in their list are not told from it, unless they
// have a name.
//
// Elements are taken in any order, though XML Schema asks for one: the order
// says nothing. See parseShapes for the notation.
const cyclonedxTable = `
bom open-3
  j  $schema            string
  j  bomFormat          =CycloneDX !
  j  specVersion        string !
  a  serialNumber       serial
  a  version            positive !j4
     metadata           metadata +2
     components         [component] /component
     services           [service] +2 /service
     externalReferences [reference] /reference
  j  dependencies       [dependency] +2
  x  dependencies       [dependency] +2 /dependency
     compositions       [composition] +3 /composition
     vulnerabilities    [vulnerability] +4 /vulnerability
     annotations        [annotation] +5 /annotation
     formulation        any +5
     declarations       any +6
     definitions        any +6
     citations          [citation] +7 /citation
  j  properties         [property] +5
  x  properties         [property] +3 /property
  j  signature          any +4
metadata open-3
     timestamp          time
  j  lifecycles         [lifecycle] +5
  x  lifecycles         [lifecycle] +5 /lifecycle
  j  tools              [tool]|toolobject
  x  tools              toolset
     authors            [contact] /author
     component          component
     manufacturer       entity +6
     manufacture        entity
     supplier           entity
  j  licenses           [licensechoice] +3
  x  licenses           licenses +3
     properties         [property] +3 /property
     distributionConstraints distribution +7
distribution
     tlp                =CLEAR,GREEN,AMBER,AMBER_AND_STRICT,RED
lifecycle
     phase              =design,pre-build,build,post-build,operations,discovery,decommission
     name               string
     description        string
     ? phase name
toolobject +5
  j  components         [other]
  j  services           [service]
toolset
  x  tool               [tool] *
     components         [other] +5 /component
     services           [service] +5 /service
tool open-3
     vendor             string
     name               string
     version            version
     hashes             [hash] /hash
     externalReferences [reference] +4 /reference
entity open-3
  a  bom-ref            name +5
     name               string
     address            any +6
     url                [string] *
     contact            [contact] *
contact open-3
  a  bom-ref            name +5
     name               string
     email              string
     phone              string
component open-3
  a  type               =application,framework,library,container,operating-system,device,firmware+2,file+2,platform+5,device-driver+5,machine-learning-model+5,data+5,cryptographic-asset+6 !
  a  mime-type          mime +2
  a  bom-ref            name
  a  isExternal         bool +7
     supplier           entity +2
     manufacturer       entity +6
     authors            [contact] +6 /author
     author             string +2
     publisher          string
     group              string
     name               string !
     version            version !3
     versionRange       range +7
     description        string
     scope              =required,optional,excluded
     hashes             [hash] /hash
  j  licenses           [licensechoice]
  x  licenses           licenses
     copyright          string
     patentAssertions   any +7
     cpe                string
     purl               string
     omniborId          [string] +6 *
     swhid              [string] +6 *
     swid               swid +2
     modified           bool
     pedigree           pedigree
     externalReferences [reference] /reference
     components         [component] /component
     evidence           evidence +3
     releaseNotes       releasenotes +4
     modelCard          any +5
  j  data               any +5
  x  data               [any] +5 *
     cryptoProperties   any +6
     tags               [string] +6 /tag
     properties         [property] +3 /property
  j  signature          any +4
     ?? version versionRange
other = component open-3
swid open-3
  a  tagId              string !
  a  name               string !
  a  version            string
  a  tagVersion         int
  a  patch              bool
     text               attachment
     url                string
attachment open-3
  j  contentType        string
  xa content-type       string
  a  encoding           =base64
  j  content            string !
  #  -                  string
hash open-3
  a  alg                =MD5,SHA-1,SHA-256,SHA-384,SHA-512,SHA3-256,SHA3-384+2,SHA3-512,BLAKE2b-256+2,BLAKE2b-384+2,BLAKE2b-512+2,BLAKE3+2,Streebog-256+7,Streebog-512+7 !
  j  content            digest !
  #  -                  digest
licensechoice open-3
     license            license
     expression         string
     expressionDetails  any +7
     acknowledgement    =declared,concluded +6
     bom-ref            name +5
     licensing          any +7
     properties         [property] +7
     ? license expression
     ?? license acknowledgement
     ?? license bom-ref
     ?? license expressionDetails
     ?? license licensing
     ?? license properties
licenses
  x  license            [license] *
  x  expression         [expression] *
  x  expression-detailed [detailed] +7 *
expression
  xa acknowledgement    =declared,concluded +6
  xa bom-ref            name +5
  #  -                  string
detailed open
  xa expression         string !
  xa acknowledgement    =declared,concluded
  xa bom-ref            name
  x  details            [any] *
  x  licensing          any
  x  properties         [property] /property
license open-3
  a  bom-ref            name +5
     id                 licence
     name               string
  a  acknowledgement    =declared,concluded +6
     text               attachment
     url                string
     licensing          any +5
     properties         [property] +5 /property
     ? id name x+6
pedigree open-3
     ancestors          [other] /component
     descendants        [other] /component
     variants           [other] /component
     commits            [commit] /commit
     patches            [patch] +2 /patch
     notes              string
commit open-3
     uid                string
     url                string
     author             action
     committer          action
     message            string
action open-3
     timestamp          time
     name               string
     email              string
patch open-3
  a  type               =unofficial,monkey,backport,cherry-pick !
     diff               diff
     resolves           [issue] /issue
diff open-3
     text               attachment
     url                string
issue open-3
  a  type               =defect,enhancement,security !
     id                 string
     name               string
     description        string
     source             source
     references         [string] /url
source open-3
     name               string
     url                string
reference open-3
     url                string !
     comment            string
  a  type               =vcs,issue-tracker,website,advisories,bom,mailing-list,social,chat,documentation,support,source-distribution+6,distribution,distribution-intake+5,license,build-meta,build-system,release-notes+4,security-contact+5,model-card+5,log+5,configuration+5,evidence+5,formulation+5,attestation+5,threat-model+5,adversary-model+5,risk-assessment+5,vulnerability-assertion+5,exploitability-statement+5,pentest-report+5,static-analysis-report+5,dynamic-analysis-report+5,runtime-analysis-report+5,component-analysis-report+5,maturity-report+5,certification-report+5,codified-infrastructure+5,quality-metrics+5,poam+5,electronic-signature+6,digital-signature+6,rfc-9116+6,patent+7,patent-family+7,patent-assertion+7,citation+7,other !
     hashes             [hash] +3 /hash
     properties         [property] +7 /property
dependency open-3
  a  ref                link !
  j  dependsOn          [link]
  j  provides           [link] +6
  x  dependency         [dependson] *
  x  provides           [any] +6 *
dependson
  xa ref                link !
  x  dependency         [any] *
  x  provides           [any] *
service open-3
  a  bom-ref            name
     provider           entity
     group              string
     name               string !
     version            version
     description        string
     endpoints          [string] /endpoint
     authenticated      bool
     x-trust-boundary   bool
     trustZone          string +5
  j  data               [servicedata]
  x  data               dataflows
  j  licenses           [licensechoice]
  x  licenses           licenses
     patentAssertions   any +7
     externalReferences [reference] /reference
     services           [service] /service
     releaseNotes       releasenotes +4
     properties         [property] +3 /property
     tags               [string] +6 /tag
  j  signature          any +4
servicedata open-3
     flow               =inbound,outbound,bi-directional,unknown !
     classification     string !
     name               string +5
     description        string +5
     governance         any +5
     source             [string] +5
     destination        [string] +5
dataflows
  x  classification     [classification] *
  x  dataflow           [dataflow] +5 *
dataflow
  x  classification     classification
  x  governance         any
  x  source             any
  x  destination        any
classification
  xa flow               =inbound,outbound,bi-directional,unknown !
  #  -                  string
evidence open-3
  j  identity           any +5
  x  identity           [any] +5 *
     occurrences        any +5
     callstack          any +5
  j  licenses           [licensechoice]
  x  licenses           licenses
  j  copyright          [copyright]
  x  copyright          copyright
copyright open-3
  j  text               string !
  x  text               [string] *
composition open-3
  a  bom-ref            name +5
     aggregate          =complete,incomplete,incomplete_first_party_only,incomplete_first_party_proprietary_only+5,incomplete_first_party_opensource_only+5,incomplete_third_party_only,incomplete_third_party_proprietary_only+5,incomplete_third_party_opensource_only+5,unknown,not_specified !
  j  assemblies         [link]
  j  dependencies       [string]
  j  vulnerabilities    [string] +5
  x  assemblies         [refobject] /assembly
  x  dependencies       [refobject] /dependency
  x  vulnerabilities    [refobject] +5 /vulnerability
  j  signature          any +4
refobject open
  xa ref                link !
property open-5
  j  name               string !j+6
  j  value              string
  xa name               string !
  #  -                  string
releasenotes
     type               string !
     title              string
     featuredImage      string
     socialImage        string
     description        string
     timestamp          time
     aliases            [string] /alias
     tags               [string] /tag
     resolves           [issue] /issue
     notes              [note] /note
     properties         [property] /property
note
     locale             locale
     text               attachment !
vulnerability
  a  bom-ref            name
     id                 string
     source             source
     references         [vulnreference] /reference
     ratings            [rating] /rating
     cwes               [cwe] /cwe
     description        string
     detail             string
     recommendation     string
     workaround         string +5
     proofOfConcept     any +5
     advisories         [advisory] /advisory
     created            time
     published          time
     updated            time
     rejected           time +5
     credits            any
  j  tools              [tool]|toolobject
  x  tools              toolset
     analysis           analysis
     affects            [affected] /target
     properties         [property] /property
vulnreference
     id                 string !
     source             source !
rating
     source             source
     score              number
     severity           =critical,high,medium,low,info,none,unknown
     method             =CVSSv2,CVSSv3,CVSSv31,CVSSv4+5,OWASP,SSVC+5,other
     vector             string
     justification      string
advisory
     title              string
     url                string !
analysis
     state              =resolved,resolved_with_pedigree,exploitable,in_triage,false_positive,not_affected
     justification      =code_not_present,code_not_reachable,requires_configuration,requires_dependency,requires_environment,protected_by_compiler,protected_at_runtime,protected_at_perimeter,protected_by_mitigating_control
  j  response           [=can_not_fix,will_not_fix,update,rollback,workaround_available]
  x  responses          [=can_not_fix,will_not_fix,update,rollback,workaround_available] /response
     detail             string
     firstIssued        time +5
     lastUpdated        time +5
affected
     ref                link !
     versions           [affectedversion] /version
affectedversion
     version            version1
     range              range
     status             =affected,unaffected,unknown
     ? version range
annotation
  a  bom-ref            name
  j  subjects           [link] !
  x  subjects           [refobject] /subject
     annotator          any !
     timestamp          time !
     text               string !
  j  signature          any
citation
  a  bom-ref            name
     pointers           [string] /pointer
     expressions        [string] /expression
     timestamp          time !
     attributedTo       link
     process            link
     note               string
  j  signature          any
     ? pointers expressions
`

var cyclonedxShapes = sync.OnceValue(func() map[string]*shape { return parseShapes(cyclonedxTable, cyclonedxHooks) })

var cyclonedxHooks = map[string]hook{
	"bom.specVersion": {take: func(r *reader, v []byte) error {
		if len(v) != 3 || v[0] != '1' || v[1] != '.' {
			return r.fail(errors.New("a version that is not read"))
		}
		r.doc.SpecVersion = r.intern(v)
		return r.follows(int(v[2]) - '0')
	}},
	"bom.serialNumber": {take: func(r *reader, v []byte) error { r.doc.Serial = r.words.keep(v); return nil }},
	"bom.components":   {begin: (*reader).beginComponent, end: (*reader).endComponent},
	"bom.dependencies": {begin: (*reader).beginDependency, end: (*reader).endDependency},

	"bom.vulnerabilities": {begin: func(r *reader) error { r.doc.Vulnerabilities++; return nil }},

	"metadata.timestamp":    {take: func(r *reader, v []byte) error { r.doc.Created, _ = parseTime(v, r.isXML); return nil }},
	"metadata.licenses":     licenceRule,
	"metadata.authors":      {begin: (*reader).beginEntity, end: (*reader).author},
	"metadata.supplier":     {begin: (*reader).beginEntity, end: func(r *reader) error { r.doc.Supplier = r.entity; return nil }},
	"metadata.manufacturer": {begin: (*reader).beginEntity, end: (*reader).author},
	"metadata.manufacture": {begin: (*reader).beginEntity, end: func(r *reader) error {
		if r.doc.Supplier == "" {
			r.doc.Supplier = r.entity
		}
		return nil
	}},
	"metadata.component": {begin: func(r *reader) error {
		r.doc.Subject = len(r.doc.Components)
		return r.beginComponent()
	}, end: (*reader).endComponent},

	"entity.name":  {take: func(r *reader, v []byte) error { r.entity = r.intern(v); return nil }},
	"contact.name": {take: func(r *reader, v []byte) error { r.person = r.intern(v); return nil }},

	"component.type":         {take: func(r *reader, v []byte) error { r.current().Type = r.intern(v); return nil }},
	"component.bom-ref":      {take: (*reader).componentRef},
	"component.group":        {take: func(r *reader, v []byte) error { r.current().Group = r.intern(v); return nil }},
	"component.name":         {take: func(r *reader, v []byte) error { r.current().Name = r.words.keep(v); return nil }},
	"component.version":      {take: func(r *reader, v []byte) error { r.current().Version = r.words.keep(v); return nil }},
	"component.purl":         {take: func(r *reader, v []byte) error { r.current().PURL = r.words.keep(v); return nil }},
	"component.cpe":          {take: func(r *reader, v []byte) error { r.addCPE(v); return nil }},
	"component.publisher":    {take: func(r *reader, v []byte) error { r.supplies(r.intern(v), 1); return nil }},
	"component.manufacturer": {begin: (*reader).beginEntity, end: func(r *reader) error { r.supplies(r.entity, 2); return nil }},
	"component.supplier":     {begin: (*reader).beginEntity, end: func(r *reader) error { r.supplies(r.entity, 3); return nil }},
	"component.hashes":       {begin: (*reader).beginHash, end: (*reader).endHash},
	"component.properties":   {begin: (*reader).beginProperty, end: (*reader).endProperty},
	"component.components":   {begin: (*reader).beginComponent, end: (*reader).endComponent},
	"component.licenses": {first: (*reader).firstLicence, last: func(r *reader) error {
		c := r.current()
		for _, l := range r.licences {
			c.Licenses = r.strings.add(c.Licenses, l)
		}
		return r.lastLicence()
	}},

	"other.licenses":    licenceRule,
	"service.licenses":  licenceRule,
	"evidence.licenses": licenceRule,

	"hash.alg":     {take: func(r *reader, v []byte) error { r.hash.Algorithm = r.intern(v); return nil }},
	"hash.content": {take: takeDigest},
	"hash.-":       {take: takeDigest},

	"license.id":               {take: takeLicence},
	"license.name":             {take: takeLicence},
	"licensechoice.expression": {take: takeExpression},
	"expression.-":             {take: takeExpression},
	"detailed.expression":      {take: takeExpression},

	"property.name":  {take: func(r *reader, v []byte) error { r.property.name = append(r.property.name[:0], v...); return nil }},
	"property.value": {take: func(r *reader, v []byte) error { r.property.value = append(r.property.value[:0], v...); return nil }},
	"property.-":     {take: func(r *reader, v []byte) error { r.property.value = append(r.property.value[:0], v...); return nil }},

	"composition.assemblies":      unique,
	"composition.dependencies":    unique,
	"composition.vulnerabilities": unique,
	"annotation.subjects":         unique,
	"dependency.provides":         unique,

	"dependency.ref":       {take: func(r *reader, v []byte) error { r.from = r.id(v); return nil }},
	"dependency.dependsOn": {take: (*reader).dependsOn},
	"dependson.ref":        {take: (*reader).dependsOn},
}

// unique holds JSON Schema's uniqueItems for a list of strings.
var unique = hook{first: func(r *reader) error { clear(r.said); return nil }, take: func(r *reader, v []byte) error {
	s := r.intern(v)
	if r.said[s] {
		return r.fail(errDuplicate)
	}
	r.said[s] = true
	return nil
}}

var licenceRule = hook{first: (*reader).firstLicence, last: (*reader).lastLicence}

func takeLicence(r *reader, v []byte) error {
	r.licences = append(r.licences, r.intern(v))
	return nil
}

func takeExpression(r *reader, v []byte) error {
	r.expressions++
	return takeLicence(r, v)
}

func takeDigest(r *reader, v []byte) error {
	r.hash.Hex = r.words.keep(v)
	return nil
}

func (r *reader) firstLicence() error {
	r.licences, r.expressions = r.licences[:0], 0
	return nil
}

// lastLicence holds CycloneDX's rule that until 1.6 there are licences or one
// expression; 1.7 lets them mix, and 1.2 to 1.4 do so in JSON.
func (r *reader) lastLicence() error {
	if r.expressions > 0 && len(r.licences) > 1 {
		v := upTo("6")
		if !r.isXML {
			v &= from("5")
		}
		return r.deny(v, errMixed)
	}
	return nil
}

func (r *reader) beginEntity() error {
	r.entity, r.person = "", ""
	return nil
}

// author ends an author of the document, which may be an organisation.
func (r *reader) author() error {
	who := r.entity
	if who == "" {
		who = r.person
	}
	r.wrote(who)
	return r.bounded()
}

func (r *reader) beginHash() error { r.hash = Hash{}; return nil }

func (r *reader) endHash() error {
	c := r.current()
	c.Hashes = r.hashes.add(c.Hashes, r.hash)
	return nil
}

func (r *reader) beginProperty() error {
	r.property.name, r.property.value = r.property.name[:0], r.property.value[:0]
	return nil
}

func (r *reader) endProperty() error {
	r.supportNote(r.current(), r.property.name, r.property.value)
	return nil
}
