from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studyapp import schedule
from studyapp.schedule import ComparisonSlot, PairSlot

SEEDS = st.integers(0, 2**31 - 1)


def labels_of(seed: int, people: int, pool: int, count: int) -> list[list[PairSlot]]:
    return [schedule.label_slots(seed=seed, index=i, pool=pool, count=count) for i in range(people)]


def own_of(seed: int, people: int, pairings: int, count: int) -> list[list[ComparisonSlot]]:
    return [
        schedule.own_slots(seed=seed, index=i, pairings=pairings, count=count)
        for i in range(people)
    ]


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, data=st.data(), pool=st.integers(1, 12), people=st.integers(1, 25))
def test_each_participant_gets_different_pairs(
    seed: int, data: st.DataObject, pool: int, people: int
) -> None:
    count = data.draw(st.integers(1, pool))
    for slots in labels_of(seed, people, pool, count):
        assert len({slot.pair for slot in slots}) == count


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, data=st.data(), pool=st.integers(1, 12), people=st.integers(1, 25))
def test_no_pair_is_ahead_of_another_by_more_than_one(
    seed: int, data: st.DataObject, pool: int, people: int
) -> None:
    count = data.draw(st.integers(1, pool))
    shown = Counter(dict.fromkeys(range(pool), 0))
    for slots in labels_of(seed, people, pool, count):
        shown.update(slot.pair for slot in slots)
    assert max(shown.values()) - min(shown.values()) <= 1


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, pool=st.integers(2, 12), people=st.integers(1, 30))
def test_a_pair_stands_left_and_right_equally_often(seed: int, pool: int, people: int) -> None:
    lefts: Counter[int] = Counter()
    for slots in labels_of(seed, people, pool, 2):
        for slot in slots:
            lefts[slot.pair] += 1 if slot.left_is_a else -1
    assert all(abs(excess) <= 1 for excess in lefts.values())


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, pairings=st.integers(1, 6), count=st.integers(1, 6), people=st.integers(1, 30))
def test_pairings_and_sides_are_balanced_over_participants(
    seed: int, pairings: int, count: int, people: int
) -> None:
    slots = [slot for person in own_of(seed, people, pairings, count) for slot in person]
    shown = Counter(dict.fromkeys(range(pairings), 0))
    shown.update(slot.pairing for slot in slots)
    assert max(shown.values()) - min(shown.values()) <= 1
    for pairing in range(pairings):
        sides = [slot.arm_is_left for slot in slots if slot.pairing == pairing]
        assert abs(sides.count(True) - sides.count(False)) <= 1


def test_three_bank_questions_show_each_of_three_pairings_once() -> None:
    for index in range(20):
        slots = schedule.bank_slots(seed=3, index=index, questions=12, pairings=3, count=3)
        assert {slot.pairing for slot in slots} == {0, 1, 2}
        assert len({slot.bank_question for slot in slots}) == 3


def test_every_bank_question_meets_every_pairing() -> None:
    met = {
        (slot.bank_question, slot.pairing)
        for index in range(120)
        for slot in schedule.bank_slots(seed=3, index=index, questions=4, pairings=3, count=3)
    }
    assert len(met) == 12


def test_the_order_differs_between_participants_and_between_seeds() -> None:
    orders = {tuple(slots) for slots in map(tuple, labels_of(1, 20, 6, 6))}
    assert len(orders) > 10
    assert labels_of(1, 5, 6, 4) != labels_of(2, 5, 6, 4)


def test_the_same_seed_and_index_give_the_same_schedule() -> None:
    assert labels_of(9, 8, 7, 3) == labels_of(9, 8, 7, 3)
    assert own_of(9, 8, 3, 2) == own_of(9, 8, 3, 2)


def test_more_items_than_there_are_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="5 different items from 4"):
        schedule.label_slots(seed=1, index=0, pool=4, count=5)


def test_generation_seeds_differ_by_arm_question_and_participant_and_repeat() -> None:
    def seed(participant: int = 1, kind: str = "own", position: int = 0, arm: str = "fspo") -> int:
        return schedule.generation_seed(
            participant_seed=participant, kind=kind, position=position, arm=arm
        )

    seeds = {seed(), seed(2), seed(kind="bank"), seed(position=1), seed(arm="base")}
    assert len(seeds) == 5
    assert seed() == seed()
    assert all(0 <= value < 2**31 for value in seeds)
