"""Log lines carry ids and times in UTC, never a participant's text or token.

Two things would carry them without anybody meaning to: Django logs the path of a refused request
(``/r/<token>/``), and PostgreSQL's errors quote the failing row in their DETAIL line.
"""

from __future__ import annotations

import logging
import re
import time

RESUME_TOKEN = re.compile(r"(/r/)[^/\s?\"']+")
ROW_DETAIL = re.compile(r"^(DETAIL:).*$", re.MULTILINE)


class DiscreetFormatter(logging.Formatter):
    """Formats in UTC and takes resume tokens and quoted rows out of the finished line."""

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        return time.gmtime(seconds)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        line = RESUME_TOKEN.sub(r"\1[token]", line)
        return ROW_DETAIL.sub(r"\1 [left out]", line)
