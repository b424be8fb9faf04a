"""Preference data at scale: same seed, same bytes; resumed; audited."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fspo_core.errors import DataError
from fspo_core.synthesis import audit, generate
from fspo_core.synthesis.generate import SIZES, SynthesisConfig, plan, synthesize
from fspo_core.worlds import WORLDS, get_world


def config(out: Path, **changes: object) -> SynthesisConfig:
    values = {"out": out, "worlds": tuple(WORLDS), "seed": 1, "scale": 0.001, "processes": 1}
    return SynthesisConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_the_full_size_is_the_papers() -> None:
    shards = plan(config(Path("x"), scale=1.0))
    assert sum(shard.rows for shard in shards) >= 1_378_000
    assert set(SIZES) == set(WORLDS)


def test_the_bytes_depend_on_the_seed_and_not_on_processes_or_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "ROWS_PER_SHARD", 60)
    one = synthesize(config(tmp_path / "one"))
    two = synthesize(config(tmp_path / "two", processes=2))
    assert one["sha256"] == two["sha256"]
    assert synthesize(config(tmp_path / "seed", seed=2))["sha256"] != one["sha256"]

    class Stopped(Exception):
        pass

    seen = Counter[str]()

    def stop(rows: int) -> None:
        seen["calls"] += 1
        if seen["calls"] == 8:
            raise Stopped

    with pytest.raises(Stopped):
        synthesize(config(tmp_path / "again"), stop)
    assert not (tmp_path / "again" / "manifest.json").exists()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "again").rglob("*0*.parquet")}
    assert 0 < len(done) < len(plan(config(tmp_path)))
    assert synthesize(config(tmp_path / "again"))["sha256"] == one["sha256"]
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())


def test_a_folder_of_another_plan_or_of_other_files_is_refused(tmp_path: Path) -> None:
    small = config(tmp_path / "a", worlds=("reviews",))
    synthesize(small)
    with pytest.raises(DataError, match="another seed"):
        synthesize(config(tmp_path / "a", worlds=("reviews",), seed=5))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        synthesize(config(tmp_path / "b"))
    assert (tmp_path / "b" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("scale", "processes"), [(0.0, 1), (1.5, 1), (0.5, 0)])
def test_sizes_that_cannot_be_are_refused(scale: float, processes: int) -> None:
    with pytest.raises(DataError, match="got"):
        plan(config(Path("x"), scale=scale, processes=processes))


def test_rows_say_what_the_schema_says(tmp_path: Path) -> None:
    synthesize(config(tmp_path / "set"))
    for name in WORLDS:
        world = get_world(name)
        folder = tmp_path / "set" / name
        users = {u["user_id"]: u for u in pq.read_table(folder / "users.parquet").to_pylist()}
        for path in folder.glob("*-0*.parquet"):
            for row in pq.read_table(path).to_pylist():
                assert row["label"] in (0, 1)
                assert row["user_id"] in users
                assert len(row["values_x"]) == len(world.attributes)
                for side in ("x", "y"):
                    assert world.gate(row["prompt"], row[f"response_{side}"]).ok
        if name == "elix_easy":
            continue
        splits = {u["user_id"]: u["split"] for u in users.values()}
        for split in ("train", "heldout"):
            table = pq.read_table(folder / f"{split}-00000.parquet", columns=["user_id"])
            assert {splits[u] for u in table["user_id"].to_pylist()} == {split}


def test_the_audit_finds_what_is_planted(tmp_path: Path) -> None:
    out = tmp_path / "set"
    synthesize(config(out, worlds=("roleplay",), scale=0.004))
    report = audit.audit(out, processes=1)
    clean = report["worlds"]["roleplay"]["leakage"]
    assert {
        clean[k] for k in ("users", "combinations", "topics", "wordings", "near_duplicates")
    } == {0}
    audit.plot(report, tmp_path / "audit.png")
    assert (tmp_path / "audit.png").stat().st_size > 10_000
    json.dumps(report)
    # The same rows as held-out ones: everything leaks.
    path = out / "roleplay" / "heldout-00000.parquet"
    train = pq.read_table(out / "roleplay" / "train-00000.parquet").slice(0, 200)
    pq.write_table(train, path)
    leaks = audit.audit(out, processes=1)["worlds"]["roleplay"]["leakage"]
    assert leaks["near_duplicates"] >= 390
    assert leaks["topics"] > 50
    assert leaks["wordings"] > 50


def test_the_audit_refuses_what_is_not_a_finished_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="manifest"):
        audit.audit(tmp_path)
    synthesize(config(tmp_path / "set", worlds=("reviews",)))
    (tmp_path / "set" / "reviews" / "train-00000.parquet").unlink()
    with pytest.raises(DataError, match="not in the folder"):
        audit.audit(tmp_path / "set", processes=1)


def test_distinct_n_and_entropy_by_hand() -> None:
    # "a b a b": unigrams 2 of 4, bigrams (ab, ba, ab) 2 of 3
    assert audit.distinct_n(["a b a b"], 1) == 0.5
    assert audit.distinct_n(["a b a b"], 2) == pytest.approx(2 / 3)
    counts = Counter({("u", 0): 5, ("u", 1): 5, ("v", 0): 4})
    # one bit for u, none for v
    assert audit.label_entropy(counts) == {"mean": 0.5, "least": 0.0}


def test_templates_leave_out_what_the_question_asked_about() -> None:
    found = audit.templates_of("Bake bread. 1. I like to bake bread a lot.", ["bake bread"])
    assert found[0] == "{}."
    assert found[-1] == "I like to {} a lot."


def test_a_label_that_length_decides_is_found_out() -> None:
    rows = [
        {
            "response_x": "word " * (5 + i % 7), "response_y": "word " * (5 + i % 5),
            "label": int((5 + i % 7) <= (5 + i % 5)), "values_x": [0], "values_y": [0],
        }
        for i in range(400)
    ]  # fmt: skip
    assert audit.label_predictors(rows)["length"] > 0.95
