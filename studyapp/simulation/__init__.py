"""Simulated participants: synthetic users with a known reward who play the study over HTTP."""
