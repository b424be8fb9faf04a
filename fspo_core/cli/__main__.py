"""``python -m fspo_core.cli``."""

from fspo_core.cli import main

main()
