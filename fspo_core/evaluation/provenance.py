"""Where a figure comes from: commit and hardware, told when it is measured."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def provenance() -> str:
    """Commit, processor and cores, as one line of Markdown."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    return f"Commit {git.stdout.strip() or 'unknown'}, {processor}, {os.cpu_count()} cores."
