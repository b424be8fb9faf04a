"""The participants' pages: each parses, makes one domain call and renders."""

from studyapp.participants.views.entry import consent, instructions, resume, stage, welcome
from studyapp.participants.views.judging import judge
from studyapp.participants.views.leaving import done, exit_questions, withdraw
from studyapp.participants.views.work import ask, draft, label

__all__ = [
    "ask",
    "consent",
    "done",
    "draft",
    "exit_questions",
    "instructions",
    "judge",
    "label",
    "resume",
    "stage",
    "welcome",
    "withdraw",
]
