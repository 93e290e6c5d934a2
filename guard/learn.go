// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/myelin-health/myelin/guard/front"
)

// learnedFile has what the fronts were used for, in the folder of the state.
const learnedFile = "learned.json"

// maxLearned bounds it: all uses with six long fields each.
const maxLearned = 8 << 20

// A learned file.
type learned struct {
	Learned int   `json:"learned"` // 1
	Lost    int64 `json:"lost"`    // uses that had no room
	Uses    []use `json:"uses"`
}

type use struct {
	Front  string   `json:"front"`
	Fields []string `json:"fields"`
	Count  int64    `json:"count"`
}

// readLearned reads what was learned; a file that is not there is an empty one,
// and one that is damaged is put aside: it guards nothing.
func readLearned(file string) (rows []front.Counted, lost int64, err error) {
	b, err := readFile(file, maxLearned)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var l learned
	if err := json.Unmarshal(b, &l); err != nil || l.Learned != 1 {
		return nil, 0, os.Rename(file, file+".damaged")
	}
	for _, u := range l.Uses {
		c := front.Counted{Use: front.Use{Front: u.Front}, Count: u.Count}
		copy(c.Fields[:], u.Fields)
		rows = append(rows, c)
	}
	return rows, l.Lost, nil
}

// writeLearned writes it in one step.
func writeLearned(file string, rows []front.Counted, lost int64) error {
	l := learned{Learned: 1, Lost: lost, Uses: []use{}}
	for _, r := range rows {
		fields := r.Fields[:]
		for len(fields) > 0 && fields[len(fields)-1] == "" {
			fields = fields[:len(fields)-1]
		}
		l.Uses = append(l.Uses, use{r.Front, fields, r.Count})
	}
	b, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return err
	}
	half := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"."+rand.Text()[:8])
	err = os.WriteFile(half, append(b, '\n'), 0o600)
	if err == nil {
		err = os.Rename(half, file)
	}
	if err != nil {
		os.Remove(half)
	}
	return err
}

// A Proposal is what a front could be allowed, from what was seen.
type Proposal struct {
	Front string
	Kind  string
	Seen  int64    // uses, all together
	Kinds int      // different ones
	Lines []string // of YAML, for the front's section; none when nothing was seen
	Lost  int64    // different uses that had no room, of all fronts
}

// Propose says what the fronts, or the one that is named, were used for, as
// lists for their sections. It proposes what happened, not what is right.
func Propose(c *Configuration, name string) ([]Proposal, error) {
	rows, lost, err := readLearned(filepath.Join(c.State, learnedFile))
	if err != nil {
		return nil, err
	}
	var out []Proposal
	for _, p := range c.Fronts {
		s := p.Common()
		if name != "" && s.Name != name {
			continue
		}
		q := Proposal{Front: s.Name, Kind: s.Kind, Lost: lost}
		var uses []front.Counted
		for _, r := range rows {
			if r.Front == s.Name {
				uses = append(uses, r)
				q.Seen += r.Count
			}
		}
		q.Kinds = len(uses)
		if len(uses) > 0 {
			if propose := kinds[s.Kind].propose; propose != nil {
				q.Lines = propose(p, uses)
			} else {
				q.Lines = plainUses(uses)
			}
		}
		out = append(out, q)
	}
	if name != "" && len(out) == 0 {
		return nil, fmt.Errorf("there is no front %s in %s", name, c.File)
	}
	return out, nil
}

// plainUses lists uses as comments, where a kind has no list for them.
func plainUses(uses []front.Counted) (lines []string) {
	for _, u := range uses {
		lines = append(lines, fmt.Sprintf("# %6d  %s", u.Count, strings.TrimSpace(strings.Join(u.Fields[:], "  "))))
	}
	return lines
}
