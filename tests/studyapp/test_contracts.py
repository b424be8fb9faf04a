"""What the web processes must never load."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.studyapp.demo_process import ROOT

HEAVY = ("torch", "transformers", "peft", "statsmodels")
PROGRAM = """
import json, sys
import django
django.setup()
import studyapp.urls, studyapp.wsgi
from django.urls import get_resolver
get_resolver().url_patterns
list(get_resolver().reverse_dict)
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def test_loading_the_urls_loads_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "studyapp.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(done.stdout)
    assert "studyapp" in loaded
    assert [name for name in HEAVY if name in loaded] == []
