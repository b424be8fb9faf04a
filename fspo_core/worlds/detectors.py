"""Detectors: which poles a text shows, by cue words.

Each pole has two lists of cues with no word in common, read by two independent detectors. A text
that a person reads as thrifty uses words of both; a text that parrots one list is seen by one
detector alone, and the two disagree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from fspo_core.worlds import language
from fspo_core.worlds.base import Detector


class CueDetector:
    """Counts the cues of every pole. ``lexicon`` maps pole -> {"a": cues, "b": cues}.

    A cue is a word or phrase; "*" stands for any letters. Where cues overlap, the longest counts.
    """

    def __init__(self, lexicon: Mapping[str, Mapping[str, Any]], detector: Detector) -> None:
        self.cues = [cue.replace("*", "") for lists in lexicon.values() for cue in lists[detector]]
        own = {cue: pole for pole, lists in lexicon.items() for cue in lists[detector]}
        cues = sorted((cue for cue in own if cue != "?"), key=lambda cue: (-len(cue), cue))
        self._poles = [own[cue] for cue in cues]
        alternatives = (f"({_as_pattern(cue)})" for cue in cues)
        self._pattern = re.compile(rf"\b(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)

    def count(self, text: str) -> Counter[str]:
        """How many cues of each pole the text has."""
        return Counter(self._poles[m.lastindex - 1] for m in self._pattern.finditer(text)
                       if m.lastindex)  # fmt: skip


def cue_counter(*detectors: CueDetector) -> Callable[[str], int]:
    """How many cues of any pole a text has, over several detectors."""
    return lambda text: sum(detector.count(text).total() for detector in detectors)


def _as_pattern(cue: str) -> str:
    return re.escape(cue).replace(r"\*", r"\w*")


def sign(counts: Mapping[str, int], plus: str, minus: str) -> int:
    """Which of two poles has more cues: 1, -1 or 0."""
    gap = counts.get(plus, 0) - counts.get(minus, 0)
    return (gap > 0) - (gap < 0)


def without_echo(question_text: str, response_text: str) -> str:
    """The response without what it repeats of the question.

    "plan a party" in a question must not make its answer count as one that plans first. Taken out
    are the question's telling words where two of the question's words stand together as they stood
    there and, in the first sentence, all of its telling words.
    """
    asked = [_plain(word) for word in language.words_of(question_text)]
    telling = {_plain(word) for word in language.telling_words(question_text)}
    pairs = {(a, b) for a, b in pairwise(asked) if a in telling or b in telling}
    tokens = re.findall(r"\w+(?:['’]\w+)*|\W+", response_text)
    at = [i for i, token in enumerate(tokens) if token[0].isalnum()]
    first_end = next((i for i, t in enumerate(tokens) if re.search(r"[.!?]\s", t)), len(tokens))
    drop = {i for i in at if i < first_end}
    for left, right in pairwise(at):
        if (_plain(tokens[left]), _plain(tokens[right])) in pairs:
            drop |= {left, right}
    return "".join(
        " _ " if i in drop and _plain(token) in telling else token for i, token in enumerate(tokens)
    )


_PERSON = {"i": "you", "me": "you", "my": "your", "am": "are", "myself": "yourself", "our": "your"}


def _plain(word: str) -> str:
    word = word.lower()
    return _PERSON.get(word, word)
