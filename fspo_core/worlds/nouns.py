"""Twenty thousand nouns to ask about, and words that mean nothing.

A topic's split is decided by its head noun's lemma. Held-out questions are about heads that occur
nowhere in training, in no form, as no modifier, verb or word of an answer.
"""

from __future__ import annotations

import random
import re
import zlib
from bisect import bisect
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from fspo_core.worlds.base import Split
from fspo_core.worlds.wording import CONTENT, load_folder, load_toml, pick

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*", re.UNICODE)
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
    really asked
    thinking having now soon today matter matters deal explain feel recommend suggest suggests
    choose trouble worry unsure nervous
    begin steps take say nothing work works could's what's i'm i've don't can't it's""".split()
)
_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sh sk sl sn sp st str t th"
    " tr v w y z"
).split()
_NUCLEI = "a e i o u a e i o u ai ea ee oa oo ou".split()
_CODAS = "b ck d ff g l ll m n nd nk nt p r rk rm rn s sh st t th x z".split() + [""] * 6
_AN = re.compile(r"(?:[aeio]|u(?!ni|s[aeiu]|t[aeiou]|r[aeiu]|kule)|hon(?:est|or)|hour|heir)")


@dataclass(frozen=True, slots=True)
class Noun:
    """One word of nouns.tsv; ``kind`` is WordNet's lexical category."""

    word: str
    kind: str
    countable: bool
    frequency: float  # Zipf scale, 0 where unknown


def lemma(word: str) -> str:
    """A crude lemma for comparing head nouns: lower case, common plural endings off."""
    word = word.lower()
    for ending, replacement in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def plural(word: str) -> str:
    """The regular plural."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if re.search(r"[^aeiou]y$", word) else word + "s"


def with_article(word: str) -> str:
    """ "a lathe", "an hour"."""
    return ("an " if _AN.match(word) else "a ") + word


def head_noun(phrase: str) -> str:
    """The last word of a noun phrase; of a hyphenated one, its last part."""
    return str(WORD.findall(phrase)[-1])


@cache
def is_heldout(word: str) -> bool:
    """Whether a head noun belongs to the held-out fifth, by a hash of its lemma."""
    return zlib.crc32(lemma(word).encode()) % 5 == 0


def to_second_person(text: str) -> str:
    """Turn "my garden" to "your garden": what an answer says where the asker said "my"."""
    return WORD.sub(lambda m: _SECOND_PERSON.get(m.group().lower(), m.group()), text)


@cache
def load_nouns() -> tuple[Noun, ...]:
    """content/roleplay/nouns.tsv, made by make_nouns.py beside it from WordNet 3.0."""
    rows = (CONTENT / "roleplay" / "nouns.tsv").read_text(encoding="utf-8").splitlines()
    found = []
    for row in rows:
        word, kind, form, frequency = row.split("\t")
        found.append(Noun(word, kind, form == "count", float(frequency)))
    return tuple(found)


@cache
def belongs(head: str, split: Split) -> bool:
    """Whether a head may stand in a question of ``split``."""
    if split == "train":
        return not is_heldout(head)
    return is_heldout(head) and lemma(head_noun(head)) not in training_lemmas()


@cache
def training_lemmas() -> frozenset[str]:
    """Lemmas of every hand-written word of the Roleplay world that training text can have."""
    texts: list[str] = []

    def collect(entry: object) -> None:
        if isinstance(entry, str):
            texts.append(entry)
        elif isinstance(entry, dict):
            for key, value in entry.items():
                if key == "things":  # held-out heads are left out of training, word and all
                    collect([t for t in value if not is_heldout(head_noun(t))])
                else:
                    collect(value)
        elif isinstance(entry, list):
            for value in entry:
                collect(value)

    for folder in ("roleplay/categories", "roleplay/frames"):
        collect(load_folder(folder))
    collect(load_toml("roleplay/groups.toml"))
    collect(load_toml("roleplay/general.toml"))
    collect([pole["likes"] for sides in load_toml("roleplay/lexicon.toml").values()
             for pole in sides.values()])  # fmt: skip
    return frozenset(
        lemma(word) for text in texts for word in re.split(r"[^\w'’]+|-", text) if word
    )


@cache
def _pool(kinds: frozenset[str], split: Split) -> tuple[tuple[Noun, ...], tuple[float, ...]]:
    """The nouns of some kinds with cumulative weights: common words are asked about more."""
    nouns = [
        noun
        for noun in load_nouns()
        if noun.kind in kinds and noun.word not in STOP_WORDS and belongs(noun.word, split)
    ]
    return tuple(nouns), tuple(accumulate(0.5 + n.frequency**2 for n in nouns))


def sample_noun(rng: random.Random, kinds: frozenset[str], *, split: Split) -> str:
    """A noun phrase about one of the twenty thousand: "a lathe", "lathes", "my gravel"."""
    nouns, cumulative = _pool(kinds, split)
    noun = nouns[bisect(cumulative, rng.random() * cumulative[-1], hi=len(nouns) - 1)]
    if not noun.countable:
        return noun.word
    many = plural(noun.word)
    # "cookies" would be taken for the plural of "cooky", which may belong to the other split.
    if rng.random() < 0.5 and lemma(many) == lemma(noun.word):
        return many
    return with_article(noun.word)


@cache
def plain_words() -> tuple[str, ...]:
    """Training's head nouns of the categories that are one lower-case word."""
    groups = load_toml("roleplay/groups.toml")["group"]
    entries = [*load_folder("roleplay/categories").values(), *groups]
    things = [thing for entry in entries for thing in entry["things"]]
    words = {head_noun(thing) for thing in things}
    return tuple(sorted(w for w in words if w.isalpha() and w.islower() and not is_heldout(w)))


def invent_word(rng: random.Random) -> str:
    """A word that means nothing: one to three syllables, or two halves of words that exist.

    The halves have the letters of real words in an order no model can have learned by heart.
    """
    if rng.random() < 0.5:
        left, right = pick(rng, plain_words()), pick(rng, plain_words())
        return left[: rng.randrange(2, 6)] + right[-rng.randrange(2, 7) :]
    syllables = 1 + (rng.random() < 0.75) + (rng.random() < 0.25)
    return "".join(
        pick(rng, _ONSETS) + pick(rng, _NUCLEI) + pick(rng, _CODAS) for _ in range(syllables)
    )


def invented_noun(rng: random.Random, split: Split) -> str:
    """A noun phrase whose head nobody has ever heard."""
    word = invent_word(rng)
    while not belongs(word, split):
        word = invent_word(rng)
    shape = rng.random()
    if shape < 0.35:
        return with_article(word)
    if shape < 0.6:
        return word + "s"
    if shape < 0.75:
        return word.capitalize()
    return pick(rng, ("my ", "the ", "some ", "")) + word


def invented_verb(rng: random.Random) -> str:
    """A verb nobody has ever heard; never a held-out word, which could be somebody's topic."""
    while is_heldout(word := invent_word(rng)):
        pass
    return word
