"""Named refusals. Each states the value received; all share one base class."""

from __future__ import annotations


class FspoError(Exception):
    """Base of every error this package raises on purpose."""


class UnknownArm(FspoError):
    """An arm that is not in ``fspo_core.arms.ARMS``."""


class CheckpointError(FspoError):
    """A checkpoint that is missing, incomplete or does not fit the model."""


class PromptTooLong(FspoError):
    """The question alone does not fit the model's context; shots were all dropped already."""


class InvalidSampling(FspoError):
    """Decoding settings outside their range."""


class InvalidJudgment(FspoError):
    """A judgment whose verdict, strength or pairing cannot be used."""


class WorldError(FspoError):
    """A synthetic world was asked for something it does not have."""


class TrainingError(FspoError):
    """A training run cannot start or go on (NaN loss, empty split, wrong tokenizer …)."""


class NoJudgments(InvalidJudgment):
    """A winrate of nothing was asked for: no judgments, or only ties, which were dropped."""


class EngineError(FspoError):
    """A setting that names no engine."""


class DataError(FspoError):
    """A data set that cannot be written here, read, or trusted."""
