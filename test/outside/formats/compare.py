"""Compares an index with the fold of its log, row by row."""

import json
import shutil
import tempfile

import plyvel

import bounds
from rows import joined, number, outcomes_in, problem, sealed, state

LATER = ("superseded", "sweep", "cleaned", "pruned")


def read_index(folder):
    """Reads all rows. Works on a copy of the folder, since LevelDB writes to a database when it opens it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(folder, f"{scratch}/index", ignore=shutil.ignore_patterns("unchecked", "LOCK"))
        with plyvel.DB(copy, paranoid_checks=True) as database:
            return dict(database)


def differences(fold, rows):
    """Returns a sentence for each difference, and the number of rows that history bounds removed."""
    rows = joined(rows)
    wrong = [f"{_named(key)}: {why}" for key, value in rows.items() if (why := problem(key, value)) is not None]
    # Which outcomes share a row differs between nodes.
    rows = {key: value for key, value in rows.items() if key[:1] != b"t"} | outcomes_in(rows)
    expected = fold.rows()
    # While fields are being built, their rows differ between nodes.
    if any(key[:1] in b"bz" for key in rows):
        rows = {key: value for key, value in rows.items() if key[:1] not in b"bzfv"}
        expected = {key: value for key, value in expected.items() if key[:1] not in b"fv"}
    wrong += _state(fold, state(rows.get(b"mstate", b"")) or {})
    gone = [key for key in expected if key not in rows and key[:1] in b"hd" and bounds.may_be_gone(fold, key)]
    for key in gone:
        del expected[key]
    wrong += _holes(fold, gone, rows)
    if gone:
        wrong += _counters(fold, gone, rows, expected)
    for key in sorted(expected.keys() | rows.keys() - {b"mstate", b"mpurged"}):
        if key not in rows:
            wrong.append(f"{_named(key)} is missing")
        elif key not in expected:
            wrong.append(f"{_named(key)} should not be there")
        elif rows[key] != expected[key]:
            wrong.append(f"{_named(key)} is {rows[key].hex()[:120]}, not {expected[key].hex()[:120]}")
    return wrong, len(gone)


def _state(fold, found):
    expected = fold.state()
    seen = {name: value for name, value in found.items() if name not in LATER and name != "crc32c"}
    names = [name for name in expected.keys() | seen.keys() if expected.get(name) != seen.get(name)]
    return [f"the state's {name} is {seen.get(name)}, not {expected.get(name)}" for name in names]


def _holes(fold, gone, rows):
    """Bounds remove the oldest versions of a key first."""
    wrong = []
    for key in gone:
        older = [b"h" + key[1:-8] + number(one) for one in fold.versions.get(key[1:-8], {}) if number(one) < key[-8:]]
        if key[:1] == b"h" and any(one in rows for one in older):
            wrong.append(f"{_named(key)} is missing, but older ones exist")
    return wrong


def _counters(fold, gone, rows, expected):
    """Once history has been removed, a bucket's counters state where the complete history begins."""
    wrong = []
    for bucket in {key[1 : key.index(0)] for key in gone}:
        key = b"n" + bucket
        value = rows.get(key, b"")
        documents, _ = fold.buckets[bucket]
        tombstones = sum(one.startswith(b"d" + bucket + b"\0") for one in rows)
        *counted, floor, dropped = json.loads(value[4:] or b"[0,0,0,0]")
        if counted != [documents, tombstones]:
            wrong.append(f"{_named(key)} has wrong counts")
        for one in gone:
            if one[1 : one.index(0)] == bucket and not bounds.is_announced(fold, one, floor, dropped):
                wrong.append(f"{_named(key)} does not say that {_named(one)} is gone")
        expected[key] = sealed(key, value[4:])
    return wrong


def _named(key):
    return f"row {key[:1].decode('latin-1')} {key[1:].hex()}"
