"""The two chains (docs/internals/log-format.md, "The chains") and their rows."""

import hashlib

import frame
from rows import number, sealed, short

SPAN = 1024
IN_ROW = 32
NO_LINK = bytes(32)


class Chains:
    def __init__(self):
        self.last = 0
        self.entries = {}
        """By transaction id: what the transaction adds to the history, and to the effects."""
        self.links = {}

    def add(self, payload, nanoseconds, outcome, written, documents):
        """`outcome`: the value of the outcome row; `written`: the sum of the checksums of the versions that were written."""
        self.last += 1
        effect = outcome[:4] + short((written + 2_654_435_761 * documents) % 2**32)
        self.entries[self.last] = (frame.identity(payload, nanoseconds), effect)
        if self.last % SPAN == 0:
            self.links[self.last] = self.at(self.last)

    def at(self, tx_id):
        """Returns the values of both chains at a transaction."""
        before = (tx_id - 1) // SPAN * SPAN
        history, effects = self.links.get(before, (NO_LINK, NO_LINK))
        span = [self.entries[one] for one in range(before + 1, tx_id + 1)]
        identities = b"".join(one for one, _ in span)
        results = b"".join(one for _, one in span)
        return (
            hashlib.sha256(history + identities).digest(),
            hashlib.sha256(effects + results).digest(),
        )

    def rows(self):
        rows = {}
        for tx_id, (history, effects) in self.links.items():
            key = b"k" + number(tx_id)
            rows[key] = sealed(key, history + effects)
        first = max(0, self.last // SPAN - 2) * SPAN + 1
        for begin in range(first, self.last + 1, IN_ROW):
            span = [self.entries[one] for one in range(begin, min(begin + IN_ROW, self.last + 1))]
            key = b"r" + number(begin)
            rows[key] = sealed(key, b"".join(one for one, _ in span) + b"".join(one for _, one in span))
        return rows
