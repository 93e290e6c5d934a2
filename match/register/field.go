// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/myelin-health/myelin/device"
)

// A field is what a column can be taken for.
type field uint8

const (
	noField field = iota
	fieldID
	fieldManufacturer
	fieldModel
	fieldVersion
	fieldSerial
	fieldUDI
	fieldMAC
	fieldIP
	fieldAET
	fieldHost
	fieldEUI64
	fieldAddress
	fieldOS
	fieldClass
	fieldTherapy
	fieldCode
	fieldWorn
	fieldWard
	fieldLocation
	fieldOwner
	fieldMade
	fieldDistributed
	fieldGuarded
	fieldSBOM
	fieldPatient
	fieldCount
)

// fields is the table of what is understood: the field's name, the headings in
// English, German and French as [plain] writes them, and how a value is taken.
// A field that is given twice has its first value; addresses and places all.
var fields = [fieldCount]struct {
	name     string
	headings string // separated by "|"
	set      func(*Entry, string) error
}{
	noField: {},
	fieldID: {
		"id", "id|device id|asset|asset id|asset no|asset number|asset tag|asset nr|asset num|equip no|equip id|equipment tag|inv no|inv nr|tag|tag number|inventory no|inventory number|inventory id|" +
			"equipment no|equipment number|equipment id|control number|cmms id|" +
			"inventarnummer|inventarnr|inventar nr|inventar nummer|anlagennummer|anlagennr|geratenummer|geratenr|gerate nr|gerate id|equipmentnummer|" +
			"numero d inventaire|numero inventaire|no d inventaire|no inventaire|n d inventaire|n inventaire|identifiant|identifiant de l appareil|code inventaire|numero d equipement|no d equipement|code equipement",
		text100(func(e *Entry) *string { return &e.ID }),
	},
	fieldManufacturer: {
		"manufacturer", "manufacturer|mfr|mfr name|mfg|mfgr|manuf|manufact|herst|hst|fabr|manufacturer name|maker|make|vendor|vendor name|brand|company|company name|oem|" +
			"hersteller|herstellername|fabrikat|fabrikant|fabricant|constructeur|marque|nom du fabricant",
		text100(func(e *Entry) *string { return &e.Manufacturer }),
	},
	fieldModel: {
		"model", "model|mdl|mod|model nr|type model|make model|equipment model|mod no|model name|model number|model no|device model|product|product name|" +
			"modell|modellname|modellbezeichnung|modellnummer|typ|typenbezeichnung|typbezeichnung|geratetyp|produkt|produktname|" +
			"modele|nom du modele|reference du modele|produit",
		text100(func(e *Entry) *string { return &e.Model }),
	},
	fieldVersion: {
		"version", "version|software|software version|software revision|software release|sw|sw version|firmware|firmware version|fw|fw version|fw ver|fw rev|sw rev|sw ver|sw release|software rev|software ver|firmware rev|firmware ver|firmware revision|" +
			"softwareversion|softwarestand|software stand|firmwareversion|firmwarestand|sw stand|fw stand|" +
			"version logicielle|version logiciel|version du logiciel|logiciel|micrologiciel|version du micrologiciel|version firmware",
		text100(func(e *Entry) *string { return &e.Version }),
	},
	fieldSerial: {
		"serial number", "serial|ser|ser nr|serial num|serial nbr|serial no|serial number|serial nr|sn|s n|ser no|" +
			"seriennummer|seriennr|serien nr|serien nummer|serie|fabriknummer|fabriknr|numero de serie|no de serie|n de serie|num serie|numero serie|n serie|no serie|ns",
		text100(func(e *Entry) *string { return &e.Serial }),
	},
	fieldUDI: {
		"UDI", "udi|udi di|udi carrier|udi code|unique device identifier|unique device identification|device identifier|primary di|di|gtin|ean|" +
			"udi nummer|udi nr|iud|iud id|identifiant unique du dispositif",
		setUDI,
	},
	fieldMAC: {
		"MAC address", "mac|mac address|mac addr|mac adr|ethernet address|ethernet mac|lan mac|wlan mac|wifi mac|wi fi mac|hardware address|physical address|" +
			"mac adresse|mac adressen|hardwareadresse|adresse mac|adresses mac|mac addresses",
		addresses(device.MAC),
	},
	fieldIP: {
		"IP address", "ip|ip address|ip addresses|ip addr|ip adr|ipv4|ipv6|ipv4 address|ipv6 address|ip adresse|ip adressen|adresse ip|adresses ip",
		addresses(device.IP),
	},
	fieldAET: {
		"AE title", "ae|aet|ae title|ae titles|aetitle|dicom ae|dicom ae title|dicom aet|ae titel|dicom ae titel|titre ae|nom ae",
		addresses(device.AET),
	},
	fieldHost: {
		"host name", "host|hostname|host name|dns|dns name|fqdn|computer name|network name|netbios name|" +
			"rechnername|rechner|netzwerkname|computername|dns name des gerats|nom d hote|nom d hote dns|nom de machine|nom reseau",
		addresses(device.Host),
	},
	fieldEUI64: {"EUI-64", "eui|eui64|eui 64|eui 64 id", addresses(device.EUI64)},
	fieldAddress: {
		"address", "address|addresses|network address|network addresses|netzwerkadresse|netzwerkadressen|adresse reseau|adresses reseau",
		addresses(device.NoAddress),
	},
	fieldOS: {
		"operating system", "os|operating system|os version|betriebssystem|systeme d exploitation",
		text100(func(e *Entry) *string { return &e.OS }),
	},
	fieldClass: {
		"class", "class|type|descr|desc|device descr|device desc|equip descr|equip desc|equipment descr|equip type|asset type|asset description|bez|beschreibung|device type|equipment type|category|device category|kind|description|device description|equipment description|nomenclature|" +
			"gerateart|geratebezeichnung|gerateklasse|geratekategorie|geratgruppe|gerategruppe|art|bezeichnung|kategorie|" +
			"categorie|type d appareil|type d equipement|type de dispositif|designation|libelle",
		text100(func(e *Entry) *string { return &e.Class }),
	},
	fieldTherapy: {"therapy", "therapy|therapie", setTherapy},
	fieldCode:    {"product code", "product code|fda product code|fda code|procode|fda produktcode|code produit fda", setCode},
	fieldWorn: {
		"worn", "worn|implanted|implant|implantable|body worn|worn or implanted|implantat|implantiert|am korper getragen|implante|porte|porte ou implante",
		func(e *Entry, s string) (err error) { e.Worn, err = yes(s); e.saidWorn = err == nil; return err },
	},
	fieldWard: {
		"ward", "ward|department|dept|dep|dpt|cost center name|abt|unit|service line|clinic|station|abteilung|klinik|fachabteilung|bereich|service|unite|unite de soins|unite fonctionnelle|uf|pole|departement",
		text100(func(e *Entry) *string { return &e.Ward }),
	},
	fieldLocation: {
		"location", "location|loc|bldg|bldg no|rm|room no|flr|geb|building|floor|room|bed|place|site|standort|gebaude|etage|stockwerk|raum|zimmer|bett|ort|platz|aufstellort|" +
			"emplacement|batiment|salle|chambre|lit|lieu|localisation",
		setLocation,
	},
	fieldOwner: {
		"owner", "owner|system owner|device owner|responsible|responsible department|custodian|eigentumer|besitzer|betreiber|verantwortlich|zustandig|" +
			"proprietaire|responsable",
		text100(func(e *Entry) *string { return &e.Owner }),
	},
	fieldMade: {
		"date of manufacture", "made|manufactured|manufacture date|manufacturing date|date of manufacture|date manufactured|production date|year of manufacture|" +
			"herstellungsdatum|herstelldatum|baujahr|produktionsdatum|fertigungsdatum|date de fabrication|annee de fabrication",
		date(func(e *Entry) *string { return &e.Made }),
	},
	fieldDistributed: {
		"date of distribution", "distributed|distribution date|date of distribution|delivery date|delivered|date of delivery|shipped|ship date|" +
			"lieferdatum|auslieferung|auslieferungsdatum|date de livraison|date de distribution",
		date(func(e *Entry) *string { return &e.Distributed }),
	},
	fieldGuarded: {
		"guarded", "guarded|behind guard|geschutzt|bewacht|protege",
		func(e *Entry, s string) (err error) { e.Guarded, err = yes(s); return err },
	},
	fieldSBOM: {
		"SBOM", "sbom|sbom serial|sbom serial number|sbom id|bill of materials|bom serial",
		text100(func(e *Entry) *string { return &e.SBOM }),
	},
	fieldPatient: {
		PatientColumn, "patient|patient name|name of patient|patient id|patient no|patient number|mrn|medical record number|record number|case number|" +
			"date of birth|birth date|birthdate|dob|bluetooth address|ble address|bd addr|implanted in|wearer|phone|telephone|" +
			"patientenname|patientennummer|patienten id|patientenid|fallnummer|geburtsdatum|trager|telefon|" +
			"nom du patient|patiente|identifiant patient|ipp|date de naissance|numero de dossier|porteur",
		nil,
	},
}

// byHeading is the table the other way round.
var byHeading = func() map[string]field {
	m := map[string]field{}
	for f := noField + 1; f < fieldCount; f++ {
		for h := range strings.SplitSeq(fields[f].headings, "|") {
			m[h] = f
		}
	}
	return m
}()

// identifies are the fields of which a list of devices has at least one.
func (f field) identifies() bool {
	return f >= fieldManufacturer && f <= fieldAddress && f != fieldVersion
}

// several are the fields of which a row may have several, or which are not read.
func (f field) several() bool {
	return f == noField || f >= fieldMAC && f <= fieldAddress || f == fieldLocation || f == fieldPatient
}

// fieldOf returns what a heading is taken for: as it stands, then without what
// stands in brackets ("Serial number (S/N)"), then what both its halves are taken
// for ("Modell/Typ").
func fieldOf(heading string) field {
	if len(heading) > maxCellBytes {
		return noField
	}
	if f := byHeading[plain(heading)]; f != noField {
		return f
	}
	if before, rest, ok := strings.Cut(heading, "("); ok {
		_, after, _ := strings.Cut(rest, ")")
		return byHeading[plain(before+" "+after)]
	}
	if before, after, ok := strings.Cut(heading, "/"); ok && byHeading[plain(before)] == byHeading[plain(after)] {
		return byHeading[plain(before)]
	}
	return noField
}

// folded are the letters of German and French without their marks.
var folded = map[rune]string{
	'ä': "a", 'à': "a", 'â': "a", 'á': "a", 'é': "e", 'è': "e", 'ê': "e", 'ë': "e", 'ï': "i", 'î': "i", 'í': "i",
	'ö': "o", 'ô': "o", 'ó': "o", 'ü': "u", 'ù': "u", 'û': "u", 'ú': "u", 'ç': "c", 'ñ': "n", 'ß': "ss", 'œ': "oe", 'æ': "ae", '°': "", 'º': "",
}

// plain writes a heading as the table of fields has it: words in lower case
// without marks; "macAddress" and "MAC_Address" are "mac address".
func plain(s string) string {
	var b strings.Builder
	gap, lower := false, false
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap, lower = true, false
			continue
		}
		if unicode.IsUpper(r) && lower {
			gap = true
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap, lower = false, unicode.IsLower(r)
		r = unicode.ToLower(r)
		if f, ok := folded[r]; ok {
			b.WriteString(f)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// shownHeading is a heading as it may be shown: on one line, printable, short.
func shownHeading(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)), " ")
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "..."
	}
	return s
}

// tidy returns a value on one line, without what spreadsheets put around it to
// keep them from taking a number for one: ="0123" and '0123.
func tidy(s string) (string, error) {
	if len(s) > maxCellBytes {
		return "", errLong
	}
	if v, ok := strings.CutPrefix(s, `="`); ok && strings.HasSuffix(v, `"`) {
		s = v[:len(v)-1]
	}
	s = strings.TrimPrefix(strings.TrimSpace(s), "'")
	switch strings.ToLower(s) {
	case "-", "--", "n/a", "na", "none", "null", "unknown", "unbekannt", "k.a.", "inconnu", "?":
		return "", nil
	}
	return s, nil
}

// text100 takes a text of one line, of at most a hundred characters.
func text100(of func(*Entry) *string) func(*Entry, string) error {
	return func(e *Entry, s string) error {
		s = strings.Join(strings.Fields(s), " ")
		if strings.ContainsFunc(s, unicode.IsControl) {
			return errControl
		}
		if len([]rune(s)) > 100 {
			return errLong
		}
		if f := of(e); *f == "" {
			*f = s
		}
		return nil
	}
}

// setLocation puts building, room and bed together.
func setLocation(e *Entry, s string) error {
	var part Entry
	if err := text100(func(e *Entry) *string { return &e.Location })(&part, s); err != nil {
		return err
	}
	if e.Location != "" {
		part.Location = e.Location + ", " + part.Location
	}
	e.Location = part.Location
	return nil
}

var (
	errCheck   = errors.New("its check digit is wrong; a digit was mistyped, or a spreadsheet changed it")
	errRounded = errors.New("a spreadsheet rounded the number; have the column exported as text")
	errTherapy = errors.New("no such therapy")
	errCode    = errors.New("a product code has three letters")
	errYesNo   = errors.New("neither yes nor no")
	errDate    = errors.New("not a date; write it as 2006-01-02")
	errDayDate = errors.New("day or month first? write it as 2006-01-02")
)

// setUDI takes a UDI of any issuing agency, or a device identifier alone as
// AccessGUDID writes it, which of HIBCC's has no "+".
func setUDI(e *Entry, s string) error {
	if e.UDI.DI != "" {
		return nil
	}
	u, err := device.ParseUDI(s)
	if err == nil {
		e.UDI = u
		return nil
	}
	digits := strings.Trim(s, "0123456789") == ""
	switch {
	case digits && (len(s) == 8 || len(s) >= 12 && len(s) <= 14):
		return errCheck
	case !digits && strings.Trim(s, "0123456789.,E+e") == "":
		return errRounded
	case !digits && len(s) >= 6 && len(s) <= 23 && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > 'Z' || r > '9' && r < 'A' }) < 0:
		e.UDI = device.UDI{DI: s}
		return nil
	}
	return err // of package device, which repeats nothing
}

func setTherapy(e *Entry, s string) error {
	t, ok := device.ParseTherapy(strings.ToLower(s))
	if !ok {
		return errTherapy
	}
	if e.Therapy == device.NoTherapy {
		e.Therapy = t
	}
	return nil
}

func setCode(e *Entry, s string) error {
	s = strings.ToUpper(s)
	if len(s) != 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return errCode
	}
	if e.ProductCode == "" {
		e.ProductCode = s
	}
	return nil
}

func yes(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "y", "true", "1", "x", "ja", "j", "wahr", "oui", "o", "vrai":
		return true, nil
	case "no", "n", "false", "0", "nein", "falsch", "non", "faux":
		return false, nil
	}
	return false, errYesNo
}

// date takes a day, a month or a year. 03/04/2017 is one of two days.
func date(of func(*Entry) *string) func(*Entry, string) error {
	return func(e *Entry, s string) error {
		d, err := parseDate(s)
		if f := of(e); err == nil && *f == "" {
			*f = d
		}
		return err
	}
}

func parseDate(s string) (string, error) {
	if i := strings.IndexAny(s, "T "); i > 0 {
		s = s[:i] // the time of day
	}
	for in, out := range map[string]string{
		"2006-01-02": "2006-01-02", "20060102": "2006-01-02", "2006/01/02": "2006-01-02", "2.1.2006": "2006-01-02",
		"2006-01": "2006-01", "1.2006": "2006-01", "1/2006": "2006-01", "2006": "2006",
	} {
		if t, err := time.Parse(in, s); err == nil {
			return t.Format(out), nil
		}
	}
	var a, b, year int
	if n, err := fmt.Sscanf(s, "%d/%d/%4d", &a, &b, &year); n == 3 && err == nil {
		if a <= 12 && b <= 12 && a != b {
			return "", errDayDate
		}
		if a > 12 {
			a, b = b, a
		}
		if t, err := time.Parse("2006-1-2", fmt.Sprintf("%04d-%d-%d", year, a, b)); err == nil {
			return t.Format("2006-01-02"), nil
		}
	}
	return "", errDate
}

// classes are the therapies of what a nurse would call a device.
var classes = func() map[string]device.Therapy {
	m := map[string]device.Therapy{}
	for _, p := range device.ProductCodes() {
		m[p.Class] = p.Therapies.First()
	}
	for t := device.Therapy(1); t.String() != ""; t++ {
		m[t.Info().Class] = t
	}
	return m
}()

// therapyWords are the words by which registers call what has a therapy, as
// [plain] writes them, in English, German and French; a space is where a word
// begins or ends. What has one of the others is not meant.
var therapyWords = [...]struct {
	therapy      device.Therapy
	words, other string // separated by "|"
}{
	{device.Pacing, "pacemaker|pace maker| pacer|schrittmacher|stimulateur cardiaque|stimulateurs cardiaques", ""},
	{device.Defibrillation, "defib| aed | aeds | icd | icds |cardioverter|kardioverter| dae ", ""},
	{device.InsulinInfusion, "insulin", " pen | pens |assay"},
	{
		device.DrugInfusion, " pump |pumps |pumpe|pompe|infusion|infusomat|perfusor|perfuseur|syringe driver|pousse seringue| lvp | pca |analgesia|analgesie",
		"breast|suction|vacuum|vakuum|compress|water|wasser|milch|lait|absaug|aspir|air pump|mattress|stand |stander| pole |potence|warmer|balloon|ballon|heart|herz|coeur",
	},
	{device.IntrathecalInfusion, "intrathecal|intrathekal", ""},
	{device.Neurostimulation, "neurostim|nerve stim|spinal cord stim|brain stim|hirnstim|ruckenmarkstim|ruckenmarksstim|nervenstim|vagusnerv|stimulateur medullaire|stimulation cerebrale", ""},
	{device.Ventilation, "ventilator|ventilateur|beatmung|respirator |respirators |respirateur|respiratory support| cpap | bipap | bilevel |high flow", ""},
	{device.CirculatorySupport, "ventricular assist| lvad | vad | iabp |balloon pump|ballonpump|ballon de contrepulsion| ecmo | ecls |heart lung|herz lungen|coeur poumon|kunstherz|artificial heart", ""},
	{device.Anaesthesia, "anaesth|anesth|anasth|narkose", ""},
	{device.Dialysis, "dialys|hemofiltr|haemofiltr|hamofiltr| crrt ", ""},
	{device.Radiotherapy, "radiother|radiation therapy| linac|linear accelerator|linearbeschleuniger|accelerateur lineaire|strahlenther|bestrahlung|brachyther|curiether|afterload|gamma knife", ""},
	{
		device.Imaging, " ct | cts | mr | mri | mris | mrt | mrts | irm | pet | spect |x ray|xray|rontgen|radiograph|radiologie|fluorosc|durchleucht|c arm|c bogen|arceau|angiogr|mammogr|" +
			"ultrasound|ultraschall|sonogra|echogra|echocardiogr|echokardiogr|tomogra|gamma camera|gammakamera| scanner|imaging|bildgeb|imagerie|densitomet|endoscop|endoskop",
		"barcode|bar code|strichcode|document|dokument|fingerprint|palm|vein scan|code barres",
	},
	{
		device.Laboratory, "laborator|laborgerat|analyser|analyzer|analysator|analysegerat|analyseur|blood gas|blutgas|gaz du sang|centrifuge|zentrifug|glucose meter|glucometer|" +
			"blutzuckermess|lecteur de glycemie|glycemie|microscop|mikroskop| poct |point of care test|immunoassay|coagulometer", "gas analyzer for|safety analyzer|defib",
	},
	{
		device.Monitoring, "patient monitor|patientenmonitor|moniteur patient|bedside monitor|fetal monitor|foetal monitor|surveillance|uberwach|vital sign|vitalzeichen|signes vitaux|vitaldaten| ecg | ekg | eeg | emg | ctg |electrocardio|elektrokardio|holter|telemet|" +
			"oximet|pulsoxy| spo2 |blood pressure|blutdruck|tensiometre|sphygmo| nibp |capnogr|kapnogr|thermomet|central station|zentrale|glucose sensor|cardiotoco|kardiotoko|spiromet", "videouber|raumuber",
	},
	{
		device.Monitoring, "monitor|moniteur",
		"computer|display|screen|bildschirm| pc | tv |video|camera|kamera|ecran|room|raum|nettoy",
	},
	{device.Records, " pacs |archive|archiv |archivage| his | ris | kis | lis | emr | ehr |information system|informationssystem|systeme d information", ""},
	{device.Hearing, "cochlea|hearing aid|horgerat|horimplant|aide auditive|appareil auditif", ""},
}

// therapyOf returns the therapy of what somebody calls a device: by all of its
// words as the tables have it, then by each. Where several fit, it is the one
// that can harm more; where none does, NoTherapy.
func therapyOf(class string) device.Therapy {
	if t, ok := classes[strings.ToLower(class)]; ok {
		return t
	}
	text := " " + plain(class) + " "
	has := func(words string) bool {
		for w := range strings.SplitSeq(words, "|") {
			if w != "" && strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	if has("tester|simulator|calibrat|prufgerat|testeur|simulateur") {
		return device.NoTherapy // of a device, and on no patient
	}
	best := device.NoTherapy
	for _, t := range therapyWords {
		if has(t.words) && !has(t.other) && (best == device.NoTherapy || t.therapy.Harm() > best.Harm()) {
			best = t.therapy
		}
	}
	return best
}

// namedWorn decides by what a device is called. Its therapy's usual device may
// be worn, and this one stand beside the bed: a programmer, an external
// pacemaker. Where nothing is known, a word of the class decides.
func namedWorn(class string, t device.Therapy) bool {
	has := func(words string) bool {
		for w := range strings.SplitSeq(words, "|") {
			if strings.Contains(" "+plain(class)+" ", w) {
				return true
			}
		}
		return false
	}
	if has(" aed | aeds |programmer|programmier|programmat|home monitor|bedside|extern|charger|analyser|analyzer|gateway|server") {
		return false
	}
	return t.Info().Worn || has("implant|pacemaker|schrittmacher|stimulateur|neurostim|icd|insulin|cochlea|ventricular assist|glucose sensor|glucose monitor|holter|wearable")
}
