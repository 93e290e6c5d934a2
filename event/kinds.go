// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package event

import "github.com/myelin-health/myelin/device"

// A Kind is what an event says. The zero Kind is none.
type Kind uint8

// The kinds. What each means, and which attributes it has, stands in [Kinds].
const (
	NoKind Kind = iota
	ConversationEnded
	ProtocolSeen
	IdentitySeen
	NameSeen
	BindingSeen
	MakerSeen
	OrderSeen
	CommandSeen
	CommandAnswered
	TherapySeen
	ReportSeen
	PatientDataSeen
	RecordsRequested
	RecordsMoved
	LoginSeen
	RemoteExecSeen
	ExploitSeen
	TLSSeen
	CertificateSeen
	NameQueried
	AddressOffered
	MalformedSeen
	OverlapSeen
	BoundReached
	LinkSeen
	PairingSeen
	AttributeUsed
	AttributeRefused
	AdvertisingSeen
	WeakKeySeen
	VerdictGiven
	VerdictsCounted
	AccessRefused
	ConfigurationChanged
	EmergencyUsed
	DoseDoubted
	PersonActed
	RolloutStarted
	RingOpened
	UpdateOffered
	UpdateWaited
	ConsentGiven
	ConsentWithdrawn
	UpdateAttended
	UpdateOverridden
	UpdateReported
	UpdateShown
	UpdateSilent
	UpdateEnded
	UpdateRuledOut
	RolloutPaused
	RolloutHalted
	RolloutResumed
	kindCount
)

// A Key names an attribute.
type Key uint8

// The keys of attributes. The comment gives the value: a number unless it says text.
const (
	NoKey          Key = iota
	Transport          // IP protocol number: 6 TCP, 17 UDP, 1 ICMP ...
	Port               // the server's port
	State              // a ConversationState
	Packets            // both directions
	BytesToServer      // payload bytes
	BytesToClient      // payload bytes
	Began              // nanoseconds since 1970: its first packet
	Protocol           // text: package name under proto/
	Version            // text: of the protocol, or of the device's software
	Protection         // device.Protection bits
	Inferred           // 1: from the registered port alone, not from the bytes
	Manufacturer       // text
	Model              // text
	Serial             // text
	OS                 // text: family and version, as in "Windows 7"
	Class              // text: what a nurse would call it
	Therapy            // device.Therapy
	UDI                // text: device identifier (DI) only
	ProductCode        // text: FDA product code
	AddressKind        // device.AddressKind of Name
	Name               // text: shown only for medical equipment and infrastructure
	MAC                // text
	Verb               // device.Verb
	Effect             // device.Effect
	Value              // text: quantity with unit
	Now                // text: quantity with unit
	Stage              // device.Stage
	Target             // text: id of the device behind a gateway, or the object a handle means
	Harm               // device.Harm
	Fresh              // hash of what must be fresh (counter, nonce, MSH-10); 0 is none
	Repeat             // hash of the whole command; 0 is none
	Outcome            // a Result
	Fields             // Field bits: which kinds of patient data
	Subject            // keyed hash of the patient's identifier; 0 is unknown
	Count              // how many
	Operation          // text: the protocol's own word ("C-MOVE", "DeviceRequest", "SetValue")
	Destination        // text: where records are to go (AE title)
	Scheme             // text: how one logged in ("basic", "user-pass", "ntlm", "community")
	DefaultSecret      // 1: a maker's well-known name and password
	Method             // text: how a command was run ("service control manager")
	CVE                // text: "CVE-2017-0144" or a comma-separated few
	Shape              // text: what the bytes looked like, in words of ours
	Suite              // cipher suite number
	JA4                // text
	Problems           // CertificateProblem bits
	NotAfter           // seconds since 1970
	KeyBits            // size of a public key
	Digest             // first 8 bytes of the certificate's SHA-256
	Domain             // text: registered domain, two or three labels
	Length             // bytes
	Entropy            // bits per character, times 100
	Layer              // text: "ip", "tcp"
	Field              // text: the specification's own name
	Reason             // text: what is wrong
	Bound              // text: which limit
	DataBytes          // bytes of records or a file
	Network            // text: the addresses that are offered, "10.20.3.0/24"
	Drug               // text: its generic name or code
	Place              // text: ward and bed, as the order says
	Actor              // text: the application in whose name a command came, as it says
	Level              // of LE security mode 1: 1 to 4; 0 is encrypted, not known how well
	Wanted             // the level that the profile asks for
	PairingMethod      // text: "Just Works", "Passkey Entry", "Numeric Comparison", "Out of Band"
	LegacyPairing      // 1: LE legacy pairing, not Secure Connections
	KeySize            // octets
	Asked              // text: what each side of a pairing asked for, in words of ours
	Service            // text: the service's assigned name
	Characteristic     // text: the characteristic's assigned name, or a dialect's word for a frame
	Trackable          // 1: an address that does not change
	Front              // text: which front of the guard
	Verdict            // device.Verdict
	Enforced           // 1: what was said was done; 0: it was only observed
	Settings           // hash of the routers and name servers that come with an offer; 0 is none
	Rollout            // text: id of a roll-out
	Ring               // text: its name in the plan
	Sequence           // of the release\'s manifest
	Release            // text: SHA-256 of the release's envelope
	Plan               // text: SHA-256 of the plan and of the devices that take part
	Offer              // an offer's number
	Install            // 1: it may be installed; 0: only staged
	Executor           // text: who installs: "agent", "person"
	Gate               // text: a patch.Gate
	Gates              // text: patch.Gates, with a comma between
	Consent            // text: whose: "clinician", "patient"
	Terms              // text: version of the text that was consented to
	Attended           // text: a patch.Supervision
	Spare              // 1: a spare device is at hand
	Second             // text: the other of two people
	Resumed            // 1: therapy was seen resumed
	SelfTest           // 1: passed
	SettingsKept       // 1: they are what they were
	Took               // milliseconds from the switch until the end
	Ended              // text: a patch.Outcome
	Shown              // text: what shows it: "receipt", "sensor", "person"
	Owner              // text: the person who answers for it
	Control            // text: what holds instead, such as the id of a guard's envelope
	Final              // 1: never again under this version
	keyCount
)

// A KeyInfo says how an attribute is written.
type KeyInfo struct {
	Name string
	Text bool               // it is a text; else a number
	Word func(int64) string // of a number that stands for a word: that word, or ""
}

// Keys is the one table of keys.
var Keys = [keyCount]KeyInfo{
	Transport:      {"transport", false, nil},
	Port:           {"port", false, nil},
	State:          {"state", false, word[ConversationState]},
	Packets:        {"packets", false, nil},
	BytesToServer:  {"bytes_to_server", false, nil},
	BytesToClient:  {"bytes_to_client", false, nil},
	Began:          {"began", false, nil},
	Protocol:       {"protocol", true, nil},
	Version:        {"version", true, nil},
	Protection:     {"protection", false, nil},
	Inferred:       {"inferred", false, nil},
	Manufacturer:   {"manufacturer", true, nil},
	Model:          {"model", true, nil},
	Serial:         {"serial", true, nil},
	OS:             {"os", true, nil},
	Class:          {"class", true, nil},
	Therapy:        {"therapy", false, word[device.Therapy]},
	UDI:            {"udi", true, nil},
	ProductCode:    {"product_code", true, nil},
	AddressKind:    {"address_kind", false, word[device.AddressKind]},
	Name:           {"name", true, nil},
	MAC:            {"mac", true, nil},
	Verb:           {"verb", false, word[device.Verb]},
	Effect:         {"effect", false, word[device.Effect]},
	Value:          {"value", true, nil},
	Now:            {"now", true, nil},
	Stage:          {"stage", false, word[device.Stage]},
	Target:         {"target", true, nil},
	Harm:           {"harm", false, word[device.Harm]},
	Fresh:          {"fresh", false, nil},
	Repeat:         {"repeat", false, nil},
	Outcome:        {"outcome", false, word[Result]},
	Fields:         {"fields", false, nil},
	Subject:        {"subject", false, nil},
	Count:          {"count", false, nil},
	Operation:      {"operation", true, nil},
	Destination:    {"destination", true, nil},
	Scheme:         {"scheme", true, nil},
	DefaultSecret:  {"default_secret", false, nil},
	Method:         {"method", true, nil},
	CVE:            {"cve", true, nil},
	Shape:          {"shape", true, nil},
	Suite:          {"suite", false, nil},
	JA4:            {"ja4", true, nil},
	Problems:       {"problems", false, nil},
	NotAfter:       {"not_after", false, nil},
	KeyBits:        {"key_bits", false, nil},
	Digest:         {"digest", false, nil},
	Domain:         {"domain", true, nil},
	Length:         {"length", false, nil},
	Entropy:        {"entropy", false, nil},
	Layer:          {"layer", true, nil},
	Field:          {"field", true, nil},
	Reason:         {"reason", true, nil},
	Bound:          {"bound", true, nil},
	DataBytes:      {"data_bytes", false, nil},
	Network:        {"network", true, nil},
	Drug:           {"drug", true, nil},
	Place:          {"place", true, nil},
	Actor:          {"actor", true, nil},
	Level:          {"level", false, nil},
	Wanted:         {"wanted", false, nil},
	PairingMethod:  {"pairing_method", true, nil},
	LegacyPairing:  {"legacy_pairing", false, nil},
	KeySize:        {"key_size", false, nil},
	Asked:          {"asked", true, nil},
	Service:        {"service", true, nil},
	Characteristic: {"characteristic", true, nil},
	Trackable:      {"trackable", false, nil},
	Front:          {"front", true, nil},
	Verdict:        {"verdict", false, word[device.Verdict]},
	Enforced:       {"enforced", false, nil},
	Settings:       {"settings", false, nil},
	Rollout:        {"rollout", true, nil},
	Ring:           {"ring", true, nil},
	Sequence:       {"sequence", false, nil},
	Release:        {"release", true, nil},
	Plan:           {"plan", true, nil},
	Offer:          {"offer", false, nil},
	Install:        {"install", false, nil},
	Executor:       {"executor", true, nil},
	Gate:           {"gate", true, nil},
	Gates:          {"gates", true, nil},
	Consent:        {"consent", true, nil},
	Terms:          {"terms", true, nil},
	Attended:       {"attended", true, nil},
	Spare:          {"spare", false, nil},
	Second:         {"second", true, nil},
	Resumed:        {"resumed", false, nil},
	SelfTest:       {"self_test", false, nil},
	SettingsKept:   {"settings_kept", false, nil},
	Took:           {"took", false, nil},
	Ended:          {"ended", true, nil},
	Shown:          {"shown", true, nil},
	Owner:          {"owner", true, nil},
	Control:        {"control", true, nil},
	Final:          {"final", false, nil},
}

// word says what a value of an enumeration is called.
func word[T interface {
	~uint8
	String() string
}](n int64) string {
	if v := T(n); int64(v) == n {
		return v.String()
	}
	return ""
}

func (k Key) String() string {
	if int(k) < len(Keys) {
		return Keys[k].Name
	}
	return ""
}

// A ConversationState is how far a conversation came.
type ConversationState uint8

// The states of a conversation.
const (
	Unanswered  ConversationState = iota // only one side was seen
	Refused                              // reset or unreachable before any data
	Established                          // both sides spoke
	Midstream                            // both sides spoke, the beginning was not captured
)

func (s ConversationState) String() string {
	return nameOf(s, "unanswered", "refused", "established", "midstream")
}

// A Result is what came of a request.
type Result uint8

// The results.
const (
	Unknown Result = iota
	Succeeded
	Failed
)

func (r Result) String() string { return nameOf(r, "unknown", "succeeded", "failed") }

func nameOf[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return ""
}

// The kinds of patient data that a message held.
const (
	FieldName = 1 << iota
	FieldBirthDate
	FieldSex
	FieldRecordNumber
	FieldAddress
	FieldTelephone
	FieldVisit
	FieldNationalID
	FieldResult    // measurements, observations, diagnoses
	FieldOrder     // what is to be done or given
	FieldImage     // pictures of a body
	FieldStaffName // names of staff: personal data, not the patient's
	FieldSerial    // of a device in or on a body
	FieldDevice    // its name, or a phone's, or its address
)

// What can be wrong with a certificate.
const (
	CertificateExpired = 1 << iota
	CertificateNotYetValid
	CertificateSelfSigned
	CertificateWeakKey
	CertificateWeakHash // MD5 or SHA-1 signature
	CertificateMalformed
)

// A KindInfo describes a kind of event.
type KindInfo struct {
	Name string
	Says string // what the event states about its Device
	Keys []Key  // the attributes that it may have
}

// Kinds is the one table of kinds of event.
var Kinds = [kindCount]KindInfo{
	ConversationEnded:    {"conversation-ended", "and the peer had a conversation as client and server, now over or expired", []Key{Transport, Port, State, Protocol, Packets, BytesToServer, BytesToClient, Began}},
	ProtocolSeen:         {"protocol-seen", "spoke a protocol as client of the peer", []Key{Protocol, Transport, Port, Version, Protection, Inferred}},
	IdentitySeen:         {"identity-seen", "said, or was said to be, this make and model", []Key{Manufacturer, Model, Serial, Version, OS, Class, Therapy, UDI}},
	NameSeen:             {"name-seen", "has this further address or name", []Key{AddressKind, Name, Protocol}},
	BindingSeen:          {"binding-seen", "claims this hardware address for its IP address", []Key{MAC, Protocol}},
	MakerSeen:            {"maker-seen", "stored objects that this make and model made, perhaps itself; without them it passes on what others made", []Key{Manufacturer, Model, Class, Therapy}},
	OrderSeen:            {"order-seen", "was told by the peer what goes with the commands that follow at the same place: which drug, where, what holds now, in whose name", []Key{Protocol, Drug, Place, Now, Actor, Name, Target, Trackable}},
	CommandSeen:          {"command-seen", "was told by the peer to change or read a therapy", []Key{Verb, Therapy, Effect, Value, Target, Protection, Fresh, Repeat}},
	CommandAnswered:      {"command-answered", "answered a command", []Key{Verb, Stage, Outcome, Target, Fresh}},
	TherapySeen:          {"therapy-seen", "gives, or is to give, a therapy of which more is known than its kind: the worst credible harm, or how much now", []Key{Therapy, Harm, Now, Target, ProductCode}},
	ReportSeen:           {"report-seen", "reported measurements, alarms or results", []Key{Protocol, Operation, Therapy, Target, Count}},
	PatientDataSeen:      {"patient-data-seen", "sent patient data to the peer", []Key{Protocol, Fields, Subject, Protection, Operation}},
	RecordsRequested:     {"records-requested", "asked the peer for records", []Key{Protocol, Operation, Destination, Subject, Count}},
	RecordsMoved:         {"records-moved", "sent records to the peer", []Key{Protocol, Operation, Subject, Count, DataBytes, Destination}},
	LoginSeen:            {"login-seen", "tried to log in at the peer", []Key{Protocol, Scheme, Outcome, Protection, DefaultSecret}},
	RemoteExecSeen:       {"remote-exec-seen", "ran a command on the peer", []Key{Protocol, Method, Outcome}},
	ExploitSeen:          {"exploit-seen", "sent the peer what exploits a known weakness", []Key{Protocol, Shape, CVE}},
	TLSSeen:              {"tls-seen", "agreed on a secure channel as client of the peer", []Key{Version, Suite, JA4, Port, Name, Outcome, Reason}},
	CertificateSeen:      {"certificate-seen", "showed a certificate to the peer", []Key{Problems, NotAfter, KeyBits, Digest, Name, Port}},
	NameQueried:          {"name-queried", "asked for a name that is long or unlike words", []Key{Domain, Length, Entropy, Subject, DataBytes}},
	AddressOffered:       {"address-offered", "offered the peer an address as DHCP server", []Key{MAC, Target, Network, Settings}},
	MalformedSeen:        {"malformed-seen", "sent bytes that do not follow their format", []Key{Protocol, Field, Reason}},
	OverlapSeen:          {"overlap-seen", "sent the same part of a stream or datagram twice with different bytes", []Key{Layer}},
	LinkSeen:             {"link-seen", "had a radio link as peripheral of the peer", []Key{Protocol, Level, Packets, DataBytes}},
	PairingSeen:          {"pairing-seen", "paired, or tried to, with the peer", []Key{PairingMethod, LegacyPairing, KeySize, Level, Outcome, Reason, Asked}},
	AttributeUsed:        {"attribute-used", "let the peer use a medical attribute, or sent it", []Key{Service, Characteristic, Operation, Level, Wanted, Therapy, Count}},
	AttributeRefused:     {"attribute-refused", "refused the peer an attribute", []Key{Service, Characteristic, Operation, Reason, Level}},
	AdvertisingSeen:      {"advertising-seen", "told everybody near something of itself", []Key{Fields, Trackable, Therapy}},
	WeakKeySeen:          {"weak-key-seen", "uses a key with the peer that protects nothing", []Key{Protocol, Reason}},
	VerdictGiven:         {"verdict-given", "was asked for a command by the peer, on which the guard decided", []Key{Front, Verb, Effect, Value, Actor, Verdict, Reason, Enforced}},
	VerdictsCounted:      {"verdicts-counted", "was asked for so many commands on which the guard decided as usual", []Key{Front, Verb, Verdict, Count, Began}},
	AccessRefused:        {"access-refused", "was asked by the peer for what no list of the guard allows", []Key{Front, Operation, Destination, Reason, Count, Enforced}},
	ConfigurationChanged: {"configuration-changed", "is guarded by other rules from now on", []Key{Front, Name, Version, Digest, Reason, Actor}},
	EmergencyUsed:        {"emergency-used", "was opened, or not, for an emergency", []Key{Front, Actor, Target, Reason, NotAfter, Digest, Outcome}},
	DoseDoubted:          {"dose-doubted", "may or may not have been given a dose, or it became known", []Key{Front, Verb, Value, Target, Reason, Outcome, Actor}},
	PersonActed:          {"person-acted", "is a server where somebody signed in, or changed, exported or looked at something", []Key{Actor, Operation, Target, Reason, Count, Outcome}},
	RolloutStarted:       {"rollout-started", "is a hospital where a release was sent on its way to devices", []Key{Rollout, Manufacturer, Model, Version, Release, Plan, Actor, Reason}},
	RingOpened:           {"ring-opened", "is a hospital where a roll-out came to its next ring", []Key{Rollout, Ring, Count, Reason}},
	UpdateOffered:        {"update-offered", "was offered a release, to stage or to install, itself or by a work order", []Key{Rollout, Ring, Version, Offer, Install, NotAfter, Executor, Place}},
	UpdateWaited:         {"update-waited", "waits with an update for other gates than before", []Key{Rollout, Gates, Reason}},
	ConsentGiven:         {"consent-given", "may be updated, as far as the patient or the clinician is asked", []Key{Rollout, Consent, Terms, Actor, Reason}},
	ConsentWithdrawn:     {"consent-withdrawn", "may not be updated any more, as far as the patient or the clinician is asked", []Key{Rollout, Consent, Terms, Actor, Reason}},
	UpdateAttended:       {"update-attended", "has somebody beside it who sees to an update", []Key{Rollout, Attended, Spare, Actor, NotAfter}},
	UpdateOverridden:     {"update-overridden", "need not wait with an update for a gate, as two people decided", []Key{Rollout, Gate, Actor, Second, Reason, NotAfter}},
	UpdateReported:       {"update-reported", "was updated by a person, who says how it went; nothing has shown it yet", []Key{Rollout, Offer, Actor, Resumed, SelfTest, SettingsKept, Took, Reason}},
	UpdateShown:          {"update-shown", "was seen by a sensor to run this version", []Key{Rollout, Version, Resumed, Reason}},
	UpdateSilent:         {"update-silent", "has not said how its update ended, and should have", []Key{Rollout, Offer, Version, Reason}},
	UpdateEnded:          {"update-ended", "ended an update", []Key{Rollout, Ended, Offer, Version, Took, Shown, Actor, Reason}},
	UpdateRuledOut:       {"update-ruled-out", "cannot be updated; another control holds instead, and somebody owns it", []Key{Rollout, Owner, Control, Actor, Reason, NotAfter}},
	RolloutPaused:        {"rollout-paused", "is a hospital where a person let a roll-out pause", []Key{Rollout, Actor, Reason}},
	RolloutHalted:        {"rollout-halted", "is a hospital where a roll-out was halted, and its release is offered no more", []Key{Rollout, Version, Release, Sequence, Actor, Target, Reason, Final}},
	RolloutResumed:       {"rollout-resumed", "is a hospital where a person let a roll-out go on", []Key{Rollout, Actor, Reason}},
	BoundReached:         {"bound-reached", "sent more than a stated bound", []Key{Protocol, Bound, Length}},
}

func (k Kind) String() string {
	if int(k) < len(Kinds) {
		return Kinds[k].Name
	}
	return ""
}
