"""Recipes: training runs as files. ``fspo train --recipe embedded`` or ``--recipe FILE.toml``.

A recipe may pretrain a base (``[pretrain]``), or name a ``model``; each ``[[stages]]`` is a
``TrainConfig`` on it. Every stage resumes when killed; one that is done is not done again.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fspo_core.errors import TrainingError
from fspo_core.modeling import EMBEDDED
from fspo_core.training.finetune import TrainConfig, train
from fspo_core.training.pretrain import PretrainConfig, pretrain

RECIPES = Path(__file__).parent.parent / "recipes"
MAX_BYTES = 24 * 2**20


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file says, with folders filled in."""

    out: Path
    pretrain: PretrainConfig | None
    stages: list[TrainConfig] = field(default_factory=list)


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read(recipe: str, out: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of this name or file, its stages' folders under ``out``.

    ``changes`` overrides keys of every stage, or ``model``. Raises TrainingError, naming file and
    key, for what a recipe cannot have.
    """
    path = RECIPES / f"{recipe}.toml" if recipe in names() else Path(recipe)
    if not path.is_file():
        raise TrainingError(f"no recipe {recipe!r}: neither a file nor one of {', '.join(names())}")
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{path}: {error}") from None
    changes = dict(changes or {})
    if unknown := set(said) - {"model", "pretrain", "stages"}:
        raise TrainingError(f"{path}: unknown key {sorted(unknown)[0]!r}")
    base: PretrainConfig | None = None
    model = changes.pop("model", said.get("model"))
    if "pretrain" in said:
        entry = {**said["pretrain"], "out": out / "pretrain"}
        base = _made(PretrainConfig, entry, f"{path}: pretrain")
        model = out / "pretrain" / "checkpoint"
    if model is None or not said.get("stages"):
        raise TrainingError(f"{path}: a recipe needs a model or [pretrain], and [[stages]]")
    stages = []
    for number, stage in enumerate(said["stages"], 1):
        where = out / str(stage.get("adapter", f"stage_{number}"))
        entry = {"model": model, "out": where, **stage, **changes}
        stages.append(_made(TrainConfig, entry, f"{path}: stage {number}"))
    return Recipe(out, base, stages)


def _made(kind: type[Any], entry: Mapping[str, Any], where: str) -> Any:
    for key in set(entry) - {f.name for f in fields(kind)}:
        raise TrainingError(f"{where}: {key}: there is no such setting, got {entry[key]!r}")
    try:
        return TypeAdapter(kind).validate_python(dict(entry))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise TrainingError(f"{where}: {key}: {first['msg']}, got {first['input']!r}") from None


def follow(recipe: Recipe) -> Path:
    """Train what is not trained yet; the folder of the checkpoint."""
    if recipe.pretrain and not (recipe.stages[0].model / "fspo.json").is_file():
        pretrain(recipe.pretrain)
    done = recipe.stages[0].model
    for config in recipe.stages:
        if not (config.out / "done").is_file():
            done = train(config)
            (config.out / "done").write_text(f"{done}\n", encoding="utf-8")
        done = config.model if config.adapter else config.out / "checkpoint"
    return done


def install(checkpoint: Path, target: Path = EMBEDDED) -> Path:
    """Put a checkpoint into the package. Raises TrainingError where it is too large."""
    size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    if size > MAX_BYTES:
        raise TrainingError(
            f"all arms together may have {MAX_BYTES} bytes, {checkpoint} has {size}"
        )
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(checkpoint, target)
    for file in target.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return target
