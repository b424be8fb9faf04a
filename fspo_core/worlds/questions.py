"""Everyday questions, in the forms in which people really ask.

How, should I, plan, help me, "I feel …", two sentences, why; what, recommend, explain, one word;
which, compare. Some are in lower case, with typing errors, with a clause of fifteen words, or say
first what the asker is like.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from fspo_core.worlds.base import Question, Split, weighted_choice
from fspo_core.worlds.nouns import (
    STOP_WORDS,
    WORD,
    belongs,
    head_noun,
    invented_noun,
    invented_verb,
    load_nouns,
    sample_noun,
    to_second_person,
)
from fspo_core.worlds.wording import listed, load_folder, load_toml, pick

# How often each form is asked, in parts of a hundred.
FORMS = {
    "how": 22, "should": 8, "plan": 6, "help": 10, "feel": 6, "two": 8, "why_doing": 6,
    "what": 9, "why_thing": 4, "recommend": 6, "explain": 4, "word": 3,
    "which": 4, "compare": 4,
}  # fmt: skip
CLAUSE_FORMS = ("how", "should", "plan", "help", "feel", "two", "why_doing")
PAIR_FORMS = ("which", "compare")
LOWER_CASE, TYPING_ERROR, LONG_CLAUSE, TRAIT = 0.25, 0.05, 0.10, 0.08
CIRCUMSTANCE, LIFE, ANY_NOUN, MY = 0.25, 0.06, 0.9, 0.10
GENERIC_CATEGORIES = ("objects", "creatures", "ideas")  # whose nouns are WordNet's
GENERIC = 0.20
# Whose things are somebody's: "my bicycle", but not "my heron".
OWNED = frozenset(
    ("clothes", "computers", "crafts", "finance", "furniture", "gardening", "home_repair",
     "music", "pets", "vehicles")
)  # fmt: skip
_FORM_NAMES = tuple(FORMS)
_FORM_STEPS = tuple(accumulate(FORMS.values()))
_ARTICLE = re.compile(r"^(?:a|an|the|some) ")


@cache
def categories() -> tuple[str, ...]:
    """The names of the categories that have things of their own."""
    return tuple(c for c in load_folder("roleplay/categories") if c not in GENERIC_CATEGORIES)


@dataclass(frozen=True, slots=True)
class Group:
    """Things to ask about with the verbs that go with each of them, in all four forms."""

    verbs: tuple[tuple[str, ...], ...]
    things: tuple[str, ...]


@cache
def groups(category: str, split: Split) -> tuple[Group, ...]:
    """A category's own topics, then the further ones, those of ``split``."""
    own = [load_folder("roleplay/categories")[category]]
    own += [g for g in load_toml("roleplay/groups.toml")["group"] if g["category"] == category]
    return tuple(
        Group(
            tuple(tuple(verb.split("/")) for verb in entry["verbs"]),
            # A thing that is called like a word of the questions would not show as their topic.
            tuple(
                thing
                for thing in entry["things"]
                if belongs(head_noun(thing), split) and not _is_common(head_noun(thing))
            ),
        )
        for entry in own
    )


@cache
def _kinds_of(category: str) -> Sequence[str]:
    """The kinds of nouns that are asked about in a category, each as often as it has nouns."""
    kinds = load_toml("roleplay/general.toml")["kinds"].get(category, ())
    return tuple(noun.kind for noun in load_nouns() if noun.kind in kinds)


def _list(path: str, split: Split) -> Sequence[str]:
    return listed("roleplay/frames/forms.toml", path, split)


@cache
def _flat(name: str, split: Split) -> tuple[tuple[str, str], ...]:
    entries = load_toml("roleplay/general.toml")[name]
    pairs = [(key, text) for key, texts in entries.items() for text in texts]
    # Every fourth, so that both splits have every kind.
    return tuple(p for i, p in enumerate(pairs) if (i % 4 == 3) == (split == "heldout"))


def _sample_thing(
    rng: random.Random, group: Group, kinds: frozenset[str], *, split: Split, invented: float
) -> str:
    """A noun phrase to ask about: one of ``kinds`` of the twenty thousand, or one of the group's"""
    if invented and rng.random() < invented:
        return invented_noun(rng, split)
    return sample_noun(rng, kinds, split=split) if kinds else pick(rng, group.things)


def _sample_group(
    rng: random.Random, category: str, form: str, split: Split
) -> tuple[Group, frozenset[str]] | None:
    """What to ask about, and of which kind of noun where it may be any of that kind.

    Any noun goes with the category's own verbs, which fit all of them. None where the category has
    no two things to compare.
    """
    own, *further = groups(category, split)
    least = 2 if form in PAIR_FORMS else 1
    fit = [g for g in (own, *further) if len({head_noun(thing) for thing in g.things}) >= least]
    kinds = _kinds_of(category)
    if kinds and (not fit or rng.random() < ANY_NOUN):
        return own, frozenset((pick(rng, kinds),))
    return (pick(rng, fit), frozenset()) if fit else None


def _sample_category(rng: random.Random) -> str:
    if rng.random() < GENERIC:
        return pick(rng, GENERIC_CATEGORIES)
    return pick(rng, categories())


def sample_question(rng: random.Random, *, split: Split, invented: float = 0.0) -> Question:
    """A question of any form. ``invented``: share of nouns and of verbs that nobody ever heard."""
    form = _FORM_NAMES[weighted_choice(rng, _FORM_STEPS)]
    category = _sample_category(rng)
    if category in GENERIC_CATEGORIES:  # one learns about these, and does not choose one
        form = {"recommend": "explain", "which": "compare"}.get(form, form)
    text = pick(rng, _list(f"{form}.questions", split))
    if form in CLAUSE_FORMS and form != "why_doing" and rng.random() < LIFE:
        category, clause = pick(rng, _flat("life", split))
        slots = {"clause": to_second_person(clause), "act": to_second_person(clause)}
        return Question(_as_typed(text.replace("{clause}", clause), form, slots, rng, split),
                        form, category, slots)  # fmt: skip
    while (found := _sample_group(rng, category, form, split)) is None:
        category = pick(rng, categories())
    group, kinds = found
    thing = _sample_thing(rng, group, kinds, split=split, invented=invented)
    # "Why do people bake my bread" is nobody's question.
    mine = category in OWNED and form not in PAIR_FORMS and not form.startswith("why_")
    if mine and rng.random() < MY and thing[0].islower() and not thing.startswith("my "):
        thing = "my " + _ARTICLE.sub("", thing)
    slots = {"thing": to_second_person(thing)}
    topics: tuple[str, ...] = (head_noun(thing),)
    if form in CLAUSE_FORMS:
        if invented and rng.random() < invented:
            base = invented_verb(rng)
            gerund = base + "ing"
        else:
            # Not "How do I try to try tennis?"
            verbs = [v for v in group.verbs if v[0].split()[0] not in text.split()]
            base, _, _, gerund = pick(rng, verbs or group.verbs)
        clause, tail = f"{base} {thing}", ""
        slots["act"] = to_second_person(clause)
        if form != "why_doing" and rng.random() < CIRCUMSTANCE:
            clause += " " + pick(rng, _list("circumstances", split))
        elif form != "why_doing" and rng.random() < LONG_CLAUSE:
            tail = " " + pick(rng, _list("long", split))
        slots["clause"] = to_second_person(clause)
        slots["gerund"] = to_second_person(gerund + clause.removeprefix(base))
        text = text.replace("{clause}", clause + tail)
    elif form in PAIR_FORMS:
        other = _sample_thing(rng, group, kinds, split=split, invented=invented)
        while head_noun(other) == topics[0]:
            other = _sample_thing(rng, group, kinds, split=split, invented=invented)
        slots["thing2"], topics = to_second_person(other), (*topics, head_noun(other))
        text = text.replace("{thing2}", other)
    text = text.replace("{thing}", thing)
    return Question(_as_typed(text, form, slots, rng, split), form, category, slots, topics)


def _as_typed(text: str, form: str, slots: dict[str, str], rng: random.Random, split: Split) -> str:
    """The question as somebody types it: traits first, lower case, a slip of the finger."""
    if text[0].islower() and form != "word":
        text = text[0].upper() + text[1:]
    if form not in ("word", "two") and rng.random() < TRAIT:
        text = f"{pick(rng, _flat('traits', split))[1]} {text}"
    if rng.random() < LOWER_CASE:
        text = text.lower()
        if rng.random() < 0.5:
            text = text.rstrip("?.")
    if rng.random() < TYPING_ERROR:
        text = _mistyped(text, " ".join(slots.values()), rng)
    return text


def _mistyped(text: str, kept: str, rng: random.Random) -> str:
    """The text with one slip in a word that is not of the topic: a letter lost, doubled, turned."""
    topic = {word.lower() for word in re.findall(r"\w+", kept)}
    topic |= {"my", "mine", "myself"}
    places = [m for m in re.finditer(r"[A-Za-z]{4,}", text) if m.group().lower() not in topic]
    if not places:
        return text
    spot = pick(rng, places)
    at = spot.start() + 1 + int(rng.random() * (len(spot.group()) - 2))
    slip = rng.random()
    if slip < 0.35:
        return text[:at] + text[at + 1 :]
    if slip < 0.6:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _is_common(head: str) -> bool:
    return head.lower() in STOP_WORDS or head.lower() in frame_words()


@cache
def frame_words() -> frozenset[str]:
    """Words that belong to how a question is asked and say nothing of what it is about."""
    forms = load_folder("roleplay/frames")["forms"]
    texts = [text for entry in forms.values() if isinstance(entry, dict)
             for text in entry["questions"]]  # fmt: skip
    texts += [*forms["long"]]
    texts += [text for ts in load_toml("roleplay/general.toml")["traits"].values() for text in ts]
    slotless = (re.sub(r"{\w+}", " ", text) for text in texts)
    return frozenset(w.lower() for text in slotless for w in WORD.findall(text))


@cache
def is_frame_word(word: str) -> bool:
    """Whether a word belongs to a question's frame, even with one slip of the finger."""
    words = frame_words()
    if word in words:
        return True
    if len(word) < 3:
        return False
    letters = "abcdefghijklmnopqrstuvwxyz"
    for i in range(1, len(word)):
        doubled = word[:i] + word[i + 1 :] if word[i] == word[i - 1] else ""
        turned = word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :] if i > 1 else ""
        lost = (word[:i] + letter + word[i:] for letter in letters)
        for fixed in (doubled, turned, *lost):
            if len(fixed) >= 4 and fixed in words:
                return True
    return False
