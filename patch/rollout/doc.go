// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package rollout sends a release through a fleet: ring after ring, past every gate
// of [patch.Gate], and stops by itself when something goes wrong.
//
// A [Rollout] is a fold over events. What is asked of it ([Rollout.Poll],
// [Rollout.Due], and what people do, such as [Rollout.Halt]) changes nothing: it
// answers with events. They are written down first, durably, and then applied
// ([Rollout.Commit]); so the same events make the same roll-out, wherever a server
// was killed. There is no clock in here, no disk and no network: the time and what
// devices said are handed in.
//
// # Gates
//
// What is not known, or not fresh, is not met: a device is told to install only
// while no gate is shut. One that shuts at a time that is known (a window, a freeze,
// who is there) has to stay open for the worst case, begun as late as the offer lets it. Downloading and staging go on meanwhile, from when its
// ring's turn has come. The gates that a device judges itself are [patch.Demands]'
// own (therapy, version, hardware, power, link, slot, settings), asked here too; the
// others are the hospital's, by its [Plan]. Two people with a reason can relax what
// the plan lets them relax, of those that [Relaxable] names; the others nobody can.
//
// # Halts
//
// A roll-out is halted from the moment on that the events say so, which is before
// somebody wrote down that it is:
//
//   - the first loss of function, in a device's receipt, a person's report, or by
//     therapy that was not seen resumed in time. For good: no roll-out ever offers
//     the release again ([Never]).
//   - the first settings that were lost. A person may let it go on, with a reason,
//     unless the sequential test says that they are lost more often than the bound:
//     then it is for good.
//   - fall-backs, by the sequential test.
//   - silence: devices that do not say in time how their update ended. Each also
//     counts as a fall-back.
//   - a person, with a reason.
//
// All offers are void at once, nothing new is staged; devices in the middle of an
// installation finish it or fall back, and say so.
//
// The sequential test is Wald's: of each result, the logarithm of how much likelier
// it is at the bound than at the usual rate is added up. Above ln((1-β)/α) the bound
// is exceeded, with a chance of α that it only looks so; the sum never goes below
// ln(β/(1-α)), so that ten thousand good results do not hide what goes wrong later.
//
// A ring shows only what its size can show ([Below]): of n updates without a failure,
// a rate of failure below about 3/n, with 95 % confidence (the rule of three). To say
// "below 0.003 %" takes 100,000.
//
// This API follows the server and may change.
package rollout
