// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wants says what the value of a flag is to be, by its type.
var wants = map[string]string{
	"bool":        "true, false, or no value",
	"duration":    "a number with a unit, such as 10s or 24h",
	"int":         "a whole number",
	"intSlice":    "whole numbers, separated by commas",
	"stringSlice": "names without quotation marks, separated by commas",
}

// wrongFlag says what is wrong with a flag, and what it wants instead.
func wrongFlag(v *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &value):
		f := value.GetFlag()
		return fmt.Errorf("--%s %s: want %s", f.Name, value.GetValue(), wants[f.Value.Type()])
	case errors.As(err, &missing):
		return wantsValue(missing.GetFlag())
	case errors.As(err, &unknown):
		name, dashes := unknown.GetSpecifiedName(), "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		if like := similar(v, name); like != "" {
			return fmt.Errorf("%s%s: no such flag; is it --%s?", dashes, name, like)
		}
		return fmt.Errorf("%s%s: no such flag; '%s --help' lists them", dashes, name, v.CommandPath())
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: no flag is written like this; '%s --help' lists them", syntax.GetSpecifiedFlag(), v.CommandPath())
	}
	return err
}

// wantsValue says that a flag stands there without its value.
func wantsValue(f *pflag.Flag) error {
	name, usage := pflag.UnquoteUsage(f)
	return fmt.Errorf("--%s: want %s behind it: %s", f.Name, name, usage)
}

// noneEmpty refuses a flag whose value is empty, as when a script's variable is.
func noneEmpty(v *cobra.Command) (err error) {
	v.Flags().Visit(func(f *pflag.Flag) {
		if s := f.Value.String(); err == nil && (s == "" || s == "[]") {
			err = usageError{wantsValue(f)}
		}
	})
	return err
}

// similar returns a flag of the verb with nearly that name, or "". cobra knows
// how far names are from each other, but only of verbs.
func similar(v *cobra.Command, name string) string {
	flags := &cobra.Command{SuggestionsMinimumDistance: 2}
	v.Flags().VisitAll(func(f *pflag.Flag) {
		flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	if like := flags.SuggestionsFor(name); len(name) > 1 && len(like) > 0 {
		return like[0]
	}
	return ""
}
