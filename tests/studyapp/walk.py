"""Walks participants through the study by its services, for tests that begin at a later stage."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from fspo_core.types import Completion, Sampling
from studyapp import selectors, services
from studyapp.config import StudyConfig
from studyapp.models import Comparison, Generation, Participant, Study
from studyapp.recruiter import RecruiterParameters

PAIRINGS = [
    {"arm": "fspo", "against": "base"},
    {"arm": "fspo", "against": "ipo"},
    {"arm": "fspo", "against": "pref_ft"},
]
OWN_QUESTIONS = ["How do I bake bread?", "How do I mend a chair?"]


def study_values(**changes: Any) -> dict[str, Any]:
    """A small study's configuration, before validation."""
    values: dict[str, Any] = {
        "slug": "small",
        "title": "A small study",
        "welcome": "Welcome.",
        "contact": "someone@example.org",
        "seed": 7,
        "codes": {
            "completed": "DONE1",
            "failed_checks": "CHECK1",
            "no_consent": "NOCON1",
            "technical": "TECH1",
        },
        "consent": {"version": "1", "text": "We store your choices."},
        "instructions": "Choose what you like.",
        "comprehension": {
            "attempts": 2,
            "questions": [
                {"question": "Which?", "options": ["this", "that"], "answer": 0},
                {"question": "Who?", "options": ["you", "they", "nobody"], "answer": 2},
            ],
        },
        "labels": {"count": 4},
        "own_questions": {"count": 2, "min_length": 5, "max_length": 300},
        "bank": {"count": 3, "questions": [f"Bank question {i}?" for i in range(5)]},
        "judging": {"pairings": PAIRINGS, "allow_tie": True, "max_wait_seconds": 60},
        "exit_questions": [
            {"name": "suited", "kind": "likert", "question": "How well?", "points": 5},
            {"name": "device", "kind": "choice", "question": "On?", "options": ["phone", "desk"]},
            {"name": "comment", "kind": "text", "question": "Else?", "required": False},
        ],
        "debrief": "Thank you.",
        "pairs": [
            {"question": f"Pair {i}?", "response_a": f"A {i}.", "response_b": f"B {i}."}
            for i in range(6)
        ],
    }
    return values | changes


def load(**changes: Any) -> Study:
    config = StudyConfig.model_validate(study_values(**changes))
    return services.load_study(config=config).version.study


def start(study: Study, *, pid: str = "", session: str = "", preview: bool = False) -> Participant:
    recruiter = RecruiterParameters(pid=pid, session_id=session)
    return services.start_participant(study=study, recruiter=recruiter, preview=preview).participant


def consented(
    study: Study, *, pid: str = "", session: str = "", preview: bool = False
) -> Participant:
    return services.record_consent(
        participant=start(study, pid=pid, session=session, preview=preview),
        adult=True,
        recruiter=RecruiterParameters(pid=pid, session_id=session),
    )


def labelling(study: Study, **who: Any) -> Participant:
    participant = consented(study, **who)
    check = participant.study_version.study_config.comprehension
    answers = [question.answer for question in check.questions]
    return services.record_comprehension(participant=participant, answers=answers).participant


def asking(study: Study, **who: Any) -> Participant:
    participant = labelling(study, **who)
    while (state := selectors.current_label(participant)) is not None:
        services.mark_shown(item=state.label)
        participant = services.record_label(
            participant=participant, item=str(state.label.public_id), choice="left"
        )
    return participant


def judging(study: Study, **who: Any) -> Participant:
    participant = asking(study, **who)
    count = participant.study_version.study_config.own_questions.count
    return services.ask_questions(participant=participant, texts=OWN_QUESTIONS[:count])


def exiting(study: Study, **who: Any) -> Participant:
    participant = judging(study, **who)
    write_all()
    return judge_all(participant)


def completed(study: Study, **who: Any) -> Participant:
    return services.record_exit_answers(
        participant=exiting(study, **who), answers={"suited": "4", "device": "desk"}
    )


def completion(generation: Generation, text: str | None = None) -> Completion:
    """An answer that tells its arm to the test alone."""
    text = f"Answer of {generation.arm}." if text is None else text
    return Completion(
        request_id=str(generation.pk),
        arm=generation.arm,
        text=text,
        finish_reason="stop",
        shots_used=4,
        shots_dropped=0,
        prompt_sha256=hashlib.sha256(generation.arm.encode()).hexdigest(),
        checkpoint="walk",
        prompt_tokens=10,
        completion_tokens=5,
        seconds=0.1,
        seed=generation.seed,
        sampling=Sampling(),
    )


def write(claim: services.Claim) -> None:
    """Store an answer for each generation of a claim."""
    for pk in claim.generation_ids:
        assert services.store_completion(
            generation_id=pk,
            lease_token=claim.lease_token,
            completion=completion(Generation.objects.get(pk=pk)),
        )


def write_all() -> None:
    """Do what a worker does until nothing is due."""
    while (claim := services.claim_generations()).generation_ids:
        write(claim)


def show_next(participant: Participant) -> Comparison:
    state = selectors.judge_state(participant)
    assert state.comparison is not None, state
    services.mark_shown(item=state.comparison)
    return state.comparison


def judge_all(participant: Participant, choice: str = "left") -> Participant:
    while selectors.judge_state(participant).kind == "ready":
        comparison = show_next(participant)
        participant = services.record_judgment(
            participant=participant,
            comparison=str(comparison.public_id),
            choice=choice,
            strength=3,
        )
    return participant


def no_such_id() -> str:
    return str(uuid.uuid4())
