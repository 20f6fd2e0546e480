"""Keys and values of the index's rows (docs/internals/index-format.md)."""

import hashlib
import json

from crc32c import crc32c


INDEX_VERSION = 3


def number(value):
    return value.to_bytes(8, "big")


def short(value):
    return value.to_bytes(4, "big")


def part(text):
    return text.encode().replace(b"\0", b"\0\xff") + b"\0"


def stem(bucket, key):
    namespace, name = key.split("/", 1)
    return part(bucket) + part(namespace) + part(name)


def checksum(*parts):
    crc = 0
    for data in parts:
        crc = crc32c(data, crc)
    return crc


def sealed(key, content=b""):
    return short(checksum(key, content)) + content


def sealed_json(key, content):
    return sealed(key, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def is_sealed(key, value):
    return len(value) >= 4 and value[:4] == short(checksum(key, value[4:]))


def sevens(value, length):
    """Encodes a number in bytes of 7 bits."""
    return bytes((value >> (7 * place)) & 0x7F for place in reversed(range(length)))


def from_sevens(data):
    value = 0
    for byte in data:
        value = value << 7 | byte
    return value


def version_value(stem_, revision, time, document):
    """Returns the value of a version; a deletion if `document` is None."""
    flags = b"\1" if document is None else b"\0"
    content = flags + sevens(revision, 8) + sevens(time, 8) + (document or b"")
    return sevens(checksum(stem_, content), 5) + content


def version_sum(value):
    return from_sevens(value[:5])


def version_revision(value):
    return from_sevens(value[6:14])


def version_time(value):
    return from_sevens(value[14:22])


def is_deletion(value):
    return value[5] == 1


MIN_SEPARATED = 100


def joined(rows):
    """Returns the rows with each document in the row of its version. What is not as described stays as it is."""
    contents = {key: value for key, value in rows.items() if key[:1] == b"w"}
    found = {key: value for key, value in rows.items() if key[:1] not in b"wy"}
    for key, value in found.items():
        if key[:1] not in b"ch" or len(value) != 35 or value[5] != 2:
            if key[:1] in b"ch" and len(value) - 22 >= MIN_SEPARATED:
                raise ValueError("a document has no row of its own")
            continue
        own = key[1:-8] if key[:1] == b"h" else key[1:]
        content = contents.pop(b"w" + number(version_revision(value)) + own, b"")
        if version_sum(value) == checksum(own, value[5:]) and len(content) == from_sevens(value[22:30]) >= MIN_SEPARATED:
            found[key] = value[30:35] + b"\0" + value[6:22] + content
    for key, value in rows.items():
        if key[:1] == b"y" and not is_sealed(key, value):
            raise ValueError("the checksum of an erasure is wrong")
    return found | contents


def problem(key, value):
    """Returns the error in a single row, or None."""
    kind = key[:1]
    if kind in b"cdh":
        own = key[1:-8] if kind == b"h" else key[1:]
        if len(value) < 22 or version_sum(value) != checksum(own, value[5:]):
            return "its checksum is wrong"
        if kind == b"h" and key[-8:] != number(version_revision(value)):
            return "its revision is not that of its key"
        if kind != b"h" and (kind == b"d") != (value[5] == 1):
            return "it has the wrong kind"
    elif key == b"mstate":
        return None if state(value) is not None else "its checksum is wrong"
    elif kind in b"fz":
        return "it has a value" if value else None
    elif key != b"mpurged" and kind not in b"abeijknopqrstvx":
        return "there is no such kind"
    elif not is_sealed(key, value):
        return "its checksum is wrong"
    return None


SHARED = b"\xff"


def outcomes_in(rows):
    """Returns the outcomes as if each had a row of its own."""
    found = {}
    for key, value in rows.items():
        if key[:1] != b"t":
            continue
        values, rest = [value], b""
        if value[4:5] == SHARED:
            values, rest = [], value[5:]
        while rest:
            end = 4 + int.from_bytes(rest[:4], "big")
            values.append(rest[4:end])
            rest = rest[end:]
        last = int.from_bytes(key[1:], "big")
        found |= {b"t" + number(last - len(values) + 1 + at): one for at, one in enumerate(values)}
    return found


ENDING = len(b',"crc32c":"00000000"}')


def state(value):
    """Returns the state row's members; None if its checksum is wrong."""
    whole = value[:-ENDING] + b"}"
    if value[-ENDING:] != b',"crc32c":"%08x"}' % checksum(b"mstate", whole):
        return None
    return json.loads(whole)


def digest(rows, log_id, tx_id):
    """Returns the digest of an index."""
    rows = joined(rows)
    versions = []
    for key, value in rows.items():
        if key[:1] in b"cdh":
            own = key[1:-8] if key[:1] == b"h" else key[1:]
            versions.append((own, version_revision(value), value))
    fed = hashlib.sha256(f"cairn-digest/1\n{log_id}\n{tx_id}\n".encode())
    for own, _, value in sorted(versions):
        fed.update(short(len(own)) + own + short(len(value[5:])) + value[5:])
    return f"sha256:{fed.hexdigest()}"
