from __future__ import annotations

import pytest

from studyapp import flow
from studyapp.errors import WrongStage
from studyapp.flow import Event, Stage
from studyapp.models import StageChoice


def test_the_main_line_leads_from_welcome_to_complete() -> None:
    stage = Stage.WELCOME
    seen = []
    for event in (
        Event.START,
        Event.ACCEPT,
        Event.PASS_CHECKS,
        Event.LABELS_DONE,
        Event.QUESTIONS_ASKED,
        Event.JUDGMENTS_DONE,
        Event.EXIT_ANSWERED,
    ):
        stage = flow.advance(stage, event)
        seen.append(stage)
    assert tuple(seen) == flow.MAIN_LINE


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_is_refused_by_name(stage: Stage, event: Event) -> None:
    if (stage, event) in flow.TRANSITIONS:
        assert flow.allows(stage, event)
        return
    assert not flow.allows(stage, event)
    with pytest.raises(WrongStage, match=f"{event.value}.*{stage.value}"):
        flow.advance(stage, event)


def test_an_unknown_stage_is_refused_by_name() -> None:
    with pytest.raises(WrongStage, match="nowhere"):
        flow.advance("nowhere", Event.ACCEPT)


def test_every_stage_is_reached_and_no_ending_goes_on_except_by_withdrawal() -> None:
    assert {Stage.WELCOME, *flow.TRANSITIONS.values()} == set(Stage)
    onward = {event for (stage, event) in flow.TRANSITIONS if stage in flow.ENDINGS}
    assert onward == {Event.WITHDRAW}


def test_one_may_withdraw_wherever_there_are_answers_to_take_back() -> None:
    ended_before_answers = {Stage.DECLINED, Stage.FAILED_CHECKS}
    for stage in set(Stage) - ended_before_answers - {Stage.WELCOME, Stage.WITHDRAWN}:
        assert flow.advance(stage, Event.WITHDRAW) is Stage.WITHDRAWN


def test_empty_stages_are_passed_over() -> None:
    empty = {Stage.ASK, Stage.EXIT}
    assert flow.advance(Stage.LABEL, Event.LABELS_DONE, empty=empty) is Stage.JUDGE
    assert flow.advance(Stage.JUDGE, Event.JUDGMENTS_DONE, empty=empty) is Stage.COMPLETE
    assert flow.advance(Stage.LABEL, Event.LABELS_DONE) is Stage.ASK


def test_the_stored_stages_are_those_of_the_flow_but_welcome() -> None:
    assert set(StageChoice.values) == {stage.value for stage in Stage} - {"welcome"}


def test_each_stage_has_a_page() -> None:
    assert set(flow.PAGES) == set(Stage)
