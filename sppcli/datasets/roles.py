"""Names of splits: which say train, val, test or trainval, and how a data set without splits is divided.

``valid`` and ``validation`` are val; ``train2017``, ``train_labels`` and ``instances_train`` are train.
"""

from __future__ import annotations

import hashlib
import re

TRAIN, VAL, TEST, TRAINVAL = "train", "val", "test", "trainval"
ROLES = (TRAIN, VAL, TRAINVAL, TEST)

_WORDS = {
    **dict.fromkeys(("train", "training", "trainset"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "valset"), VAL),
    **dict.fromkeys(("test", "testing", "testset"), TEST),
    **dict.fromkeys(("trainval", "train_val", "trainvalid"), TRAINVAL),
}
_PART = re.compile(r"[a-z]+")

TEST_SHARE, VAL_SHARE = 0.2, 0.8 / 8
"""Of all images: 80 % are trainval, an eighth of these val."""


def role_of(name: str) -> str | None:
    """What the split ``name`` is, in the words of VOC; None where the name does not say, or says two things."""
    low = name.lower()
    if low in _WORDS:
        return _WORDS[low]
    found = {_WORDS[word] for word in _PART.findall(low) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def asked_for(name: str) -> str | None:
    """The role that a user means by ``name``: one of the words themselves, as in ``--split valid``."""
    return _WORDS.get(name.lower())


def parts_of(role: str) -> tuple[str, ...]:
    """Of train, val and test, those that ``role`` is."""
    return (TRAIN, VAL) if role == TRAINVAL else (role,)


def division(digest: str, seed: int) -> str:
    """train, val or test for an image with the content ``digest``: the same whatever other images there are."""
    drawn = hashlib.sha256(f"{seed}:{digest}".encode()).digest()
    share = int.from_bytes(drawn[:8], "big") / 2**64
    return TEST if share < TEST_SHARE else VAL if share < TEST_SHARE + VAL_SHARE else TRAIN
