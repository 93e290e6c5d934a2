// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import "math"

// Confidence is that of [Below].
const Confidence = 0.95

// Below is what n updates of which so many failed show: a rate of failure below this,
// with 95 % confidence (the upper bound of Clopper and Pearson, one-sided). Without a
// failure it is about 3/n, the rule of three. Of no update it is 1: nothing is shown.
func Below(n, failed int) float64 {
	if n <= 0 || failed >= n {
		return 1
	}
	low, high := float64(failed)/float64(n), 1.0
	for range 60 { // halvings: more than a float64 has bits of fraction
		if p := (low + high) / 2; atMost(n, failed, p) > 1-Confidence {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost is the chance of at most k failures in n at a rate of p, inside (0, 1).
func atMost(n, k int, p float64) float64 {
	term := float64(n) * math.Log1p(-p) // the logarithm of the chance of none
	odds := math.Log(p) - math.Log1p(-p)
	sum := math.Exp(term)
	for i := 1; i <= k; i++ {
		term += math.Log(float64(n-i+1)/float64(i)) + odds
		sum += math.Exp(term)
	}
	return sum
}

// A walk is a sequential probability ratio test (A. Wald, Sequential Analysis, 1947,
// chapter 3) that goes on after it accepted: it stays at the lower bound.
type walk struct {
	good, bad float64 // what a result adds
	low, high float64
	at        float64
}

func newWalk(r Rate, b *Bounds) walk {
	usual, most, alpha, beta := r.Usual/100, r.Most/100, b.Alpha/100, b.Beta/100
	return walk{
		good: math.Log1p(-most) - math.Log1p(-usual),
		bad:  math.Log(most / usual),
		low:  math.Log(beta / (1 - alpha)),
		high: math.Log((1 - beta) / alpha),
	}
}

// step adds a result.
func (w *walk) step(bad bool) {
	if bad {
		w.at += w.bad
	} else {
		w.at = max(w.at+w.good, w.low)
	}
}

// exceeded reports whether the rate is above its bound.
func (w *walk) exceeded() bool { return w.at >= w.high }
