"""The first line of a message (docs/internals/log-format.md)."""

import hashlib
import re
import zlib

PREFIX = b"cairn/1 "
SHORTEST = 50
FIRST_LINE = re.compile(rb"([0-9a-f]{16}) ([0-9a-f]{16})(?: [!-~]{1,64})?\n")


class Refused(Exception):
    """A rejected message; its outcome contains the reason."""


def log_tag(log_id):
    return hashlib.sha256(log_id.encode()).digest()[:8].hex().encode()


def has_checksum(payload):
    crc = f"{zlib.crc32(payload[17:]):08x} ".encode()
    return payload[8:17] == crc


def read(payload):
    """Returns the log tag, the random part, and the bytes after the first line."""
    if len(payload) <= SHORTEST or not payload.startswith(PREFIX):
        raise Refused("not a message of Cairn")
    if not has_checksum(payload):
        raise Refused("the message's checksum does not match")
    line = FIRST_LINE.match(payload, 17)
    if line is None:
        raise Refused("the message's first line is not readable")
    return line[1], line[2], payload[line.end() :]


def write(body, log_id, random, by=None):
    """Returns a framed message; `random` has 8 bytes."""
    writer = b"" if by is None else b" " + by
    checked = log_tag(log_id) + b" " + random.hex().encode() + writer + b"\n" + body
    return PREFIX + f"{zlib.crc32(checked):08x} ".encode() + checked


def content_hash(payload):
    """Returns the hash by which messages with the same idempotency id are compared."""
    return hashlib.sha256(payload[payload.index(b"\n") + 1 :]).digest()


def identity(payload, nanoseconds):
    """Returns the 12 bytes that a message adds to the history chain."""
    try:
        _, random, _ = read(payload)
        mark = payload[8:16] + random
        mark = bytes.fromhex(mark.decode())
    except Refused:
        mark = hashlib.sha256(payload).digest()[:12]
    seconds, rest = divmod(nanoseconds, 10**9)
    time = seconds.to_bytes(4, "big") + rest.to_bytes(4, "big")
    return mark[:4] + bytes(a ^ b for a, b in zip(mark[4:], time))


def anchor(position, nanoseconds, payload):
    head = position.to_bytes(8, "big") + nanoseconds.to_bytes(8, "big")
    return hashlib.sha256(head + payload).hexdigest()
