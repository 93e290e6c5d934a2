// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import "io/fs"

// SetSchema stands for another version of this program, until restore.
func SetSchema(files fs.FS, names []string) (restore func()) {
	was, wasNames := schema, migrations
	schema, migrations = files, names
	return func() { schema, migrations = was, wasNames }
}

// Schema is this version's.
func Schema() (fs.FS, []string) { return schema, migrations }
