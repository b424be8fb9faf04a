"""Takes participants of the demo study up to the judging, and prints their ids.

A program of its own (``python -m tests.studyapp.play [number]``), because it works on a running
demo's database and broker, not on the test session's.
"""

from __future__ import annotations

import sys

import django


def main() -> None:
    django.setup()
    from studyapp.models import Study
    from tests.studyapp import walk

    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        print(walk.judging(Study.objects.get(slug="demo")).pk)


if __name__ == "__main__":
    main()
