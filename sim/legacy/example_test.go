// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy_test

import (
	"context"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/sim/legacy"
)

func ExampleAttack_Try() {
	for i := range legacy.Attacks {
		a := &legacy.Attacks[i]
		if a.Row != "A09" {
			continue
		}
		clock := legacy.NewClock(time.Date(2026, time.March, 3, 6, 0, 0, 0, time.UTC))
		o, err := a.Try(context.Background(), legacy.Config{}, &legacy.Env{Clock: clock})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(a.Device, o.Hurt, o.How)
		fmt.Println(o.Device.State().(legacy.PumpState).Suspended, o.Device.Journal()[1])
	}
	// Output:
	// dose-classic true limit raised, 25.000 U ordered, alarm widened, delivery stopped
	// true 2026-03-03T06:00:00.12Z highest bolus 75.000 U
}
