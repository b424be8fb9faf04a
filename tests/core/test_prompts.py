"""Prompts: the published layout to the letter, and text that can't forge structure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fspo_core.errors import PromptTooLong
from fspo_core.modeling import train_tokenizer
from fspo_core.prompts import CompactFormat, PaperFormat, shots_to_drop
from fspo_core.types import Preference

TOKENIZER = train_tokenizer(
    iter(["How do I bake bread?", "## Question \n# Task"] * 50), vocab_size=400
)
COMPACT, PAPER = CompactFormat(TOKENIZER), PaperFormat(TOKENIZER)
HEADINGS = (
    "# Example",
    "# Task",
    "## Question",
    "## Preferred Response",
    "## Dispreferred Response",
    "## User Description",
)
hostile = st.lists(
    st.sampled_from(
        [
            *CompactFormat.SPECIAL_TOKENS,
            *HEADINGS,
            "\n",
            "\r",
            "\u2028",
            "\u0085",
            " ",
            "\t",
            "#",
            "<|",
            "|>",
            "<",
            "|",
        ]
    )
    | st.text(max_size=8),
    max_size=12,
).map("".join)


def test_the_paper_format_is_the_published_layout_to_the_letter() -> None:
    pair = Preference("Why is the sky blue?", "Because of scattering.", "It just is.")
    assert PAPER.shot_text(1, pair) == (
        "# Example 1\n## Question \nWhy is the sky blue?\n"
        "## Preferred Response \nBecause of scattering.\n"
        "## Dispreferred Response \nIt just is.\n\n"
    )
    assert PAPER.task_text("Why?", shots=1, description=None, describe=False) == (
        "# Task\n"
        "Given the examples above, generate a preferred response to the following question.\n"
        "## Question \nWhy?\n## Preferred Response \n"
    )


def test_the_task_sentence_without_shots_names_no_examples() -> None:
    text = PAPER.task_text("Why?", shots=0, description=None, describe=False)
    assert text.startswith("# Task\nGenerate a response to the following question.\n")


def test_a_description_stands_under_its_heading_before_the_response() -> None:
    text = PAPER.task_text("Why?", shots=2, description="Likes steps.", describe=False)
    assert text.endswith("## User Description\nLikes steps.\n## Preferred Response \n")
    cue = PAPER.task_text("Why?", shots=2, description=None, describe=True)
    assert cue.endswith("## Question \nWhy?\n## User Description\n")


@given(hostile)
@settings(max_examples=300, deadline=None)
def test_no_text_encodes_to_a_special_token_in_the_compact_format(text: str) -> None:
    special = set(TOKENIZER.all_special_ids)
    assert not special & set(COMPACT.text(text))


@given(hostile)
@settings(max_examples=300, deadline=None)
def test_no_text_can_open_a_heading_in_the_paper_format(text: str) -> None:
    escaped = PAPER.escape(text)
    # The text stands at the beginning of a line, as in the layout.
    for line in escaped.splitlines():
        assert not line.lstrip().startswith("#")
    assert not set(TOKENIZER.all_special_ids) & set(PAPER.text(text))


@given(hostile, hostile, hostile)
@settings(max_examples=100, deadline=None)
def test_a_compact_shot_has_exactly_its_own_structure(
    question: str, chosen: str, rejected: str
) -> None:
    ids = COMPACT.shot(1, Preference(question, chosen, rejected))
    special = [i for i in ids if i in set(TOKENIZER.all_special_ids)]
    assert special == [COMPACT.question, COMPACT.chosen, COMPACT.end, COMPACT.rejected, COMPACT.end]


def test_special_tokens_that_no_attribute_names_are_broken_up_too() -> None:
    from tokenizers import AddedToken

    tokenizer = train_tokenizer(iter(["How do I bake bread?"] * 50), vocab_size=300)
    header = AddedToken("<|start_header_id|>", special=True)
    tokenizer.add_tokens([header])
    forged = tokenizer.convert_tokens_to_ids("<|start_header_id|>")
    assert forged in tokenizer.encode("a<|start_header_id|>b", add_special_tokens=False)
    assert forged not in PaperFormat(tokenizer).text("a<|start_header_id|>b")


def test_ordinary_text_is_not_changed_by_escaping() -> None:
    text = "Use C# or a hashtag #bread.\nThen 1 < 2 | 3."
    assert PAPER.escape(text) == text
    assert TOKENIZER.decode(COMPACT.text("Use a < b.")).strip() == "Use a < b."


def test_the_oldest_shots_go_first_and_only_as_many_as_needed() -> None:
    # 10 fixed + 30 + 20 + 10 = 70; without the first, 40 fits into 45.
    assert shots_to_drop([30, 20, 10], 10, max_length=70, received="r") == 0
    assert shots_to_drop([30, 20, 10], 10, max_length=45, received="r") == 1
    assert shots_to_drop([30, 20, 10], 10, max_length=10, received="r") == 3


def test_a_question_that_does_not_fit_is_refused_not_cut() -> None:
    with pytest.raises(PromptTooLong, match="need 11 tokens, the model has 10"):
        shots_to_drop([5], 11, max_length=10, received="request 7")
