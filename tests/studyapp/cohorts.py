"""Participants for the researchers' tests: they go through the real services, quickly."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from django.db.models.functions import Now

from fspo_core.types import GenerationFailure, GenerationRequest
from studyapp import selectors, services
from studyapp.config import parse_study
from studyapp.models import MAX_ATTEMPTS, Comparison, Generation, Participant, Study
from studyapp.recruiter import RecruiterParameters
from tests.engines import EchoEngine, FailingEngine, Result, completion

DEMO = Path(__file__).resolve().parents[2] / "studies" / "demo.toml"
Choose = Callable[[Comparison], str]
_pids = itertools.count(1)


class PoolEngine(EchoEngine):
    """Answers with one of the demo's prepared responses, drawn from arm and seed.

    Unlike an echo these differ in style, so that synthetic users have something to prefer.
    """

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Result]:
        pool = [pair.response_a for pair in parse_study(DEMO.read_text("utf-8")).pairs]
        return [
            completion(
                request,
                pool[int(_digest(f"{request.arm} {request.seed}"), 16) % len(pool)],
                fingerprint=self.fingerprint(request.arm),
            )
            for request in requests
        ]


def demo_study() -> Study:
    return services.load_study(config=parse_study(DEMO.read_text("utf-8"))).version.study


def write_answers(engine: EchoEngine) -> int:
    """What a worker does with all that is due; returns how many answers there were to write."""
    written = 0
    while (claim := services.claim_generations()).generation_ids:
        for answer in engine.generate(selectors.generation_requests(claim.generation_ids)):
            written += 1
            if isinstance(answer, GenerationFailure):
                services.fail_generation(
                    generation_id=int(answer.request_id),
                    lease_token=claim.lease_token,
                    reason=answer.reason,
                )
            else:
                services.store_completion(
                    generation_id=int(answer.request_id),
                    lease_token=claim.lease_token,
                    completion=answer,
                )
    return written


def fail_answers() -> None:
    """Let every answer that is due fail for good: all attempts, without the pauses in between."""
    for _ in range(MAX_ATTEMPTS):
        Generation.objects.filter(state="pending").update(not_before=Now())
        write_answers(FailingEngine())


def start(study: Study, *, preview: bool = False) -> Participant:
    """Someone who clicked on Start."""
    recruiter = RecruiterParameters(pid=f"pid-{next(_pids)}", session_id="s")
    return services.start_participant(study=study, recruiter=recruiter, preview=preview).participant


def ask(study: Study, *, preview: bool = False) -> Participant:
    """Someone who labelled all pairs and asked their questions; the answers are not written."""
    person = services.record_consent(participant=start(study, preview=preview), adult=True)
    config = person.study_version.study_config
    right = [question.answer for question in config.comprehension.questions]
    person = services.record_comprehension(participant=person, answers=right).participant
    while (state := selectors.current_label(person)) is not None:
        services.mark_shown(item=state.label)
        person = services.record_label(
            participant=person, item=str(state.label.public_id), choice="left"
        )
    texts = [f"How do I begin with hobby number {n}?" for n in range(config.own_questions.count)]
    return services.ask_questions(participant=person, texts=texts)


def judge(person: Participant, choose: Choose, *, most: int = 100) -> Participant:
    """Give up to ``most`` of the verdicts that are open."""
    for _ in range(most):
        state = selectors.judge_state(person)
        if state.comparison is None:
            break
        services.mark_shown(item=state.comparison)
        person = services.record_judgment(
            participant=person,
            comparison=str(state.comparison.public_id),
            choice=choose(state.comparison),
            strength=3,
            reason="=Because.",
        )
    return person


def finish(person: Participant) -> Participant:
    answers = {
        question.name: question.options[0] if question.options else "3"
        for question in person.study_version.study_config.exit_questions
    }
    return services.record_exit_answers(participant=person, answers=answers)


def tie(comparison: Comparison) -> str:
    return "tie"


def left(comparison: Comparison) -> str:
    return "left"


def for_the_arm(comparison: Comparison) -> str:
    """Prefers the pairing's arm wherever it stands."""
    return "left" if comparison.arm_is_left else "right"


def play_through(
    study: Study, choose: Choose = for_the_arm, *, preview: bool = False
) -> Participant:
    """Someone who took part from the first page to the last."""
    person = ask(study, preview=preview)
    write_answers(PoolEngine())
    return finish(judge(person, choose))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
