"""Labels + question -> prompt: the only place where a prompt is built.

Two formats. ``paper`` is the published layout (FSPO, arXiv 2502.19312, and its code release), so
that published checkpoints and data fit. ``compact`` uses special tokens, for the embedded model.
In both, a prompt is a *head* (the labelled pairs) followed by a *tail* (description, question), so
that one user's head can be computed once. Text of a user can't forge structure: markers of the
format that occur in it are broken up before they are encoded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fspo_core.errors import PromptTooLong
from fspo_core.types import Preference

FormatName = Literal["paper", "compact"]


class Tokenizer(Protocol):
    """What this module needs of a Hugging Face tokenizer."""

    all_special_tokens: list[str]

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a prompt and how many labelled pairs stand in it.

    ``context``: how many of the ids come before the question, alike for all questions of a user.
    """

    ids: tuple[int, ...]
    context: int
    shots_used: int
    shots_dropped: int

    @property
    def sha256(self) -> str:
        """Hash of the exact token ids."""
        return hashlib.sha256(repr(self.ids).encode()).hexdigest()


class PromptFormat(Protocol):
    """Turns pairs and questions into token ids."""

    name: FormatName

    def shot(self, index: int, preference: Preference) -> list[int]:
        """Ids of the labelled pair number ``index`` (from 1)."""
        ...

    def opening(self) -> list[int]:
        """Ids before the first shot."""
        ...

    def answer_cue(self, question: str, *, shots: int, description: str | None) -> list[int]:
        """Ids after the shots, up to where the answer begins."""
        ...

    def description_cue(self, question: str, *, shots: int) -> list[int]:
        """Ids after the shots, up to where a description of the user begins."""
        ...

    def verdict_cue(self, question: str, first: str, second: str) -> list[int]:
        """Ids after the shots, up to the token that says which response the user prefers."""
        ...

    @property
    def verdict_ids(self) -> tuple[int, int]:
        """The ids that say: the first response, the second."""
        ...

    def text(self, text: str) -> list[int]:
        """Ids of a user's or model's text, unable to forge structure."""
        ...

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end an answer or a description."""
        ...


def break_up(text: str, markers: Iterable[str]) -> str:
    """The text with every marker broken by a space after its first character."""
    for marker in markers:
        if marker:
            text = text.replace(marker, f"{marker[0]} {marker[1:]}")
    return text


class CompactFormat:
    """Special tokens only; see ``SPECIAL_TOKENS``. The description stands before the question."""

    name: FormatName = "compact"
    BOS, END, PAD = "<|bos|>", "<|end|>", "<|pad|>"
    QUESTION, CHOSEN, REJECTED, USER = "<|question|>", "<|chosen|>", "<|rejected|>", "<|user|>"
    SPECIAL_TOKENS = (PAD, BOS, END, QUESTION, CHOSEN, REJECTED, USER)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._encode = tokenizer.encode
        ids = {token: tokenizer.convert_tokens_to_ids(token) for token in self.SPECIAL_TOKENS}
        self.bos, self.end, self.pad = ids[self.BOS], ids[self.END], ids[self.PAD]
        self.question, self.chosen = ids[self.QUESTION], ids[self.CHOSEN]
        self.rejected, self.user = ids[self.REJECTED], ids[self.USER]

    def text(self, text: str) -> list[int]:
        """Ids of ``text``; "<|" can't occur in what is encoded, so no special token can either."""
        return self._encode(break_up(text, ("<|",)), add_special_tokens=False)

    def opening(self) -> list[int]:
        return [self.bos]

    def shot(self, index: int, preference: Preference) -> list[int]:  # noqa: ARG002 - the order says it
        return [
            self.question, *self.text(preference.question),
            self.chosen, *self.text(preference.chosen), self.end,
            self.rejected, *self.text(preference.rejected), self.end,
        ]  # fmt: skip

    def answer_cue(self, question: str, *, shots: int, description: str | None) -> list[int]:  # noqa: ARG002
        told = [] if description is None else [self.user, *self.text(description), self.end]
        return [*told, self.question, *self.text(question), self.chosen]

    def description_cue(self, question: str, *, shots: int) -> list[int]:  # noqa: ARG002
        return [self.user]

    def verdict_cue(self, question: str, first: str, second: str) -> list[int]:
        responses = (i for text in (first, second) for i in (self.user, *self.text(text), self.end))
        return [self.question, *self.text(question), *responses]

    @property
    def verdict_ids(self) -> tuple[int, int]:
        return self.chosen, self.rejected  # said of the first response

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return (self.end,)


_HEADING = re.compile(
    r"(^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])([^\S\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*)#"
)


class PaperFormat:
    """The published layout: Markdown headings, some with a space before the line's end."""

    name: FormatName = "paper"
    TASK_ZERO_SHOT = "Generate a response to the following question."
    TASK_SHOTS = (
        "Given the examples above, generate a preferred response to the following question."
    )
    TASK_VERDICT = "Given the examples above, tell which response the same person prefers."  # ours
    TASK_DESCRIPTION = (
        "Generate a user description based on the examples above. "
        "Then, generate a preferred response to the following question."
    )

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # Chat models have special tokens that no attribute names (<|start_header_id|> …).
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        unnamed = (token.content for token in added if token.special)
        self._special = tuple(dict.fromkeys((*tokenizer.all_special_tokens, *unnamed)))

    def escape(self, text: str) -> str:
        """A line that begins with # gets a backslash before it; special tokens are broken up."""
        return break_up(_HEADING.sub(r"\1\2\\#", text), self._special)

    def text(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(self.escape(text), add_special_tokens=False))

    def opening(self) -> list[int]:
        bos = self._tokenizer.bos_token_id
        return [] if bos is None else [bos]

    def shot_text(self, index: int, preference: Preference) -> str:
        """One labelled pair as published."""
        return (
            f"# Example {index}\n## Question \n{self.escape(preference.question)}\n"
            f"## Preferred Response \n{self.escape(preference.chosen)}\n"
            f"## Dispreferred Response \n{self.escape(preference.rejected)}\n\n"
        )

    def task_text(
        self, question: str, *, shots: int, description: str | None, describe: bool
    ) -> str:
        """The task and the cue of the published layout."""
        task = self.TASK_SHOTS if shots else self.TASK_ZERO_SHOT
        if describe or description is not None:
            task = self.TASK_DESCRIPTION
        text = f"# Task\n{task}\n## Question \n{self.escape(question)}\n"
        if describe:
            return text + "## User Description\n"
        if description is not None:
            text += f"## User Description\n{self.escape(description)}\n"
        return text + "## Preferred Response \n"

    def shot(self, index: int, preference: Preference) -> list[int]:
        return self._ids(self.shot_text(index, preference))

    def answer_cue(self, question: str, *, shots: int, description: str | None) -> list[int]:
        return self._ids(
            self.task_text(question, shots=shots, description=description, describe=False)
        )

    def description_cue(self, question: str, *, shots: int) -> list[int]:
        return self._ids(self.task_text(question, shots=shots, description=None, describe=True))

    def verdict_cue(self, question: str, first: str, second: str) -> list[int]:
        return self._ids(
            f"# Task\n{self.TASK_VERDICT}\n## Question \n{self.escape(question)}\n"
            f"## Response 1 \n{self.escape(first)}\n## Response 2 \n{self.escape(second)}\n"
            "## Preferred Response Number \n"
        )

    @property
    def verdict_ids(self) -> tuple[int, int]:
        return self._ids("1")[-1], self._ids("2")[-1]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        end = self._tokenizer.eos_token_id
        return () if end is None else (end,)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def get_format(name: FormatName, tokenizer: Any) -> PromptFormat:
    """The format called ``name``."""
    return CompactFormat(tokenizer) if name == "compact" else PaperFormat(tokenizer)


def shots_to_drop(
    shot_lengths: Sequence[int], fixed_length: int, *, max_length: int, received: str
) -> int:
    """How many of the oldest shots must go so that the prompt fits; the question is never cut.

    ``shot_lengths`` and ``fixed_length`` are in tokens. Raises PromptTooLong, stating the lengths,
    when the question alone does not fit; ``received`` names the request in the message.
    """
    dropped, total = 0, fixed_length + sum(shot_lengths)
    while total > max_length and dropped < len(shot_lengths):
        total -= shot_lengths[dropped]
        dropped += 1
    if total > max_length:
        raise PromptTooLong(
            f"{received}: question and answer need {total} tokens, the model has {max_length}"
        )
    return dropped
