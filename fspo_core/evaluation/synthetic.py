"""Winrates in the synthetic worlds: arms against the base's stored answers, by the known reward.

A *column* is a world, the split of its users, and a number of labels. In every column the same
people, with labels of their own, ask the same held-out questions of every arm, under the same
seeds. Beside the arms stand two controls of the FSPO arm, *swapped* (chosen and rejected exchanged
in the context) and *stranger* (labels of somebody who likes something else), and two writers who
are no models: the *ceiling* knows the world and sees the labels, the *copycat* takes over the
attributes of one chosen answer. Both write the world's own text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fspo_core.arms import get_arm
from fspo_core.engines import Engine
from fspo_core.errors import FspoError, WorldError
from fspo_core.evaluation.effects import length_controlled
from fspo_core.evaluation.winrates import participant_means, winrate, winrate_row
from fspo_core.types import (
    Completion,
    GenerationRequest,
    Judgment,
    Outcome,
    Preference,
    Sampling,
    UserHistory,
    WinrateRow,
)
from fspo_core.worlds import WORLDS, User, World, get_world
from fspo_core.worlds.base import LatentPair, Question, Split, seeded
from fspo_core.worlds.language import topics_named
from fspo_core.worlds.optimum import BestAnswerer, PosteriorReader
from fspo_core.worlds.roleplay import Roleplay

ARMS = ("prompted", "pref_ft", "ipo", "fspo", "fspo_rat", "oracle")
CONTROLS = {"swapped": "fspo", "stranger": "fspo"}
WRITERS = ("ceiling", "copycat")
PEOPLE_AT_ONCE = 48
BOOTSTRAP = 2000
Floats = NDArray[np.float64]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Column:
    """Where arms are compared: a world, the split of its users, and how many labels are seen."""

    world: str
    users: Split
    shots: int


COLUMNS = (
    *(Column("reviews", "train", shots) for shots in (4, 8)),
    *(Column("reviews", "heldout", shots) for shots in (4, 8)),
    *(Column("elix_easy", "heldout", shots) for shots in (4, 8)),
    *(Column("elix_hard", "heldout", shots) for shots in (4, 8)),
    *(Column("roleplay", "heldout", shots) for shots in (1, 2, 4, 8, 16)),
)


def columns_of(world: str, shots: Sequence[int]) -> list[Column]:
    """The columns of a world, or of ``all``; with these numbers of labels, where any are given.

    Raises WorldError for a world that is not there.
    """
    if world not in (*WORLDS, "all"):
        raise WorldError(f"unknown world {world!r}; known worlds: all, {', '.join(WORLDS)}")
    chosen = [column for column in COLUMNS if world in (column.world, "all")]
    if not shots:
        return chosen
    bare = dict.fromkeys(replace(column, shots=0) for column in chosen)
    return [replace(column, shots=n) for column in bare for n in shots]


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What to evaluate: ``people`` of each world and split, one question a person and seed.

    ``wording`` is the split of the sentences in the labelled pairs: "train" as in a study that
    takes its pairs from the world, "heldout" for sentences that training never showed.
    """

    people: int
    seed: int
    seeds: int = 4
    arms: tuple[str, ...] = (*ARMS, *CONTROLS)
    wording: Split = "train"
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.people < 1 or self.seeds < 1:
            raise WorldError(
                f"an evaluation needs people and seeds, got {self.people} and {self.seeds}"
            )

    @property
    def answers_a_column(self) -> int:
        """Answers that models write for one column."""
        return self.people * self.seeds * (len(self.arms) + 1)


@dataclass(frozen=True, slots=True)
class Person:
    """A user with labels and questions of their own.

    Where a world has few users, several people share one user's likes.
    """

    number: int
    user: User
    pairs: tuple[LatentPair, ...]
    questions: tuple[Question, ...]
    stranger_pairs: tuple[LatentPair, ...] = ()  # of somebody who likes something else

    @property
    def name(self) -> str:
        return f"{self.user.user_id}/{self.number}"

    def history(self, shots: int) -> UserHistory:
        """The first ``shots`` labels."""
        return UserHistory(self.name, tuple(pair.preference for pair in self.pairs[:shots]))


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm's answer to one question of one person under one seed. Tokens are those of prompt
    and answer; a writer's have none."""

    person: str
    user: User
    question: Question
    history: UserHistory
    arm: str
    repeat: int
    text: str
    reward: float
    passes_gate: bool
    names_topic: bool = True
    detector_rewards: tuple[float, float] = (0.0, 0.0)  # as detectors a and b alone read the text
    prompt_tokens: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class ArmRow(WinrateRow):
    """An arm in a column. None: not to be computed, or not of this arm.

    ``share`` of the ceiling is (winrate - 1/2) / (ceiling's winrate - 1/2), its interval a paired
    bootstrap over people. ``both_pass`` is the winrate where both answers pass the quality gate,
    ``equal_length`` the one expected at equal lengths, ``indifferent`` that of people to whom
    length does not matter. ``tokens`` are means of what an answer costs.
    """

    user_split: str = ""
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    both_pass: float | None = None
    equal_length: float | None = None
    indifferent: float | None = None
    gate_pass_rate: float = 0.0
    topic_named: float = 0.0
    words: float = 0.0
    prompt_tokens: float = 0.0
    tokens: float = 0.0
    detector_a: float | None = None
    detector_b: float | None = None


def swap(history: UserHistory) -> UserHistory:
    """The history with chosen and rejected exchanged in every pair."""
    return replace(
        history,
        preferences=tuple(
            Preference(p.question, p.rejected, p.chosen) for p in history.preferences
        ),
    )


def cast(world: World, split: Split, shots: int, config: EvaluationConfig) -> list[Person]:
    """The people of a world and split, the same for every column; ``shots`` labels each."""
    users = world.sample_users(config.people, split=split, seed=config.seed)
    people = []
    for number, user in enumerate(users):
        labels = seeded(world.name, "labels", config.seed, split, number)
        asked = seeded(world.name, "asked", config.seed, split, number)
        pairs = [  # one by one: the first n of many labels are the n of few
            world.sample_pairs(user, 1, labels, split="heldout", wording=config.wording)[0]
            for _ in range(shots)
        ]
        questions = [world.sample_question(asked, split="heldout") for _ in range(config.seeds)]
        strange = seeded(world.name, "stranger", config.seed, split, number)
        other = world.sample_user(strange, split=split)
        while other.weights == user.weights:
            other = world.sample_user(strange, split=split)
        theirs = world.sample_pairs(other, shots, strange, split="heldout", wording=config.wording)
        people.append(Person(number, user, tuple(pairs), tuple(questions), tuple(theirs)))
    return people


class Evaluation:
    """Answers by arm and column; what does not depend on the labels is written once."""

    def __init__(
        self, engine: Engine, config: EvaluationConfig, progress: Progress = lambda _: None
    ) -> None:
        self.engine, self.config, self.progress = engine, config, progress
        self._people: dict[tuple[str, Split], list[Person]] = {}
        self._written: dict[tuple[str, Split, str, int], list[Answer]] = {}
        self._readers: dict[str, BestAnswerer] = {}

    def people(self, column: Column) -> list[Person]:
        """Who answers in a column; with as many labels as any column of this world shows."""
        key = (column.world, column.users)
        found = self._people.get(key)
        if found is None or len(found[0].pairs) < column.shots:
            most = max(column.shots, *(c.shots for c in COLUMNS if c.world == column.world))
            found = cast(get_world(column.world), column.users, most, self.config)
            self._people[key] = found
        return found

    def answers(self, column: Column) -> dict[str, list[Answer]]:
        """Every arm's answers, base first, then the writers'; people by seeds, in order."""
        by_arm = {arm: self._of_arm(arm, column) for arm in ("base", *self.config.arms)}
        for writer in WRITERS:
            by_arm[writer] = self._of_writer(writer, column, by_arm["base"])
        return by_arm

    def _of_arm(self, arm: str, column: Column) -> list[Answer]:
        real = get_arm(CONTROLS.get(arm, arm))
        key = (column.world, column.users, arm, column.shots if real.reads_labels else 0)
        if key in self._written:
            self.progress(self.config.people * self.config.seeds)
        else:
            self._written[key] = list(self._write(arm, column))
        return self._written[key]

    def _write(self, arm: str, column: Column) -> Iterable[Answer]:
        world, people = get_world(column.world), self.people(column)
        for at in range(0, len(people), PEOPLE_AT_ONCE):
            # All questions of a person together: the engine computes their context once.
            asked = [
                (person, repeat)
                for person in people[at : at + PEOPLE_AT_ONCE]
                for repeat in range(self.config.seeds)
            ]
            requests = [self._request(arm, column, world, *one) for one in asked]
            for (person, repeat), result in zip(asked, self.engine.generate(requests), strict=True):
                # An arm that ends before its first word has answered badly: it fails the gate.
                if not isinstance(result, Completion) and result.reason != "empty answer":
                    raise FspoError(f"arm {arm!r} wrote no answer: {result.reason}")
                text = result.text if isinstance(result, Completion) else ""
                answer = _answer(world, person, repeat, arm, column.shots, text)
                if isinstance(result, Completion):
                    answer = replace(
                        answer,
                        prompt_tokens=result.prompt_tokens,
                        tokens=result.completion_tokens,
                    )
                yield answer
            self.progress(len(requests))

    def _request(
        self, arm: str, column: Column, world: World, person: Person, repeat: int
    ) -> GenerationRequest:
        history = person.history(column.shots)
        if arm == "swapped":
            history = swap(history)
        elif arm == "stranger":
            theirs = person.stranger_pairs[: column.shots]
            history = UserHistory(person.name, tuple(pair.preference for pair in theirs))
        real = CONTROLS.get(arm, arm)
        # The same seed for every arm: common random numbers make the comparison sharper.
        seed = hash_seed(self.config.seed, repeat, person.number)
        return GenerationRequest(
            f"{person.number}-{repeat}", f"{person.number}-{repeat}", real,
            person.questions[repeat].text, history, seed, self.config.sampling,
            world.describe(person.user) if real == "oracle" else None,
        )  # fmt: skip

    def _of_writer(self, writer: str, column: Column, base: Sequence[Answer]) -> list[Answer]:
        world = get_world(column.world)
        rng = seeded(world.name, writer, self.config.seed, column.users, column.shots)
        written = []
        people = {person.name: person for person in self.people(column)}
        for other in base:
            person = people[other.person]
            pairs = person.pairs[: column.shots]
            if writer == "copycat":
                values = rng.choice(pairs).chosen if pairs else world.sample_values(rng)
            else:
                answerer = self._reader(world)
                posterior = answerer.reader.posteriors(pairs)[-1]
                if other.passes_gate:
                    seen = world.detect(other.question.text, other.text, "a")
                    (values,) = answerer.best(posterior, [seen])
                else:  # anything wins: the best answer does no worse
                    values = world.best_values(posterior @ answerer.reader.weights, rng)
            text = world.respond(other.question, values, rng, split="heldout")
            written.append(_answer(world, person, other.repeat, writer, column.shots, text))
        return written

    def _reader(self, world: World) -> BestAnswerer:
        if world.name not in self._readers:
            reader = PosteriorReader(world, particles=2000, seed=self.config.seed)
            self._readers[world.name] = BestAnswerer(reader)
        return self._readers[world.name]


def _answer(world: World, person: Person, repeat: int, arm: str, shots: int, text: str) -> Answer:
    question = person.questions[repeat]
    a, b = (world.reward(person.user, question.text, text, d) for d in ("a", "b"))
    gate = world.gate(question.text, text)
    named = "off topic" not in gate.reasons
    if isinstance(world, Roleplay):  # its topics are single words; elsewhere they are phrases
        named = topics_named(question.topics, text)
    return Answer(
        person.name, person.user, question, person.history(shots), arm, repeat, text, (a + b) / 2,
        gate.ok, named, (a, b),
    )  # fmt: skip


def hash_seed(*parts: int) -> int:
    """A 31-bit seed from integers, the same on every platform."""
    value = 0
    for part in parts:
        value = (value * 1_000_003 + part + 12_345) % (2**31 - 1)
    return value


def judge(answers: Sequence[Answer], others: Sequence[Answer], column: Column) -> list[Judgment]:
    """Judgments by the world's reward between answers to the same questions; equal ones tie."""
    judgments = []
    for a, other in zip(answers, others, strict=True):
        gap = a.reward - other.reward
        outcome: Outcome = "tie" if abs(gap) < 1e-9 else "win" if gap > 0 else "loss"
        judgments.append(
            Judgment(
                f"{a.arm}-{a.person}-{a.repeat}", a.person, a.arm, other.arm, outcome,
                arm_words=len(a.text.split()), against_words=len(other.text.split()),
                world=column.world, shots=column.shots,
            )
        )  # fmt: skip
    return judgments


def rows(answers: dict[str, list[Answer]], column: Column, seed: int) -> list[ArmRow]:
    """Every arm and writer against base, then FSPO and its stranger against IPO."""
    against = [(arm, "base") for arm in answers if arm != "base"]
    against += [(a, "ipo") for a in ("fspo", "stranger") if {a, "ipo"} <= set(answers)]
    ceiling = judge(answers["ceiling"], answers["base"], column)
    return [
        _row(answers[arm], answers[other], column, ceiling if other == "base" else None, seed)
        for arm, other in against
    ]


def headline(found: Sequence[ArmRow], shots: int = 8) -> dict[str, float]:
    """Mean over Reviews, ELIX and Roleplay of the winrates against base at ``shots`` labels.

    A domain's winrate is the mean over its columns. Arms that lack a domain are left out.
    """
    by_arm: dict[str, dict[str, list[float]]] = {}
    for row in found:
        if row.against == "base" and row.shots == shots:
            domain = row.world.split("_")[0]
            by_arm.setdefault(row.arm, {}).setdefault(domain, []).append(row.winrate)
    domains = {column.world.split("_")[0] for column in COLUMNS}
    return {
        arm: _mean(_mean(rates) for rates in own.values())
        for arm, own in by_arm.items()
        if set(own) == domains
    }


def _row(
    own: Sequence[Answer],
    others: Sequence[Answer],
    column: Column,
    ceiling: Sequence[Judgment] | None,
    seed: int,
) -> ArmRow:
    judgments = judge(own, others, column)
    key = (own[0].arm, others[0].arm, column.world, column.shots)
    share = _share(judgments, ceiling, seed) if ceiling else (None, None, None)
    both = [
        j for j, a, b in zip(judgments, own, others, strict=True) if a.passes_gate and b.passes_gate
    ]
    attributes = get_world(column.world).attributes
    length = attributes.index("length") if "length" in attributes else None
    indifferent = [
        j
        for j, a in zip(judgments, own, strict=True)
        if length is not None and a.user.weights[length] == 0
    ]
    a, b = (_by_detector(own, others, column, detector) for detector in (0, 1))
    return ArmRow(
        **asdict(winrate_row(key, winrate(judgments))), user_split=column.users,
        share=share[0], share_low=share[1], share_high=share[2],
        both_pass=winrate(both).rate if both else None, equal_length=_equal_length(judgments),
        indifferent=winrate(indifferent).rate if indifferent else None,
        gate_pass_rate=_mean(answer.passes_gate for answer in own),
        topic_named=_mean(answer.names_topic for answer in own),
        words=_mean(len(answer.text.split()) for answer in own),
        prompt_tokens=_mean(answer.prompt_tokens for answer in own),
        tokens=_mean(answer.tokens for answer in own), detector_a=a, detector_b=b,
    )  # fmt: skip


def _by_detector(
    own: Sequence[Answer], others: Sequence[Answer], column: Column, detector: int
) -> float:
    """The winrate by one detector alone: an arm that pleases one of them only is found out."""
    mine, theirs = (
        [replace(x, reward=x.detector_rewards[detector]) for x in side] for side in (own, others)
    )
    return winrate(judge(mine, theirs, column)).rate


def _equal_length(judgments: Sequence[Judgment]) -> float | None:
    try:
        return length_controlled(judgments).rate
    except FspoError:
        return None


def _share(
    judgments: Sequence[Judgment], ceiling: Sequence[Judgment], seed: int
) -> tuple[float | None, float | None, float | None]:
    """Share of the ceiling with its interval; none where the ceiling is at one half."""
    own, best = participant_means(judgments) - 0.5, participant_means(ceiling) - 0.5
    if best.mean() <= 0:
        return None, None, None
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(own), size=(BOOTSTRAP, len(own)))
    over, under = own[drawn].mean(axis=1), best[drawn].mean(axis=1)
    shares = over[under > 0] / under[under > 0]
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(own.mean() / best.mean()), float(low), float(high)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([float(value) for value in values]))
