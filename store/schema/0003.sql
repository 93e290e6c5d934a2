-- SPDX-FileCopyrightText: 2026 The Myelin authors
-- SPDX-License-Identifier: Apache-2.0

-- Addresses that somebody split off from a device, which sensors take for one with them.
CREATE TABLE split (
    id        COUNTER,
    kept      TEXT NOT NULL REFERENCES device (id), -- whose they were
    gone      TEXT NOT NULL REFERENCES device (id), -- made for them
    why       TEXT NOT NULL,
    by_whom   TEXT NOT NULL,
    at        NUMBER NOT NULL,
    undone_by TEXT NOT NULL DEFAULT '',
    undone_at NUMBER NOT NULL DEFAULT 0
)TABLE;
CREATE INDEX split_kept ON split (kept);
CREATE INDEX split_gone ON split (gone);

-- The addresses of both sides, as they were: no device has some of each.
CREATE TABLE split_name (
    site  TEXT NOT NULL,
    kind  TEXT NOT NULL,
    value TEXT NOT NULL,
    split NUMBER NOT NULL,
    off   NUMBER NOT NULL, -- 1: it was split off; 0: it stayed
    born  TEXT NOT NULL REFERENCES device (id), -- as identity had it
    PRIMARY KEY (site, kind, value, split)
)TABLEROWS;
CREATE INDEX split_name_split ON split_name (split);
