"""Determines which policies are valid, and to which documents and events they apply (docs/policies.md)."""

import math
import re

from frame import Refused
from json_text import byte_length, field_of, field_text, is_well_formed, rewritten

ANY_REASON = "policies:"
"""Nodes choose the wording (docs/internals/log-format.md), so a reader knows only that there is a sentence."""

PART = r"([0-9]+(?:[.,][0-9]+)?)"
DURATION = re.compile(f"P(?=.)(?:{PART}W)?(?:{PART}D)?(?:T(?=.)(?:{PART}H)?(?:{PART}M)?(?:{PART}S)?)?")
UNITS = (604_800_000, 86_400_000, 3_600_000, 60_000, 1000)
LONGEST = 36_600 * 86_400_000


def milliseconds(value):
    """Returns the length of a duration; None if a policy may not contain it."""
    if isinstance(value, str):
        match = DURATION.fullmatch(value.upper())
        if match is None or not value.isascii():
            return None
        value = sum(float(part.replace(",", ".")) * unit for part, unit in zip(match.groups(), UNITS) if part)
    elif not isinstance(value, float) or isinstance(value, bool):
        return None
    if not 0 < value <= LONGEST:
        return None
    return math.floor(value + 0.5) or None


def _need(condition):
    if not condition:
        raise Refused(ANY_REASON)


def _map(value, known=None):
    _need(isinstance(value, dict) and (known is None or set(value) <= set(known)))
    return value


def _is_field(field):
    return isinstance(field, str) and 1 <= byte_length(field) <= 256 and not re.search("^-|[:<>]", field) and is_well_formed(field) and "" not in field.split(".")


def _bound(bound, least):
    _map(bound, ("keep", "for"))
    _need(bound)
    keep = bound.get("keep", float(least))
    _need(isinstance(keep, float) and keep.is_integer() and least <= keep <= 1e9)
    _need("for" not in bound or milliseconds(bound["for"]) is not None)


def check(value):
    """Raises Refused unless these are policies. Does not check their size: no test sets 64 KiB."""
    from message import check_bucket

    _map(value, ("indexes", "expire", "history", "events", "outcomes", "queues"))
    for part in ("indexes", "expire", "history"):
        for bucket, rule in _map(value.get(part, {})).items():
            try:
                check_bucket(bucket)
            except Refused:
                _need(False)
            if part == "indexes":
                _need(isinstance(rule, list) and 1 <= len(rule) <= 16 and all(map(_is_field, rule)))
                _need(len(set(rule)) == len(rule))
            elif part == "expire":
                _map(rule, ("when", "after"))
                _need(milliseconds(rule.get("after")) is not None)
                for field, values in _map(rule.get("when", {})).items():
                    listed = values if isinstance(values, list) else [values]
                    _need(_is_field(field) and 1 <= len(listed) <= 100)
                    _need(all(field_text(one) is not None for one in listed))
            else:
                _bound(rule, 0)
    if "events" in value:
        _bound(value["events"], 1)
    if "outcomes" in value:
        _bound(value["outcomes"], 2_000_000)
    for bucket, queue in _map(value.get("queues", {})).items():
        _need(bucket not in value.get("expire", {}))
        _check_queue(queue)


def _check_queue(queue):
    """Does not check `retry`, which has no effect on an index: no test sets it."""
    _map(queue, ("shards", "cap", "terminal", "lease"))
    for name, most in (("shards", 1024), ("cap", 1e9)):
        _need(isinstance(queue.get(name), float) and queue[name].is_integer() and 1 <= queue[name] <= most)
    _need(milliseconds(queue.get("lease")) is not None)
    _need(_map(queue.get("terminal")))
    for field, values in queue["terminal"].items():
        listed = values if isinstance(values, list) else [values]
        _need(_is_field(field) and 1 <= len(listed) <= 100)
        _need(all(field_text(one) is not None for one in listed))


class Rule:
    """The rule by which documents of a bucket expire."""

    def __init__(self, policy):
        self.text = rewritten(policy)
        self.after = milliseconds(policy["after"])
        self.when = []
        for field, values in policy.get("when", {}).items():
            listed = values if isinstance(values, list) else [values]
            self.when.append((field.split("."), {field_text(one) for one in listed}))

    def is_about(self, document):
        return all(field_of(document, path) in values for path, values in self.when)


class Policies:
    """Policies in force, as the index stores them (docs/internals/index-format.md, `mstate`)."""

    def __init__(self, value, revision, before=None):
        self.value, self.revision = value, revision
        self.queues = value.get("queues", {})
        self.rules = {bucket: Rule(rule) for bucket, rule in value.get("expire", {}).items()}
        self.next_index = before.next_index if before else 1
        known = {(bucket, field): number for number, bucket, field in before.indexes} if before else {}
        self.indexes = []
        for bucket, fields in value.get("indexes", {}).items():
            for field in fields:
                number = known.get((bucket, field))
                if number is None:
                    number = self.next_index
                    self.next_index += 1
                self.indexes.append((number, bucket, field))
        self.scan = []
        for bucket, rule in self.rules.items():
            is_same = before is not None and bucket in before.rules and before.rules[bucket].text == rule.text
            unfinished = [one for one in before.scan if one[0] == bucket] if is_same else [(bucket, "")]
            self.scan.extend(unfinished)

    def history(self, bucket):
        """Returns how many versions are kept and for how many milliseconds; None without a bound."""
        bound = self.value.get("history", {}).get(bucket)
        return None if bound is None else bound_of(bound, math.inf)


def bound_of(bound, keep):
    age = milliseconds(bound["for"]) if "for" in bound else math.inf
    return int(bound["keep"]) if "keep" in bound else keep, age
