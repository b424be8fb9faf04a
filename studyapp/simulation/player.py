"""One simulated participant: goes through the study page by page, choosing by a known reward."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlencode

from fspo_core.worlds import Question, User, World
from studyapp.analysis import text_sha256
from studyapp.simulation.browser import Browser, SimulationError
from studyapp.simulation.habits import Habit, choose
from studyapp.simulation.log import Choice, EndRecord, JudgmentRecord, SimulationLog
from studyapp.simulation.pages import Form, Page

# Polling while answers are written: first after a second, then less and less often.
FIRST_PAUSE_SECONDS, PAUSE_GROWTH, LONGEST_PAUSE_SECONDS = 1.0, 1.4, 6.0
MOST_PAGES = 400


@dataclass(frozen=True, slots=True)
class Part:
    """Who plays: the number within the run, the synthetic user, and the questions they will ask.

    ``check_answers`` are the right options of the comprehension check, as an attentive reader
    of the instructions would give them. ``pid`` and ``session`` stand in for the recruiter's.
    """

    run: str
    number: int
    user: User
    questions: Sequence[Question]
    check_answers: Sequence[int]
    seed: int
    pid: str
    session: str
    habit: Habit = "exact"


@dataclass(slots=True)
class Player:
    """Plays one part. ``pause`` and ``clock`` (seconds) are passed in so that tests can hurry."""

    part: Part
    world: World
    start_url: str
    log: SimulationLog
    on_step: Callable[[], None] = lambda: None
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    browser: Browser = field(default_factory=Browser)
    labels: int = 0
    judgments: int = 0
    waited: float = 0.0
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.part.seed}:{self.part.number}")

    def play(self) -> EndRecord:
        """Go from the invitation to the end. What goes wrong is in the record, never hidden."""
        began, ending, error = self.clock(), "error", ""
        try:
            ending = self._play()
        except SimulationError as problem:
            error = str(problem)
        record = EndRecord(
            run=self.part.run,
            participant=self.part.number,
            user=self.part.user.user_id,
            ending=ending,
            labels=self.labels,
            judgments=self.judgments,
            seconds=round(self.clock() - began, 3),
            waited_seconds=round(self.waited, 3),
            habit=self.part.habit,
            error=error,
        )
        self.log.write(record)
        return record

    def _play(self) -> str:
        identity = {
            "PROLIFIC_PID": self.part.pid,
            "STUDY_ID": "simulation",
            "SESSION_ID": self.part.session,
        }
        page = self.browser.get(f"{self.start_url}?{urlencode(identity)}")
        steps = {
            "": self._start,
            "consent": self._consent,
            "instructions": self._instructions,
            "label": self._label,
            "ask": self._ask,
            "judge": self._judge,
            "questions": self._exit_questions,
        }
        for _ in range(MOST_PAGES):
            if page.name == "done":
                return page.attributes.get("data-ending", "unknown")
            if page.name not in steps:
                raise SimulationError(f"no idea what to do on {page.url}")
            page = steps[page.name](page)
        raise SimulationError(f"no end after {MOST_PAGES} pages; the last was {page.url}")

    def _start(self, page: Page) -> Page:
        form = page.form_with("start_key") or page.form_with("csrfmiddlewaretoken")
        if form is None:
            raise SimulationError(f"nothing to start on {page.url}")
        return self.browser.submit(page, form)

    def _consent(self, page: Page) -> Page:
        return self.browser.submit(page, _form(page, "adult"), adult="on", choice="accept")

    def _instructions(self, page: Page) -> Page:
        answers = {f"q{number}": str(right) for number, right in enumerate(self.part.check_answers)}
        form = _form(page, "q0") if answers else _form(page, "csrfmiddlewaretoken")
        return self.browser.submit(page, form, **answers)

    def _label(self, page: Page) -> Page:
        left, right = self._rewards(page)
        choice = self._preferred(left, right)
        if choice == "tie":  # a label has no tie
            choice = self.random.choice(("left", "right"))
        following = self.browser.submit(page, _form(page, "item"), choice=choice)
        self.labels += 1
        self.on_step()
        return following

    def _ask(self, page: Page) -> Page:
        form = _form(page, "question_0")
        names = sorted(name for name in form.fields if name.startswith("question_"))
        if len(names) > len(self.part.questions):
            raise SimulationError(f"{len(names)} questions wanted, {len(self.part.questions)} had")
        texts = {
            name: question.text for name, question in zip(names, self.part.questions, strict=False)
        }
        return self.browser.submit(page, form, **texts)

    def _judge(self, page: Page) -> Page:
        pause = FIRST_PAUSE_SECONDS
        while page.name == "judge" and page.is_waiting:
            # A little different for everybody, so that many do not ask at the same moment.
            seconds = pause * (0.8 + 0.4 * self.random.random())
            self.pause(seconds)
            self.waited += seconds
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
            page = self.browser.get(page.url.split("?")[0])
        if page.name != "judge":
            return page
        if early_exit := page.form_with("exit_early"):
            return self.browser.submit(page, early_exit)
        return self._give_judgment(page)

    def _give_judgment(self, page: Page) -> Page:
        form = _form(page, "comparison")
        left, right = self._rewards(page)
        choice = self._preferred(left, right)
        if choice == "tie" and "tie" not in form.fields["choice"].values:
            choice = self.random.choice(("left", "right"))
        strength = strength_of(left - right)
        following = self.browser.submit(page, form, choice=choice, strength=str(strength))
        # Written once the server has taken it: a refusal raises and leaves no line.
        self.log.write(
            JudgmentRecord(
                run=self.part.run,
                participant=self.part.number,
                user=self.part.user.user_id,
                comparison=form.attributes["data-comparison"],
                left_reward=left,
                right_reward=right,
                left_sha256=text_sha256(page.shown["left"]),
                right_sha256=text_sha256(page.shown["right"]),
                choice=choice,
                strength=strength,
            )
        )
        self.judgments += 1
        self.on_step()
        return following

    def _exit_questions(self, page: Page) -> Page:
        form = _form(page, "csrfmiddlewaretoken")
        answers = {
            entry.name: self.random.choice(entry.values) if entry.values else "Simulated answer."
            for entry in form.fields.values()
            if entry.kind != "submit"
        }
        return self.browser.submit(page, form, **answers)

    def _rewards(self, page: Page) -> tuple[float, float]:
        try:
            question, left, right = (page.shown[key] for key in ("question", "left", "right"))
        except KeyError as missing:
            raise SimulationError(f"{page.url} shows no {missing}") from missing
        reward = self.world.reward
        return reward(self.part.user, question, left), reward(self.part.user, question, right)

    def _preferred(self, left: float, right: float) -> Choice:
        temperature = self.world.temperature
        return choose(self.part.habit, left, right, temperature=temperature, random=self.random)


def strength_of(difference: float) -> int:
    """1 (no preference) to 5, from the difference of two rewards; one step a unit of reward."""
    return 1 + min(4, round(abs(difference)))


def _form(page: Page, name: str) -> Form:
    form = page.form_with(name)
    if form is None:
        raise SimulationError(f"{page.url} has no form with {name!r}")
    return form
