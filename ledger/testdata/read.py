# SPDX-FileCopyrightText: 2026 The Myelin authors
# SPDX-License-Identifier: Apache-2.0

# Reads a ledger by docs/ledger.md and RFC 6962 alone, with nothing but hashlib:
# python3 read.py FOLDER PROOF. Signatures are not checked: that takes more.
import base64
import hashlib
import os
import sys


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mth(d):  # section 2.1
    if not d:
        return sha()
    if len(d) == 1:
        return sha(b"\0", d[0])
    k = 1
    while 2 * k < len(d):
        k *= 2
    return sha(b"\1", mth(d[:k]), mth(d[k:]))


def path(m, d):  # section 2.1.1
    if len(d) == 1:
        return []
    k = 1
    while 2 * k < len(d):
        k *= 2
    return path(m, d[:k]) + [mth(d[k:])] if m < k else path(m - k, d[k:]) + [mth(d[:k])]


def number(n):
    parts = ["%03d" % (n % 1000)]
    while n >= 1000:
        n //= 1000
        parts.insert(0, "x%03d" % (n % 1000))
    return "/".join(parts)


def name(level, n, width):
    return "tile/%s/%s" % (level, number(n)) + ("" if width == 256 else ".p/%d" % width)


def cut(b, count):
    entries = []
    for _ in range(count):
        n = int.from_bytes(b[:2], "big")
        assert len(b) >= 2 + n
        entries.append(b[2 : 2 + n])
        b = b[2 + n :]
    assert b == b"", "bytes behind the last entry"
    return entries


def read(*parts):
    with open(os.path.join(sys.argv[1], *parts), "rb") as f:
        return f.read()


origin, size, root = read("checkpoint").decode().split("\n\n")[0].split("\n")
size, root = int(size), base64.b64decode(root, validate=True)

entries = []
for n in range((size + 255) // 256):
    width = min(256, size - 256 * n)
    entries += cut(read(name("entries", n, width)), width)
assert mth(entries) == root, "root"

level, below = 0, [sha(b"\0", e) for e in entries]
while below:
    for n in range((len(below) + 255) // 256):
        row = below[256 * n : 256 * n + 256]
        assert read(name(level, n, len(row))) == b"".join(row), "tile %d %d" % (level, n)

    def fold(row):
        while len(row) > 1:
            row = [sha(b"\1", row[i], row[i + 1]) for i in range(0, len(row), 2)]
        return row[0]

    below = [fold(below[i : i + 256]) for i in range(0, len(below) - 255, 256)]
    level += 1

at = None
for file in sorted(os.listdir(os.path.join(sys.argv[1], "journal"))):
    b = read("journal", file)
    assert b[:24] == b"myelin ledger journal 1\n" and sha(b[:48])[:16] == b[48:64]
    mark, first = b[24:40], int.from_bytes(b[40:48], "big")
    assert "%020d" % first == file and at in (None, first)
    assert at is not None or first <= size // 256 * 256
    at, b = first, b[64:]
    while b:
        length, count = int.from_bytes(b[16:20], "big"), int.from_bytes(b[20:24], "big")
        assert b[:16] == mark and int.from_bytes(b[24:32], "big") == at
        body = b[48 : 48 + length]
        assert sha(b[:32], body)[:16] == b[32:48]
        for e in cut(body, count):
            assert at >= size or e == entries[at], "journal, entry %d" % at
            at += 1
        b = b[48 + length :]
assert at >= size

with open(sys.argv[2]) as f:
    head, checkpoint = f.read().split("\n\n", 1)
lines = head.split("\n")
assert lines[0] == "c2sp.org/tlog-proof@v1" and checkpoint.encode() == read("checkpoint")
index = int(lines[2].removeprefix("index "))
assert base64.b64decode(lines[1].removeprefix("extra ")) == entries[index]
assert [base64.b64decode(h) for h in lines[3:]] == path(index, entries)
print("%s has %d entries and %d behind" % (origin, size, at - size))
