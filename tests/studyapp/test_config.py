from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from studyapp.config import StudyConfig, parse_study
from studyapp.errors import ConfigError
from studyapp.flow import Stage
from tests.studyapp.walk import study_values

DEMO = Path(settings.BASE_DIR) / "studies" / "demo.toml"


def demo_with(old: str, new: str) -> str:
    text = DEMO.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the demo's file"
    return text.replace(old, new)


def test_the_demo_study_is_valid_and_has_what_the_study_promises() -> None:
    config = parse_study(DEMO.read_text(encoding="utf-8"))
    assert (config.labels.count, config.own_questions.count, config.bank.count) == (4, 2, 3)
    assert [(p.arm, p.against) for p in config.judging.pairings] == [
        ("fspo", "base"),
        ("fspo", "ipo"),
        ("fspo", "pref_ft"),
    ]
    assert len(config.comprehension.questions) == 2
    assert config.comprehension.attempts == 2
    assert "synthetic" in config.notice


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[labels]\ncount = 4", "[labels]\ncount = 0", "labels.count: .*1, got 0"),
        ("[labels]\ncount = 4", '[labels]\ncount = "many"', "labels.count: .*got 'many'"),
        (
            "[labels]\ncount = 4",
            "[labels]\ncount = 50",
            r"labels.count: there are \d+ pairs, got 50",
        ),
        ("[bank]\ncount = 3", "[bank]\ncount = 13", "bank.count: bank.questions has 12, got 13"),
        ("min_length = 5", "min_length = 301", "own_questions: min_length 301 is above max_length"),
        ('slug = "demo"', 'slug = "De mo"', "slug: .*got 'De mo'"),
        ('slug = "demo"', "", "slug: Field required"),
        (
            'against = "ipo"',
            'against = "gpt"',
            "judging.pairings.1.against: unknown arm.*got 'gpt'",
        ),
        ('against = "ipo"', 'against = "oracle"', "judging.pairings.1.against: .*description"),
        ('against = "ipo"', 'against = "fspo"', "judging.pairings.1: .*itself, got 'fspo' twice"),
        ('against = "ipo"', 'against = "base"', "judging.pairings: .*got 'fspo–base' twice"),
        ("temperature = 0.7", "temperature = 3.0", "generation.temperature: .*got 3.0"),
        ("temperature = 0.7", "temperatur = 0.7", "generation.temperatur: Extra inputs.*got 0.7"),
        ("answer = 2", "answer = 3", "comprehension.questions.1: answer must be below 3, got 3"),
        ('completed = "DEMODONE"', 'completed = "A B"', "codes.completed: .*got 'A B'"),
        ("?cc={code}", "?cc=", "recruiter.return_url: .*{code}, got 'https"),
        ("schema_version = 1", "schema_version = 2", "schema_version: .*got 2"),
        ("allow_tie = true", "allow_tie = maybe", "not valid TOML"),
    ],
)
def test_an_error_names_the_key_and_the_value(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_study(demo_with(old, new))


def test_all_errors_are_told_at_once() -> None:
    text = demo_with("temperature = 0.7", "temperature = 9").replace("top_p = 0.95", "top_p = 0")
    with pytest.raises(ConfigError) as caught:
        parse_study(text)
    assert len(str(caught.value).splitlines()) == 2


def test_the_hash_ignores_layout_and_sees_content() -> None:
    text = DEMO.read_text(encoding="utf-8")
    first = parse_study(text)
    assert parse_study("# a remark\n" + text).sha256() == first.sha256()
    assert parse_study(demo_with("seed = 20250218", "seed = 1")).sha256() != first.sha256()


def test_what_is_stored_reads_back_as_the_same_configuration() -> None:
    config = parse_study(DEMO.read_text(encoding="utf-8"))
    assert StudyConfig.model_validate(config.canonical()) == config


@pytest.mark.parametrize(
    ("changes", "empty"),
    [
        ({}, set()),
        ({"own_questions": {"count": 0}}, {Stage.ASK}),
        ({"exit_questions": []}, {Stage.EXIT}),
    ],
)
def test_a_stage_without_content_is_empty(changes: dict[str, Any], empty: set[Stage]) -> None:
    assert StudyConfig.model_validate(study_values(**changes)).empty_stages == empty


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"name": "a", "kind": "choice", "question": "?"}, "at least two options, got 0"),
        ({"name": "a", "kind": "text", "question": "?", "options": ["x", "y"]}, "a choice only"),
        ({"name": "a", "kind": "slider", "question": "?"}, "kind"),
        ({"name": "A b", "kind": "text", "question": "?"}, "name"),
    ],
)
def test_an_exit_question_that_cannot_be_asked_is_refused(
    question: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StudyConfig.model_validate(study_values(exit_questions=[question]))
