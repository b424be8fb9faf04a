"""The Roleplay world: everyday questions, 1,500 personas who differ in style and in values.

An answer has a tone, a format and a length, makes one remark (an example or a reason, plain or
elaborate words, a question back or a summary) and shows its adviser's character in two of eight
values, in sentences about the adviser that fit any question of the category. A user's
reward is linear in these; the population leans (``LEAN``), so that a good answer for everybody
exists. Age, region and gender carry no reward. Labels follow Bradley-Terry on the reward difference
(Bradley and Terry, 1952; FSPO, arXiv 2502.19312, sections 3 and 5).
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fspo_core.worlds import language
from fspo_core.worlds.base import (
    Detector,
    GateResult,
    Question,
    Split,
    User,
    Values,
    World,
    seeded,
    weighted_choice,
)
from fspo_core.worlds.detectors import CueDetector, cue_counter, sign, without_echo
from fspo_core.worlds.nouns import to_second_person
from fspo_core.worlds.questions import categories, frame_words, sample_question
from fspo_core.worlds.wording import content_hash, listed, load_folder, load_toml, pick, wordings

STYLE = ("tone", "format", "length")
REMARK = ("support", "register", "ending")
VALUES = (
    "thrift", "sociability", "caution", "outdoors", "handson", "technology", "family", "time",
)  # fmt: skip
ATTRIBUTES = STYLE + REMARK + VALUES
VALUES_PER_ANSWER = 2
# Probability that a user who cares about the attribute likes its plus pole.
LEAN = {
    "tone": 0.62, "format": 0.58, "length": 0.45, "support": 0.60, "register": 0.62,
    "ending": 0.42, "thrift": 0.60, "sociability": 0.55, "caution": 0.60, "outdoors": 0.55,
    "handson": 0.58, "technology": 0.45, "family": 0.60, "time": 0.42,
}  # fmt: skip
MAGNITUDES = (0.0, 1.0, 4.0)
MAGNITUDE_PROBABILITIES = (0.55, 0.25, 0.20)
LABEL_TEMPERATURE = 1.5
STRUCTURE_LIKES = {
    ("format", 1): "numbered steps", ("format", -1): "one paragraph",
    ("length", 1): "long answers", ("length", -1): "short answers",
}  # fmt: skip
AGES = (
    "in their twenties",
    "in their thirties",
    "in their forties",
    "in their fifties",
    "over sixty",
)
REGIONS = ("Africa", "Asia", "Europe", "Latin America", "North America")
GENDERS = ("woman", "man")
PERSONAS_PER_COMBINATION = 30
BANK_FORMS = ("how", "should", "help", "plan", "what", "recommend")  # fit for a study's bank
LONG_WORDS, LONG_SENTENCES = 82, 7  # from how many on an answer is a long one
MOST_WORDS, MOST_TRIES = 125, 50
LEAD_IN = 0.5  # of the openings begin with a word or two of greeting
TIPS = 3


@cache
def _lexicon() -> dict[str, dict[str, Any]]:
    return {
        f"{attribute}.{side}": pole
        for attribute, sides in load_toml("roleplay/lexicon.toml").items()
        for side, pole in sides.items()
    }


@cache
def cue_reader(detector: Detector) -> CueDetector:
    """Counts the cues of one of the two lists in any text."""
    return CueDetector(_lexicon(), detector)


def _style(path: str, split: Split) -> Sequence[str]:
    return listed("roleplay/frames/style.toml", path, split)


def _form(path: str, split: Split) -> Sequence[str]:
    return listed("roleplay/frames/forms.toml", path, split)


@cache
def _category(path: str, split: Split) -> Sequence[str]:
    """Sentences of a category, which fit all of its questions; ``path`` names them."""
    entry: Any = load_folder("roleplay/categories")
    for part in path.split("."):
        entry = entry[part]
    return wordings(entry, split)


def _level(weight: float) -> tuple[int, int]:
    """How strongly a description tells a weight (0 unsaid, 1, 2 "really"), and its sign."""
    return int(abs(weight) >= 0.5) + int(abs(weight) >= 2.5), 1 if weight > 0 else -1


class Roleplay(World):
    """The world; stateless. See ``fspo_core.worlds.base.World`` for the interface."""

    name = "roleplay"
    attributes = ATTRIBUTES
    temperature = LABEL_TEMPERATURE

    def all_values(self) -> list[Values]:
        """Every style, one of the remarks, two of the values: 5,376 kinds of answer."""
        remarks = [
            tuple(s if i == j else 0 for j in range(len(REMARK)))
            for i in range(len(REMARK))
            for s in (1, -1)
        ]
        stances = [
            tuple(dict(zip(pair, signs, strict=True)).get(i, 0) for i in range(len(VALUES)))
            for pair in combinations(range(len(VALUES)), VALUES_PER_ANSWER)
            for signs in product((1, -1), repeat=VALUES_PER_ANSWER)
        ]
        styles = product((1, -1), repeat=len(STYLE))
        return [(*s, *r, *v) for s in styles for r in remarks for v in stances]

    # -- users ----------------------------------------------------------------------------------

    def sample_weights(self, rng: random.Random) -> tuple[float, ...]:
        """One user's weights from the population's prior."""
        steps = tuple(accumulate(MAGNITUDE_PROBABILITIES))
        weights = []
        for attribute in ATTRIBUTES:
            likes = 1.0 if rng.random() < LEAN[attribute] else -1.0
            weights.append(likes * MAGNITUDES[weighted_choice(rng, steps)])
        return tuple(w + 0.0 for w in weights)

    def prior(self, particles: int, seed: int) -> NDArray[np.float64]:
        """See ``World.prior``."""
        rng = seeded(self.name, "prior", seed)
        return np.array([self.sample_weights(rng) for _ in range(particles)])

    def combination_is_heldout(self, weights: Sequence[float]) -> bool:
        """Whether this combination of likes and dislikes is never seen in training (a seventh)."""
        signs = bytes((w > 0) - (w < 0) + 1 for w in weights)
        return zlib.crc32(signs) % 7 == 0

    def _weights_of(self, rng: random.Random, split: Split) -> tuple[float, ...]:
        weights = self.sample_weights(rng)
        while self.combination_is_heldout(weights) != (split == "heldout"):
            weights = self.sample_weights(rng)
        return weights

    def sample_user(self, rng: random.Random, *, split: Split) -> User:
        """See ``World.sample_user``; the persona is drawn apart from the likes."""
        weights = self._weights_of(rng, split)
        code = f"{rng.getrandbits(40):010x}"
        persona = persona_text(pick(rng, GENDERS), pick(rng, AGES), pick(rng, REGIONS))
        return User(f"roleplay-{split}-{code}", weights, persona)

    def population(self) -> dict[Split, list[User]]:
        """1,500 personas, 30 for each combination of age, region and gender, one in six held out.

        Likes are drawn apart from age, region and gender: these carry no reward.
        """
        users: dict[Split, list[User]] = {"train": [], "heldout": []}
        rng = seeded(self.name, "population")
        for gender, age, region in product(GENDERS, AGES, REGIONS):
            for i in range(PERSONAS_PER_COMBINATION):
                split: Split = "heldout" if i % 6 == 5 else "train"
                number = len(users["train"]) + len(users["heldout"])
                users[split].append(
                    User(
                        f"roleplay-{number:04}", self._weights_of(rng, split),
                        persona_text(gender, age, region),
                    )
                )  # fmt: skip
        return users

    def describe_weights(self, weights: Sequence[float]) -> str:
        """Likes in a fixed order, "really" where strong; weights may be a posterior mean."""
        likes = [
            ("really " if level > 1 else "") + _likes(attribute, side)
            for attribute, (level, side) in zip(ATTRIBUTES, map(_level, weights), strict=True)
            if level
        ]
        return f"Likes {', '.join(likes)}." if likes else "Likes anything."

    def described_weights(self, weights: Sequence[float]) -> tuple[float, ...]:
        """The weights as a description tells them."""
        return tuple(MAGNITUDES[level] * side for level, side in map(_level, weights))

    # -- questions and responses ----------------------------------------------------------------

    def sample_question(self, rng: random.Random, *, split: Split) -> Question:
        """See ``fspo_core.worlds.questions``."""
        return sample_question(rng, split=split)

    def respond(
        self, question: Question, values: Values, rng: random.Random, *, split: Split
    ) -> str:
        """See ``World.respond``. Opening, body in the question's form, values and remark, tips."""
        for _ in range(MOST_TRIES):
            text = self._compose(question, values, rng, split)
            words = len(text.split()) - text.count("\n") * (values[1] > 0)
            if LONG_WORDS <= words <= MOST_WORDS if values[2] > 0 else words < LONG_WORDS:
                break
        return text

    def _compose(self, question: Question, values: Values, rng: random.Random, split: Split) -> str:
        slots, form = question.slots, question.form
        tone, numbered, length = values[: len(STYLE)]
        long = length > 0
        kind, named = _opening_slots(form, slots)
        opening = pick(rng, _style(f"tone.{_side(tone)}.{kind}", split))
        if rng.random() < LEAD_IN:
            opening = _led_in(pick(rng, _style(f"tone.{_side(tone)}.lead", split)), opening)
        opening = _fill(opening, named)
        points, closing = [], ""
        for attribute, value in zip(VALUES, values[-len(VALUES) :], strict=True):
            if value:
                path = f"{question.category}.{attribute}.{_side(value)}"
                points.append(pick(rng, _category(path, split)))
        for attribute, value in zip(REMARK, values[len(STYLE) : -len(VALUES)], strict=True):
            if value:
                closing = pick(rng, _style(f"{attribute}.{_side(value)}.any", split))
        lead = self._body(form, slots, rng, split, long)
        if long:
            tips = _category(f"{question.category}.tips", split)
            points += rng.sample(tips, min(TIPS, len(tips)))
        rng.shuffle(points)
        lines = [*lead, *points]
        if numbered > 0:
            text = "\n".join(f"{i}. {line}" for i, line in enumerate(lines, 1))
            return "\n".join(part for part in (opening, text, closing) if part)
        return " ".join(part for part in (opening, *lines, closing) if part)

    @staticmethod
    def _body(
        form: str, slots: dict[str, str], rng: random.Random, split: Split, long: bool
    ) -> list[str]:
        """Sentences that answer in the form of the question; circumstances are named once only."""
        if "act" in slots:
            slots = {**slots, "clause": slots["act"]}
        if form == "plan":
            keys = ("first", "middle", "last") if long else ("first", "last")
            return [_fill(pick(rng, _form(f"plan.{key}", split)), slots) for key in keys]
        return [_fill(pick(rng, _form(f"{form}.body", split)), slots)]

    # -- reward of any text ---------------------------------------------------------------------

    def detect(self, question_text: str, response_text: str, detector: Detector) -> Values:
        """Attribute values read off a text, each -1, 0 or +1.

        Echoes of the question do not count.
        """
        response = response_text.strip()
        counts = cue_reader(detector).count(without_echo(question_text, response))
        lines = [line for line in response.splitlines() if line.strip()]
        numbers = len(re.findall(r"(?m)^\s*\d+[.)]\s", response))
        sentences = language.sentences_of(response)
        last = " ".join(sentences[-1:])
        end = cue_reader(detector).count(last)
        if detector == "a":
            form = 1 if numbers > 1 else -1
            length = 1 if len(response.split()) - numbers >= LONG_WORDS else -1
            question_back = response.endswith("?")
        else:
            form = 1 if len(lines) > 2 else -1
            length = 1 if len(sentences) >= LONG_SENTENCES else -1
            question_back = end["ending.plus"] > 0 and "?" in last
        ending = 1 if question_back else -1 if end["ending.minus"] else 0
        read = {a: sign(counts, f"{a}.plus", f"{a}.minus") for a in ATTRIBUTES}
        read |= {"format": form, "length": length, "ending": ending}
        return tuple(read[attribute] for attribute in ATTRIBUTES)

    def detected_reward(self, weights: Sequence[float], values: Values) -> float:
        """See ``World.detected_reward``. Of more remarks or values than an answer has, the least
        liked count: nobody gains by stating everything."""
        terms = [weight * value for weight, value in zip(weights, values, strict=True)]
        reward = sum(terms[: len(STYLE)])
        for start, stop, most in (
            (len(STYLE), len(STYLE) + len(REMARK), 1),
            (len(STYLE) + len(REMARK), len(ATTRIBUTES), VALUES_PER_ANSWER),
        ):
            stated = sorted(terms[i] for i in range(start, stop) if values[i])
            reward += sum(stated[:most])
        return reward

    def cues(self, question_text: str) -> list[str]:  # noqa: ARG002 - the same for all
        """See ``World.cues``."""
        return [cue for d in ("a", "b") for cue in cue_reader(d).cues if cue != "?"]

    def gate(self, question_text: str, response_text: str) -> GateResult:
        """See ``fspo_core.worlds.language.check``."""
        counter = cue_counter(cue_reader("a"), cue_reader("b"))
        return language.check(question_text, response_text, count_cues=counter)

    # -- for studies ----------------------------------------------------------------------------

    def everyday_pairs(self, n: int, *, seed: int) -> list[tuple[str, str, str]]:
        """(question, response, another response) on the hand-written matters of everyday life.

        The responses differ in up to five attributes: few labels are to tell much.
        """
        rng = seeded(self.name, "everyday", seed)
        made = []
        life = [(c, p) for c, ps in load_toml("roleplay/general.toml")["life"].items() for p in ps]
        for category, clause in rng.sample(life, n):
            text = pick(rng, _form("how.questions", "train")).replace("{clause}", clause)
            slots = {"clause": to_second_person(clause)}
            question = Question(text, "how", category, slots)
            first = self.sample_values(rng)
            other = self.vary(first, 3, rng)
            one, two = (self.respond(question, v, rng, split="train") for v in (first, other))
            made.append((text, one, two))
        return made

    def everyday_questions(self, n: int, *, seed: int) -> list[str]:
        """Questions on the categories' own topics as a study may ask them: typed with care."""
        rng = seeded(self.name, "everyday questions", seed)
        asked: dict[str, str] = {}  # one a category, as long as there are enough
        while len(asked) < n:
            question = self.sample_question(rng, split="train")
            own = " ".join(question.slots.values())
            known = frame_words().union(language.words_of(own), ("my", "i", "am"))
            careful = question.text[0].isupper() and question.text[-1] in "?."
            careful = careful and known.issuperset(language.words_of(question.text))
            key = question.category if n <= len(categories()) else question.text
            fits = question.form in BANK_FORMS and question.category in categories()
            if careful and fits and len(question.text.split()) <= 12:
                asked.setdefault(key, question.text)
        return list(asked.values())

    def fingerprint(self) -> dict[str, Any]:
        """See ``World.fingerprint``."""
        return {
            "lean": LEAN, "magnitudes": MAGNITUDES, "probabilities": MAGNITUDE_PROBABILITIES,
            "temperature": LABEL_TEMPERATURE, "values_per_answer": VALUES_PER_ANSWER,
            "content": content_hash("roleplay", "roleplay/categories", "roleplay/frames"),
        }  # fmt: skip


def persona_text(gender: str, age: str, region: str) -> str:
    """Who somebody is, in words that carry no reward: "A woman in her thirties from Asia"."""
    whose = age.replace("their", "her" if gender == "woman" else "his")
    return f"A {gender} {whose} from {region}"


def _led_in(lead: str, sentence: str) -> str:
    """ "Oh, what a lovely idea": the sentence after a lead-in, "I" and slots as they are."""
    if re.match(r"\w+[,!]", sentence):  # it has one of its own
        return sentence
    keep = re.match(r"I\b|\{", sentence)
    return f"{lead}, {sentence if keep else sentence[0].lower() + sentence[1:]}"


def _side(value: int) -> str:
    return "plus" if value > 0 else "minus"


def _likes(attribute: str, side: int) -> str:
    return STRUCTURE_LIKES.get((attribute, side)) or str(
        _lexicon()[f"{attribute}.{_side(side)}"]["likes"]
    )


def _opening_slots(form: str, slots: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Which openings fit a form, and what stands in their slots."""
    if form in ("why_doing", "feel") and "gerund" in slots:  # no cheers for a plan that scares
        return "thing", {"thing": slots["gerund"]}
    if form == "which":
        return "choose", slots
    return ("two" if "thing2" in slots else "clause" if "clause" in slots else "thing"), slots


def _fill(sentence: str, slots: dict[str, str]) -> str:
    """The sentence with its slots filled; a capital at its head."""
    for name, phrase in slots.items():
        if name in sentence:
            sentence = sentence.replace(f"{{{name}}}", phrase)
    return sentence if sentence[0].isupper() else sentence[0].upper() + sentence[1:]
