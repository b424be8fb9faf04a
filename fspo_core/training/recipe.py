"""The embedded checkpoint from nothing, by one command: ``fspo build-checkpoint``.

Base (pretraining), few-shot Pref-FT on it, then from that checkpoint few-shot IPO (the FSPO arm)
and IPO without labels in the context (the arm that is not personal). Every stage resumes when
killed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from fspo_core.errors import TrainingError
from fspo_core.modeling import EMBEDDED
from fspo_core.training.finetune import TrainConfig, train
from fspo_core.training.pretrain import PretrainConfig, pretrain

MAX_BYTES = 24 * 2**20


def stages(checkpoint: Path, out: Path) -> list[TrainConfig]:
    """The fine-tuning stages, in order."""
    pref_ft = TrainConfig(checkpoint, out / "pref_ft", "sft", "pref_ft", steps=40)
    fspo = TrainConfig(
        checkpoint, out / "fspo", "ipo", "fspo", start="pref_ft", steps=120, learning_rate=1e-3
    )
    ipo = replace(fspo, out=out / "ipo", adapter="ipo", shots=0, steps=40)
    return [pref_ft, fspo, ipo]


def build(out: Path, *, install: Path = EMBEDDED) -> Path:
    """Run every stage under ``out`` and copy the result to ``install``."""
    checkpoint = out / "pretrain" / "checkpoint"
    if not (checkpoint / "fspo.json").is_file():
        pretrain(PretrainConfig(out=out / "pretrain"))
    for config in stages(checkpoint, out):
        if not (checkpoint / "adapters" / config.adapter / "fspo.json").is_file():
            train(config)
    size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    if size > MAX_BYTES:
        raise TrainingError(
            f"all arms together may have {MAX_BYTES} bytes, {checkpoint} has {size}"
        )
    shutil.rmtree(install, ignore_errors=True)
    shutil.copytree(checkpoint, install)
    return install
