-- SPDX-FileCopyrightText: 2026 The Myelin authors
-- SPDX-License-Identifier: Apache-2.0

-- Both engines read this. NUMBER, BYTES, COUNTER, TABLE and TABLEROWS stand for what each calls a
-- number of 64 bits, bytes, a primary key that counts up, and the end of a table (the
-- second: one that is found by its primary key alone).
-- Times are nanoseconds since 1970-01-01 UTC, 0 is never.

-- One row a device. said is what sensors said of it (a device.Device as JSON), told
-- what people did. doc and the columns follow from both, of all that were merged into it.
CREATE TABLE device (
    num         COUNTER, -- of its text
    id          TEXT NOT NULL UNIQUE,
    site        TEXT NOT NULL,
    root        TEXT NOT NULL, -- the device that it was merged into, in the end; else id
    said        BYTES NOT NULL,
    told        BYTES NOT NULL,
    doc         BYTES NOT NULL, -- as a page shows it: a store.Device as JSON
    name        TEXT NOT NULL,
    label       TEXT NOT NULL,
    ward        TEXT NOT NULL,
    owner       TEXT NOT NULL,
    criticality TEXT NOT NULL,
    product     TEXT NOT NULL, -- maker and model
    therapy     TEXT NOT NULL,
    harm        TEXT NOT NULL,
    harm_rank   NUMBER NOT NULL,
    medical     NUMBER NOT NULL,
    first       NUMBER NOT NULL,
    last        NUMBER NOT NULL,
    act         NUMBER NOT NULL DEFAULT 0, -- open findings
    attend      NUMBER NOT NULL DEFAULT 0,
    trackstar   NUMBER NOT NULL DEFAULT 0,
    track       NUMBER NOT NULL DEFAULT 0,
    urgency     NUMBER NOT NULL DEFAULT 0, -- worst open decision, then harm: 10 x (decision + 1) + harm
    version     NUMBER NOT NULL DEFAULT 1
)TABLE;
CREATE INDEX device_urgency ON device (urgency DESC, id) WHERE root = id;
CREATE INDEX device_label ON device (label, id) WHERE root = id;
CREATE INDEX device_ward ON device (ward, urgency DESC, id) WHERE root = id;
CREATE INDEX device_last ON device (last DESC, id) WHERE root = id;
CREATE INDEX device_root ON device (root);
CREATE INDEX device_therapy ON device (therapy, harm, id) WHERE root = id;
CREATE INDEX device_act ON device (urgency DESC, id) WHERE root = id AND act > 0;
CREATE INDEX device_attend ON device (urgency DESC, id) WHERE root = id AND attend > 0;
CREATE INDEX device_trackstar ON device (urgency DESC, id) WHERE root = id AND trackstar > 0;
CREATE INDEX device_track ON device (urgency DESC, id) WHERE root = id AND track > 0;
CREATE INDEX device_product ON device (product, id) WHERE root = id;

-- How many devices have these in common.
CREATE TABLE device_count (
    site TEXT NOT NULL, ward TEXT NOT NULL, therapy TEXT NOT NULL, harm TEXT NOT NULL, medical NUMBER NOT NULL, worst TEXT NOT NULL,
    n NUMBER NOT NULL,
    PRIMARY KEY (site, ward, therapy, harm, medical, worst)
)TABLE;

-- What a device is known by. born is the device that it was given to first, device
-- the root of that. An address that another device has now is not live any more.
CREATE TABLE identity (
    id     COUNTER,
    site   TEXT NOT NULL, -- "" for what is so everywhere
    kind   TEXT NOT NULL,
    value  TEXT NOT NULL,
    born   TEXT NOT NULL REFERENCES device (id),
    device TEXT NOT NULL REFERENCES device (id),
    strong NUMBER NOT NULL,
    live   NUMBER NOT NULL,
    first  NUMBER NOT NULL,
    last   NUMBER NOT NULL
)TABLE;
CREATE UNIQUE INDEX identity_live ON identity (site, kind, value) WHERE live = 1;
CREATE INDEX identity_device ON identity (device);
CREATE INDEX identity_born ON identity (born);

CREATE TABLE merge (
    id        COUNTER,
    kept      TEXT NOT NULL REFERENCES device (id),
    gone      TEXT NOT NULL REFERENCES device (id),
    why       TEXT NOT NULL,
    via       NUMBER NOT NULL, -- identity by which the rules joined them, or 0
    by_whom   TEXT NOT NULL,
    at        NUMBER NOT NULL,
    undone_by TEXT NOT NULL DEFAULT '',
    undone_at NUMBER NOT NULL DEFAULT 0
)TABLE;
CREATE INDEX merge_kept ON merge (kept);
CREATE INDEX merge_gone ON merge (gone);
CREATE INDEX merge_via ON merge (via) WHERE via > 0;

-- Identities of what is in or on a body: sealed with a key that is not in here.
CREATE TABLE worn (
    device  TEXT NOT NULL REFERENCES device (id),
    kind    TEXT NOT NULL,
    sealed  BYTES NOT NULL,
    by_whom TEXT NOT NULL,
    at      NUMBER NOT NULL,
    PRIMARY KEY (device, kind)
)TABLE;

-- What people did to a device.
CREATE TABLE device_step (
    id     COUNTER,
    device TEXT NOT NULL,
    at     NUMBER NOT NULL,
    by_whom TEXT NOT NULL,
    what   TEXT NOT NULL,
    before TEXT NOT NULL,
    after  TEXT NOT NULL,
    reason TEXT NOT NULL
)TABLE;
CREATE INDEX device_step_device ON device_step (device, id);

-- Who talks to whom: client and server are identities.
CREATE TABLE pair (
    id       COUNTER,
    client   NUMBER NOT NULL,
    server   NUMBER NOT NULL,
    protocol TEXT NOT NULL,
    port     NUMBER NOT NULL,
    UNIQUE (client, server, protocol, port)
)TABLE;
CREATE INDEX pair_server ON pair (server);

-- Observations, rolled up. A row is small, and rows of one hour are neighbours: that
-- is what makes writing fast. hour is counted from 1970.
CREATE TABLE talk (
    hour     NUMBER NOT NULL,
    pair     NUMBER NOT NULL,
    packets  NUMBER NOT NULL,
    bytes    NUMBER NOT NULL,
    clear    NUMBER NOT NULL, -- conversations
    sealed   NUMBER NOT NULL, -- encrypted ones
    first    NUMBER NOT NULL,
    last     NUMBER NOT NULL,
    PRIMARY KEY (hour, pair)
)TABLEROWS;

-- doc is a finding.Finding as JSON; the columns follow from it, from its device
-- and from what people decided.
CREATE TABLE finding (
    num           COUNTER, -- of its text
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    born          TEXT NOT NULL, -- device that it was found at, "" for a product
    device        TEXT NOT NULL, -- the root of that
    product       TEXT NOT NULL,
    label         TEXT NOT NULL, -- of the device
    ward          TEXT NOT NULL,
    site          TEXT NOT NULL,
    harm          TEXT NOT NULL,
    decision      TEXT NOT NULL,
    urgency       NUMBER NOT NULL, -- decision, harm, EPSS in one number: 10^7 x decision + 10^6 x harm + EPSS in millionths
    state         TEXT NOT NULL,
    assignee      TEXT NOT NULL DEFAULT '',
    first         NUMBER NOT NULL,
    last          NUMBER NOT NULL,
    changed       NUMBER NOT NULL,
    version       NUMBER NOT NULL DEFAULT 1,
    doc           BYTES NOT NULL
)TABLE;
-- urgency has the decision and the harm in it, so that indexes by it narrow by them, too.
CREATE INDEX finding_urgency ON finding (state, urgency DESC, id);
CREATE INDEX finding_kind ON finding (state, kind, urgency DESC, id);
CREATE INDEX finding_ward ON finding (state, ward, urgency DESC, id);
-- The state is in no index that it would scatter: a triage writes a page for each.
CREATE INDEX finding_last ON finding (last DESC, id);
CREATE INDEX finding_first ON finding (first DESC, id);
CREATE INDEX finding_label ON finding (label, id);
CREATE INDEX finding_name ON finding (kind, id);
CREATE INDEX finding_device ON finding (device, urgency DESC, id);
CREATE INDEX finding_born ON finding (born);
CREATE INDEX finding_changed ON finding (state, changed, urgency, kind, ward);
CREATE INDEX finding_assignee ON finding (assignee) WHERE assignee <> '';
CREATE INDEX finding_product ON finding (product) WHERE device = '';

CREATE TABLE finding_cve (
    cve     TEXT NOT NULL,
    finding TEXT NOT NULL,
    PRIMARY KEY (cve, finding)
)TABLEROWS;
CREATE INDEX finding_cve_finding ON finding_cve (finding);

-- What each sensor counted of a finding: base is from before it began anew.
CREATE TABLE finding_count (
    finding TEXT NOT NULL,
    sensor  TEXT NOT NULL,
    base    NUMBER NOT NULL,
    n       NUMBER NOT NULL,
    PRIMARY KEY (finding, sensor)
)TABLEROWS;

-- How many findings have these in common: every facet is a sum over it.
CREATE TABLE finding_cube (
    state TEXT NOT NULL, decision TEXT NOT NULL, harm TEXT NOT NULL, kind TEXT NOT NULL, ward TEXT NOT NULL, site TEXT NOT NULL,
    n NUMBER NOT NULL,
    PRIMARY KEY (state, decision, harm, kind, ward, site)
)TABLEROWS;

-- Only ever added to.
CREATE TABLE finding_step (
    id            COUNTER,
    finding       TEXT NOT NULL,
    at            NUMBER NOT NULL,
    by_whom       TEXT NOT NULL,
    what          TEXT NOT NULL,
    before        TEXT NOT NULL,
    after         TEXT NOT NULL,
    reason        TEXT NOT NULL,
    justification TEXT NOT NULL,
    undoes        NUMBER NOT NULL DEFAULT 0,
    bulk          NUMBER NOT NULL DEFAULT 0
)TABLE;
CREATE INDEX finding_step_finding ON finding_step (finding, id);
CREATE INDEX finding_step_bulk ON finding_step (bulk) WHERE bulk > 0;

-- What guards decided and did. doc is the event as the ledger has it. Only ever added to.
CREATE TABLE verdict (
    seq     COUNTER,
    guard   TEXT NOT NULL,
    at      NUMBER NOT NULL,
    kind    TEXT NOT NULL,
    about   TEXT NOT NULL, -- the device, as the guard calls it
    verdict TEXT NOT NULL,
    doc     BYTES NOT NULL
)TABLE;
CREATE INDEX verdict_about ON verdict (about, seq);
CREATE INDEX verdict_verdict ON verdict (verdict, seq);
CREATE INDEX verdict_kind ON verdict (kind, seq);
CREATE INDEX verdict_at ON verdict (at);

CREATE TABLE held (
    guard TEXT NOT NULL,
    id    TEXT NOT NULL,
    expires NUMBER NOT NULL,
    doc   BYTES NOT NULL,
    PRIMARY KEY (guard, id)
)TABLE;

CREATE TABLE sensor (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    site     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    key_hash TEXT NOT NULL UNIQUE,
    enrolled NUMBER NOT NULL,
    seen     NUMBER NOT NULL,
    revoked  NUMBER NOT NULL DEFAULT 0,
    beat     BYTES NOT NULL
)TABLE;

-- The number of the last batch of a sensor that was written, by part: a batch is
-- taken apart by device, and each part is written by another consumer.
CREATE TABLE written (
    sensor   TEXT NOT NULL,
    part     NUMBER NOT NULL,
    sequence NUMBER NOT NULL,
    PRIMARY KEY (sensor, part)
)TABLEROWS;

CREATE TABLE enrolment (
    hash    BYTES PRIMARY KEY,
    name    TEXT NOT NULL,
    site    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    by_whom TEXT NOT NULL,
    expires NUMBER NOT NULL
)TABLE;

CREATE TABLE document (
    num      COUNTER, -- of its text
    id       TEXT NOT NULL UNIQUE, -- SHA-256, in hexadecimal
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    said_id  TEXT NOT NULL,
    title    TEXT NOT NULL,
    size     NUMBER NOT NULL,
    added    NUMBER NOT NULL,
    by_whom  TEXT NOT NULL,
    products BYTES NOT NULL,
    content  BYTES NOT NULL
)TABLE;
CREATE INDEX document_added ON document (added DESC, id);

CREATE TABLE person (
    id       COUNTER,
    login    TEXT NOT NULL UNIQUE,
    subject  TEXT NOT NULL,
    doc      BYTES NOT NULL,
    version  NUMBER NOT NULL
)TABLE;
CREATE UNIQUE INDEX person_subject ON person (subject) WHERE subject <> '';

CREATE TABLE token (
    id      COUNTER,
    person  NUMBER NOT NULL REFERENCES person (id),
    name    TEXT NOT NULL,
    hash    BYTES NOT NULL UNIQUE,
    scopes  TEXT NOT NULL,
    expires NUMBER NOT NULL,
    used    NUMBER NOT NULL
)TABLE;

CREATE TABLE session (
    token   TEXT PRIMARY KEY,
    person  NUMBER NOT NULL DEFAULT 0,
    expires NUMBER NOT NULL,
    doc     BYTES NOT NULL
)TABLE;
CREATE INDEX session_expires ON session (expires);
CREATE INDEX session_person ON session (person, expires) WHERE person <> 0;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value BYTES NOT NULL
)TABLE;

-- What programs were told that wrote under a key of their own.
CREATE TABLE answer (
    name    TEXT PRIMARY KEY,
    sum     BYTES NOT NULL,
    done    BYTES,
    expires NUMBER NOT NULL
)TABLE;
CREATE INDEX answer_expires ON answer (expires);

CREATE TABLE lease (
    name    TEXT PRIMARY KEY,
    holder  TEXT NOT NULL,
    expires NUMBER NOT NULL
)TABLE;

-- What is to be told outside, in the order of writing.
CREATE TABLE notice (
    seq     COUNTER,
    finding TEXT NOT NULL,
    what    TEXT NOT NULL,
    at      NUMBER NOT NULL,
    body    BYTES NOT NULL
)TABLE;
