"""The ELIX worlds: explain it like I am five, or an expert (arXiv 2502.19312, section 5).

ELIX-easy has one user a level. In ELIX-hard a user has a level and a field, from which a likeness
is welcome. Answers explain a concept at one of five levels; each is explained by hand at all five.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fspo_core.worlds import language
from fspo_core.worlds.base import Detector, GateResult, Question, Split, User, Values, World
from fspo_core.worlds.detectors import CueDetector, cue_counter
from fspo_core.worlds.wording import content_hash, listed, load_toml, pick

LEVELS = ("elementary", "middle", "high", "college", "expert")
FIELDS = (
    "physics", "biology", "chemistry", "geology", "astronomy", "computing", "mathematics",
    "medicine", "economics", "psychology", "engineering",
)  # fmt: skip
PEOPLE = dict(
    zip(
        FIELDS,
        (
            "physicists", "biologists", "chemists", "geologists", "astronomers", "programmers",
            "mathematicians", "doctors", "economists", "psychologists", "engineers",
        ),
        strict=True,
    )
)  # fmt: skip
# Reward of an answer by its distance in levels: one's own level is worth far more than the next.
LEVEL_REWARDS = (4.0, 1.5, 0.5, 0.0, 0.0)
FIELD_REWARDS = (1.0, 2.0)  # of a likeness from one's own field: half of the users each
USERS_PER_COMBINATION = 10
LABEL_TEMPERATURE = 1.0
MOSTLY_OWN = 0.7  # share of a sentence's words that explanations of the concept have
LEVEL_NAMES = {
    "elementary": "an elementary school pupil", "middle": "a middle school student",
    "high": "a high school student", "college": "a college student", "expert": "an expert",
}  # fmt: skip


@cache
def concepts() -> dict[str, dict[str, Any]]:
    """Every concept with its field, texts and split, by its name."""
    found = {}
    for field in FIELDS:
        for entry in load_toml(f"elix/{field}.toml")["concept"]:
            heldout = zlib.crc32(entry["name"].encode()) % 5 == 0
            found[entry["name"]] = {**entry, "field": field, "heldout": heldout}
    return found


@cache
def _concepts(split: Split) -> tuple[str, ...]:
    return tuple(n for n, c in concepts().items() if c["heldout"] == (split == "heldout"))


def _frames(path: str, split: Split) -> Sequence[str]:
    return listed("elix/frames.toml", path, split)


@cache
def _level_detector(concept: str, detector: Detector) -> CueDetector:
    texts = concepts()[concept]
    return CueDetector(
        {level: {"a": texts[level]["terms_a"], "b": texts[level]["terms_b"]} for level in LEVELS},
        detector,
    )


def _level_detectors(question_text: str) -> list[CueDetector]:
    concept = concept_of(question_text)
    return [_level_detector(concept, d) for d in ("a", "b")] if concept else []


@cache
def _field_detector(detector: Detector) -> CueDetector:
    return CueDetector(load_toml("elix/lexicon.toml")["fields"], detector)


@cache
def concept_of(question_text: str) -> str | None:
    """The concept a question asks about: by its own questions, else the longest name it has."""
    asked = _plain(question_text)
    for name, concept in concepts().items():
        if asked in {_plain(q) for q in concept["questions"]}:
            return name
    named = [n for n in concepts() if f" {_plain(n)} " in f" {asked} "]
    return max(named, key=len, default=None)


def _plain(text: str) -> str:
    return " ".join(language.words_of(text))


def is_heldout_combination(level: int, field: int) -> bool:
    """A fifth of the combinations, each level and each field among them."""
    return (level + 2 * field) % 5 == 0


class Elix(World):
    """What both ELIX worlds share: concepts, questions, levels."""

    temperature = LABEL_TEMPERATURE
    has_fields: bool

    def all_values(self) -> list[Values]:
        """One level of five; in ELIX-hard one field of eleven as well; as zeros and ones."""
        levels = [_one_hot(i, len(LEVELS)) for i in range(len(LEVELS))]
        if not self.has_fields:
            return list(levels)
        fields = [_one_hot(i, len(FIELDS)) for i in range(len(FIELDS))]
        return [(*level, *field) for level, field in product(levels, fields)]

    def prior(self, particles: int, seed: int) -> NDArray[np.float64]:  # noqa: ARG002 - finite
        """All users there are, held-out ones too."""
        users = {u.weights for part in self.population().values() for u in part}
        return np.array(sorted(users))

    def sample_user(self, rng: random.Random, *, split: Split) -> User:
        """One of the users of ``split``."""
        return pick(rng, self.population()[split])

    def sample_question(self, rng: random.Random, *, split: Split) -> Question:
        """A concept's own question, or a general way to ask for an explanation."""
        name = pick(rng, _concepts(split))
        concept = concepts()[name]
        if rng.random() < 0.6:
            text = pick(rng, concept["questions"])
        else:
            text = pick(rng, _frames("questions", split)).replace("{name}", name)
        return Question(text, "explain", concept["field"], {"name": name}, (name,))

    def respond(
        self, question: Question, values: Values, rng: random.Random, *, split: Split
    ) -> str:
        """Explanation and a detail at the level, and in ELIX-hard a likeness from the field.

        Somebody whose own field is the concept's needs no likeness: people of the field go on with
        a second detail.
        """
        name = question.slots["name"]
        concept = concepts()[name]
        texts = concept[LEVELS[values.index(1)]]
        version = int(rng.random() * 2)  # explanation and detail belong together
        opening = pick(rng, _frames("opening", split)).replace("{name}", name)
        # One sentence: a frame by itself would come back in every third answer.
        parts = [f"{_capital(opening)}: {texts['explain'][version]}", texts["detail"][version]]
        if self.has_fields:
            field = FIELDS[values[len(LEVELS) :].index(1)]
            if field != concept["field"]:
                parts.insert(1 + int(rng.random() * 2), concept["analogy"][field])
            else:
                frame = pick(rng, _frames("own", split))
                people = PEOPLE[field]
                frame = frame.replace("{people}", people).replace("{People}", _capital(people))
                parts.append(f"{frame}: {texts['detail'][1 - version]}")
        return " ".join(parts)

    def detect(self, question_text: str, response_text: str, detector: Detector) -> Values:
        """Level by the concept's own terms of each level; field by its name or its words.

        The second detector reads a field off the sentences that liken. Zeros where a text shows
        none, or several alike.
        """
        concept = concept_of(question_text)
        level: Values = (0,) * len(LEVELS)
        if concept:
            counts = _level_detector(concept, detector).count(response_text)
            level = _winner([counts[name] for name in LEVELS])
        if not self.has_fields:
            return level
        if detector == "a":
            return (*level, *_field_of(response_text, "a"))
        return (*level, *_likened_field(response_text, concept))

    def cues(self, question_text: str) -> list[str]:
        """See ``World.cues``: the terms of the concept asked about."""
        return [cue for detector in _level_detectors(question_text) for cue in detector.cues]

    def gate(self, question_text: str, response_text: str) -> GateResult:
        """The general gate; the topic is the concept, which stands in the answer."""
        counter = cue_counter(*_level_detectors(question_text))
        concept = concept_of(question_text)
        return language.check(question_text, response_text, topic=concept, count_cues=counter)

    def fingerprint(self) -> dict[str, Any]:
        """See ``World.fingerprint``."""
        return {
            "level_rewards": LEVEL_REWARDS, "field_rewards": FIELD_REWARDS,
            "temperature": LABEL_TEMPERATURE, "content": content_hash("elix"),
        }  # fmt: skip


class ElixEasy(Elix):
    """Five users, one a level."""

    name = "elix_easy"
    attributes = LEVELS
    has_fields = False

    @cache  # noqa: B019 - one world of a kind lives as long as the process
    def population(self) -> dict[Split, list[User]]:
        """The same five users in both splits: what is held out are concepts and wordings."""
        users = [User(f"elix_easy-{n}", _level_weights(i)) for i, n in enumerate(LEVELS)]
        return {"train": users, "heldout": users}

    def describe_weights(self, weights: Sequence[float]) -> str:
        """See ``World.describe_weights``."""
        return f"Is {LEVEL_NAMES[LEVELS[int(np.argmax(weights))]]}."


class ElixHard(Elix):
    """550 users: five levels, eleven fields, ten of each combination."""

    name = "elix_hard"
    attributes = (*LEVELS, *FIELDS)
    has_fields = True

    @cache  # noqa: B019 - one world of a kind lives as long as the process
    def population(self) -> dict[Split, list[User]]:
        """A fifth of the combinations of level and field is held out."""
        users: dict[Split, list[User]] = {"train": [], "heldout": []}
        for (i, level), (j, field) in product(enumerate(LEVELS), enumerate(FIELDS)):
            split: Split = "heldout" if is_heldout_combination(i, j) else "train"
            for k in range(USERS_PER_COMBINATION):
                likes = FIELD_REWARDS[k % 2] * np.array(_one_hot(j, len(FIELDS)))
                weights = (*_level_weights(i), *(float(w) for w in likes))
                users[split].append(User(f"elix_hard-{level}-{field}-{k}", weights))
        return users

    def describe_weights(self, weights: Sequence[float]) -> str:
        """See ``World.describe_weights``."""
        level = LEVEL_NAMES[LEVELS[int(np.argmax(weights[: len(LEVELS)]))]]
        return f"Is {level} in {FIELDS[int(np.argmax(weights[len(LEVELS) :]))]}."


def _field_of(text: str, detector: Detector) -> tuple[int, ...]:
    counts = _field_detector(detector).count(text)
    return _winner([counts[name] for name in FIELDS])


def _likened_field(text: str, concept: str | None) -> tuple[int, ...]:
    """The field whose words stand in the sentence that is least about the concept.

    A likeness brings in words that no explanation of the concept has; a text without such a
    sentence stays in the concept's own field.
    """
    if concept is None:
        return _field_of(text, "b")
    own = _own_words(concept)
    familiar, likeness = 1.0, ""
    for sentence in language.sentences_of(text):
        words = language.telling_words(sentence.split(": ")[-1])
        share = sum(word in own for word in words) / max(1, len(words))
        if share < familiar:
            familiar, likeness = share, sentence
    if familiar > MOSTLY_OWN:
        return _one_hot(FIELDS.index(concepts()[concept]["field"]), len(FIELDS))
    # What the explanations do not say counts twice: a bee in a likeness of pollination is no news.
    foreign = " ".join(word for word in language.words_of(likeness) if word not in own)
    counts = _field_detector("b").count(f"{likeness} {foreign}")
    # Between two fields it is the one that is not the concept's own.
    home = concepts()[concept]["field"]
    return _winner([2 * counts[name] - (name == home) for name in FIELDS])


@cache
def _own_words(concept: str) -> frozenset[str]:
    entry = concepts()[concept]
    texts = [t for level in LEVELS for key in ("explain", "detail") for t in entry[level][key]]
    return frozenset(word for text in [concept, *texts] for word in language.words_of(text))


def _one_hot(i: int, n: int) -> tuple[int, ...]:
    return tuple(int(i == j) for j in range(n))


def _level_weights(level: int) -> tuple[float, ...]:
    return tuple(LEVEL_REWARDS[abs(level - other)] for other in range(len(LEVELS)))


def _winner(counts: list[int]) -> tuple[int, ...]:
    """One-hot of the largest count; zeros where there is none, or two."""
    best = max(counts)
    if best <= 0 or counts.count(best) > 1:
        return (0,) * len(counts)
    return _one_hot(counts.index(best), len(counts))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
