"""The schema of a study's TOML file. Errors name the key and the value received."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from fspo_core.arms import ARMS
from fspo_core.types import Sampling
from studyapp.errors import ConfigError
from studyapp.flow import Stage

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{2,40}$")]


def _known_arm(name: str) -> str:
    if name not in ARMS:
        raise ValueError(f"unknown arm; known arms: {', '.join(ARMS)}")
    if ARMS[name].told_description:
        raise ValueError("this arm is told a true description, which no participant has")
    return name


ArmName = Annotated[str, AfterValidator(_known_arm)]


class Section(BaseModel):
    """A table of the file: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Recruiter(Section):
    """Where participants come from and go back to; ``{code}`` in the URL is replaced."""

    name: Text = "Prolific"
    require_id: bool = False
    return_url: str = "https://app.prolific.com/submissions/complete?cc={code}"

    @field_validator("return_url")
    @classmethod
    def _has_code(cls, url: str) -> str:
        if "{code}" not in url or not url.startswith("https://"):
            raise ValueError("must start with https:// and contain {code}")
        return url


class Codes(Section):
    """The completion code of each outcome."""

    completed: Code
    failed_checks: Code
    no_consent: Code
    technical: Code


class Consent(Section):
    """The consent text; its version and hash are stored with each acceptance."""

    version: Text
    text: Text

    @property
    def text_sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class CheckQuestion(Section):
    """One comprehension question; ``answer`` is the index of the right option."""

    question: Text
    options: list[Text] = Field(min_length=2, max_length=6)
    answer: int = Field(ge=0)

    @model_validator(mode="after")
    def _answer_is_an_option(self) -> Self:
        if self.answer >= len(self.options):
            raise ValueError(f"answer must be below {len(self.options)}, got {self.answer}")
        return self


class Comprehension(Section):
    """The check after the instructions."""

    attempts: int = Field(default=2, ge=1, le=10)
    questions: list[CheckQuestion] = Field(default_factory=list, max_length=10)


class Labels(Section):
    """How many pairs each participant labels."""

    count: int = Field(ge=1, le=50)


class OwnQuestions(Section):
    """The participant's own questions; lengths in characters."""

    count: int = Field(default=2, ge=0, le=10)
    min_length: int = Field(default=5, ge=1)
    max_length: int = Field(default=300, ge=1, le=5000)

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is above max_length {self.max_length}")
        return self


class Bank(Section):
    """Prepared questions, of which each participant judges ``count``."""

    count: int = Field(default=3, ge=0, le=50)
    questions: list[Text] = Field(default_factory=list)


class Pairing(Section):
    """Two arms that are compared; winrates are told from ``arm``'s side."""

    arm: ArmName
    against: ArmName

    @model_validator(mode="after")
    def _two_arms(self) -> Self:
        if self.arm == self.against:
            raise ValueError(f"an arm cannot be compared with itself, got {self.arm!r} twice")
        return self


class Judging(Section):
    """What is compared and how. ``max_wait_seconds`` caps all waiting of one participant."""

    pairings: list[Pairing] = Field(min_length=1)
    allow_tie: bool = True
    reason_max_length: int = Field(default=1000, ge=0, le=5000)
    max_wait_seconds: int = Field(default=300, ge=5, le=3600)


class Generation(Section):
    """Decoding settings, the same for every arm."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_new_tokens: int = Field(default=160, ge=1, le=4096)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_new_tokens)


class ExitQuestion(Section):
    """One question at the end: ``choice`` of options, free ``text`` or a ``likert`` scale."""

    name: Name
    kind: Literal["choice", "text", "likert"]
    question: Text
    required: bool = True
    options: list[Text] = Field(default_factory=list)
    max_length: int = Field(default=2000, ge=1, le=10000)
    points: int = Field(default=5, ge=2, le=11)
    low: str = ""
    high: str = ""

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Self:
        if self.kind == "choice" and len(self.options) < 2:
            raise ValueError(f"a choice needs at least two options, got {len(self.options)}")
        if self.kind != "choice" and self.options:
            raise ValueError(f"options belong to a choice only, got {len(self.options)}")
        return self


class Pair(Section):
    """A prepared question with two answers, to be labelled."""

    question: Text
    response_a: Text
    response_b: Text

    @model_validator(mode="after")
    def _answers_differ(self) -> Self:
        if self.response_a == self.response_b:
            raise ValueError("response_a and response_b are the same")
        return self


class StudyConfig(Section):
    """A whole study. Frozen: a change makes a new version."""

    schema_version: Literal[1] = 1
    slug: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?$")]
    title: Text
    welcome: Text
    contact: Text
    minutes: int = Field(default=15, ge=1, le=240)
    seed: int = Field(ge=0, lt=2**31)
    notice: str = ""
    recruiter: Recruiter = Recruiter()
    codes: Codes
    consent: Consent
    instructions: Text
    comprehension: Comprehension = Comprehension()
    labels: Labels
    own_questions: OwnQuestions = OwnQuestions()
    bank: Bank = Bank()
    judging: Judging
    generation: Generation = Generation()
    exit_questions: list[ExitQuestion] = Field(default_factory=list)
    debrief: Text
    pairs: list[Pair] = Field(min_length=1)

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        if self.labels.count > len(self.pairs):
            raise ValueError(
                f"labels.count: there are {len(self.pairs)} pairs, got {self.labels.count}"
            )
        if self.bank.count > len(self.bank.questions):
            raise ValueError(
                f"bank.count: bank.questions has {len(self.bank.questions)}, got {self.bank.count}"
            )
        if self.bank.count + self.own_questions.count == 0:
            raise ValueError("own_questions.count and bank.count: nothing to judge, got 0 and 0")
        _refuse_doubles("bank.questions", self.bank.questions)
        _refuse_doubles("exit_questions.name", (item.name for item in self.exit_questions))
        _refuse_doubles("judging.pairings", (f"{p.arm}–{p.against}" for p in self.judging.pairings))
        return self

    @property
    def empty_stages(self) -> frozenset[Stage]:
        """Stages in which this study has nothing to do."""
        empty = set()
        if self.own_questions.count == 0:
            empty.add(Stage.ASK)
        if not self.exit_questions:
            empty.add(Stage.EXIT)
        return frozenset(empty)

    def canonical(self) -> dict[str, Any]:
        """Plain JSON values, complete with defaults."""
        return self.model_dump(mode="json")

    def sha256(self) -> str:
        """Hash of the canonical form: the same for files that differ in layout only."""
        text = json.dumps(self.canonical(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _refuse_doubles(key: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{key}: each may stand once, got {value!r} twice")
        seen.add(value)


def parse_study(text: str) -> StudyConfig:
    """A study from TOML text. Raises ConfigError; one line a problem: ``key: what, got value``."""
    try:
        return StudyConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error))) from error


def _lines(error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        value = problem["input"]
        prefix = f"{key}: " if key else ""
        if isinstance(value, dict | list) or problem["type"] == "missing":
            yield f"{prefix}{message}"
        else:
            yield f"{prefix}{message}, got {value!r}"[:400]
