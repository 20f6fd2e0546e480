"""History bounds: which versions of a key a policy may have removed (docs/internals/index-format.md, "History bounds")."""

from rows import is_deletion, version_revision, version_time

EVERY, RECENT = 64, 1000


def may_be_gone(fold, key):
    """Returns whether a row that a fold without bounds has may be missing."""
    is_tombstone = key[:1] == b"d"
    own = key[1:] if is_tombstone else key[1:-8]
    bucket = own[: own.index(0)].decode()
    past = [value for _, value in sorted(fold.versions.get(own, {}).items())] + [fold.newest[own]]
    at = len(past) - 1 if is_tombstone else [version_revision(one) for one in past].index(int.from_bytes(key[-8:], "big"))
    value = past[at]
    for tx_id in range(EVERY, fold.tx_id + 1, EVERY):
        bound = _in_force(fold, tx_id, bucket)
        if bound is None:
            continue
        keep, age = bound
        seen = [one for one in past[at + 1 :] if version_revision(one) < tx_id]
        if not seen and is_deletion(value) and _is_beyond(fold, tx_id, value, age):
            return True
        # The newest of these versions has not been superseded yet.
        if seen and (_is_beyond(fold, tx_id, seen[0], age) or (_is_old(tx_id, seen[0]) and len(seen) - 1 >= keep)):
            return True
    return False


def _in_force(fold, tx_id, bucket):
    set_before = [one for one in fold.all_policies if one.revision < tx_id]
    return set_before[-1].history(bucket) if set_before else None


def _is_old(tx_id, value):
    return version_revision(value) <= tx_id - RECENT


def _is_beyond(fold, tx_id, value, age):
    return _is_old(tx_id, value) and version_time(value) + age <= fold.times[tx_id]


def is_announced(fold, key, floor, dropped):
    """Returns whether a bucket's counters declare the history of a missing row incomplete."""
    own = key[1:] if key[:1] == b"d" else key[1:-8]
    versions = fold.versions.get(own, {})
    value = fold.newest[own] if key[:1] == b"d" else versions[int.from_bytes(key[-8:], "big")]
    revision = version_revision(value)
    later = [one for one in [*versions, version_revision(fold.newest[own])] if one > revision]
    return (is_deletion(value) and revision <= dropped) or (bool(later) and min(later) <= floor)
