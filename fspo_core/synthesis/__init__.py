"""Preference data at scale: written from the worlds, read from files, and audited."""
