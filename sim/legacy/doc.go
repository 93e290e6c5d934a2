// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package legacy has live devices of the ward's story that protect nothing.
//
// This API follows the server and may change.
package legacy
