// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// The ward's map is three columns: what serves the ward, the medical devices,
// and everybody else. Within a column stations stand in boxes, one for each
// network. Lines run in the gaps between the columns and end in slots of their
// own, beside their label, so that no line crosses a word.
//
// The layout is ours. A general graph layout (Graphviz as WebAssembly was
// tried: 0.35 s and 50 MB for sixty nodes) knows neither columns nor networks,
// and makes a hairball of a ward.
type wardMap struct {
	Width, Height int
	Desc          string
	Heads         []mapText
	Zones         []mapZone
	Nodes         []*mapNode
	Edges         []*mapEdge
	Hidden        int // lines left out
}

type mapText struct {
	X, Y int
	Text string
}

type mapZone struct {
	X, Y, W, H int
	Caption    string
}

// A mapNode is one station, or several of one network.
type mapNode struct {
	X, Y, W, H  int
	Label, Kind string // as drawn, cut to the width
	Title       string // in full
	Link        string // where it leads; "" is nowhere
	Harm        int
	HarmWord    string
	Decision    *look // worst of its findings; nil when it has none
	Hot         bool  // that is act or attend
	Medical     bool
	Bars        []bar

	column, rank int
	zone         string
	members      int
	near         bool // talks with a medical device
	device       *device.Device
	into         *mapNode      // the station of which it became a part, or nil
	ports        [2][]*mapEdge // on its left and right side
	pull, pulls  int           // where its neighbours stand: a sum, and of how many
}

// A mapEdge is all talk between two stations that is protected alike, and
// about which there is the same to say.
type mapEdge struct {
	Path     string
	Arrows   []string // triangles at the ends that serve
	Class    string   // "clear", "encrypted" or "silent"
	Decision *look    // of a finding about this talk
	Label    *mapText // nil where there is no room for one
	Anchor   string   // of the label: start, middle or end
	Title    string

	a, b         *mapNode // a stands left of b, or above it
	toA, toB     bool
	protocols    []string
	count, bytes uint64
	rank, lane   int
	sides        [2]int // on which side of a and of b it ends
	y            [2]int // where
}

// The sizes of the map, in the units of its picture.
const (
	mapSide   = 200 // width of the outer columns
	mapMiddle = 340
	mapGap    = 250 // between columns, where the lines run
	mapStub   = 160 // of that, kept for labels beside the medical devices
	mapWidth  = 2*mapSide + mapMiddle + 2*mapGap
	mapTop    = 40
	mapLane   = 20
	mapSlot   = 18
	mapZoneV  = 24 // from the top of a zone to its first station
	mapPad    = 8

	smallMap    = 24 // stations up to which everybody is drawn
	maxMapNodes = 60
	maxMapOwn   = 46 // stations drawn by themselves on a larger one
	maxMapNets  = 10 // networks of others, each drawn as one station
	maxMapEdges = 120
	maxMapLanes = 6 // lines from the left column to the right one
	maxStrays   = 3 // addresses of one network that never answered, drawn by themselves
)

const (
	leftColumn = iota
	middleColumn
	rightColumn
	columnCount
)

var (
	mapX      = [columnCount]int{0, mapSide + mapGap, mapSide + mapGap + mapMiddle + mapGap}
	mapW      = [columnCount]int{mapSide, mapMiddle, mapSide}
	mapHeads  = [columnCount]string{"Serves the ward", "Medical devices", "Everybody else"}
	mapOthers = [columnCount]string{"more servers", "more medical devices", "more stations"}
)

const (
	zoneNone    = "no network address of their own"
	zoneOutside = "outside the hospital"
	zoneAir     = "on the radio"
)

// newWardMap draws the map, with links to the devices that have a row, or returns nil when nobody talks.
func newWardMap(g *digest, rows map[string]bool) *wardMap {
	return drawMap(g, nil, func(d *device.Device) string {
		if rows[d.ID] {
			return "#" + d.ID
		}
		return ""
	})
}

// Map draws who talks to whom as the page of [HTML] has it: a figure whose style is
// in [Style], or nothing when nobody talks. zone names the place of a device; "" is its network. link is
// where a device's station leads; "" is nowhere.
func Map(a *Assessment, zone, link func(*device.Device) string) (template.HTML, error) {
	m := drawMap(newDigest(a), zone, link)
	if m == nil {
		return "", nil
	}
	var b strings.Builder
	err := pageTemplate().ExecuteTemplate(&b, "wardmap", m)
	return template.HTML(b.String()), err
}

func drawMap(g *digest, zone, link func(*device.Device) string) *wardMap {
	m := &mapMaker{g: g, zoneOf: zone, link: link, byDevice: map[*device.Device]*mapNode{}, byAddress: map[string]*mapNode{}}
	m.collect()
	if len(m.nodes) == 0 {
		return nil
	}
	m.gather()
	m.connect()
	return m.draw()
}

type mapMaker struct {
	g         *digest
	zoneOf    func(*device.Device) string // nil: its network
	link      func(*device.Device) string
	nodes     []*mapNode
	byDevice  map[*device.Device]*mapNode
	byAddress map[string]*mapNode // of those that are no known device
	edges     []*mapEdge
	large     bool // only what concerns medical devices or urgent findings is drawn in full
	hidden    int
}

// place says in which network an address is, and whether it is one station's.
func place(address string) (zone string, ok bool) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return zoneNone, true
	}
	ip = ip.Unmap()
	switch {
	case ip.IsMulticast(), ip.IsUnspecified(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "", false // discovery, to everybody: a line to each would hide the rest
	case !inside(ip):
		return zoneOutside, true
	}
	bits := 24
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return zoneNone, true
	}
	return p.String(), true
}

// inside reports whether an address is not routed on the internet.
func inside(ip netip.Addr) bool {
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() ||
		netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(ip) // RFC 6598
}

func columnOf(d *device.Device) int {
	switch {
	case d.Medical && d.Therapy != device.Records:
		return middleColumn
	case d.Role == device.Outside:
		return rightColumn
	case d.Medical || d.Role != "" || d.Model != "":
		return leftColumn
	}
	return rightColumn
}

// collect makes a station of every device, and of every other address in the
// sessions.
func (m *mapMaker) collect() {
	for i := range m.g.Devices {
		d := &m.g.Devices[i]
		if d.Unseen {
			continue // talked to nobody
		}
		n := &mapNode{device: d, column: columnOf(d), zone: zoneNone, members: 1, Harm: int(d.Harm)}
		for _, a := range d.Addresses {
			if a.OnAir() {
				n.zone = zoneAir
			}
			if a.Kind != device.IP {
				continue
			}
			zone, ok := place(a.Value)
			if ok {
				n.zone = zone
				break
			}
		}
		if d.Medical {
			n.rank += 100 + 10*int(d.Harm)
		}
		if worst, ok := m.g.worst[d.ID]; ok {
			l := lookOf(worst)
			n.Decision = &l
			n.rank += 60 * int(worst)
		}
		if d.Role != "" {
			n.rank += 20
		}
		if d.Role == device.Outside {
			n.zone = zoneOutside
		} else if m.zoneOf != nil {
			n.zone = cmp.Or(Plain(m.zoneOf(d)), n.zone)
		}
		m.byDevice[d] = n
		m.nodes = append(m.nodes, n)
	}
	first := map[string][]*mapNode{} // addresses without a device, by network
	for i := range m.g.Sessions {
		s := &m.g.Sessions[i]
		for _, address := range [...]string{s.Client, s.Server} {
			if n := m.nodeOf(address); n != nil {
				if s.Bytes > 0 {
					n.rank++
				}
				continue
			}
			zone, ok := place(address)
			if !ok {
				continue
			}
			n := &mapNode{column: rightColumn, zone: zone, members: 1, Title: Plain(address)}
			m.byAddress[address] = n
			m.nodes = append(m.nodes, n)
			first[zone] = append(first[zone], n)
		}
	}
	// The outside is one; so is what a scan looked for and did not find in a network.
	outside := first[zoneOutside]
	delete(first, zoneOutside)
	for _, n := range m.nodes {
		if n.device != nil && n.device.Role == device.Outside {
			outside = append(outside, n)
		}
	}
	for _, n := range outside[min(1, len(outside)):] {
		outside[0].take(n)
	}
	for _, list := range first {
		if len(list) > maxStrays {
			for _, n := range list[1:] {
				list[0].take(n)
			}
		}
	}
	m.drop()
	for i := range m.g.Sessions {
		client, server := m.nodeOf(m.g.Sessions[i].Client), m.nodeOf(m.g.Sessions[i].Server)
		if client != nil && server != nil {
			client.near = client.near || server.column == middleColumn
			server.near = server.near || client.column == middleColumn
		}
	}
}

func (m *mapMaker) nodeOf(address string) *mapNode {
	if d := m.g.byAddress[address]; d != nil {
		return m.byDevice[d].drawn()
	}
	return m.byAddress[address].drawn()
}

// drawn returns the station that stands for n on the map.
func (n *mapNode) drawn() *mapNode {
	for n != nil && n.into != nil {
		n = n.into
	}
	return n
}

// take makes b a part of n.
func (n *mapNode) take(b *mapNode) {
	n.members += b.members
	n.near = n.near || b.near
	n.Harm = max(n.Harm, b.Harm)
	if b.Decision != nil && (n.Decision == nil || b.Decision.decision > n.Decision.decision) {
		n.Decision = b.Decision
	}
	b.into = n
}

// drop forgets the stations that became a part of another.
func (m *mapMaker) drop() {
	m.nodes = slices.DeleteFunc(m.nodes, func(n *mapNode) bool { return n.into != nil })
}

// hot reports whether a station has an urgent finding.
func (n *mapNode) hot() bool { return n.Decision != nil && n.Decision.decision >= finding.Attend }

// gather bounds the number of stations: those that have nothing to do with a
// medical device or an urgent finding, and the least important others, become
// one for each network; then those of the smallest networks become one.
func (m *mapMaker) gather() {
	if m.large = len(m.nodes) > smallMap; !m.large {
		return
	}
	slices.SortStableFunc(m.nodes, func(x, y *mapNode) int { return y.rank - x.rank })
	type group struct {
		column int
		zone   string
	}
	groups := map[group]*mapNode{}
	var nets []*mapNode
	own := 0
	for _, n := range m.nodes {
		if own < maxMapOwn && (n.column == middleColumn || n.near || n.hot()) {
			own++
			continue
		}
		k := group{n.column, n.zone}
		if groups[k] == nil {
			groups[k] = n
			nets = append(nets, n)
			continue
		}
		groups[k].take(n)
	}
	slices.SortStableFunc(nets, func(x, y *mapNode) int { return y.members - x.members })
	var rest [columnCount]*mapNode
	for _, n := range nets[min(maxMapNets, len(nets)):] {
		if rest[n.column] == nil {
			rest[n.column] = n
			n.zone = mapOthers[n.column]
			continue
		}
		rest[n.column].take(n)
	}
	m.drop()
}

// A mapTalk is a protocol between two stations; "" stands for all of them.
type mapTalk struct {
	a, b     *mapNode
	protocol string
}

// urgent says which talk has an urgent finding. A finding that names no
// protocol, or one that nobody was heard to speak there, is about all.
func (m *mapMaker) urgent() map[mapTalk]finding.Decision {
	heard := map[mapTalk]bool{}
	for i := range m.g.Sessions {
		s := &m.g.Sessions[i]
		heard[mapTalk{m.nodeOf(s.Client), m.nodeOf(s.Server), s.Protocol}] = true
	}
	worst := map[mapTalk]finding.Decision{}
	for i := range m.g.Findings {
		f := &m.g.Findings[i]
		d := m.g.byID[f.Device]
		if d == nil || f.Decision < finding.Attend {
			continue
		}
		for _, peer := range append([]string{f.Peer}, f.Peers...) {
			t := mapTalk{m.byDevice[d].drawn(), m.nodeOf(peer), f.Protocol}
			back := mapTalk{t.b, t.a, f.Protocol}
			if !heard[t] && !heard[back] {
				t.protocol, back.protocol = "", ""
			}
			worst[t] = max(worst[t], f.Decision)
			worst[back] = worst[t]
		}
	}
	return worst
}

// connect makes one line of all talk between two stations that is protected
// alike and of which there is the same to say, and drops the least important
// beyond the bound.
func (m *mapMaker) connect() {
	type pair struct {
		a, b     *mapNode
		class    string
		decision finding.Decision
	}
	edges := map[pair]*mapEdge{}
	urgent := m.urgent()
	for i := range m.g.Sessions {
		s := &m.g.Sessions[i]
		client, server := m.nodeOf(s.Client), m.nodeOf(s.Server)
		if client == nil || server == nil || client == server {
			continue
		}
		class := "clear"
		switch s.protection() {
		case "encrypted":
			class = "encrypted"
		case "no data", "unknown":
			class = "silent"
		}
		d := max(urgent[mapTalk{client, server, s.Protocol}], urgent[mapTalk{client, server, ""}])
		e := edges[pair{client, server, class, d}]
		if e == nil {
			e = edges[pair{server, client, class, d}]
		}
		if e == nil {
			e = &mapEdge{a: client, b: server, Class: class}
			edges[pair{client, server, class, d}] = e
			if d >= finding.Attend {
				l := lookOf(d)
				e.Decision = &l
				e.rank += 1000 * int(d)
			}
			e.rank += client.rank + server.rank
			if class == "silent" {
				e.rank -= 500
			}
			if m.large && e.Decision == nil && client.column != middleColumn && server.column != middleColumn {
				m.hidden++
			} else {
				m.edges = append(m.edges, e)
			}
		}
		e.toA, e.toB = e.toA || e.a == server, e.toB || e.b == server
		e.count += s.Count
		e.bytes += s.Bytes
		if p := cut(Plain(s.Protocol), 12); !slices.Contains(e.protocols, p) && len(e.protocols) < 8 {
			e.protocols = append(e.protocols, p)
		}
	}
	slices.SortStableFunc(m.edges, func(x, y *mapEdge) int {
		return cmp.Or(y.rank-x.rank, cmp.Compare(y.bytes, x.bytes))
	})
	lanes := 0
	kept := m.edges[:0]
	for _, e := range m.edges {
		if e.a.column > e.b.column {
			e.a, e.b, e.toA, e.toB = e.b, e.a, e.toB, e.toA
		}
		if across := e.a.column == leftColumn && e.b.column == rightColumn; len(kept) < maxMapEdges && (!across || lanes < maxMapLanes) {
			if across {
				e.lane = lanes
				lanes++
			}
			kept = append(kept, e)
			continue
		}
		m.hidden++
	}
	m.edges = kept
}

// draw places stations and lines.
func (m *mapMaker) draw() *wardMap {
	w := &wardMap{Width: mapWidth, Hidden: m.hidden}
	lanes := 0
	for _, e := range m.edges {
		e.sides = [2]int{1, 0}
		switch {
		case e.a.column == e.b.column && e.a.column == rightColumn:
			e.sides = [2]int{0, 0}
		case e.a.column == e.b.column:
			e.sides = [2]int{1, 1}
		case e.a.column == leftColumn && e.b.column == rightColumn:
			lanes++
		}
		e.a.ports[e.sides[0]] = append(e.a.ports[e.sides[0]], e)
		e.b.ports[e.sides[1]] = append(e.b.ports[e.sides[1]], e)
	}
	top := mapTop + lanes*mapLane
	// The middle stands first; the outer columns follow it, each station near
	// those it talks to.
	middle := m.zones(middleColumn)
	bottom := stack(middle, middleColumn, top, nil)
	for _, column := range [...]int{leftColumn, rightColumn} {
		for _, n := range m.nodes {
			if n.column != column {
				continue
			}
			for _, side := range n.ports {
				for _, e := range side {
					if other := e.other(n); other.column == middleColumn {
						n.pull += other.Y + other.H/2
						n.pulls++
					}
				}
			}
		}
		zones := m.zones(column)
		bottom = max(bottom, stack(zones, column, top, middle))
		w.addZones(zones, column)
	}
	w.addZones(middle, middleColumn)
	w.Height = bottom + mapPad
	for c, text := range mapHeads {
		if slices.ContainsFunc(m.nodes, func(n *mapNode) bool { return n.column == c }) {
			w.Heads = append(w.Heads, mapText{mapX[c], 14, text})
		}
	}
	for _, n := range m.nodes {
		n.say(m.link)
		n.slots()
	}
	w.Nodes = m.nodes
	slices.SortStableFunc(w.Nodes, func(x, y *mapNode) int { return cmp.Or(x.column-y.column, x.Y-y.Y) }) // as one reads
	for _, e := range m.edges {
		e.route()
		e.say()
	}
	w.Edges = m.edges
	w.Desc = m.desc()
	return w
}

func (e *mapEdge) other(n *mapNode) *mapNode {
	if e.a == n {
		return e.b
	}
	return e.a
}

// A zone is the stations of one network in one column.
type zone struct {
	name  string
	nodes []*mapNode
	y, h  int
}

// height is what a station needs for its words and for its slots.
func (n *mapNode) height() int {
	words := 42
	if n.Harm > 0 && n.column == middleColumn {
		words = 60
	}
	return max(words, 6+mapSlot*max(len(n.ports[0]), len(n.ports[1])))
}

// zones returns the networks of a column: those with addresses in their order,
// then the others.
func (m *mapMaker) zones(column int) []*zone {
	byName := map[string]*zone{}
	for _, n := range m.nodes {
		if n.column != column {
			continue
		}
		if byName[n.zone] == nil {
			byName[n.zone] = &zone{name: n.zone}
		}
		byName[n.zone].nodes = append(byName[n.zone].nodes, n)
	}
	list := slices.Collect(maps.Values(byName))
	slices.SortFunc(list, func(x, y *zone) int {
		p, errP := netip.ParsePrefix(x.name)
		q, errQ := netip.ParsePrefix(y.name)
		switch {
		case errP == nil && errQ == nil:
			return p.Addr().Compare(q.Addr())
		case errP == nil:
			return -1
		case errQ == nil:
			return 1
		}
		return strings.Compare(x.name, y.name)
	})
	return list
}

// stack places zones one below the other, from top on, and returns where they
// end. Beside a column that stands already they come near what they talk to.
func stack(zones []*zone, column, top int, beside []*zone) int {
	pull := func(n *mapNode) int {
		if n.pulls == 0 {
			return 1 << 20 // talks to no medical device: last
		}
		return n.pull / n.pulls
	}
	want := func(z *zone) int {
		sum, of := 0, 0
		for _, n := range z.nodes {
			sum, of = sum+n.pull, of+n.pulls
		}
		if of == 0 {
			return 1 << 20
		}
		return sum / of
	}
	if beside != nil {
		for _, z := range zones {
			slices.SortStableFunc(z.nodes, func(x, y *mapNode) int { return pull(x) - pull(y) })
		}
		slices.SortStableFunc(zones, func(x, y *zone) int { return want(x) - want(y) })
	}
	total := 0
	for _, z := range zones {
		z.h = mapZoneV
		for _, n := range z.nodes {
			z.h += n.height() + mapPad
		}
		total += z.h + 2*mapPad
	}
	floor := top + total
	if len(beside) > 0 {
		last := beside[len(beside)-1]
		floor = max(floor, last.y+last.h+2*mapPad)
	}
	y, left := top, total
	for _, z := range zones {
		if beside != nil {
			y = max(y, min(want(z)-z.h/2, floor-left))
		}
		z.y = y
		inner := y + mapZoneV
		for _, n := range z.nodes {
			n.X, n.Y, n.W, n.H = mapX[column]+mapPad, inner, mapW[column]-2*mapPad, n.height()
			inner += n.H + mapPad
		}
		y += z.h + 2*mapPad
		left -= z.h + 2*mapPad
	}
	return y
}

func (w *wardMap) addZones(zones []*zone, column int) {
	for _, z := range zones {
		w.Zones = append(w.Zones, mapZone{mapX[column], z.y, mapW[column], z.h, cut(z.name, min(mapW[column]/6, 48))}) // a ward can be called anything
	}
}

// ShapeX is where the shape of its decision stands in a station.
func (n *mapNode) ShapeX() int { return n.W - 20 }

// slots spreads the ends of lines over a station's sides, in the order of the
// places they go to, so that they do not cross on their way.
func (n *mapNode) slots() {
	for _, side := range n.ports {
		key := func(e *mapEdge) int {
			o := e.other(n)
			if n.column != middleColumn && o.column != middleColumn && o.column != n.column {
				return e.lane - maxMapLanes // through the lanes above
			}
			return o.Y + o.H/2
		}
		slices.SortStableFunc(side, func(x, y *mapEdge) int { return key(x) - key(y) })
		first := n.Y + (n.H-mapSlot*(len(side)-1))/2
		for i, e := range side {
			end := 0
			if e.b == n {
				end = 1
			}
			e.y[end] = first + i*mapSlot
		}
	}
}

// route draws a line between its two slots.
func (e *mapEdge) route() {
	x := [2]int{}
	for end, n := range [...]*mapNode{e.a, e.b} {
		x[end] = n.X + e.sides[end]*n.W
	}
	ya, yb := e.y[0], e.y[1]
	switch {
	case e.a.column == leftColumn && e.b.column == rightColumn:
		lane := mapTop - 4 + e.lane*mapLane
		in, out := mapX[middleColumn], mapX[middleColumn]+mapMiddle
		// Up beside the outer column, so that no label is crossed.
		e.Path = fmt.Sprintf("M%d %dh8C%d %d %d %d %d %dH%dC%d %d %d %d %d %dH%d", x[0], ya,
			x[0]+50, ya, x[0]+30, lane, in-mapStub, lane, out+mapStub, x[1]-30, lane, x[1]-50, yb, x[1]-8, yb, x[1])
		e.Label, e.Anchor = &mapText{X: in + mapMiddle/2, Y: lane - 4}, "middle"
	case e.a.column == e.b.column:
		out := 1 - 2*e.sides[0]
		out = -out // 1 to the right, -1 to the left
		stub := 16
		if e.a.column == middleColumn {
			stub = mapStub
			e.Label, e.Anchor = &mapText{X: x[0] + 12, Y: ya - 4}, "start"
		}
		bulge := min(16+abs(yb-ya)/8, 48) * out
		e.Path = fmt.Sprintf("M%d %dh%dc%d 0 %d %d 0 %dh%d", x[0], ya, stub*out, bulge, bulge, yb-ya, yb-ya, -stub*out)
	case e.a.column == leftColumn:
		e.Path = fmt.Sprintf("M%d %dh8C%d %d %d %d %d %dH%d", x[0], ya, x[0]+60, ya, x[1]-mapStub-50, yb, x[1]-mapStub, yb, x[1])
		e.Label, e.Anchor = &mapText{X: x[1] - 12, Y: yb - 4}, "end"
	default:
		e.Path = fmt.Sprintf("M%d %dh%dC%d %d %d %d %d %dH%d", x[0], ya, mapStub, x[0]+mapStub+50, ya, x[1]-60, yb, x[1]-8, yb, x[1])
		e.Label, e.Anchor = &mapText{X: x[0] + 12, Y: ya - 4}, "start"
	}
	for end, serves := range [...]bool{e.toA, e.toB} {
		if serves {
			d := 8 * (2*e.sides[end] - 1)
			e.Arrows = append(e.Arrows, fmt.Sprintf("M%d %dl%d -4v8z", x[end], e.y[end], d))
		}
	}
}

func abs(n int) int { return max(n, -n) }

// say puts a station into words.
func (n *mapNode) say(link func(*device.Device) string) {
	wide := 24
	if n.column == middleColumn {
		wide = 42
	}
	switch d := n.device; {
	case n.zone == zoneOutside && n.members > 1:
		n.Label, n.Kind = "Outside", count(n.members, "host")+" on the internet"
		n.Title = n.Label + ": " + n.Kind
	case n.members > 1:
		n.Label, n.Kind = count(n.members, "station"), "in "+n.zone
		if n.column == middleColumn {
			n.Label = count(n.members, "device")
		}
		if !strings.Contains(n.zone, "/") {
			n.Kind = n.zone
		}
		n.Title = n.Label + " " + n.Kind
	case d == nil:
		n.Label, n.Kind = n.Title, "did not speak"
		if n.zone == zoneOutside {
			n.Kind = zoneOutside
		}
	default:
		n.Label = Plain(Label(d))
		n.Kind = cmp.Or(Plain(d.Class), Plain(d.Role), "unknown station")
		if n.zone == zoneAir && d.Class == "" {
			n.Kind = "phone or programmer"
		}
		both := strings.Trim(n.Kind+", "+product(d), ", ")
		n.Title = n.Label + ": " + both
		if n.column == middleColumn || utf8.RuneCountInString(both) <= wide {
			n.Kind = both
		}
		n.Link = link(d)
	}
	if n.Decision != nil {
		n.Title += ". Worst finding: " + n.Decision.Word
	}
	n.Hot = n.hot()
	n.Medical = n.column == middleColumn && n.Harm > 0
	if n.Medical {
		v := viewHarm(device.Harm(n.Harm))
		n.Bars, n.HarmWord = v.Bars, v.Word
		n.Title += ". Worst credible harm: " + n.HarmWord
	}
	n.Label, n.Kind = cut(n.Label, wide-6), cut(n.Kind, wide)
}

// say puts a line into words.
func (e *mapEdge) say() {
	protection := map[string]string{"clear": " in clear", "encrypted": " encrypted", "silent": ", without an answer or not recognised"}[e.Class]
	from, to := e.a, e.b
	if e.toA && !e.toB {
		from, to = to, from
	}
	e.Title = fmt.Sprintf("%s to %s: %s%s, %s", from.Label, to.Label, strings.Join(e.protocols, ", "), protection, times(e.count))
	if e.Decision != nil {
		e.Title += ". " + e.Decision.Word + ": " + e.Decision.Means
	}
	if e.Label == nil {
		return
	}
	shown := e.protocols
	if len(shown) > 2 {
		shown = append(shown[:1:1], fmt.Sprintf("+%d", len(e.protocols)-1))
	}
	e.Label.Text = strings.Join(shown, " ")
	switch {
	case e.Class == "clear":
		e.Label.Text += " in clear"
	case e.Class == "encrypted" && e.Decision != nil:
		e.Label.Text += " encrypted"
	}
	if e.Decision != nil {
		e.Label.Text = e.Decision.String() + ": " + e.Label.Text
	}
}

// desc is the map in words, for those who cannot see it.
func (m *mapMaker) desc() string {
	var n [columnCount]int
	outside := ""
	for _, x := range m.nodes {
		if x.zone == zoneOutside {
			outside = fmt.Sprintf("; %s outside", count(x.members, "host"))
			continue
		}
		n[x.column] += x.members
	}
	classes := map[string]int{}
	for _, e := range m.edges {
		classes[e.Class]++
	}
	return fmt.Sprintf("%s that serve the ward, %s and %s%s. %s in clear (dashed), %s encrypted (solid). The tables below say the same.",
		count(n[leftColumn], "station"), count(n[middleColumn], "medical device"), count(n[rightColumn], "other station"), outside,
		count(classes["clear"], "line"), digits(classes["encrypted"]))
}
