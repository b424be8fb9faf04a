"""What the questions are about: thousands of topics, and how people ask.

A topic's split is decided by its head noun's lemma. Held-out questions are about heads that occur
nowhere in training, in no form, as no modifier, verb or word of an answer. Invented words teach a
small model to copy what it never saw.
"""

from __future__ import annotations

import re
import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import numpy as np

from fspo_core.worlds.base import Question, Split

T = TypeVar("T")
CONTENT = resources.files("fspo_core.worlds") / "content"
HELDOUT_FRACTION = 0.25  # of each list of wordings: its last quarter

_SECOND_PERSON = {
    "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are",
    "we": "you", "us": "you", "our": "your", "ours": "yours", "ourselves": "yourselves",
}  # fmt: skip
# Words that say nothing of a question's topic.
STOP_WORDS = frozenset(
    """a an the this that these those some any my your his her its our their i me you he she it
    we they them us him
    is are was were be been being am do does did done have has had will would can could should
    shall may might must
    to of in on at by for from with about into over after before under between without within
    during through up down out
    off and or but so if when while because than then as not no nor yes how what which who whom
    whose why where there here
    all both each few more most other such only own same too very just also please help tell
    give know need want like
    get go make think find good best better right way tips advice ideas idea question something
    anything thing things
    much many one two first again always never ever long often hard easy simple easiest time
    little new trying try
    really friend asked
    thinking having now soon today matter matters deal explain feel recommend suggest suggests
    choose trouble worry unsure nervous
    begin steps take say nothing work works could's what's i'm i've don't can't it's""".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*", re.UNICODE)
_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sh sk sl sn sp st str t th"
    " tr v w y z"
).split()
_NUCLEI = "a e i o u a e i o u ai ea ee oa oo ou".split()
_CODAS = "b ck d ff g l ll m n nd nk nt p r rk rm rn s sh st t th x z".split() + [""] * 6


@dataclass(frozen=True, slots=True)
class Topics:
    """The categories' verbs (base form) and noun phrases, one tuple a category."""

    verbs: tuple[tuple[str, ...], ...]
    nouns: tuple[tuple[str, ...], ...]


def lemma(word: str) -> str:
    """A crude lemma for comparing head nouns: lower case, common plural endings off."""
    word = word.lower()
    for ending, replacement in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def head_noun(np_text: str) -> str:
    """The last word of a noun phrase; of a hyphenated one, its last part."""
    return str(_WORD.findall(np_text)[-1])


def is_heldout(word: str) -> bool:
    """Whether a head noun belongs to the held-out fifth, by a hash of its lemma."""
    return zlib.crc32(lemma(word).encode()) % 5 == 0


def to_second_person(text: str) -> str:
    """Turn "my garden" to "your garden": what an answer says where the asker said "my"."""
    return _WORD.sub(lambda m: _SECOND_PERSON.get(m.group().lower(), m.group()), text)


@cache
def load_topics() -> Topics:
    """Read content/topics.txt: sections with a ``verbs:`` and a ``nouns:`` line each."""
    verbs: list[tuple[str, ...]] = []
    nouns: list[tuple[str, ...]] = []
    for line in (CONTENT / "topics.txt").read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(":")
        items = tuple(item.strip() for item in rest.split(",") if item.strip())
        if key == "verbs":
            verbs.append(tuple(item.split("/")[0].strip() for item in items))
        elif key == "nouns":
            nouns.append(items)
    return Topics(tuple(verbs), tuple(nouns))


@cache
def load_toml(name: str) -> dict[str, Any]:
    """A content file, parsed."""
    return tomllib.loads((CONTENT / name).read_text(encoding="utf-8"))


def wordings(items: Sequence[str], split: Split) -> Sequence[str]:
    """The part of a list of wordings that belongs to ``split``."""
    cut = len(items) - max(1, int(len(items) * HELDOUT_FRACTION))
    return items[:cut] if split == "train" else items[cut:]


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One item, uniformly."""
    return items[int(rng.integers(len(items)))]


def invent_word(rng: np.random.Generator) -> str:
    """A word that means nothing: one to three syllables, or two halves of words that exist.

    The halves have the letters of real words in an order no model can have learned by heart.
    """
    while True:
        if rng.random() < 0.5:
            left, right = pick(rng, plain_words()), pick(rng, plain_words())
            word = left[: int(rng.integers(2, 6))] + right[-int(rng.integers(2, 7)) :]
        else:
            syllables = 1 + int(rng.choice(3, p=[0.25, 0.55, 0.2]))
            word = "".join(
                pick(rng, _ONSETS) + pick(rng, _NUCLEI) + pick(rng, _CODAS)
                for _ in range(syllables)
            )
        if word not in STOP_WORDS:
            return word


@cache
def plain_words() -> tuple[str, ...]:
    """Training's head nouns that are one lower-case word."""
    words = {head_noun(np_text) for nouns in load_topics().nouns for np_text in nouns}
    return tuple(sorted(w for w in words if w.isalpha() and w.islower() and not is_heldout(w)))


def _invented_verb(rng: np.random.Generator) -> str:
    # Never a held-out word: it could be the topic of a held-out question.
    while is_heldout(word := invent_word(rng)):
        pass
    return word


def _invented_np(rng: np.random.Generator, split: Split) -> str:
    word = invent_word(rng)
    while not _belongs(word, split):
        word = invent_word(rng)
    shape = rng.random()
    if shape < 0.35:
        return ("an " if word[0] in "aeiou" else "a ") + word
    if shape < 0.6:
        return word + "s"
    if shape < 0.75:
        return word.capitalize()
    return pick(rng, ("my ", "the ", "some ", "")) + word


@cache
def training_lemmas() -> frozenset[str]:
    """Lemmas of every hand-written word that training text can have."""
    topics, questions = load_topics(), load_toml("questions.toml")
    phrases = [n for nouns in topics.nouns for n in nouns if not is_heldout(n.split()[-1])]
    phrases += [verb for verbs in topics.verbs for verb in verbs]
    phrases += [text for texts in questions.values() for text in texts]
    for entry in load_toml("advice.toml").values():
        for pole in (entry["plus"], entry["minus"]):
            phrases += [t for key, v in pole.items() if key != "cues" and key != "name"
                        for t in ([v] if isinstance(v, str) else v)]  # fmt: skip
    return frozenset(lemma(word) for phrase in phrases for word in _WORD.findall(phrase))


def _belongs(head: str, split: Split) -> bool:
    if split == "train":
        return not is_heldout(head)
    return is_heldout(head) and lemma(head_noun(head)) not in training_lemmas()


def sample_np(rng: np.random.Generator, *, split: Split, category: int | None = None) -> str:
    """A noun phrase whose head noun belongs to ``split``."""
    if rng.random() < (0.1 if category is not None else 0.4):
        return _invented_np(rng, split)
    topics = load_topics()
    nouns = topics.nouns[int(rng.integers(len(topics.nouns))) if category is None else category]
    np_text = pick(rng, nouns)
    while not _belongs(np_text.split()[-1], split):
        np_text = pick(rng, nouns)
    words = np_text.split()
    if rng.random() < 0.15:
        adjective = pick(rng, load_toml("questions.toml")["adjectives"])
        at = 1 if words[0] in ("a", "an", "the", "some") else 0
        words.insert(at, adjective)
        if at and words[0] in ("a", "an"):
            words[0] = "an" if adjective[0] in "aeiou" else "a"
    if rng.random() < 0.12:
        words = ["my", *(words[1:] if words[0] in ("a", "an", "the", "some") else words)]
    return " ".join(words)


def sample_clause(rng: np.random.Generator, *, split: Split) -> tuple[str, tuple[str, ...]]:
    """A verb phrase in base form, from "bake bread" to fifteen words, and its head nouns."""
    content = load_toml("questions.toml")
    topics = load_topics()
    draw = rng.random()
    heads: tuple[str, ...] = ()
    if draw < 0.10 and split == "train":
        clause: str = pick(rng, content["life"])
    else:
        category = int(rng.integers(len(topics.verbs)))
        verb = _invented_verb(rng) if rng.random() < 0.25 else pick(rng, topics.verbs[category])
        noun = sample_np(rng, split=split, category=category if draw < 0.7 else None)
        heads = (head_noun(noun),)
        clause = f"{verb} {noun}"
        if rng.random() < 0.08:
            other = pick(rng, topics.verbs[category])
            clause = f"{other} and {clause}" if other != verb else clause
    if rng.random() < 0.25:
        clause += " " + pick(rng, content["where"])
        if rng.random() < 0.15:
            clause += " " + pick(rng, content["where"])
    return clause, heads


def _bare(np_text: str) -> str:
    first, _, rest = np_text.partition(" ")
    return rest if first in ("a", "an", "the", "some", "my") and rest else np_text


def sample_question(rng: np.random.Generator, *, split: Split) -> Question:
    """A question of one of three kinds, with the part an answer takes up."""
    content = load_toml("questions.toml")
    draw = rng.random()
    if draw < 0.55:
        clause, heads = sample_clause(rng, split=split)
        text = pick(rng, wordings(content["clause"], split)).format(clause=clause)
        return Question(text, "clause", to_second_person(clause), heads)
    if draw < 0.78:
        np_text = sample_np(rng, split=split)
        form = pick(rng, wordings(content["np"], split))
        if "hich {np}" in form:
            np_text = _bare(np_text)
        heads = (head_noun(np_text),)
        return Question(form.format(np=np_text), "np", to_second_person(np_text), heads)
    form = pick(rng, wordings(content["question"], split))
    heads, slots = (), {"clause": "", "np": "", "np2": ""}
    if "{clause}" in form:
        slots["clause"], heads = sample_clause(rng, split=split)
    for slot in ("np", "np2"):
        if f"{{{slot}}}" in form:
            slots[slot] = sample_np(rng, split=split)
            heads = (*heads, head_noun(slots[slot]))
    text = form.format(**slots)
    if rng.random() < 0.3:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.15:
        text = text.rstrip("?")
    return Question(text, "question", text if text[-1] in "?!." else text + "?", heads)
