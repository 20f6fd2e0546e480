"""Expiry of documents (docs/internals/index-format.md, "Applying a transaction", 5 and 7)."""

import bisect

from json_text import parse
from rows import is_deletion, number, sealed, version_revision, version_time

DUE, SCANNED = 100, 200
DUE_BYTES = 8 * 2**20


class Expiry:
    def __init__(self, fold):
        self.fold = fold
        self.due = []
        """The due rows, sorted by time and stem, then by revision."""
        self.expired = []
        self.before = []
        self.due_from = None
        """The time before which there is no due row; None until there is a rule."""

    def begin(self, in_force):
        """Called before a transaction. Chooses the documents that are scanned with it."""
        self.before = self._next(in_force) if in_force and in_force.scan else []

    def end(self, in_force):
        """Called after the transaction's own operations. Follows the rules that were in force before it."""
        self.due_from = self.due_from or 0
        self._expire(in_force)
        self._scan(in_force)

    def note(self, own, rule, value):
        if not rule.is_about(document_of(value)):
            return
        due = version_time(value) + rule.after
        self.due_from = min(self.due_from or 0, due)
        row = (number(due) + own, version_revision(value))
        at = bisect.bisect_left(self.due, (row[0],))
        is_there = at < len(self.due) and self.due[at][0] == row[0]
        self.due[at : at + is_there] = [row]

    def _expire(self, in_force):
        fold = self.fold
        examined = 0
        for _ in range(DUE):
            if examined >= DUE_BYTES:
                return
            if not self.due or int.from_bytes(self.due[0][0][:8], "big") > fold.time:
                return
            key, revision = self.due.pop(0)
            self.due_from = int.from_bytes(key[:8], "big")
            own = key[8:]
            value = fold.newest.get(own)
            examined += 0 if value is None or is_deletion(value) else len(value)
            rule = in_force.rules.get(own[: own.index(0)].decode())
            if rule is None or value is None or is_deletion(value) or version_revision(value) != revision:
                continue
            if version_time(value) + rule.after <= fold.time and rule.is_about(document_of(value)):
                fold.write(own, None)
                self.expired.append(b"o" + number(fold.tx_id) + own)

    def _next(self, in_force):
        bucket, after = in_force.scan[0]
        begin = bucket.encode() + b"\0"
        behind = bytes.fromhex(after)[1:]
        newest = self.fold.newest
        keys = [own for own in newest if own.startswith(begin) and own > behind and not is_deletion(newest[own])]
        return [(own, newest[own]) for own in sorted(keys)[:SCANNED]]

    def _scan(self, in_force):
        if not in_force.scan:
            return
        first = in_force.scan[0]
        for own, value in self.before:
            if own not in self.fold.named & self.fold.touched:
                self.note(own, in_force.rules[first[0]], value)
        scan = self.fold.policies.scan
        if not scan or scan[0] is not first:
            return
        if len(self.before) < SCANNED:
            del scan[0]
        else:
            scan[0] = (first[0], (b"c" + self.before[-1][0]).hex())

    def rows(self):
        rows = {key: sealed(key) for key in self.expired}
        for key, revision in self.due:
            rows[b"q" + key] = sealed(b"q" + key, number(revision))
        return rows


def document_of(value):
    return parse(value[22:].decode())
