// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package envelope decides whether a command is safe for one device and one
// patient. An [Envelope] is a file that clinicians sign: limits of single
// commands, of sums over time, and of interruptions. A [Book] knows what was
// given, may have been given, and is being given, of all devices, and survives
// whatever kills the guard. Both together judge a [Request]; the answer is a
// [Decision] with the line that decided.
//
// Doses are areas: a rate is not a dose, and a dose that may have been given
// counts as given. Everything the book knows is an interval, from what was
// delivered for sure to what is counted, and the unknown lies between:
//
//	delivered <= counted <= delivered + unknown       and       counted <= limit
//
// in every window, for every order of commands, answers, crashes and clock
// jumps. Highest sums look at the upper ends of the intervals, lowest sums and
// interruptions at the lower ends. Amounts are whole numbers of a millionth of
// the unit that the sums are counted in, areas have 128 bits, and what does not
// come out even is rounded against the command.
//
// This API follows the server and may change.
package envelope
