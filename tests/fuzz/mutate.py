"""Changes of files, at random from a seed: bytes, tokens of texts, and values of JSON."""

from __future__ import annotations

import json
import random
import re
from contextlib import suppress
from typing import Any

TOKENS = (
    *("", "0", "-1", "1", "2147483648", "18446744073709551616", "9" * 400, "9" * 5000, "1e400", "-1e308", "1e-320"),
    *("nan", "inf", "-inf", "0x10", "1_000", "٣", "1,5", "true", "null", "~", "[]", "{}", "[[[[", "((((", "{{{{"),
    *(
        ".",
        "..",
        "../../escaped",
        "/etc/hostname",
        "a/../../b",
        "a" * 300,
        "C:\\x\\y.png",
        "CON",
        " ",
        "\t",
        "\n",
        "\r",
    ),
    *("\0", "\x1b]0;title\x07", "\x9b2J", "\u202e", "\ufeff", "\ufffe", "\ud83d\ude00", "e\u0301", "\u2028", "\x85"),
    *("&a [*a, *a]", "*a", "<<: *a", "!!python/object:os.system", "? ", "- ", ": ", "#", "%", "---\n", "..."),
    *("<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&lt;", "&#0;", "&#x1b;", "<![CDATA[", "]]>", "<a>", "</a>", "<!--"),
    *('"', "'", "\\", "\\u0000", "\\ud83d", ",", ";", "|", "=", "$", "{}{}", "%s", "\\x1b"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**63, 2**64, 10**400),
    *("", " ", "a", "1", "nan", "../../escaped", "/etc/hostname", "a" * 300, "\0", "\ud83d", "\x1b]0;x\x07", "ä"),
    *([], {}, [[]], [1], [1, 2, 3, 4], {"a": 1}, [None], [{}], [[1, 2]], [1e308] * 4, [[[[[[]]]]]]),
)
_TOKEN = re.compile(r"[\w.+\-]+")


def changed(data: bytes, rng: random.Random, name: str) -> bytes:
    """``data``, the content of a file called ``name``, with some changes."""
    text = name.endswith((".xml", ".json", ".jsonl", ".txt", ".csv", ".yaml", ".names", ".data", ".prototxt"))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if name.endswith(".json") and rng.random() < 0.6:
            data = _json(data, rng)
        elif text and rng.random() < 0.7:
            data = _tokens(data, rng)
        else:
            data = _bytes(data, rng)
    return data


def _bytes(data: bytes, rng: random.Random) -> bytes:
    held = bytearray(data)
    at = rng.randrange(len(held) + 1)
    if rng.random() < 0.5:
        # Headers decide more than what follows.
        at = min(at, rng.randrange(600))
    size = rng.choice((1, 1, 2, 4, 8, 64, 500))
    kind = rng.randrange(8)
    if not held or kind == 0:
        held[at:at] = rng.randbytes(size)
    elif kind == 1:
        held[min(at, len(held) - 1)] ^= 1 << rng.randrange(8)
    elif kind == 2:
        held[at : at + size] = rng.randbytes(size)
    elif kind == 3:
        del held[at : at + size]
    elif kind == 4:
        del held[at:]
    elif kind == 5:
        start = rng.randrange(len(held))
        held[at:at] = held[start : start + size] * rng.choice((1, 1, 3, 100))
    elif kind == 6:
        number = rng.choice((0, 1, -1, 2**7, 2**15, 2**31, 2**32 - 1, 2**63)) % 2**64
        width = rng.choice((1, 2, 4, 8))
        held[at : at + width] = (number % 256**width).to_bytes(width, rng.choice(("little", "big")))
    else:
        held[at : at + size] = bytes([rng.choice((0, 255, 10, 32, 34, 91, 123))]) * size
    return bytes(held)


def _tokens(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    found = list(_TOKEN.finditer(text))
    token = rng.choice(TOKENS)
    if not found or rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + token * rng.choice((1, 1, 1, 2, 3000)) + text[at:]
    else:
        one = rng.choice(found)
        kind = rng.randrange(5)
        if kind == 0:
            token = rng.choice(found)[0]
        elif kind == 1:
            token = one[0] + token
        elif kind == 2:
            line = text.rfind("\n", 0, one.start()) + 1
            end = text.find("\n", one.end())
            end = len(text) if end < 0 else end + 1
            return (text[:line] + text[line:end] * rng.choice((0, 2)) + text[end:]).encode("utf-8", "replace")
        text = text[: one.start()] + token + text[one.end() :]
    return text.encode("utf-8", "surrogatepass" if rng.random() < 0.1 else "replace")


def _json(data: bytes, rng: random.Random) -> bytes:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _tokens(data, rng)
    places: list[tuple[Any, Any]] = []
    stack = [content]
    while stack:
        here = stack.pop()
        keys = here.keys() if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            places.append((here, key))
            stack.append(here[key])
    if not places:
        return json.dumps(rng.choice(VALUES)).encode()
    here, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del here[key]
    elif kind == 1:
        holder, other = rng.choice(places)
        with suppress(IndexError, KeyError):
            here[key] = json.loads(json.dumps(holder[other]))
    elif kind == 2 and isinstance(here, list):
        here.append(here[key])
    else:
        here[key] = rng.choice(VALUES)
    try:
        return json.dumps(content).encode()
    except (ValueError, RecursionError):
        return data
