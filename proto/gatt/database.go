// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"cmp"
	"container/list"
	"iter"
	"slices"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
)

// Bounds of what is remembered. A pump has some ten services and sixty
// attributes that matter; what does not fit is counted in Database.Lost.
const (
	maxServices   = 128
	maxAttributes = 1024
)

// A Database is what is known of the attributes of one server: its services,
// and the types behind its handles. The zero Database is empty.
type Database struct {
	services   []service
	attributes []attribute
	Lost       int // services and attributes that did not fit
}

type service struct {
	first, last uint16
	uuid        UUID
}

// An attribute is a characteristic's value, or a descriptor. Declarations are
// not kept.
type attribute struct {
	handle     uint16
	properties uint8 // of a value, where its declaration was seen
	descriptor bool
	uuid       UUID
}

// Services yields the services that the server was seen to have, in the order
// of their handles.
func (db *Database) Services() iter.Seq[UUID] {
	return func(yield func(UUID) bool) {
		for i := range db.services {
			if !yield(db.services[i].uuid) {
				return
			}
		}
	}
}

// Has reports whether the server has a service.
func (db *Database) Has(u UUID) bool {
	return slices.ContainsFunc(db.services, func(s service) bool { return s.uuid == u })
}

// Medical reports whether a service counts as a medical device's: it is known
// to be one's, or it is an unknown one of 128 bits beside one that is.
func (db *Database) Medical(u UUID) bool {
	if s := serviceByUUID[u]; s != nil {
		return s.Medical
	}
	if _, assigned := u.Short(); assigned || u == (UUID{}) {
		return false
	}
	return db.MedicalDevice()
}

// MedicalDevice reports whether one of the services is a medical device's.
func (db *Database) MedicalDevice() bool {
	return slices.ContainsFunc(db.services, func(s service) bool {
		info := serviceByUUID[s.uuid]
		return info != nil && info.Medical
	})
}

// Worn reports whether one of the services is that of a device which is
// implanted or worn on the body, so that its names and numbers are patient data.
func (db *Database) Worn() bool {
	return slices.ContainsFunc(db.services, func(s service) bool {
		info := serviceByUUID[s.uuid]
		return info != nil && info.Worn
	})
}

// Therapies returns the therapies of the services.
func (db *Database) Therapies() device.Therapies {
	var t device.Therapies
	for i := range db.services {
		if info := serviceByUUID[db.services[i].uuid]; info != nil {
			t |= device.TherapiesOf(info.Therapy)
		}
	}
	return t
}

func (db *Database) search(handle uint16) (int, bool) {
	return slices.BinarySearchFunc(db.attributes, handle, func(a attribute, h uint16) int { return cmp.Compare(a.handle, h) })
}

// serviceAt returns the service around a handle, or nil.
func (db *Database) serviceAt(handle uint16) *service {
	i, exact := slices.BinarySearchFunc(db.services, handle, func(s service, h uint16) int { return cmp.Compare(s.first, h) })
	if !exact {
		i--
	}
	if i < 0 || db.services[i].last < handle {
		return nil
	}
	return &db.services[i]
}

// addService remembers a service. What is said last of a handle holds: a
// service that the new one overlaps is forgotten. It reports whether anything
// is new.
func (db *Database) addService(s service) bool {
	if s.first == 0 || s.last < s.first || s.uuid == (UUID{}) {
		return false
	}
	if old := db.serviceAt(s.first); old != nil && *old == s {
		return false
	}
	for i := 0; i < len(db.services); { // each turn goes on or takes one away
		if o := db.services[i]; o.first <= s.last && s.first <= o.last {
			db.drop(o.first, o.last)
		} else {
			i++
		}
	}
	if len(db.services) >= maxServices {
		db.Lost++
		return false
	}
	i, _ := slices.BinarySearchFunc(db.services, s.first, func(o service, h uint16) int { return cmp.Compare(o.first, h) })
	db.services = slices.Insert(db.services, i, s)
	return true
}

// add remembers an attribute, and reports whether it is new.
func (db *Database) add(a attribute) bool {
	if a.handle == 0 || a.uuid == (UUID{}) {
		return false
	}
	i, ok := db.search(a.handle)
	if ok {
		old := db.attributes[i]
		if a.properties == 0 && old.uuid == a.uuid {
			a.properties = old.properties
		}
		db.attributes[i] = a
		return old.uuid != a.uuid
	}
	if len(db.attributes) >= maxAttributes {
		db.Lost++
		return false
	}
	db.attributes = slices.Insert(db.attributes, i, a)
	return true
}

// drop forgets the handles of a range.
func (db *Database) drop(first, last uint16) {
	db.services = slices.DeleteFunc(db.services, func(s service) bool { return s.first <= last && first <= s.last })
	db.attributes = slices.DeleteFunc(db.attributes, func(a attribute) bool { return first <= a.handle && a.handle <= last })
}

// find fills in what is known of a handle, and reports whether its type is.
func (db *Database) find(handle uint16, a *Access) bool {
	i, ok := db.search(handle)
	s := db.serviceAt(handle)
	if s != nil {
		a.Service = s.uuid
	}
	if !ok {
		return false
	}
	if at := db.attributes[i]; !at.descriptor {
		a.Characteristic = at.uuid
		return true
	}
	a.Descriptor = db.attributes[i].uuid
	// A descriptor belongs to the value before it in its service.
	for i--; i >= 0 && (s == nil || db.attributes[i].handle > s.first); i-- {
		if !db.attributes[i].descriptor {
			a.Characteristic = db.attributes[i].uuid
			break
		}
	}
	return true
}

// merge adds what other knows.
func (db *Database) merge(other *Database) {
	for _, s := range other.services {
		db.addService(s)
	}
	for _, a := range other.attributes {
		db.add(a)
	}
}

// maxServers bounds how many servers a cache remembers. Each takes a few
// kilobytes; the one not used for longest goes first.
const maxServers = 1024

// A Cache remembers the databases of servers by their address, over
// connections and inputs: bonded devices do not discover again. It is not safe
// for use by several goroutines.
type Cache struct {
	servers map[ble.Address]*list.Element
	age     list.List // of *cached, the last used in front
	evicted int

	later  *Cache
	missed map[missed]struct{}
	many   bool // there was more missed than is remembered
}

type cached struct {
	address ble.Address
	moved   bool // what is behind its handles did not stay the same
	Database
}

// missed is a handle that had no name when it was used.
type missed struct {
	address ble.Address
	handle  uint16
}

// maxMissed bounds the handles that are remembered for [Cache.Foresees].
const maxMissed = 4096

// Evicted returns how many servers were forgotten.
func (c *Cache) Evicted() int { return c.evicted }

// lookup returns what is known of a server, or nil.
func (c *Cache) lookup(address ble.Address) *Database {
	if c == nil || address.Kind == ble.NoAddress {
		return nil
	}
	e := c.servers[address]
	if e == nil {
		return nil
	}
	return &e.Value.(*cached).Database
}

// Foresee lets c look up what it does not know yet in what another cache learned
// of the same connections, to their end: a handle is often used long before
// somebody discovers what is behind it.
func (c *Cache) Foresee(later *Cache) { c.later = later }

// Foresees reports whether a handle had no name when it was used and would have
// one, if the same connections were followed again by a cache that foresees c.
func (c *Cache) Foresees() bool {
	for m := range c.missed {
		if db := c.foreseen(m.address); db != nil {
			_, value := db.search(m.handle)
			_, configured := db.search(m.handle - 1)
			if value || configured {
				return true
			}
		}
	}
	return c.many && len(c.servers) > 0
}

// foreseen returns what is known of a server whose handles stayed the same, or nil.
func (c *Cache) foreseen(address ble.Address) *Database {
	if c == nil {
		return nil
	}
	if e := c.servers[address]; e != nil && !e.Value.(*cached).moved {
		return &e.Value.(*cached).Database
	}
	return nil
}

// databases returns what other connections say of a server, those before and
// those to come.
func (c *Cache) databases(address ble.Address) [2]*Database {
	if c == nil || address.Kind == ble.NoAddress {
		return [2]*Database{}
	}
	return [...]*Database{c.lookup(address), c.later.foreseen(address)}
}

// miss takes note of a handle that has no name.
func (c *Cache) miss(address ble.Address, handle uint16) {
	if c == nil || c.later != nil || address.Kind == ble.NoAddress {
		return
	}
	k := missed{address, handle}
	if _, ok := c.missed[k]; ok {
		return
	}
	if len(c.missed) >= maxMissed {
		c.many = true
		return
	}
	if c.missed == nil {
		c.missed = make(map[missed]struct{})
	}
	c.missed[k] = struct{}{}
}

// learn remembers what a connection discovered, and whether the server said
// that its handles moved.
func (c *Cache) learn(address ble.Address, db *Database, moved bool) {
	if c == nil || address.Kind == ble.NoAddress || len(db.services)+len(db.attributes) == 0 && !moved {
		return
	}
	e := c.servers[address]
	if e == nil {
		if c.age.Len() >= maxServers {
			oldest := c.age.Back()
			delete(c.servers, c.age.Remove(oldest).(*cached).address)
			c.evicted++
		}
		if c.servers == nil {
			c.servers = make(map[ble.Address]*list.Element)
		}
		e = c.age.PushFront(&cached{address: address})
		c.servers[address] = e
	}
	c.age.MoveToFront(e)
	known := e.Value.(*cached)
	known.moved = known.moved || moved || known.differs(db)
	known.merge(db)
}

// differs reports whether a handle has another type in other.
func (db *Database) differs(other *Database) bool {
	return slices.ContainsFunc(other.attributes, func(a attribute) bool {
		i, ok := db.search(a.handle)
		return ok && db.attributes[i].uuid != a.uuid
	})
}
