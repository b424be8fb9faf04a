"""What a participant sees: which pairs, pairings and sides. Pure functions of seed and index.

Everything is drawn from endless streams made of *permuted blocks*: each block holds every item
once, in random order, and participants take their items from the stream one after the other. So
after any number of participants no item is ahead of another by more than one. The n-th time an
item comes round is its *occurrence*; sides are drawn in twos over the occurrences, so that an item
stands left and right equally often.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from random import Random


@dataclass(frozen=True, slots=True)
class Draw:
    """An item (its index) and how often it was drawn before."""

    item: int
    occurrence: int


@dataclass(frozen=True, slots=True)
class PairSlot:
    """One pair to be labelled: its position in the pool, and whether response A stands left."""

    pair: int
    left_is_a: bool


@dataclass(frozen=True, slots=True)
class ComparisonSlot:
    """One comparison: its pairing's index, whether the pairing's arm stands left, bank question."""

    pairing: int
    arm_is_left: bool
    bank_question: int | None = None


def label_slots(*, seed: int, index: int, pool: int, count: int) -> list[PairSlot]:
    """The pairs of the ``index``-th participant, all different, with their sides."""
    return [
        PairSlot(draw.item, _side(seed, "pairs", draw))
        for draw in _draw_distinct(seed, "pairs", index=index, size=pool, per=count)
    ]


def bank_slots(
    *, seed: int, index: int, questions: int, pairings: int, count: int
) -> list[ComparisonSlot]:
    """The bank comparisons of the ``index``-th participant; questions all different."""
    drawn = _draw_distinct(seed, "bank", index=index, size=questions, per=count)
    slots = own_slots(seed=seed, index=index, pairings=pairings, count=count, stream="bank-pairing")
    return [
        ComparisonSlot(slot.pairing, slot.arm_is_left, draw.item)
        for draw, slot in zip(drawn, slots, strict=True)
    ]


def own_slots(
    *, seed: int, index: int, pairings: int, count: int, stream: str = "own-pairing"
) -> list[ComparisonSlot]:
    """The pairings and sides for ``count`` questions of the ``index``-th participant."""
    slots = []
    for place in range(index * count, (index + 1) * count):
        block, offset = divmod(place, pairings)
        draw = Draw(_permutation(seed, stream, block, pairings)[offset], block)
        slots.append(ComparisonSlot(draw.item, _side(seed, stream, draw)))
    return slots


def generation_seed(*, participant_seed: int, kind: str, position: int, arm: str) -> int:
    """The sampling seed of one answer, below 2**31."""
    return _number(participant_seed, "generation", kind, position, arm) % 2**31


def _draw_distinct(seed: int, stream: str, *, index: int, size: int, per: int) -> list[Draw]:
    """``per`` different items for the ``index``-th participant from a stream of ``size`` items.

    Where a participant's items lie across two blocks, those already taken from the first block are
    moved back in the second one. Raises ValueError if ``per`` is above ``size``.
    """
    if not 0 <= per <= size:
        raise ValueError(f"cannot draw {per} different items from {size}")
    stream_items = _distinct_stream(seed, stream, size=size, per=per)
    return list(islice(stream_items, index * per, (index + 1) * per))


def _distinct_stream(seed: int, stream: str, *, size: int, per: int) -> Iterator[Draw]:
    previous: list[int] = []
    for block in count():
        order = _permutation(seed, stream, block, size)
        taken = (block * size) % per if per else 0
        if taken:
            begun = set(previous[-taken:])
            fresh = [item for item in order if item not in begun][: per - taken]
            order = fresh + [item for item in order if item not in set(fresh)]
        yield from (Draw(item, block) for item in order)
        previous = order


def _permutation(seed: int, stream: str, block: int, size: int) -> list[int]:
    order = list(range(size))
    Random(_number(seed, stream, block)).shuffle(order)
    return order


def _side(seed: int, stream: str, draw: Draw) -> bool:
    """The first of each two occurrences of an item is drawn, the second is the other side."""
    first = _number(seed, stream, "side", draw.item, draw.occurrence // 2) % 2
    return bool(first ^ (draw.occurrence % 2))


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(_joined(parts).encode()).digest()[:8], "big")


def _joined(parts: Iterable[object]) -> str:
    return ":".join(str(part) for part in parts)
