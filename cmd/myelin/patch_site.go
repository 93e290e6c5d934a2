// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/report"
)

func patchExportVerb(c *console) *cobra.Command {
	var site string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "export STICK --site SITE",
		Short:                 "Write a stick with the updates that a site has",
		Long: `Export copies a site's repositories, as far as releases are assigned, and its
receipts to a folder, a stick's. Nothing on it is secret, and nobody has to
trust whoever carries it: 'myelin patch import' verifies it as from the network.
It has to arrive before its timestamps expire.`,
		Example: `  myelin patch export /media/stick --site /var/lib/myelin/updates`,
		Args:    exactly(1, "export wants one folder: a stick's"),
		RunE: func(v *cobra.Command, args []string) error {
			s, err := openSite(site)
			if err != nil {
				return err
			}
			names, err := s.Export(v.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "Written: %s.\n", report.Plain(strings.Join(names, ", ")))
			return err
		},
	}
	v.Flags().StringVar(&site, "site", "", "`DIR` of the site")
	return v
}

func openSite(dir string) (*repo.Site, error) {
	if dir == "" {
		return nil, usageError{errors.New("--site: want the folder where this place keeps its copies of the repositories")}
	}
	return repo.OpenSite(dir)
}

func patchImportVerb(c *console) *cobra.Command {
	var site string
	var trust []string
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "import FROM... --site SITE",
		Short:                 "Bring a site up to date, from a stick or from the network",
		Long: `Import verifies what a stick, a folder or a web server has, and copies it to a
site, from which devices load and sticks are written: both signers, for every
assignment, rollback, freeze and mixtures included. With an error the site goes
on as before. FROM is a stick, or NAME=WHERE for one repository: hospital or
makers/NAME, and its folder or URL. Receipts that devices signed go the other
way: those of the site to the stick, those on the stick to the site, if it has
the keys of the devices in .devices/ID.pub. --trust begins with a root that was
handed over by a way that nobody can alter.`,
		Example: `  myelin patch import /media/stick --site /var/lib/myelin/updates
  myelin patch import hospital=ada/public \
    makers/norra-medical=https://updates.norra.example --site updates`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && len(trust) == 0 {
				return errors.New("import wants a stick, or NAME=WHERE for one repository")
			}
			return atLeast(0, "import wants a stick, or NAME=WHERE for one repository")(nil, args)
		},
		RunE: func(v *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			s, err := openSite(site)
			if err != nil {
				return err
			}
			for _, t := range trust {
				name, file, ok := strings.Cut(t, "=")
				if !ok {
					return usageError{fmt.Errorf("--trust %s: want NAME=FILE", t)}
				}
				root, err := readFile(file, 1<<20)
				if err != nil {
					return err
				}
				if err := s.Trust(name, root); err != nil {
					return err
				}
				c.hint("%s is trusted with the root in %s", name, file)
			}
			if len(args) == 0 {
				return nil
			}
			sources := map[string]repo.Source{}
			var stick *os.Root
			for _, a := range args {
				name, where, one := strings.Cut(a, "=")
				if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
					sources[name] = repo.HTTP{Base: where}
					continue
				}
				if !one {
					where = a
				}
				root, err := os.OpenRoot(where)
				if err != nil {
					return err
				}
				defer root.Close()
				if one {
					sources[name] = repo.Dir{FS: root.FS()}
				} else {
					stick = root
				}
			}
			in, err := s.Import(v.Context(), func(name string) repo.Source {
				if src, ok := sources[name]; ok {
					return src
				}
				if stick != nil {
					if st, err := stick.Stat(name); err == nil && st.IsDir() {
						return repo.Below(repo.Dir{FS: stick.FS()}, name)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			given := 0
			if stick != nil {
				if err := s.TakeReceipts(stick.FS(), in); err != nil {
					return err
				}
				if given, err = s.GiveReceipts(stick.Name()); err != nil {
					c.hint("receipts stay here: %v", said(err))
				}
			}
			for _, err := range in.Unread {
				c.hint("left out: %v", err)
			}
			for _, err := range in.Refused {
				c.hint("receipt refused: %v", err)
			}
			if format.name == "json" {
				err = sayImportedJSON(c, in, given)
			} else {
				err = sayImported(c.out, in, given)
			}
			if err == nil && len(in.Refused) > 0 {
				err = exit(exitError)
			}
			return err
		},
	}
	v.Flags().StringVar(&site, "site", "", "`DIR` where this place keeps its copies of the repositories")
	v.Flags().StringArrayVar(&trust, "trust", nil, "`NAME=FILE`: a root to begin with; repeatable")
	format.register(v, "text", "json")
	return v
}

func sayImported(w io.Writer, in *repo.Imported, given int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Verified, and copied: %s.\n", report.Plain(strings.Join(in.Repositories, ", ")))
	for _, u := range in.Updates {
		fmt.Fprintf(&b, "%s: %s %s, envelope %s\n", report.Plain(u.By), report.Plain(u.Product()), u.Version, u.Release.Envelope)
	}
	for _, folder := range in.Available {
		fmt.Fprintf(&b, "assigned to nobody: %s\n", report.Plain(folder))
	}
	for _, r := range in.Receipts {
		fmt.Fprintf(&b, "receipt: %s is at %s: %s\n", report.Plain(r.State.Device), report.Plain(r.State.Result.Version), r.State.Result.Outcome)
	}
	if given > 0 {
		fmt.Fprintf(&b, "receipts for the stick: %d\n", given)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func sayImportedJSON(c *console, in *repo.Imported, given int) error {
	type update struct {
		By       string `json:"by"`
		Folder   string `json:"folder"`
		Document string `json:"document"`
		Envelope string `json:"envelope"`
	}
	type receipt struct {
		File    string `json:"file"`
		Device  string `json:"device"`
		Version string `json:"version"`
		Outcome string `json:"outcome"`
	}
	j := struct {
		Repositories []string  `json:"repositories"`
		Updates      []update  `json:"updates"`
		Available    []string  `json:"available"`
		Receipts     []receipt `json:"receipts"`
		Given        int       `json:"given"`
		Refused      int       `json:"refused"`
	}{in.Repositories, []update{}, append([]string{}, in.Available...), []receipt{}, given, len(in.Refused)}
	for _, u := range in.Updates {
		j.Updates = append(j.Updates, update{u.By, u.Folder, u.Document.String(), u.Release.Envelope.String()})
	}
	for _, r := range in.Receipts {
		j.Receipts = append(j.Receipts, receipt{r.File, r.State.Device, r.State.Result.Version, r.State.Result.Outcome.String()})
	}
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(j)
}

func patchAssignedVerb(c *console) *cobra.Command {
	var s repo.Subject
	var site, out string
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "assigned --site SITE --device ID [flags]",
		Short:                 "Say what a device is to have, and verify it",
		Long: `Assigned reads a site's copies as a device would: what the hospital assigns to
it or to its ring, held against what the manufacturer released for that product
and hardware. Both have to say the same of the envelope, or nothing is written.`,
		Example: `  myelin patch assigned --site updates --device pump-3 --ring icu \
    --manufacturer 'Norra Medical' --model 'Flow 500' --hardware C --out e.suit`,
		Args: exactly(0, "assigned takes no arguments; --device says which"),
		RunE: func(v *cobra.Command, _ []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if s.Device == "" || s.Manufacturer == "" || s.Model == "" || s.Hardware == "" {
				return usageError{errors.New("assigned wants --device, --manufacturer, --model and --hardware")}
			}
			u, err := verifiedUpdate(v, site, s)
			if errors.Is(err, repo.ErrUnassigned) {
				if format.name == "json" {
					return writeLine(c, struct {
						Assigned bool `json:"assigned"`
					}{})
				}
				_, err = fmt.Fprintln(c.out, "The hospital assigns it nothing.")
				return err
			}
			if err != nil {
				return err
			}
			if out != "" {
				if err := create(out, 0o644, u.Envelope); err != nil {
					return err
				}
			}
			if format.name == "json" {
				e := json.NewEncoder(c.out)
				e.SetIndent("", "  ")
				return e.Encode(struct {
					Assigned bool         `json:"assigned"`
					By       string       `json:"by"`
					Folder   string       `json:"folder"`
					Document string       `json:"document"`
					Release  *repo.Bundle `json:"release"`
				}{true, u.By, u.Folder, u.Document.String(), u.Bundle})
			}
			return sayUpdate(c.out, u)
		},
	}
	registerSubject(v, &site, &s)
	v.Flags().StringVar(&out, "out", "", "`FILE` for the envelope")
	format.register(v, "text", "json")
	return v
}

// registerSubject registers which device it is, and where its updates are.
func registerSubject(v *cobra.Command, site *string, s *repo.Subject) {
	v.Flags().StringVar(site, "site", "", "`DIR` of the site")
	v.Flags().StringVar(&s.Device, "device", "", "`ID` of the device")
	v.Flags().StringArrayVar(&s.Rings, "ring", nil, "`NAME` of a ring that it is in; repeatable")
	v.Flags().StringVar(&s.Manufacturer, "manufacturer", "", "`NAME` of its manufacturer")
	v.Flags().StringVar(&s.Model, "model", "", "`NAME` of its model")
	v.Flags().StringVar(&s.Hardware, "hardware", "", "`REVISION` of its hardware")
}

// verifiedUpdate is what both repositories of a site say of a device.
func verifiedUpdate(v *cobra.Command, site string, s repo.Subject) (*repo.Update, error) {
	place, err := openSite(site)
	if err != nil {
		return nil, err
	}
	hospital, err := place.Client(repo.Hospital, nil, nil)
	if err != nil {
		return nil, err
	}
	maker, err := place.Client(repo.MakerName(s.Manufacturer), nil, nil)
	if err != nil {
		return nil, err
	}
	return repo.FullVerification(v.Context(), maker, hospital, s)
}

func sayUpdate(w io.Writer, u *repo.Update) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", name, report.Plain(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(&b, "%s %s: the manufacturer and the hospital say the same.\n", report.Plain(u.Product()), u.Version)
	line("assigned", "%s", u.By)
	line("envelope", "%s, %d bytes", u.Release.Envelope, u.Size)
	line("replaces", "%s, on hardware %s", strings.Join(u.Demands.From, ", "), strings.Join(u.Demands.Hardware, ", "))
	line("urgency", "%s", u.Urgency)
	if len(u.Advisories) > 0 {
		line("fixes", "%s", strings.Join(u.Advisories, ", "))
	}
	line("therapy", "in backup mode for %v at most; %v in the worst case", u.Demands.Backup, u.Demands.Longest)
	line("there", "%s", u.Demands.Supervision)
	if u.Demands.Battery > 0 {
		line("battery", "%d %% at least", u.Demands.Battery)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
