-- SPDX-FileCopyrightText: 2026 The Myelin authors
-- SPDX-License-Identifier: Apache-2.0

-- What a guard said last of what holds there. doc is JSON of package guard's.
CREATE TABLE guard_state (
    guard TEXT PRIMARY KEY,
    at    NUMBER NOT NULL,
    doc   BYTES NOT NULL
)TABLE;

-- Who approved the limits of a device, as a file of this digest has them. Only ever added to.
CREATE TABLE approval (
    guard  TEXT NOT NULL,
    device TEXT NOT NULL, -- as the guard calls it
    digest TEXT NOT NULL,
    person TEXT NOT NULL,
    role   TEXT NOT NULL,
    reason TEXT NOT NULL,
    at     NUMBER NOT NULL,
    PRIMARY KEY (guard, device, digest, person)
)TABLE;
