"""Reads the backup of a log in a folder as docs/internals/log-backup-format.md requires, with Python's standard library only.

Run as a program, it prints the messages of a segment: python backup.py FOLDER/log-ID/NAME.segment
"""

import gzip
import hashlib
import json
import os
import re
import sys

NAME = re.compile(r"(\d{16})-(\d{16})-([0-9a-f]{8})(?:-([1-9]\d*))?\.segment")
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LINE = re.compile(rb"(\d+) (\d+) (\d+)\n")
MOST_LINE, MOST_BYTES = 64 * 1024, 80 * 1024 * 1024
END_BYTES = 65


class DamagedSegment(Exception):
    """A segment differs from what was written, or segments belong to different histories."""


def need(condition, why):
    if not condition:
        raise DamagedSegment(why)


def anchor(message):
    """Returns the SHA-256 of a message's anchor (docs/internals/log-format.md, "The anchor")."""
    position, nanoseconds, payload = message
    return hashlib.sha256(position.to_bytes(8, "big") + nanoseconds.to_bytes(8, "big") + payload).hexdigest()


def folder_of(log_id):
    plain = PLAIN_ID.fullmatch(log_id)
    return "log-" + (log_id if plain else hashlib.sha256(log_id.encode()).hexdigest()[:32])


def read_segment(path, log_id=None):
    """Returns the header and the messages (position, time in nanoseconds, bytes) of a segment."""
    name = NAME.fullmatch(os.path.basename(path))
    need(name, "its name is not that of a segment")
    with open(path, "rb") as file:
        content = file.read()
    end_at = len(content) - END_BYTES
    need(content[end_at:] == hashlib.sha256(content[:end_at]).hexdigest().encode() + b"\n", "its SHA-256 is wrong")
    header_end = content.index(b"\n") + 1
    need(header_end <= MOST_LINE, "a line is too long")
    header = json.loads(content[:header_end])
    need(header["format"] == "cairn-segment/1", "its format is not cairn-segment/1")
    need(log_id is None or header["log"]["id"] == log_id, "it is of another log")
    need(os.path.basename(os.path.dirname(path)) == folder_of(header["log"]["id"]), "it is in the folder of another log")
    first, last, offset = header["first"], header["last"], header["log"]["offset"]
    need((first, last) == (int(name[1]), int(name[2])) and offset < first <= last, "its name does not match its transactions")
    need(header["end"].startswith(name[3]), "its name does not match its anchor")
    need(header["codec"] in ("none", "gzip"), "its codec is unknown")
    need(name[4] == (str(header["bytes"]) if header["codec"] == "gzip" else None), "its name does not match its size")
    body = content[header_end : end_at - 1]
    if header["codec"] == "gzip":
        body = gzip.decompress(body)
    need(len(body) == header["bytes"] <= MOST_BYTES and content[end_at - 1 : end_at] == b"\n", "the size of its messages is wrong")
    messages, at = [], 0
    for position in range(first - offset, last - offset + 1):
        line = LINE.match(body, at)
        need(line and len(line[0]) <= 65 and int(line[1]) == position, f"message {position} is missing")
        begin = line.end()
        at = begin + int(line[3]) + 1
        need(body[at - 1 : at] == b"\n", f"message {position} is truncated")
        messages.append((position, int(line[2]), body[begin : at - 1]))
    need(at == len(body), "something follows the last message")
    need(anchor(messages[-1]) == header["end"], "its last message does not match its anchor")
    return header, messages


def read_backup(store, log_id):
    """Returns the messages of a backup without holes, in order, and the number of its segments."""
    folder = f"{store}/{folder_of(log_id)}"
    names = sorted(name for name in os.listdir(folder) if NAME.fullmatch(name))
    held, ends = {}, {}
    for name in names:
        header, messages = read_segment(f"{folder}/{name}", log_id)
        before = held.get(messages[0][0] - 1)
        need(header["before"] is None or before is None or header["before"] == anchor(before), f"{name} does not continue the one before it")
        for message in messages:
            need(held.setdefault(message[0], message) == message, f"{name} differs from another segment in message {message[0]}")
        ends[messages[-1][0]] = header["end"]
    need(all(anchor(held[position]) == end for position, end in ends.items()), "segments are of different histories")
    found = [held[position] for position in sorted(held)]
    need(all(one[0] + 1 == other[0] for one, other in zip(found, found[1:])), "there is a hole")
    return found, len(names)


if __name__ == "__main__":
    for position, nanoseconds, payload in read_segment(sys.argv[1])[1]:
        print(position, nanoseconds, payload.decode(errors="replace"))
