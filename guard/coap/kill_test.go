// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

// guardVariable names the folder of a guard that the test's own process is to be.
const guardVariable = "MYELIN_TEST_GUARD"

func runGuard(dir string) {}
