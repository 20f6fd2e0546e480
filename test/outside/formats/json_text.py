"""JSON as the nodes read it (docs/internals/log-format.md, "Refused messages"; docs/policies.md for numbers as strings)."""

import json
import re
import struct
from decimal import Decimal

MAX_DEPTH = 500
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _no_constant(name):
    raise ValueError(name)


def parse(text):
    """Parses numbers as 64-bit floating point. Raises ValueError unless the string is JSON."""
    return json.loads(text, parse_int=float, parse_constant=_no_constant)


def depth(data):
    deepest = level = 0
    for byte in TEXT.sub(b"", data):
        if byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


def is_document(data):
    """Returns whether a line, which is valid UTF-8, is a document: JSON without raw line breaks, at most 500 deep."""
    if b"\r" in data or depth(data) > MAX_DEPTH:
        return False
    try:
        parse(data.decode())
    except ValueError:
        return False
    return True


def is_well_formed(text):
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def byte_length(text):
    """Returns the length in UTF-8; a lone surrogate counts 3."""
    return len(text.encode("utf-8", "surrogatepass"))


def cut_units(text, most):
    """Returns the first `most` units of UTF-16, and whether there are more."""
    units = text.encode("utf-16-le", "surrogatepass")
    return units[: 2 * most].decode("utf-16-le", "surrogatepass"), len(units) > 2 * most


def stringify(text):
    """Quotes a string as JSON.stringify does."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(f"\\u{ord(char):04x}" if 0xD800 <= ord(char) <= 0xDFFF else char for char in quoted)


def number_text(number):
    """Prints a number as JavaScript does."""
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + exponent
    if len(text) <= point <= 21:
        out = text + "0" * (point - len(text))
    elif 0 < point <= 21:
        out = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        out = f"0.{'0' * -point}{text}"
    else:
        power = point - 1
        rest = f".{text[1:]}" if len(text) > 1 else ""
        out = f"{text[0]}{rest}e{'+' if power > 0 else '-'}{abs(power)}"
    return "-" + out if sign else out


def field_text(value):
    """Returns the string by which a field's value is compared (docs/policies.md); None if it cannot be."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value) if abs(value) != float("inf") else None
    if isinstance(value, str) and is_well_formed(value) and byte_length(value) <= 1024:
        return value
    return None


def ordered_text(value):
    """Returns a field's value as in the rows of the index (docs/internals/index-format.md); None if it has no row."""
    text = field_text(value)
    if text is None:
        return None
    if isinstance(value, bool):
        return f"b{int(value)}"
    if isinstance(value, str):
        return "s" + value
    (bits,) = struct.unpack(">Q", struct.pack(">d", value or 0.0))
    return f"n{bits ^ (1 << 64) - 1 if bits >> 63 else bits | 1 << 63:016x}"


def field_of(document, path, text_of=field_text):
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return None
        document = document[name]
    return text_of(document)


INTEGER_NAME = re.compile(r"0|[1-9][0-9]{0,9}")


def rewritten(value):
    """Returns a value that is equal if and only if the rewritten JSON is (docs/http.md, "Documents")."""
    if isinstance(value, dict):
        whole = [name for name in value if INTEGER_NAME.fullmatch(name) and int(name) < 2**32 - 1]
        names = sorted(whole, key=int) + [name for name in value if name not in whole]
        return ("map", tuple((name, rewritten(value[name])) for name in names))
    if isinstance(value, list):
        return ("list", tuple(map(rewritten, value)))
    return number_text(value) if isinstance(value, float) else repr(value)
