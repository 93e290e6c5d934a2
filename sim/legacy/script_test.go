// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"strings"
	"testing"
)

func TestScript(t *testing.T) {
	s := Script{Device: "calm", Say: []string{"wake", "highest-amplitude message=1 amplitude=1000 amplitude-now=400", "amplitude message=2 amplitude=950 amplitude-now=230"}, Changes: []string{"Amplitude", "Highest"}}
	a, err := s.Attack("A44", "script")
	if err != nil {
		t.Fatal(err)
	}
	o, err := a.Try(context.Background(), Config{}, nil)
	if err != nil || !o.Hurt || !o.Result.Succeeded {
		t.Fatalf("%+v, %v", o, err)
	}
	if !strings.Contains(o.How, "amplitude from 230 to 950") {
		t.Error(o.How)
	}
	o, err = a.Try(context.Background(), Config{Secret: make([]byte, SecretSize)}, &Env{Patience: 1})
	if err != nil || o.Hurt {
		t.Errorf("a device that listens to one alone: %+v, %v", o, err)
	}
	for want, s := range map[string]Script{
		"has no radio":       {Device: "dose-one", Say: []string{"wake"}, Changes: []string{"On"}},
		"no field=value":     {Device: "calm", Say: []string{"wake now"}, Changes: []string{"On"}},
		"wakeup":             {Device: "calm", Say: []string{"wakeup"}, Changes: []string{"On"}},
		"has no Amperes":     {Device: "calm", Say: []string{"wake"}, Changes: []string{"Amperes"}},
		"what has to change": {Device: "calm", Say: []string{"wake"}},
	} {
		if _, err := s.Attack("A44", "script"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
