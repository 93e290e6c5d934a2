// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// A UDI is a unique device identifier: the device identifier (DI) names the
// product, the production identifiers (PI) the unit.
type UDI struct {
	Issuer   string // "GS1", "HIBCC", "ICCBBA", "IFA", or "" when unknown
	DI       string
	Serial   string // PI; patient data for implanted and body-worn devices
	Lot      string // PI
	Expiry   string // PI, YYYY-MM-DD or YYYY-MM
	Made     string // PI, YYYY-MM-DD or YYYY-MM
	Donation string // PI, ISBT 128 donation identification number, with its two flag characters
	Version  string
	Checked  bool // the format's check character was there and right
}

// What can be wrong with a UDI. No error holds the text that was read.
var (
	ErrNotUDI  = errors.New("in no issuing agency's format")
	ErrNoDI    = errors.New("no device identifier")
	errTwice   = errors.New("given twice")
	errLength  = errors.New("too short or too long")
	errDate    = errors.New("not a date")
	errCharSet = errors.New("a character that the format does not have")
)

// A UDIError says which part of a UDI does not follow its format.
type UDIError struct {
	Issuer string
	Field  string // the agency's own name of the field
	Err    error
}

func (e *UDIError) Error() string {
	return "UDI of " + e.Issuer + ": " + e.Field + ": " + e.Err.Error()
}
func (e *UDIError) Unwrap() error { return e.Err }

const (
	// maxUDIBytes bounds a UDI. The longest that FDA lists is HIBCC's, 87
	// characters; GS1 element strings may go on with AIs that are no part of it.
	maxUDIBytes = 256

	gs  = "\x1d" // group separator: FNC1 as scanners send it
	rs  = "\x1e" // record separator
	eot = "\x04"
)

// ParseUDI reads a UDI in the format of any of the four issuing agencies, as
// printed for people or as a scanner sends it:
//
//   - GS1 (General Specifications section 3): "(01)..(17)..(10)..", or the
//     element string with GS for FNC1, or a GTIN alone;
//   - HIBCC (ANSI/HIBC 2.6): "+", primary and secondary data in one string;
//   - ICCBBA (ISBT 128 ST-011): data structures that begin with "=" or "&";
//   - IFA: ASC data identifiers ("9N" is the PPN), bare or in the envelope of
//     ISO/IEC 15434 format 06. Format 05 carries GS1.
//
// A symbology identifier in front ("]d2") is passed over. A wrong check
// character is no error: what was read is returned with Checked false, because
// people type UDIs and the rest of it still names the device. Whether a text is
// meant as a UDI its place must say: one in ten numbers of 8 digits is a GTIN.
func ParseUDI(s string) (UDI, error) {
	s = strings.TrimRight(strings.TrimLeft(s, " "), "\r\n")
	if len(s) > maxUDIBytes {
		return UDI{}, errLength
	}
	if len(s) > 3 && s[0] == ']' { // ISO/IEC 15424: "]" and two characters
		s = s[3:]
	}
	for i := range len(s) {
		if (s[i] < ' ' || s[i] > '~') && !strings.Contains(gs+rs+eot, s[i:i+1]) {
			return UDI{}, errCharSet
		}
	}
	var u UDI
	var err error
	switch {
	case strings.HasPrefix(s, "[)>"+rs+"06"+gs):
		u, err = parseIFA(envelope(s))
	case strings.HasPrefix(s, "[)>"+rs+"05"+gs):
		u, err = parseGS1(envelope(s))
	case strings.HasPrefix(s, "9N"):
		u, err = parseIFA(s)
	case strings.HasPrefix(s, "+"), strings.HasPrefix(s, "*+"):
		u, err = parseHIBCC(s)
	case strings.HasPrefix(s, "="), strings.HasPrefix(s, "&"):
		u, err = parseICCBBA(strings.TrimRight(s, " "))
	case strings.HasPrefix(s, "("):
		u, err = parseGS1Readable(strings.TrimRight(s, " "))
	case isGTIN(strings.TrimRight(s, " ")):
		u = gtin(strings.TrimRight(s, " "))
	case strings.HasPrefix(s, gs), s != "" && isDigit(s[0]):
		u, err = parseGS1(strings.TrimRight(s, " "))
	default:
		return UDI{}, ErrNotUDI
	}
	if err == nil && u.DI == "" {
		err = &UDIError{u.Issuer, "DI", ErrNoDI}
	}
	if err != nil {
		return UDI{}, err
	}
	return u, nil
}

// envelope returns what stands between the header and the trailer of ISO/IEC 15434.
func envelope(s string) string {
	s = s[len("[)>"+rs+"06"+gs):]
	return strings.TrimSuffix(strings.TrimSuffix(s, eot), rs)
}

// set fills a field once: a UDI that says two different things is no identity.
func (u *UDI) set(field *string, name, value string, maxLen int) error {
	switch {
	case value == "" || len(value) > maxLen:
		return &UDIError{u.Issuer, name, errLength}
	case *field != "" && *field != value:
		return &UDIError{u.Issuer, name, errTwice}
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return &UDIError{u.Issuer, name, errCharSet}
		}
	}
	*field = value
	return nil
}

func (u *UDI) setDate(field *string, name, layout, value string) error {
	d, ok := date(layout, value)
	if !ok {
		return &UDIError{u.Issuer, name, errDate}
	}
	return u.set(field, name, d, len("2006-01-02"))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

func all(s string, f func(byte) bool) bool {
	for i := range len(s) {
		if !f(s[i]) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool { return isDigit(c) || isUpper(c) }

// date reads digits by a layout: Y year, M month, D day, J day of the year, H
// hour (dropped). Two digits of a year are in the 21st century, as UDIs began
// in 2013; with three the first counts centuries from 2000, 9 being the one
// before. A day 00 means the month only.
func date(layout, s string) (string, bool) {
	if len(s) != len(layout) || !all(s, isDigit) {
		return "", false
	}
	n := map[byte]int{}
	years := 0
	for i := range len(s) {
		n[layout[i]] = n[layout[i]]*10 + int(s[i]-'0')
		if layout[i] == 'Y' {
			years++
		}
	}
	year, month, day := n['Y'], n['M'], n['D']
	switch {
	case years == 2:
		year += 2000
	case years == 3 && year >= 900:
		year += 1000
	case years == 3:
		year += 2000
	}
	if n['H'] > 23 || year < 1900 {
		return "", false
	}
	if strings.Contains(layout, "J") {
		day = n['J']
		for month = 1; month <= 12 && day > daysIn(year, month); month++ {
			day -= daysIn(year, month)
		}
		if day == 0 {
			return "", false
		}
	}
	if month < 1 || month > 12 || day > daysIn(year, month) {
		return "", false
	}
	if day == 0 {
		return fmt.Sprintf("%04d-%02d", year, month), true
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, month, day), true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// An applicationIdentifier is a row of GS1 General Specifications section 3.2:
// its data have a fixed length or a longest one.
type applicationIdentifier struct {
	ai    string
	fixed bool
	n     int
}

// The application identifiers of a UDI, and those that healthcare puts beside
// them, which are passed over.
var applicationIdentifiers = []applicationIdentifier{
	{"00", true, 18},
	{"01", true, 14},
	{"02", true, 14},
	{"10", false, 20},
	{"11", true, 6},
	{"13", true, 6},
	{"15", true, 6},
	{"17", true, 6},
	{"20", true, 2},
	{"21", false, 20},
	{"22", false, 20},
	{"235", false, 28},
	{"240", false, 30},
	{"241", false, 30},
	{"250", false, 30},
	{"30", false, 8},
	{"37", false, 8},
	{"400", false, 30},
	{"710", false, 20},
	{"711", false, 20},
	{"712", false, 20},
	{"713", false, 20},
	{"714", false, 20},
	{"715", false, 20},
	{"8012", false, 20},
	{"8014", false, 25},
	{"90", false, 30},
	{"91", false, 90},
	{"92", false, 90},
	{"93", false, 90},
	{"94", false, 90},
	{"95", false, 90},
	{"96", false, 90},
	{"97", false, 90},
	{"98", false, 90},
	{"99", false, 90},
}

// No AI of the table begins another, so that the order does not matter.
func aiOf(s string) (applicationIdentifier, bool) {
	for _, a := range applicationIdentifiers {
		if strings.HasPrefix(s, a.ai) {
			return a, true
		}
	}
	return applicationIdentifier{}, false
}

// element stores the data of one AI.
func (u *UDI) element(ai, data string) error {
	switch ai {
	case "01":
		if len(data) != 14 || !all(data, isDigit) {
			return &UDIError{u.Issuer, "GTIN (01)", errLength}
		}
		u.Checked = mod10(data)
		return u.set(&u.DI, "GTIN (01)", data, 14)
	case "10": // section 3.4.1
		return u.set(&u.Lot, "BATCH/LOT (10)", data, 20)
	case "11": // section 3.4.2
		return u.setDate(&u.Made, "PROD DATE (11)", "YYMMDD", data)
	case "17":
		return u.setDate(&u.Expiry, "USE BY or EXPIRY (17)", "YYMMDD", data)
	case "21":
		return u.set(&u.Serial, "SERIAL (21)", data, 20)
	case "8012": // software version
		return u.set(&u.Version, "VERSION (8012)", data, 20)
	}
	return nil
}

// parseGS1 reads an element string: fixed fields follow each other, others end
// with a GS.
func parseGS1(s string) (UDI, error) {
	u := UDI{Issuer: "GS1"}
	for s = strings.TrimPrefix(s, gs); s != ""; s = strings.TrimPrefix(s, gs) {
		a, ok := aiOf(s)
		if !ok {
			return u, &UDIError{u.Issuer, "AI", ErrNotUDI}
		}
		s = s[len(a.ai):]
		n := a.n
		if !a.fixed {
			n = len(s)
			if i := strings.IndexByte(s, gs[0]); i >= 0 {
				n = i
			}
		}
		if n == 0 || n > a.n || n > len(s) {
			return u, &UDIError{u.Issuer, "AI " + a.ai, errLength}
		}
		if err := u.element(a.ai, s[:n]); err != nil {
			return u, err
		}
		s = s[n:]
	}
	return u, nil
}

// parseGS1Readable reads the form printed for people. Data may
// hold parentheses themselves: a new AI begins only where a known one stands
// in them.
func parseGS1Readable(s string) (UDI, error) {
	u := UDI{Issuer: "GS1"}
	for s != "" {
		a, ok := aiOf(s[1:])
		if !ok || s[0] != '(' || !strings.HasPrefix(s[1+len(a.ai):], ")") {
			return u, &UDIError{u.Issuer, "AI", ErrNotUDI}
		}
		s = s[len(a.ai)+2:]
		n := nextReadable(s)
		if n == 0 || n > a.n || a.fixed && n != a.n {
			return u, &UDIError{u.Issuer, "AI " + a.ai, errLength}
		}
		if err := u.element(a.ai, s[:n]); err != nil {
			return u, err
		}
		s = s[n:]
	}
	return u, nil
}

// nextReadable returns where the next "(AI)" begins, or the length of s.
func nextReadable(s string) int {
	for i := range len(s) {
		if s[i] == '(' {
			if a, ok := aiOf(s[i+1:]); ok && strings.HasPrefix(s[i+1+len(a.ai):], ")") {
				return i
			}
		}
	}
	return len(s)
}

// isGTIN reports whether s can only be a GTIN standing alone: GTIN-8, -12, -13
// or -14, digits that check.
func isGTIN(s string) bool {
	switch len(s) {
	case 8, 12, 13, 14:
		return all(s, isDigit) && mod10(s)
	}
	return false
}

func gtin(s string) UDI {
	return UDI{Issuer: "GS1", DI: strings.Repeat("0", 14-len(s)) + s, Checked: true}
}

// mod10 checks a GS1 key: weights 3 and 1 from the right, the
// check digit itself counting 1.
func mod10(s string) bool {
	sum := 0
	for i := range len(s) {
		sum += int(s[i]-'0') * []int{1, 3}[(len(s)-1-i)%2]
	}
	return sum%10 == 0
}

// hibcSet is the order in which ANSI/HIBC 2.6 appendix B counts characters for
// the check character.
const hibcSet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"

// mod43 returns the check character of s; ok is false when a character of s
// is not in the set.
func mod43(s string) (c byte, ok bool) {
	sum := 0
	for i := range len(s) {
		v := strings.IndexByte(hibcSet, s[i])
		if v < 0 {
			return 0, false
		}
		sum += v
	}
	return hibcSet[sum%43], true
}

// parseHIBCC reads primary and secondary data in one string (ANSI/HIBC 2.6
// section 2.2.1.1), whose last character is the check character; it may be a
// space. A secondary string alone names no product.
func parseHIBCC(s string) (UDI, error) {
	u := UDI{Issuer: "HIBCC"}
	if strings.HasPrefix(s, "*") { // as printed: asterisks around, not checked
		s = strings.TrimSuffix(s[1:], "*")
	}
	if len(s) < len("+A999X0C") {
		return u, &UDIError{u.Issuer, "Primary Data Structure", errLength}
	}
	body, check := s[:len(s)-1], s[len(s)-1]
	want, ok := mod43(body)
	if !ok {
		return u, &UDIError{u.Issuer, "Data", errCharSet}
	}
	if u.Checked = check == want; !u.Checked && check == ' ' { // a field's padding
		return parseHIBCC(strings.TrimRight(s, " "))
	}
	parts := strings.Split(body[1:], "/")
	if !isUpper(body[1]) { // section 2.2.1 note 1: secondary data begin with a digit or "$"
		return u, &UDIError{u.Issuer, "Primary Data Structure", ErrNoDI}
	}
	// Section 2.1: labeler (4), product (1 to 18), unit of measure (1 digit).
	// The DI is all three, as in GUDID.
	if n := len(parts[0]); n < 6 || n > 23 {
		return u, &UDIError{u.Issuer, "Primary Data Structure", errLength}
	}
	if !all(parts[0], isAlnum) || !isDigit(parts[0][len(parts[0])-1]) {
		return u, &UDIError{u.Issuer, "Primary Data Structure", errCharSet}
	}
	u.DI = parts[0]
	for _, p := range parts[1:] {
		if err := u.secondary(p); err != nil {
			return u, err
		}
	}
	return u, nil
}

// expiryLayouts are the expiry dates of HIBCC (IMDRF/UDI WG/N48 appendix A), by
// the digit in front.
// 0 and 1 are no flag but the month's first digit.
var expiryLayouts = map[byte]string{
	'0': "MMYY", '1': "MMYY", '2': "MMDDYY", '3': "YYMMDD", '4': "YYMMDDHH", '5': "YYJJJ", '6': "YYJJJHH", '7': "",
}

// secondary reads one field of secondary data (IMDRF/UDI WG/N48 appendix A).
func (u *UDI) secondary(p string) error {
	text, isText := strings.CutPrefix(p, "$")
	switch {
	case strings.HasPrefix(text, "$") && isText:
		return u.dated(text[1:])
	case isText && strings.HasPrefix(text, "+"):
		return u.set(&u.Serial, "Serial Number $+", text[1:], 18)
	case isText:
		return u.set(&u.Lot, "Lot Number $", text, 18)
	case strings.HasPrefix(p, "S"):
		// 18 by the standard; FDA's example ("UDI formats", HIBCC) has 19, one a
		// space, and checks only with it.
		return u.set(&u.Serial, "Supplemental Serial Number /S", p[1:], 19)
	case strings.HasPrefix(p, "16D"):
		return u.setDate(&u.Made, "Manufacturing Date /16D", "YYYYMMDD", p[3:])
	case strings.HasPrefix(p, "14D"):
		return u.setDate(&u.Expiry, "Expiration Date /14D", "YYYYMMDD", p[3:])
	case strings.HasPrefix(p, "Q"):
		return nil // quantity, no part of a UDI
	case len(p) >= 5 && all(p[:5], isDigit): // the oldest form: Julian date, lot
		if err := u.setDate(&u.Expiry, "Expiration Date", "YYJJJ", p[:5]); err != nil || len(p) == 5 {
			return err
		}
		return u.set(&u.Lot, "Lot Number", p[5:], 18)
	}
	return &UDIError{u.Issuer, "Secondary Data Structure", ErrNotUDI}
}

// dated reads what follows "$$": "+" for a serial number instead of a lot; else
// perhaps a quantity, 8 and two digits or 9 and five; perhaps an expiry date;
// the lot or serial number.
func (u *UDI) dated(s string) error {
	field, name := &u.Lot, "Lot Number $$"
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		field, name, s = &u.Serial, "Serial Number $$+", rest
	} else if s != "" && (s[0] == '8' || s[0] == '9') {
		n := map[byte]int{'8': 3, '9': 6}[s[0]]
		if len(s) < n || !all(s[:n], isDigit) {
			return &UDIError{u.Issuer, "Quantity $$", errLength}
		}
		if s = s[n:]; s == "" {
			return nil
		}
	}
	if s == "" {
		return &UDIError{u.Issuer, name, errLength}
	}
	layout, ok := expiryLayouts[s[0]]
	if !ok {
		return &UDIError{u.Issuer, "Expiration Date $$", errDate}
	}
	if layout != "MMYY" {
		s = s[1:]
	}
	if layout != "" {
		if len(s) < len(layout) {
			return &UDIError{u.Issuer, "Expiration Date $$", errLength}
		}
		if err := u.setDate(&u.Expiry, "Expiration Date $$", layout, s[:len(layout)]); err != nil {
			return err
		}
		if s = s[len(layout):]; s == "" {
			return nil // a date without lot or serial number
		}
	}
	return u.set(field, name, s, 18)
}

// An isbtStructure is a data structure of ISBT 128 (ST-001 section 2.4), known
// by its data identifier; its data have a fixed length, or end where the next
// structure begins.
type isbtStructure struct {
	id    string
	name  string
	n     int
	fixed bool
}

// The structures of a device's UDI (ST-011), and of a blood bag's.
var isbtStructures = []isbtStructure{
	{"=+", "Compound Message", 5, true},
	{"=/", "Processor Product Identification Code", 16, true},
	{"=,", "Product Divisions", 6, true},
	{"=>", "Expiration Date", 6, true},
	{"=}", "Production Date", 6, true},
	{"&,1", "MPHO Lot Number", 18, false},
	{"=)", "Container Manufacturer and Catalog Number", 10, true},
	{"&)", "Container Lot Number", 10, true},
	{"=", "Donation Identification Number", 15, true}, // its second character is data
}

func parseICCBBA(s string) (UDI, error) {
	u := UDI{Issuer: "ICCBBA"}
	for s != "" {
		i := 0
		for i < len(isbtStructures) && !strings.HasPrefix(s, isbtStructures[i].id) {
			i++
		}
		if i == len(isbtStructures) {
			return u, &UDIError{u.Issuer, "Data Identifier", ErrNotUDI}
		}
		d := isbtStructures[i]
		s = s[len(d.id):]
		n := d.n
		if !d.fixed {
			if n = strings.IndexAny(s, "=& "); n < 0 {
				n = len(s)
			}
		}
		if n == 0 || n > d.n || n > len(s) {
			return u, &UDIError{u.Issuer, d.name, errLength}
		}
		data := s[:n]
		s = strings.TrimLeft(s[n:], " ") // people put a space between structures
		if !all(data, isAlnum) {
			return u, &UDIError{u.Issuer, d.name, errCharSet}
		}
		var err error
		switch d.id {
		case "=/", "=)":
			err = u.set(&u.DI, d.name, data, n)
		case "=,":
			err = u.set(&u.Serial, d.name, data, n)
		case "=>":
			err = u.setDate(&u.Expiry, d.name, "YYYJJJ", data)
		case "=}":
			err = u.setDate(&u.Made, d.name, "YYYJJJ", data)
		case "&,1", "&)":
			err = u.set(&u.Lot, d.name, data, n)
		case "=":
			err = u.set(&u.Donation, d.name, data, n)
		}
		if err != nil {
			return u, err
		}
	}
	return u, nil
}

// parseIFA reads ASC data identifiers (ANSI MH10.8.2), as in the PPN-Code
// specification: fields end with a GS.
func parseIFA(s string) (UDI, error) {
	u := UDI{Issuer: "IFA"}
	for _, p := range strings.Split(s, gs) {
		var err error
		switch {
		case strings.HasPrefix(p, "9N"): // agency (2), product number (1 to 18), check digits (2)
			ppn := p[2:]
			if len(ppn) < 5 || len(ppn) > 22 {
				return u, &UDIError{u.Issuer, "PPN (9N)", errLength}
			}
			u.Checked = mod97(ppn)
			err = u.set(&u.DI, "PPN (9N)", ppn, 22)
		case strings.HasPrefix(p, "1T"):
			err = u.set(&u.Lot, "Batch (1T)", p[2:], 20)
		case strings.HasPrefix(p, "16D"):
			err = u.setDate(&u.Made, "Date of Manufacture (16D)", "YYYYMMDD", p[3:])
		case strings.HasPrefix(p, "D"):
			err = u.setDate(&u.Expiry, "Expiry Date (D)", "YYMMDD", p[1:])
		case strings.HasPrefix(p, "S"):
			err = u.set(&u.Serial, "Serial Number (S)", p[1:], 20)
		}
		if err != nil {
			return u, err
		}
	}
	return u, nil
}

// mod97 checks a PPN (PPN technical specification section 12): the sum of the
// characters' ASCII values, weighted 2, 3, 4 ... from the left, modulo 97.
func mod97(ppn string) bool {
	n := len(ppn) - 2
	sum := 0
	for i := range n {
		sum += int(ppn[i]) * (i + 2)
	}
	return fmt.Sprintf("%02d", sum%97) == ppn[n:]
}

// String returns the UDI in the form that its agency prints for people (of IFA
// the envelope, as there is no other form of all fields), or the DI when there
// is no agency. It holds the production identifiers: of an implanted or
// body-worn device do not show it.
func (u UDI) String() string {
	var b strings.Builder
	put := func(id, value string) {
		if value != "" {
			b.WriteString(id)
			b.WriteString(value)
		}
	}
	switch u.Issuer {
	case "GS1":
		put("(01)", u.DI)
		put("(11)", compact("YYMMDD", u.Made))
		put("(17)", compact("YYMMDD", u.Expiry))
		put("(10)", u.Lot)
		put("(21)", u.Serial)
		put("(8012)", u.Version)
	case "HIBCC":
		put("+", u.DI)
		expiry := compact("YYMMDD", u.Expiry)
		switch {
		case len(u.Expiry) == len("2006-01"):
			expiry = u.Expiry[5:] + u.Expiry[2:4] // MMYY
		case expiry != "":
			expiry = "3" + expiry
		}
		none := cmp.Or(expiry, "7") // before a lot or serial number without an expiry date
		switch {
		case u.Lot == "" && u.Serial != "" && len(u.Serial) <= 18:
			put("/$$+", none+u.Serial)
		case u.Lot != "":
			put("/$$", none+u.Lot)
			put("/S", u.Serial)
		default: // a serial number that only /S has room for
			put("/$$", expiry)
			put("/S", u.Serial)
		}
		put("/16D", compact("YYYYMMDD", u.Made))
		if c, ok := mod43(b.String()); ok {
			b.WriteByte(c)
		}
	case "ICCBBA":
		di, lot := "=/", "&,1"
		if len(u.DI) == 10 { // a blood bag
			di = "=)"
			if len(u.Lot) == 10 {
				lot = "&)"
			}
		}
		put(di, u.DI)
		put("=,", u.Serial)
		put("=", u.Donation)
		put("=>", compact("YYYJJJ", u.Expiry))
		put("=}", compact("YYYJJJ", u.Made))
		put(lot, u.Lot)
	case "IFA":
		put("[)>"+rs+"06"+gs+"9N", u.DI)
		put(gs+"1T", u.Lot)
		put(gs+"D", compact("YYMMDD", u.Expiry))
		put(gs+"16D", compact("YYYYMMDD", u.Made))
		put(gs+"S", u.Serial)
		b.WriteString(rs + eot)
	default:
		return u.DI
	}
	return b.String()
}

// compact writes a date of a UDI by a layout of [date]; "" for none.
func compact(layout, d string) string {
	var year, month, day int
	if n, _ := fmt.Sscanf(d, "%4d-%2d-%2d", &year, &month, &day); n < 2 || month < 1 || month > 12 {
		return ""
	}
	switch layout {
	case "YYMMDD":
		return fmt.Sprintf("%02d%02d%02d", year%100, month, day)
	case "YYYYMMDD":
		return fmt.Sprintf("%04d%02d%02d", year, month, day)
	}
	for m := 1; m < month; m++ {
		day += daysIn(year, m)
	}
	return fmt.Sprintf("%03d%03d", year%1000, day)
}
