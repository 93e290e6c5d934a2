// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package gatt reads what devices say to each other through the Generic
// Attribute Profile (Bluetooth Core Specification 5.4, Vol 3 Part G): which
// services and characteristics there are, who reads, writes and notifies them,
// and what the values of the medical profiles mean.
//
// A [Tracker] takes the attribute protocol's PDUs of one connection and says
// each [Access]: the operation, the characteristic behind the handle, the value.
// A [Cache] remembers handles for connections of bonded devices, which do not
// discover again. A [Decoder] says what a value means, as a [Reading]: a kind of
// measurement, a [device.Command], an answer, an identity.
//
// Read are the Glucose, Continuous Glucose Monitoring, Insulin Delivery, Blood
// Pressure, Health Thermometer, Pulse Oximeter, Heart Rate, Weight Scale, Body
// Composition, Physical Activity Monitor, User Data, Bond Management, Device
// Information, Battery and Current Time services, and firmware updates by
// Nordic's and others' services. Services of vendors are known by identity
// ([Service], [Characteristic]); their values are opaque.
//
// The numbers of the Insulin Delivery and Continuous Glucose Monitoring
// services follow the documents IDS 1.0.2 and CGMS 1.0.2. A comment with the
// word doubt stands where a layout or a demand was not read in its document.
//
// Values of measurements, names and codes never leave this package in a
// [Reading] or an error; who needs them calls the Parse method of the
// profile's type, such as [CGMMeasurement.Parse].
//
// Left out: the server's side of the protocol, caching by database hash,
// vendors' application layers, audio and mesh profiles.
//
// This API is stable.
package gatt

const name = "gatt"
