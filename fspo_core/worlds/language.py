"""The quality gate: is a text on topic, whole, not repetitive and not word salad?

It knows nothing of any user. Grammar is checked where a small closed set of words decides it: a
determiner does not stand before another or before a preposition, a sentence does not end in one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from fspo_core.worlds.base import GateResult
from fspo_core.worlds.nouns import STOP_WORDS, lemma
from fspo_core.worlds.questions import is_frame_word

MIN_WORDS, MAX_WORDS = 12, 170

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*", re.UNICODE)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\bSt\.)(?<!\b[DM]r\.)(?<!\bMrs\.)[\"”]?\s+")
_STRUCTURE = re.compile(r"(^|\n)\s*#{1,6} |<\|[a-z_/]+\|>")
_DETERMINERS = frozenset("a an the my your his its our their every".split())
_PREPOSITIONS = frozenset("of at from with into during without within between".split())
_CONJUNCTIONS = frozenset("and or but".split())
_BE = frozenset("is are was were am be been".split())
_AFTER_DETERMINER_BAD = (
    _DETERMINERS | _PREPOSITIONS | _CONJUNCTIONS | _BE
    | frozenset(
        """to in on for by it you i he she we they them do does did have has had will would can
        could should not if that which who what when where how""".split()
    )
)  # fmt: skip
_LAST_BAD = _DETERMINERS | _CONJUNCTIONS | frozenset("of from into to with because than if".split())
_AFTER_PREPOSITION_BAD = (
    _CONJUNCTIONS
    | _BE
    | frozenset(
        "of to i he she we they do does did has had will would can could should not if then".split()
    )
)


def words_of(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


def telling_words(text: str) -> list[str]:
    """The words of a question but for the commonest."""
    return [word for word in words_of(text) if word not in STOP_WORDS and len(word) > 1]


def topic_words(text: str) -> list[str]:
    """The words that carry a question's topic; all words where it has none of these.

    Words of how people ask say nothing of what they ask about, unless there is nothing else.
    """
    telling = telling_words(text)
    return [word for word in telling if not is_frame_word(word)] or telling or words_of(text)


def content_words(text: str) -> list[str]:
    """Lemmas of the topic words."""
    return [lemma(word) for word in topic_words(text)]


def on_topic(question_text: str, response_text: str) -> bool:
    """Whether more than half of the question's content words occur in the response.

    "baking bread" takes up "bake bread".
    """
    asked = set(content_words(question_text))
    # A question of frame words alone ("how do I say no to people") is about some of them.
    least = 0.5 if any(not is_frame_word(word) for word in telling_words(question_text)) else 0.0
    said = {lemma(word) for word in words_of(response_text)}
    for stem in [word[:-3] for word in said if word.endswith("ing") and len(word) > 5]:
        said |= {stem, stem + "e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem}
    return len(asked & said) > least * len(asked)


def topics_named(topics: Sequence[str], response_text: str) -> bool:
    """Whether every one of these nouns occurs in the response, in singular or plural."""
    said = {lemma(word) for word in words_of(response_text)}
    return all(lemma(topic) in said for topic in topics)


def sentences_of(text: str) -> list[str]:
    """Sentences; a numbered line's number belongs to its sentence."""
    parts: list[str] = []
    for line in text.splitlines():
        line = re.sub(r"^\s*\d+[.)]\s+", "", line)
        parts.extend(part for part in _SENTENCE_END.split(line.strip()) if part)
    return parts


def grammar_errors(text: str) -> int:
    """Closed-class impossibilities: "the of", "a the", a sentence that ends in "with the"."""
    errors = 0
    for sentence in sentences_of(text):
        words = words_of(sentence)
        if not words:
            continue
        errors += words[-1] in _LAST_BAD
        errors += sentence[0].islower()
        for left, right in pairwise(words):
            errors += left == right and left not in ("that", "had")
            errors += left in _DETERMINERS and right in _AFTER_DETERMINER_BAD
            errors += left in _PREPOSITIONS and right in _AFTER_PREPOSITION_BAD
            errors += left in _CONJUNCTIONS and right in _CONJUNCTIONS
    return errors


def is_repetitive(text: str) -> bool:
    """A sentence said twice, or more than a fifth of the word trigrams seen before."""
    sentences = [" ".join(words_of(sentence)) for sentence in sentences_of(text)]
    if any(n > 1 for s, n in Counter(sentences).items() if len(s.split()) > 2):
        return True
    words = words_of(text)
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return len(trigrams) > 5 and len(set(trigrams)) < 0.8 * len(trigrams)


def is_stuffed(text: str, count_cues: Callable[[str], int]) -> bool:
    """Keywords strewn about: a sentence that is little but a list, or little but cues."""
    for sentence in sentences_of(text):
        words = words_of(sentence)
        separators = sentence.count(",") + sum(word in ("and", "or") for word in words)
        if separators >= 10 and separators >= 0.25 * len(words):
            return True
        if len(words) >= 8 and (cues := count_cues(sentence)) >= 6 and cues >= 0.4 * len(words):
            return True
    return False


def check(
    question_text: str,
    response_text: str,
    *,
    topic: str | None = None,
    count_cues: Callable[[str], int] = lambda _: 0,
) -> GateResult:
    """The gate. ``reasons`` names every test that failed.

    ``count_cues`` says how many of the detectors' cues a sentence has.
    An answer is on topic if it has the words of ``topic``, or most of the question's where the
    world knows no topic.
    """
    reasons: list[str] = []
    text = response_text.strip()
    words = words_of(text)
    if len(words) < MIN_WORDS:
        reasons.append(f"too short ({len(words)} words)")
    if len(words) > MAX_WORDS:
        reasons.append(f"too long ({len(words)} words)")
    if _STRUCTURE.search(text):
        reasons.append("format heading or special token")
    if not re.search(r"[.!?][\"”)]?$", text):
        reasons.append("cut off")
    if not on_topic(topic or question_text, text):
        reasons.append("off topic")
    if is_repetitive(text.replace(topic, "_") if topic else text):
        reasons.append("repetitive")
    if is_stuffed(text, count_cues):
        reasons.append("keyword stuffing")
    if grammar_errors(text) - grammar_errors(question_text) > max(1.0, len(words) / 40):
        reasons.append("ungrammatical")
    return GateResult(not reasons, tuple(reasons))
