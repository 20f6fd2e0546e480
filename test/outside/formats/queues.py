"""The rules of queues (docs/queues.md; docs/internals/log-format.md, "Reasons of queues") and their rows (docs/internals/index-format.md)."""

import copy
import datetime

from json_text import field_of, field_text, parse, rewritten, stringify
from message import HELD
from policies import milliseconds
from rows import number, part, sealed, sealed_json, short, stem

ACTIVE, DRAINING, RETIRING = range(3)
STATES = ("active", "draining", "retiring")
SLICE, SLICE_BYTES = 256, 8 * 2**20


class Aborted(Exception):
    """An operation breaks a rule. The text is the reason in the outcome."""


class Shard:
    def __init__(self):
        self.state, self.entries, self.open = ACTIVE, 0, 0
        self.epoch, self.until, self.holder = 0, 0, ""

    def row(self, queue, shard):
        key = b"s" + queue.encode() + b"\0" + short(shard)
        held = [self.holder, self.until] if self.holder else []
        return key, sealed_json(key, [STATES[self.state], self.entries, self.open, self.epoch, *held])

    def hold(self, epoch, until, holder):
        self.epoch, self.until, self.holder = epoch, until, holder

    def let_go(self):
        self.until, self.holder = 0, ""


class Place:
    def __init__(self, shard, tx_id, at):
        self.shard, self.is_open, self.created, self.moved = shard, False, (tx_id, at), None
        """`moved`: the shard from which the entry last came, and the transaction that moved it."""

    def row(self, queue, name):
        key = b"p" + queue.encode() + b"\0" + part(name)
        return key, sealed_json(key, [self.shard, self.is_open, *self.created, *(self.moved or ())])

    def open_row(self, queue, name):
        key = b"a" + queue.encode() + b"\0" + short(self.shard) + self._origin()
        return key, sealed(key, name.encode())

    def _origin(self):
        return number(self.created[0]) + short(self.created[1])


class Queues:
    """All queues. A transaction works on a copy, which replaces the original if it commits."""

    def __init__(self, fold):
        self.fold = fold
        self.shards, self.places = {}, {}
        """By queue: its shards by number, and the places of its entries by name."""
        self.retiring = []

    def copy(self):
        other = Queues(self.fold)
        other.shards = {queue: {shard: copy.copy(found) for shard, found in shards.items()} for queue, shards in self.shards.items()}
        other.places = {queue: dict(places) for queue, places in self.places.items()}
        other.retiring = list(self.retiring)
        return other

    def apply(self, ops, policy_of):
        """Applies the operations on queues. `policy_of` returns a queue's policy in force. Raises Aborted."""
        self.policy_of = policy_of
        self.written, self.evicted = set(), set()
        self.writes, self.enqueued = [], []
        """`writes`: for each operation, what it writes: stems and documents; None for a deletion."""
        for at, one in enumerate(ops):
            before = len(self.writes)
            self.at = at
            policy = policy_of(one.bucket) if one.bucket else None
            is_operation = one.op in OPERATIONS or (one.op in ("put", "delete") and one.epoch is not None)
            if policy is None and is_operation:
                raise Aborted(f"{one.bucket} is not a queue")
            if policy is not None and one.op != "match":
                getattr(self, f"_{one.op}")(policy, one)
            self.writes[before:] = [(at, *write) for write in self.writes[before:]]

    def _claim(self, policy, one):
        shard = self._existing(policy, one, spare=True)
        if shard is not None and self._is_held(shard):
            raise Aborted(self._held_by(one.bucket, one.shard, shard))
        if shard is None:
            shard = self._open_up(one.bucket, one.shard)
        shard.state = ACTIVE
        self._hold(policy, one, shard)

    def _renew(self, policy, one):
        shard = self._existing(policy, one)
        self._check_epoch(one, shard)
        shard.until = self.fold.time + milliseconds(policy["lease"])

    def _release(self, policy, one):
        shard = self._existing(policy, one)
        self._check_epoch(one, shard)
        shard.let_go()
        shard.state = ACTIVE

    def _drain(self, policy, one):
        shard = self._existing(policy, one)
        draining = [(place, found) for place, found in self.shards[one.bucket].items() if found.state == DRAINING]
        for place, found in draining:
            if self._is_held(found):
                raise Aborted(self._held_by(one.bucket, place, found))
            found.state, found.epoch = ACTIVE, self.fold.tx_id
            found.let_go()
        shard.state = DRAINING
        self._hold(policy, one, shard)

    def _retire(self, policy, one):
        shard = self._existing(policy, one)
        self._check_epoch(one, shard)
        if shard.state != DRAINING:
            raise Aborted(f"{one.bucket} shard {one.shard} is active")
        if shard.open:
            raise Aborted(f"{one.bucket} shard {one.shard} has {shard.open} open")
        shard.state = RETIRING
        shard.let_go()
        self.retiring.append((one.bucket, one.shard))

    def _enqueue(self, policy, one):
        name = one.key
        self._once(one.bucket, name)
        place = self._places(one.bucket).get(name)
        if place is not None:
            raise Aborted(f"{one.bucket} {name} is in shard {place.shard}")
        shards = self.shards.setdefault(one.bucket, {})
        roomy = [(found.open, shard) for shard, found in shards.items() if found.state == ACTIVE and found.entries < policy["cap"]]
        spare = [shard for shard in range(int(policy["shards"])) if shard not in shards]
        if not roomy and not spare:
            raise Aborted(f"{one.bucket} has no active shard below its cap ({int(policy['cap'])}) and no spare one")
        is_opening = len(spare) > 1 or not roomy
        shard = spare[0] if is_opening else min(roomy)[1]
        if is_opening:
            self._open_up(one.bucket, shard)
        self.enqueued.append(shard)
        self._create(policy, one.bucket, shard, name, one.document)

    def _put(self, policy, one):
        shard, name = self._split(one)
        place = self._written_here(one.bucket, shard, name)
        if one.epoch is not None:
            self._check_epoch(one, self._existing(policy, one, shard))
        if place is None:
            self._check_target(policy, one.bucket, shard)
            self._create(policy, one.bucket, shard, name, one.document)
            return
        if one.epoch is None:
            raise Aborted(f"{one.bucket} {one.key} is written only with the epoch of its shard")
        self.places[one.bucket][name] = place = copy.copy(place)
        self._set_open(policy, one.bucket, place, one.document)
        self.writes.append((stem(one.bucket, one.key), one.document))

    def _delete(self, policy, one):
        shard, name = self._split(one)
        place = self._written_here(one.bucket, shard, name)
        if one.epoch is None:
            raise Aborted(f"{one.bucket} {one.key} is written only with the epoch of its shard")
        self._check_epoch(one, self._existing(policy, one, shard))
        if place is not None:
            self._remove(one.bucket, name)
            self.writes.append((stem(one.bucket, one.key), None))

    def _move(self, policy, one):
        shard, name = self._split(one)
        place = self._written_here(one.bucket, shard, name)
        found = self._existing(policy, one, shard)
        self._check_epoch(one, found)
        if found.state != DRAINING:
            raise Aborted(f"{one.bucket} shard {shard} is active")
        if place is None:
            raise Aborted(f"{one.bucket} {one.key} is absent")
        self._check_target(policy, one.bucket, one.shard)
        document = self.fold.newest[stem(one.bucket, one.key)][22:]
        self._remove(one.bucket, name)
        place = copy.copy(place)
        place.shard, place.moved = one.shard, (shard, self.fold.tx_id)
        target = self.shards[one.bucket][one.shard]
        target.entries += 1
        target.open += place.is_open
        self.places[one.bucket][name] = place
        self.writes.append((stem(one.bucket, one.key), None))
        self.writes.append((stem(one.bucket, f"{one.shard}/{name}"), document))

    def _evict(self, _, one):
        namespace, name = one.key.split("/", 1)
        if (one.bucket, name) not in self.evicted:
            self._once(one.bucket, name)
        self.evicted.add((one.bucket, name))
        if is_shard(namespace) and name in self._places(one.bucket):
            self._remove(one.bucket, name)

    def keys_of(self, one, state=None):
        """Returns the stems of all keys that the entry may have, or of those in shards with a state. An eviction names any."""
        namespace, name = one.key.split("/", 1)
        shards = self.shards.get(one.bucket, {}).items() if is_shard(namespace) else ()
        return [stem(one.bucket, f"{number}/{name}") for number, shard in shards if state in (None, shard.state)]

    def _places(self, queue):
        return self.places.setdefault(queue, {})

    def _once(self, queue, name):
        if (queue, name) in self.written:
            raise Aborted(f"{queue} {name} is written twice")
        self.written.add((queue, name))

    def _split(self, one):
        namespace, name = one.key.split("/", 1)
        if not is_shard(namespace):
            raise Aborted(f"{one.bucket} has no shard {namespace}")
        return int(namespace), name

    def _written_here(self, queue, shard, name):
        self._once(queue, name)
        place = self._places(queue).get(name)
        if place is not None and place.shard != shard:
            raise Aborted(f"{queue} {name} is in shard {place.shard}")
        return place

    def _existing(self, policy, one, shard=None, spare=False):
        """Returns a shard in use; None for a spare one, if `spare`."""
        shard = one.shard if shard is None else shard
        if shard >= policy["shards"]:
            raise Aborted(f"{one.bucket} has no shard {shard}")
        found = self.shards.setdefault(one.bucket, {}).get(shard)
        if found is None and not spare:
            raise Aborted(f"{one.bucket} shard {shard} is spare")
        if found is not None and found.state == RETIRING:
            raise Aborted(f"{one.bucket} shard {shard} is retiring")
        return found

    def _check_epoch(self, one, shard):
        where = f"{one.bucket} shard {one.shard if one.op in HELD else one.key.split('/')[0]}"
        if one.epoch < shard.epoch:
            raise Aborted(f"{where} epoch {one.epoch} was fenced by {shard.epoch}")
        if one.epoch > shard.epoch:
            raise Aborted(f"{where} has no epoch {one.epoch}")
        if not shard.holder:
            raise Aborted(f"{where} epoch {one.epoch} has ended")
        if one.holder is not None and one.holder != shard.holder:
            raise Aborted(f"{where} epoch {one.epoch} belongs to {stringify(shard.holder)}")

    def _check_target(self, policy, queue, shard):
        if shard >= policy["shards"]:
            raise Aborted(f"{queue} has no shard {shard}")
        found = self.shards.setdefault(queue, {}).get(shard)
        if found is None or found.state != ACTIVE:
            raise Aborted(f"{queue} shard {shard} is {'spare' if found is None else STATES[found.state]}")
        if found.entries >= policy["cap"]:
            raise Aborted(f"{queue} shard {shard} is full ({int(policy['cap'])})")

    def _is_held(self, shard):
        return shard.holder != "" and shard.until > self.fold.time

    def _held_by(self, queue, shard, found):
        until = datetime.datetime.fromtimestamp(found.until / 1000, datetime.timezone.utc).isoformat(timespec="milliseconds")
        how = "drained" if found.state == DRAINING else "directed"
        return f"{queue} shard {shard} is {how} by {stringify(found.holder)}, epoch {found.epoch}, until {until.replace('+00:00', 'Z')}"

    def _hold(self, policy, one, shard):
        shard.hold(self.fold.tx_id, self.fold.time + milliseconds(policy["lease"]), one.holder)

    def _open_up(self, queue, shard):
        self.shards.setdefault(queue, {})[shard] = found = Shard()
        return found

    def _create(self, policy, queue, shard, name, document):
        self.places[queue][name] = place = Place(shard, self.fold.tx_id, self.at)
        self.shards[queue][shard].entries += 1
        self._set_open(policy, queue, place, document)
        self.writes.append((stem(queue, f"{shard}/{name}"), document))

    def _set_open(self, policy, queue, place, document):
        is_open = not is_finished(policy, document)
        self.shards[queue][place.shard].open += is_open - place.is_open
        place.is_open = is_open

    def _remove(self, queue, name):
        place = self.places[queue].pop(name)
        self.shards[queue][place.shard].entries -= 1
        self.shards[queue][place.shard].open -= place.is_open

    def check_policies(self, before, after, ops):
        """Raises Aborted if the queues of policies cannot take the place of those before."""
        for queue in sorted({*before, *after}):
            old, new = before.get(queue), after.get(queue)
            if old is not None and new is not None and rewritten(old) == rewritten(new):
                continue
            if any(one.bucket == queue and one.op != "match" for one in ops):
                raise Aborted(f"{queue} is written by the transaction that changes its policy")
            shards = self.shards.get(queue, {})
            if new is None:
                if shards:
                    raise Aborted(f"{queue} has shards that are not spare ({len(shards)}): drain and retire them before removing the queue")
            elif old is None:
                documents, tombstones = self.fold.buckets.get(queue.encode(), (0, 0))
                if documents or tombstones:
                    raise Aborted(f"{queue} is not empty (documents: {documents}, deleted keys: {tombstones}): a queue begins in an empty bucket, so use another one or evict them")
            else:
                self._check_change(queue, old, new, shards)

    def _check_change(self, queue, old, new, shards):
        gone = [shard for shard in shards if shard >= new["shards"]]
        if gone:
            raise Aborted(f"{queue} shard {max(gone)} is not spare: drain and retire it before reducing shards to {int(new['shards'])}")
        entries = sum(shard.entries for shard in shards.values())
        if terminal_of(old) != terminal_of(new) and entries:
            raise Aborted(f"{queue} has entries ({entries}): terminal changes only while there are none")

    def next_slice(self):
        """Returns the rows of the first retired shard that are removed with the next transaction; None if there is none."""
        if not self.retiring:
            return None
        queue, shard = self.retiring[0]
        begin = part(queue) + part(str(shard))
        newest, versions = self.fold.newest, self.fold.versions
        owns = sorted(own for own in newest if own.startswith(begin))
        rows = [(b"c", own, None) for own in owns if newest[own][5] == 0] + [(b"d", own, None) for own in owns if newest[own][5] == 1]
        old = sorted((own, revision) for own in versions if own.startswith(begin) for revision in versions[own])
        rows += [(b"h", own, revision) for own, revision in old]
        taken, size = [], 0
        for kind, own, revision in rows[:SLICE]:
            if size >= SLICE_BYTES:
                break
            taken.append((kind, own, revision))
            size += len(newest[own] if revision is None else versions[own][revision])
        return (queue, shard, taken)

    def remove(self, taken):
        """Removes those rows."""
        queue, shard, rows = taken
        fold = self.fold
        for kind, own, revision in rows:
            if kind == b"h":
                fold.versions.get(own, {}).pop(revision, None)
            elif own in fold.newest:
                if kind == b"c":
                    name = own[len(part(queue) + part(str(shard))) : -1].replace(b"\0\xff", b"\0").decode()
                    del self.places[queue][name]
                    self.shards[queue][shard].entries -= 1
                fold.count(own, fold.newest.pop(own), -1)
        if rows:
            fold.retired[queue.encode()] = fold.tx_id
        else:
            del self.shards[queue][shard], self.retiring[0]

    def rows(self):
        rows = {}
        for queue, shards in self.shards.items():
            rows.update(found.row(queue, shard) for shard, found in shards.items())
        for queue, places in self.places.items():
            for name, place in places.items():
                rows.update([place.row(queue, name)] + ([place.open_row(queue, name)] if place.is_open else []))
        return rows


OPERATIONS = (*HELD, "enqueue", "move")


def is_shard(namespace):
    return namespace.isascii() and namespace.isdigit() and str(int(namespace)) == namespace and len(namespace) <= 4


def terminal_of(policy):
    return {field: {field_text(one) for one in listed(values)} for field, values in policy["terminal"].items()}


def listed(values):
    return values if isinstance(values, list) else [values]


def is_finished(policy, document):
    parsed = parse(document.decode())
    return all(field_of(parsed, field.split(".")) in values for field, values in terminal_of(policy).items())
