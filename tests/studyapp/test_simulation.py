"""Simulated participants: over real HTTP, against a live server with a worker in a thread."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from fspo_core.arms import ARMS
from fspo_core.worlds import get_world
from studyapp import tasks
from studyapp.analysis import JudgmentRow, judgment_rows, refresh_snapshot, rows_of
from studyapp.models import Comparison, Judgment, Participant, Study
from studyapp.simulation.browser import Browser, SimulationError
from studyapp.simulation.check import check
from studyapp.simulation.cohort import CohortPlan, parts
from studyapp.simulation.habits import Habit, choose, habit_of
from studyapp.simulation.log import EndRecord, JudgmentRecord, read_log
from studyapp.simulation.pages import read_page
from studyapp.simulation.player import strength_of
from tests.studyapp.cohorts import demo_study, fail_answers, play_through

PAGE = """<!doctype html><html><body>
<form action="/s/demo/withdraw" method="post"><input type="hidden" name="csrfmiddlewaretoken"
 value="t1"><button>Withdraw</button></form>
<form method="post" data-comparison="c-1">
 <input type="hidden" name="csrfmiddlewaretoken" value="t2">
 <p><span>The question</span><span data-question>How do I bake &amp; slice
   bread?</span></p>
 <div data-side="left"><p>1. First.</p><p>2. Then.</p></div>
 <div data-side="right">Just   <b>bake</b> it.<br>Enjoy.</div>
 <input type="radio" name="choice" value="left"><input type="radio" name="choice" value="right">
 <select name="age"><option value="">–</option><option value="18">18</option></select>
 <textarea name="reason"></textarea><input type="checkbox" name="adult">
</form></body></html>"""


# -- reading pages


def test_a_page_is_read_with_its_forms_and_what_it_shows() -> None:
    page = read_page("http://localhost/s/demo/judge?poll=3", PAGE)
    assert page.name == "judge"
    assert page.shown == {
        "question": "How do I bake & slice\nbread?",
        "left": "1. First.\n\n2. Then.",
        "right": "Just bake it.\nEnjoy.",
    }
    form = page.form_with("choice")
    assert form is not None
    assert form.attributes["data-comparison"] == "c-1"
    assert form.hidden == {"csrfmiddlewaretoken": "t2"}
    assert form.fields["choice"].values == ["left", "right"]
    assert form.fields["age"].values == ["18"]
    assert form.fields["reason"].values == []
    assert not page.is_waiting


def test_a_waiting_page_is_told_from_others() -> None:
    assert read_page("http://localhost/s/demo/judge", "<div data-waiting></div>").is_waiting


def test_strength_grows_with_the_difference_of_rewards_and_stays_on_the_scale() -> None:
    assert [strength_of(d) for d in (0.0, 0.4, 1.0, -2.0, 3.2, 9.0, -200.0)] == [
        1, 1, 2, 3, 4, 5, 5,
    ]  # fmt: skip


def test_habits_choose_as_they_say() -> None:
    def share(habit: Habit, left: float, right: float) -> float:
        random = Random(1)
        chosen = [choose(habit, left, right, temperature=1.5, random=random) for _ in range(4000)]
        assert set(chosen) <= {"left", "right"}
        return chosen.count("left") / len(chosen)

    assert choose("exact", 2.0, 1.0, temperature=1.5, random=Random(1)) == "left"
    assert choose("exact", 1.0, 1.0, temperature=1.5, random=Random(1)) == "tie"
    # 1 / (1 + exp(-1.5 / 1.5)) = 0.7311; four standard errors are 0.028
    assert share("noisy", 2.5, 1.0) == pytest.approx(0.7311, abs=0.028)
    assert share("noisy", -98.0, 1.0) == 0.0
    assert share("inattentive", 9.0, 0.0) == pytest.approx(0.5, abs=0.032)
    assert share("left", 0.0, 9.0) == pytest.approx(0.8, abs=0.026)


def test_a_third_of_the_careless_pay_no_attention() -> None:
    habits = [habit_of("careless", number) for number in range(60)]
    assert (habits.count("noisy"), habits.count("inattentive"), habits.count("left")) == (
        40,
        10,
        10,
    )
    assert {habit_of("noisy", n) for n in range(9)} == {"noisy"}


@pytest.mark.django_db
def test_the_same_seed_casts_the_same_users_and_questions_under_new_ids() -> None:
    config = demo_study().versions.get().study_config
    plan = CohortPlan("demo", 5, 7, "http://localhost", 2, "roleplay")
    first, second = parts(plan, config), parts(plan, config)
    assert [part.user for part in first] == [part.user for part in second]
    assert [part.questions for part in first] == [part.questions for part in second]
    assert {part.pid for part in first}.isdisjoint(part.pid for part in second)
    assert [p.user for p in parts(replace(plan, seed=8), config)] != [p.user for p in first]
    assert all("heldout" in part.user.user_id for part in first)


def test_nobody_there_is_a_named_error() -> None:
    with pytest.raises(SimulationError, match=r"GET http://127\.0\.0\.1:9/s/demo/ failed"):
        Browser().get("http://127.0.0.1:9/s/demo/?PROLIFIC_PID=x")


# -- the whole way


@pytest.fixture
def study(transactional_db: None) -> Study:
    return demo_study()


@pytest.fixture
def worker(study: Study, settings: Settings) -> Iterator[None]:
    """Runs the worker's own task over and over, in a thread, until the test is over."""
    settings.FSPO_ENGINE = "tests.studyapp.cohorts:PoolEngine"
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.2):
            tasks.generate()
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def server(live_server: LiveServer, settings: Settings) -> str:
    settings.CSRF_TRUSTED_ORIGINS = [live_server.url]
    return str(live_server.url)


def simulate(*arguments: str) -> str:
    out = io.StringIO()
    call_command("simulate_participants", "--study", "demo", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def check_only(log: Path) -> str:
    return simulate("--participants", "0", "--check", "--log", str(log))


def played(server: str, log: Path, *more: str, number: int = 3) -> str:
    return simulate(
        "--participants", str(number), "--workers", "2", "--seed", "3", "--url", server,
        "--log", str(log), *more,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_cohort_plays_the_study_and_the_check_finds_every_judgment(
    study: Study, server: str, tmp_path: Path
) -> None:
    log, report_file = tmp_path / "log.jsonl", tmp_path / "report.json"
    output = played(server, log, "--check", "--json", str(report_file))
    assert "3 of 3 completed, 15 judgments" in output
    assert "check: 15 of 15 judgments match" in output

    report = json.loads(report_file.read_text())
    assert (report["participants"], report["complete"], report["judgments"]) == (3, 3, 15)
    assert report["check"] == {"passed": True, "logged": 15, "matched": 15, "problems": []}
    assert sum(row["judgments"] for row in report["rows"]) == 15
    assert Participant.objects.filter(stage="complete", is_preview=False).count() == 3

    records = read_log(log)
    assert sum(isinstance(record, EndRecord) for record in records) == 3
    _they_chose_by_their_reward_of_what_was_shown(records)
    _the_log_knows_no_arm(log)

    # A second run appends to the log; the check covers both.
    assert "check: 25 of 25 judgments match" in played(server, log, "--check", number=2)
    assert "check: 25 of 25 judgments match" in check_only(log)
    _altering_what_is_stored_or_logged_fails_the_check(study, log)


def _they_chose_by_their_reward_of_what_was_shown(records: list[object]) -> None:
    world = get_world("roleplay")
    users = {user.user_id: user for user in world.sample_users(3, split="heldout", seed=3)}
    judgments = [record for record in records if isinstance(record, JudgmentRecord)]
    assert {record.choice for record in judgments} >= {"left", "right"}
    for record in judgments:
        comparison = Comparison.objects.get(public_id=record.comparison)
        texts = [
            comparison.answer_of(arm).completion or ""
            for arm in (comparison.arm_left, comparison.arm_right)
        ]
        question = comparison.query.text
        left, right = (world.reward(users[record.user], question, text) for text in texts)
        assert (record.left_reward, record.right_reward) == pytest.approx((left, right))
        expected = "tie" if left == right else "left" if left > right else "right"
        assert record.choice == expected


def _the_log_knows_no_arm(log: Path) -> None:
    content = log.read_text()
    assert not [arm for arm in ARMS if arm in content]


def _altering_what_is_stored_or_logged_fails_the_check(study: Study, log: Path) -> None:
    judgment = Judgment.objects.exclude(choice="tie")[0]
    other = "left" if judgment.choice == "right" else "right"
    Judgment.objects.filter(pk=judgment.pk).update(choice=other)
    with pytest.raises(CommandError, match="the check failed"):
        check_only(log)
    Judgment.objects.filter(pk=judgment.pk).update(choice=judgment.choice)
    check_only(log)

    Judgment.objects.filter(pk=judgment.pk).update(strength=judgment.strength % 5 + 1)
    with pytest.raises(CommandError, match="the check failed: 1 differences"):
        check_only(log)
    Judgment.objects.filter(pk=judgment.pk).update(strength=judgment.strength)

    comparison = judgment.comparison
    Comparison.objects.filter(pk=comparison.pk).update(arm_is_left=not comparison.arm_is_left)
    with pytest.raises(CommandError, match="the check failed"):
        check_only(log)
    Comparison.objects.filter(pk=comparison.pk).update(arm_is_left=comparison.arm_is_left)

    lines = log.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if '"kind": "judgment"' in line)
    log.write_text("\n".join(lines[:first] + lines[first + 1 :]) + "\n")
    with pytest.raises(CommandError, match="the check failed"):
        check_only(log)


@pytest.mark.slow
def test_where_the_model_fails_participants_end_and_the_command_says_so(
    study: Study, server: str, tmp_path: Path
) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.2):
            fail_answers()
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with pytest.raises(CommandError):
            played(server, tmp_path / "log.jsonl", "--check", number=1)
    finally:
        over.set()
        thread.join()
    (end,) = (r for r in read_log(tmp_path / "log.jsonl") if isinstance(r, EndRecord))
    assert (end.judgments, end.error) == (0, "")
    assert Participant.objects.get().stage == end.ending


@pytest.mark.slow
def test_a_closed_study_is_an_error_in_the_record_not_a_crash(
    study: Study, server: str, tmp_path: Path
) -> None:
    Study.objects.filter(pk=study.pk).update(state="closed")
    with pytest.raises(CommandError, match="1 participants did not complete"):
        played(server, tmp_path / "log.jsonl", number=1)
    (end,) = read_log(tmp_path / "log.jsonl")
    assert isinstance(end, EndRecord)
    assert end.ending == "error"
    assert end.error


# -- the check by itself


def answers_of(row: JudgmentRow) -> tuple[str, str]:
    """Hashes of the left and the right answer."""
    answers = row.arm_answer_sha256, row.against_answer_sha256
    return answers if row.arm_side == "left" else answers[::-1]


@pytest.fixture
def logged(study: Study) -> list[JudgmentRecord]:
    """A log as it would be of one participant who went through the services."""
    play_through(study)
    return [
        JudgmentRecord(
            "run", 0, "user", row.comparison, 0.0, 0.0, *answers_of(row), row.choice, row.strength
        )
        for row in judgment_rows(study)
    ]


def problems(study: Study, records: list[JudgmentRecord]) -> tuple[str, ...]:
    return check(records, judgment_rows(study), rows_of(refresh_snapshot(study=study))).problems


def test_an_honest_log_passes_also_beside_other_peoples_judgments(
    study: Study, logged: list[JudgmentRecord]
) -> None:
    play_through(study)
    rows = judgment_rows(study)
    report = check(logged, rows, rows_of(refresh_snapshot(study=study)))
    assert report.passed
    assert (report.logged, report.matched, len(rows)) == (5, 5, 10)


def test_a_changed_choice_is_found_in_the_row_and_in_the_winrate(
    study: Study, logged: list[JudgmentRecord]
) -> None:
    Judgment.objects.filter(comparison__public_id=logged[0].comparison).update(choice="tie")
    found = problems(study, logged)
    assert any(f"comparison {logged[0].comparison}: choice" in line for line in found)
    assert any(line.startswith("winrate of fspo") for line in found)


def test_sides_that_were_not_stored_as_shown_are_found(
    study: Study, logged: list[JudgmentRecord]
) -> None:
    # Two arms may have drawn the same text, and then sides say nothing.
    record = next(r for r in logged if r.left_sha256 != r.right_sha256)
    comparison = Comparison.objects.get(public_id=record.comparison)
    Comparison.objects.filter(pk=comparison.pk).update(arm_is_left=not comparison.arm_is_left)
    assert f"comparison {record.comparison}: left answer" in problems(study, logged)[0]


def test_a_stale_winrate_is_found(study: Study, logged: list[JudgmentRecord]) -> None:
    stored = rows_of(refresh_snapshot(study=study))
    stale = [replace(stored[0], winrate=stored[0].winrate - 0.25), *stored[1:]]
    (line,) = check(logged, judgment_rows(study), stale).problems
    assert line.startswith("winrate of fspo against")
    assert check(logged, judgment_rows(study), stored[1:]).problems


def test_a_judgment_missing_on_either_side_is_found(
    study: Study, logged: list[JudgmentRecord]
) -> None:
    assert "is in the export and not in the log" in problems(study, logged[1:])[0]
    Judgment.objects.filter(comparison__public_id=logged[0].comparison).delete()
    assert "is in the log and not in the export" in problems(study, logged)[0]


def test_two_people_taken_for_one_are_found(study: Study, logged: list[JudgmentRecord]) -> None:
    mixed = [replace(logged[0], participant=1), *logged[1:]]
    assert any("is 2 people in the log" in line for line in problems(study, mixed))


def test_an_empty_log_does_not_pass(study: Study) -> None:
    assert not check([], [], []).passed


def test_a_broken_log_is_refused_with_its_line(study: Study, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('\n{"kind": "judgment", "run": "x"}\n')
    with pytest.raises(CommandError, match=r"log.jsonl, line 2: not a record"):
        check_only(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--participants", "-1"], "got -1"),
        (["--workers", "0"], "got 0"),
        (["--seed", "-2"], "got -2"),
        (["--url", "localhost:8000"], "got 'localhost:8000'"),
        (["--participants", "0"], "needs --check and the --log"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_their_value(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        simulate(*arguments)
