"""Every write of the study: keyword-only, atomic, refusing by name (``studyapp.errors``)."""

from studyapp.services.admission import (
    Admission,
    CheckResult,
    continue_known_run,
    decline_consent,
    record_comprehension,
    record_consent,
    start_participant,
    withdraw,
)
from studyapp.services.answering import (
    ask_questions,
    exit_early,
    mark_shown,
    note_waiting,
    record_exit_answers,
    record_judgment,
    record_label,
    save_draft,
)
from studyapp.services.leases import (
    LEASE_SECONDS,
    Claim,
    SweepResult,
    claim_generations,
    fail_generation,
    record_heartbeat,
    renew_lease,
    set_aside_unyoked,
    store_completion,
    sweep_leases,
)
from studyapp.services.predicting import store_label_predictions
from studyapp.services.stages import record_event
from studyapp.services.studies import LoadedStudy, load_study, set_study_state

__all__ = [
    "LEASE_SECONDS",
    "Admission",
    "CheckResult",
    "Claim",
    "LoadedStudy",
    "SweepResult",
    "ask_questions",
    "claim_generations",
    "continue_known_run",
    "decline_consent",
    "exit_early",
    "fail_generation",
    "load_study",
    "mark_shown",
    "note_waiting",
    "record_comprehension",
    "record_consent",
    "record_event",
    "record_exit_answers",
    "record_heartbeat",
    "record_judgment",
    "record_label",
    "renew_lease",
    "save_draft",
    "set_aside_unyoked",
    "set_study_state",
    "start_participant",
    "store_completion",
    "store_label_predictions",
    "sweep_leases",
    "withdraw",
]
