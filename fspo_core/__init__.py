"""Few-shot preference optimization (FSPO): personalization from a handful of labelled pairs."""

__version__ = "0.1.0"
