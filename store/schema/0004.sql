-- SPDX-FileCopyrightText: 2026 The Myelin authors
-- SPDX-License-Identifier: Apache-2.0

-- Which keys speak for which devices when these ask for updates. A gateway's speaks for several.
CREATE TABLE update_key (
    kid     BYTES NOT NULL, -- the first 8 bytes of its thumbprint
    device  TEXT NOT NULL,
    doc     BYTES NOT NULL, -- a COSE_Key, public
    by_whom TEXT NOT NULL,
    at      NUMBER NOT NULL,
    revoked NUMBER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, kid)
)TABLE;
CREATE INDEX update_key_kid ON update_key (kid);

-- What a device said last of itself. A row is small, and written each time that it asks.
CREATE TABLE update_member (
    num      COUNTER,
    device   TEXT NOT NULL UNIQUE,
    counter  NUMBER NOT NULL, -- the State's Count, which only rises
    seen     NUMBER NOT NULL,
    kid      BYTES NOT NULL,
    version  TEXT NOT NULL,
    sequence NUMBER NOT NULL,
    state    BYTES NOT NULL -- a patch.State, as it was signed
)TABLE;

-- Versions that makers published and somebody here took in. doc is a patch.Release as JSON.
CREATE TABLE update_release (
    envelope TEXT PRIMARY KEY, -- SHA-256, in hexadecimal
    product  TEXT NOT NULL, -- maker and model
    version  TEXT NOT NULL,
    sequence NUMBER NOT NULL,
    path     TEXT NOT NULL, -- of the envelope, below /update/v1/
    by_whom  TEXT NOT NULL,
    at       NUMBER NOT NULL,
    doc      BYTES NOT NULL
)TABLE;
CREATE INDEX update_release_product ON update_release (product, sequence);

-- How much the patient who has a device now depends on it, as a clinician judged.
CREATE TABLE update_unit (
    device     TEXT PRIMARY KEY,
    dependency TEXT NOT NULL,
    by_whom    TEXT NOT NULL,
    at         NUMBER NOT NULL
)TABLE;

-- Releases on their way through a fleet. doc has the plan, and the devices as they were
-- when it was made; what became of it since are its events.
CREATE TABLE rollout (
    num      COUNTER,
    id       TEXT NOT NULL UNIQUE,
    envelope TEXT NOT NULL,
    by_whom  TEXT NOT NULL,
    at       NUMBER NOT NULL,
    doc      BYTES NOT NULL
)TABLE;

-- What was decided and what came of it, as the ledger has it. Only ever added to.
CREATE TABLE rollout_event (
    seq     COUNTER,
    rollout TEXT NOT NULL,
    device  TEXT NOT NULL, -- or ''
    kind    TEXT NOT NULL,
    at      NUMBER NOT NULL,
    doc     BYTES NOT NULL
)TABLE;
CREATE INDEX rollout_event_rollout ON rollout_event (rollout, seq);
CREATE INDEX rollout_event_device ON rollout_event (device, seq) WHERE device <> '';
