"""Schema, choices and constraints; methods on one row only."""

from studyapp.models.choices import (
    ComparisonState,
    GenerationState,
    JudgmentChoice,
    LabelChoice,
    QueryKind,
    StageChoice,
    StudyState,
)
from studyapp.models.generations import MAX_ATTEMPTS, Generation, Query, WorkerHeartbeat
from studyapp.models.judgments import Comparison, Judgment
from studyapp.models.labels import Label, PredictedLabel
from studyapp.models.participants import (
    AccessToken,
    ConsentRecord,
    Draft,
    ExitAnswer,
    Participant,
    RecruiterIdentity,
)
from studyapp.models.records import AnalysisSnapshot, AuditEvent
from studyapp.models.studies import PairPool, Study, StudyVersion

__all__ = [
    "MAX_ATTEMPTS",
    "AccessToken",
    "AnalysisSnapshot",
    "AuditEvent",
    "Comparison",
    "ComparisonState",
    "ConsentRecord",
    "Draft",
    "ExitAnswer",
    "Generation",
    "GenerationState",
    "Judgment",
    "JudgmentChoice",
    "Label",
    "LabelChoice",
    "PairPool",
    "Participant",
    "PredictedLabel",
    "Query",
    "QueryKind",
    "RecruiterIdentity",
    "StageChoice",
    "Study",
    "StudyState",
    "StudyVersion",
    "WorkerHeartbeat",
]
