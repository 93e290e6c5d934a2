// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

// The one table of thresholds. Each says what is normal below it.
const (
	second = int64(1e9)
	minute = 60 * second

	// A station that looks for a service tries many addresses that do not
	// answer; a busy server talks to many that do.
	scanTargets = 25          // addresses tried on one port
	scanPorts   = 30          // ports tried at one address
	scanWindow  = 10 * minute // from the first try to the last

	// People mistype a password three or four times, machines do not stop.
	guessFailures = 10
	guessWindow   = 5 * minute
	// Where logins are encrypted, guessing shows as many short sessions.
	guessSessions = 30
	guessBytes    = 16 << 10

	// Care needs the records of one patient at a time, a worklist of a day at most.
	bulkSubjects = 100
	bulkRecords  = 100
	bulkWindow   = 60 * minute

	// A resolver asks many names of one domain, but not dozens of long ones
	// that no two people would type.
	tunnelNames   = 40
	tunnelLength  = 52  // average characters in front of the domain
	tunnelEntropy = 320 // average bits per character, times 100
	tunnelWindow  = 10 * minute
	// One long name with the look of packed bytes (base64 has 6 bits a character,
	// hexadecimal 4, words less) is worth a look by itself.
	tunnelOneName    = 64
	tunnelOneEntropy = 460

	// Malware sleeps evenly between its calls home.
	beaconCalls  = 10
	beaconMin    = 5 * second // between calls
	beaconJitter = 10         // per cent: standard deviation of the time between calls
	beaconBytes  = 64 << 10   // of one call

	// A hardware address that takes over an IP address and loses it again.
	arpFlips  = 2
	arpWindow = 30 * minute
)

// The bounds of the ordered stage. What does not fit is counted, not kept.
const (
	maxSessions  = 65536
	maxClaimsSet = 16384 // findings being collected
	maxTracked   = 16384 // keys of each detector
	maxSubjects  = 65536 // patients counted in one finding
	maxVictims   = 64    // devices that one finding harms
	maxFresh     = 65536 // message ids remembered against replay
)
