// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy_test

import (
	"context"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/sim/legacy"
)

// Each attack is tried against the device as it was built, and as it should have been.
func ExampleAttack_Try() {
	for i := range legacy.Attacks {
		a := &legacy.Attacks[i]
		if a.Row != "A09" {
			continue
		}
		for _, mended := range []bool{false, true} {
			clock := legacy.NewClock(time.Date(2026, time.March, 3, 6, 0, 0, 0, time.UTC))
			o, err := a.Try(context.Background(), legacy.Config{Mended: mended}, &legacy.Env{Clock: clock, Patience: time.Second})
			fmt.Println(a.Device, o.Hurt, o.How, err)
		}
	}
	// Output:
	// dose-classic true limit raised, 25.000 U ordered, alarm widened, delivery stopped <nil>
	// dose-classic false  <nil>
}
