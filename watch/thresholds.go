// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

// The one table of thresholds. Each says what is normal below it.
const (
	second = int64(1e9)
	minute = 60 * second

	// A station that looks for a service tries many addresses that do not
	// answer; a busy server, and one that watches others, reaches more than it
	// misses. Who comes back to the same target again and again checks whether
	// it is still there, and searches nothing.
	scanTargets = 25          // addresses tried on one port
	scanPorts   = 30          // ports tried at one address
	scanWindow  = 10 * minute // from the first try to the last
	scanPackets = 12          // of a conversation that came to nothing
	checkVisits = 4           // of a target that is open, or answers no datagrams
	// Scanners send two or three datagrams to a port that does not answer; what
	// streams, reports or keeps alive sends more.
	scanDatagrams = 4

	// People mistype a password three or four times, machines do not stop. A
	// server for many people may add theirs up: only so many are sure.
	guessFailures = 10
	guessSure     = 30
	guessWindow   = 5 * minute
	// Where logins are encrypted, guessing shows as many short sessions.
	guessSessions = 30
	guessBytes    = 16 << 10

	// Care needs the records of one patient at a time, a worklist of a day at
	// most. An archive may fill itself from another in one night: it serves
	// records itself, and asks for them to its own name.
	bulkSubjects = 100
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

	// Malware sleeps evenly between its calls home; so does a maker's remote
	// service. What tells them apart on a wire is a name: a service asks for its
	// server by name, over TLS, and shows no certificate that is false. Such
	// calls are nothing to report unless a baseline says that they are new.
	// Datagrams at even times keep clocks, names, telephones and tunnels alive:
	// what detect_network.go lists as regular does not count.
	beaconCalls  = 10         // intervals in a row
	beaconMin    = 5 * second // between calls
	beaconJitter = 10         // per cent: standard deviation of the time between calls
	beaconBreak  = 1.5        // an interval so many times longer or shorter begins a new row
	beaconBytes  = 64 << 10   // of one call

	// A hardware address that takes over an IP address and loses it again. A
	// pair that stands in for each other does it once in a while, a liar every
	// few seconds.
	arpFlips  = 2
	arpSure   = 4
	arpWindow = 30 * minute

	// A client hears both servers of its network within seconds.
	rogueWindow = minute
	maxOffers   = 8 // servers of one network

	// A programmer wakes an implant once or a few times in a session, a home
	// monitor once a night. Somebody who empties a battery does it all the time.
	wakeFlood = 30 // within a minute

	// A radio repeats a frame at once when its answer does not come. Who replays
	// one comes back later.
	resendWindow = 2 * second

	// Two receivers of one frame write it down by clocks of their own, which nobody
	// has set since the morning.
	clockSkew = 10 * second

	// A cable, a rewriting firewall or a broken stack explain one or two.
	overlapSure = 3
)

// The bounds of the ordered stage. What does not fit is counted, not kept.
const (
	maxSessions    = 32768
	maxClaims      = 8192    // findings being collected
	maxTracked     = 8192    // rows of each detector
	maxSubjects    = 65536   // patients counted in one finding
	maxAllSubjects = 1 << 18 // patients remembered in all, by findings and detectors
	maxTargets     = 1024    // of one scan
	maxAllTargets  = 65536   // of all scans that were found
	maxPeers       = 20      // other sides that one finding names
	maxVictims     = 64      // devices that one finding harms
	maxFresh       = 65536   // message ids remembered against replay
)
