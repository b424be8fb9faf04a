"""``fspo synthesize``: more than a million labelled preferences from the worlds, as Parquet.

The data set is divided into shards; a shard is a pure function of (seed, world, split, index), so
that the bytes do not depend on how many processes wrote them, nor on whether the run was stopped
and begun again. ``plan.json`` says what is to be written, ``manifest.json`` (written last) what
was, with the SHA-256 of every file. The columns are those of the paper's public sets.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fspo_core.errors import DataError
from fspo_core.worlds import WORLDS, Split, User, get_world
from fspo_core.worlds.base import seeded
from fspo_core.worlds.freeze import fingerprint_hash

SCHEMA_VERSION = 1
# Preferences by world and split: the paper's table (arXiv 2502.19312, section 5) times 1.001, since
# its numbers, rounded to thousands, add up to 300 fewer than the 1.378 million it names.
SIZES: dict[str, dict[Split, int]] = {
    "reviews": {"train": 130_130, "heldout": 32_432},
    "elix_easy": {"train": 235_235, "heldout": 26_126},
    "elix_hard": {"train": 267_267, "heldout": 267_267},
    "roleplay": {"train": 362_362, "heldout": 58_258},
}
ROWS_PER_SHARD = 20_000
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("prompt", pa.string()),
        ("response_x", pa.string()),
        ("response_y", pa.string()),
        ("label", pa.int8()),  # 0: response_x is preferred, 1: response_y
        ("form", pa.dictionary(pa.int16(), pa.string())),
        ("category", pa.dictionary(pa.int16(), pa.string())),
        ("topic", pa.string()),  # head nouns, title or concept; two are parted by "; "
        ("slots", pa.list_(pa.string())),  # phrases of the prompt that an answer takes up
        ("values_x", pa.list_(pa.int8())),  # latent attributes, in the world's order
        ("values_y", pa.list_(pa.int8())),
    ]
)
USER_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("split", pa.string()),
        ("persona", pa.string()),
        ("description", pa.string()),
        ("weights", pa.list_(pa.float64())),
    ]
)
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class SynthesisConfig:
    """What to write. ``scale`` shrinks every world alike; ``processes`` changes no byte."""

    out: Path
    worlds: tuple[str, ...]
    seed: int
    scale: float = 1.0
    processes: int = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows ``start`` to ``start + rows`` of a world's split."""

    world: str
    split: Split
    index: int
    start: int
    rows: int
    total: int

    @property
    def name(self) -> str:
        """Path below the data set's folder."""
        return f"{self.world}/{self.split}-{self.index:05}.parquet"


def plan(config: SynthesisConfig) -> list[Shard]:
    """Every shard, in order. Raises DataError for a scale outside (0, 1]."""
    if not 0 < config.scale <= 1:
        raise DataError(f"scale must be over 0 and at most 1, got {config.scale}")
    if config.processes < 1:
        raise DataError(f"processes must be at least 1, got {config.processes}")
    shards = []
    for world in config.worlds:
        get_world(world)  # refuses what it does not know
        for split, size in SIZES[world].items():
            total = max(1, round(size * config.scale))
            for index, start in enumerate(range(0, total, ROWS_PER_SHARD)):
                rows = min(ROWS_PER_SHARD, total - start)
                shards.append(Shard(world, split, index, start, rows, total))
    return shards


def users_of(world: str) -> dict[Split, list[User]]:
    """The users of a data set; those of both splits may be the same (ELIX-easy)."""
    return get_world(world).population()


def rows(shard: Shard, seed: int) -> Iterator[dict[str, Any]]:
    """A shard's rows: a user's pairs stand together, users in order."""
    world = get_world(shard.world)
    users = world.population()[shard.split]
    rng = seeded("synthesis", seed, shard.world, shard.split, shard.index)
    for i in range(shard.start, shard.start + shard.rows):
        user = users[i * len(users) // shard.total]
        pair = world.sample_pairs(user, 1, rng, split=shard.split)[0]
        chosen, rejected = pair.preference.chosen, pair.preference.rejected
        x, y = (chosen, rejected) if pair.chosen_first else (rejected, chosen)
        values = (pair.chosen, pair.rejected) if pair.chosen_first else (pair.rejected, pair.chosen)
        question = pair.question
        yield {
            "user_id": user.user_id,
            "prompt": question.text,
            "response_x": x,
            "response_y": y,
            "label": 0 if pair.chosen_first else 1,
            "form": question.form,
            "category": question.category,
            "topic": "; ".join(question.topics),
            "slots": sorted(question.slots.values(), key=lambda s: (-len(s), s)),
            "values_x": values[0],
            "values_y": values[1],
        }


def write_shard(shard: Shard, seed: int, out: Path) -> int:
    """Write one shard whole or not at all; its number of rows."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for row in rows(shard, seed):
        for name, value in row.items():
            columns[name].append(value)
    _write(pa.table(columns, schema=SCHEMA), out / shard.name)
    return shard.rows


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(table, unfinished, compression="zstd", row_group_size=5_000)
    unfinished.replace(path)


def synthesize(config: SynthesisConfig, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Write what is missing of the data set and its manifest; the manifest.

    Raises DataError where ``config.out`` holds a data set of another plan, or other files.
    """
    shards = plan(config)
    promised = {
        "schema_version": SCHEMA_VERSION,
        "seed": config.seed,
        "scale": config.scale,
        "worlds": {world: fingerprint_hash(get_world(world)) for world in config.worlds},
        "pyarrow": pa.__version__,
        "shards": [asdict(shard) for shard in shards],
    }
    _claim(config.out, promised)
    missing = [shard for shard in shards if not (config.out / shard.name).is_file()]
    progress(sum(s.rows for s in shards) - sum(s.rows for s in missing))
    for world in config.worlds:
        _write_users(world, config.out)
    work = [(shard, config.seed, config.out) for shard in missing]
    if config.processes == 1 or len(work) < 2:
        for item in work:
            progress(write_shard(*item))
    else:
        # Forked: the children share the content that is read already.
        for world in config.worlds:
            next(rows(Shard(world, "train", 0, 0, 1, 1), config.seed))
        context = multiprocessing.get_context("fork")
        with context.Pool(config.processes) as pool:
            for written in pool.imap_unordered(_write_shard, work):
                progress(written)
    return _seal(config, promised, shards)


def _write_shard(item: tuple[Shard, int, Path]) -> int:
    return write_shard(*item)


def _claim(out: Path, promised: dict[str, Any]) -> None:
    """Make the folder this plan's own, or go on where the same plan was begun."""
    path = out / "plan.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is not JSON: {error}") from error
        if found != promised:
            differing = sorted(k for k in promised if found.get(k) != promised[k])
            raise DataError(
                f"{out} was begun with another {', '.join(differing)}; use a new folder"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} is not empty and has no plan.json; use a new folder")
    out.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(promised, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _write_users(world: str, out: Path) -> None:
    the_world = get_world(world)
    people = [(split, user) for split, users in users_of(world).items() for user in users]
    table = pa.table(
        {
            "user_id": [u.user_id for _, u in people],
            "split": [split for split, _ in people],
            "persona": [u.persona for _, u in people],
            "description": [the_world.describe(u) for _, u in people],
            "weights": [u.weights for _, u in people],
        },
        schema=USER_SCHEMA,
    )
    _write(table, out / world / "users.parquet")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(config: SynthesisConfig, promised: dict[str, Any], shards: list[Shard]) -> dict[str, Any]:
    names = [f"{world}/users.parquet" for world in config.worlds] + [s.name for s in shards]
    files = {name: file_hash(config.out / name) for name in names}
    whole = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    counts: dict[str, dict[str, int]] = {}
    for shard in shards:
        world = counts.setdefault(shard.world, {})
        world[shard.split] = world.get(shard.split, 0) + shard.rows
    manifest = {
        **{k: v for k, v in promised.items() if k != "shards"},
        "preferences": sum(s.rows for s in shards),
        "counts": counts,
        "sha256": whole,
        "files": files,
    }
    (config.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def all_worlds() -> tuple[str, ...]:
    """What ``--world all`` means."""
    return tuple(WORLDS)
