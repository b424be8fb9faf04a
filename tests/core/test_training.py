"""Training: packed branches equal plain forwards, losses by hand, runs that resume exactly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.llama import modeling_llama

from fspo_core.errors import CheckpointError, TrainingError, WorldError
from fspo_core.modeling import load_base, new_llama, train_tokenizer, with_adapter
from fspo_core.prompts import CompactFormat
from fspo_core.training.curriculum import SHARES, Curriculum, Stage
from fspo_core.training.episodes import Batch, Episode, branch_of, collate, context_of
from fspo_core.training.finetune import REFERENCE, LossOf, TrainConfig, episode_maker, train
from fspo_core.training.fusing import fuse
from fspo_core.training.loop import LoopConfig, _optimizers, schedule_at
from fspo_core.training.objectives import (
    branch_logprobs,
    dpo_loss,
    ipo_loss,
    likelihood_loss,
    margins,
    token_logprobs,
)
from fspo_core.training.preference_data import (
    steps_of,
)
from fspo_core.training.pretrain import PretrainConfig, corpus, pretrain
from fspo_core.worlds.base import seeded

TINY = {
    "hidden": 32,
    "layers": 2,
    "heads": 2,
    "feed_forward": 48,
    "vocab_size": 600,
    "tokenizer_texts": 200,
    "probe_users": 2,
    "fused": False,  # compiling takes longer than these few steps
}


def tiny_model() -> torch.nn.Module:
    model: torch.nn.Module = new_llama(
        vocab_size=600, hidden=32, layers=2, heads=2, feed_forward=48, context=2048, seed=3
    ).eval()
    return model


def tiny_config(out: Path, steps: int = 3) -> PretrainConfig:
    return PretrainConfig(out=out, steps=steps, tokens_per_step=600, **TINY)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained")
    pretrain(tiny_config(out))
    return out / "checkpoint"


def test_packed_branches_have_the_log_probabilities_of_plain_forwards() -> None:
    model, other, rng = tiny_model(), tiny_model(), np.random.default_rng(0)

    def draw(n: int) -> list[int]:
        return [int(i) for i in rng.integers(8, 600, n)]

    shots = [draw(9), draw(14)]
    context, ends = context_of([1], shots)
    branches = [branch_of(ends[k], [(draw(4), 0.0), (draw(6), 1.0)]) for k in (0, 2, 1, 2)]
    short = Episode([1], [branch_of(1, [(draw(3), 0.0), (draw(2), 1.0)])])
    batch = collate([Episode(context, branches), short])
    packed = branch_logprobs(token_logprobs(model, batch), batch)
    for i, branch in enumerate([*branches, *short.branches]):
        prefix = (context if i < 4 else [1])[: branch.prefix]
        ids = torch.tensor([prefix + branch.ids])
        logits = other(input_ids=ids).logits.log_softmax(-1)  # one sequence, plain causal attention
        plain = sum(
            logits[0, len(prefix) + t - 1, branch.ids[t]]
            for t in range(1, len(branch.ids))
            if branch.weights[t]
        )
        torch.testing.assert_close(packed[i], plain, rtol=1e-5, atol=1e-4)


def test_ipo_and_dpo_by_hand() -> None:
    # h = (-10 - -12) - (-20 - -19) = 2 + 1 = 3; beta 0.1 -> target 5; (3 - 5)^2 = 4
    pair = [
        branch_of(1, [([2], 0.0), ([3], 1.0)], "chosen"),
        branch_of(1, [([2], 0.0), ([4], 1.0)], "rejected"),
    ]
    batch = collate([Episode([1], pair)])
    policy, reference = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -19.0])
    h = margins(policy, reference, batch)
    assert h.tolist() == [3.0]
    assert ipo_loss(h, 0.1).tolist() == [pytest.approx(4.0)]
    # -log sigmoid(0.3) = 0.554355; with a tenth of the labels wrong: + 0.1 * 0.3
    assert dpo_loss(h, 0.1).tolist() == [pytest.approx(0.554355, abs=1e-6)]
    assert dpo_loss(h, 0.1, 0.1).tolist() == [pytest.approx(0.584355, abs=1e-6)]


def test_the_likelihood_loss_weights_tokens() -> None:
    # -( -1*1 + -3*0.5 ) / 1.5 = 2.5 / 1.5
    loss = likelihood_loss(torch.tensor([-1.0, -3.0]), torch.tensor([1.0, 0.5]))
    assert loss.item() == pytest.approx(2.5 / 1.5)


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    config = LoopConfig(steps=100, learning_rate=1.0, warmup=0.1, decay=0.5)
    rates = [schedule_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[30] == 1.0
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)


def test_a_step_of_the_curriculum_is_a_function_of_seed_and_step() -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    first, second = Curriculum(tokenizer, seed=1), Curriculum(tokenizer, seed=1)
    a, b = first.episodes(7, 0.6, 2000), second.episodes(7, 0.6, 2000)
    assert [e.context for e in a[1]] == [e.context for e in b[1]]
    assert a[1][0].context != first.episodes(8, 0.6, 2000)[1][0].context


def test_foreign_words_make_nearly_every_token_one_that_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = train_tokenizer(corpus(300, 1), vocab_size=1500)
    curriculum = Curriculum(tokenizer, seed=1)
    monkeypatch.setattr(curriculum, "_world", lambda _: curriculum.roleplay)
    copied: dict[float, set[int]] = {}
    for share in (0.0, 1.0):
        rng, copied[share] = seeded(2), set()
        for _ in range(1700):
            episode = curriculum.zero_shot(rng, Stage(0.5, 1, 0.0, foreign_words=share))
            ids = episode.branches[0].ids
            asked, said = (
                ids[ids.index(curriculum.format.question) :],
                ids[ids.index(curriculum.format.chosen) :],
            )
            # The topic is taken up in the first sentence; what long answers have in common with
            # a question besides is no copy.
            echo = said[: 1 + curriculum._opening(said[1:])]
            copied[share] |= set(asked[: -len(said)]) & set(echo)
    words = {i for t, i in tokenizer.get_vocab().items() if t.strip("Ġ").isalpha()}
    assert len(copied[0.0] & words) < 0.6 * len(words)
    assert len(copied[1.0] & words) > 0.8 * len(words)


def test_a_plain_row_says_what_its_answer_is_like_and_a_told_one_who_asks() -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    curriculum = Curriculum(tokenizer, seed=1)
    fmt, rng, stage = curriculum.format, seeded(5), Stage(0.0, 0, 0.0, foreign_words=0.0)
    kinds: Counter[str] = Counter()
    for _ in range(200):
        (branch,) = curriculum.zero_shot(rng, stage).branches
        asked = branch.ids.index(fmt.chosen)
        assert not any(branch.weights[: asked + 1])
        if branch.ids[0] == fmt.user:
            kinds["told"] += 1
            assert branch.ids[-1] == fmt.end
            assert all(branch.weights[asked + 1 :])
        elif fmt.user in branch.ids:
            kinds["telling"] += 1
            cue = branch.ids.index(fmt.user)
            text = tokenizer.decode(branch.ids[cue + 1 :], skip_special_tokens=True)
            assert text.strip().startswith(("Likes", "Is"))
            assert all(branch.weights[cue + 1 :])
            assert branch.weights[cue] == 0
        else:
            kinds["opening"] += 1
            assert fmt.end not in branch.ids
    assert all(kinds[kind] > 25 for kind in ("told", "telling", "opening"))


def test_the_curriculum_asks_in_all_worlds_and_shows_short_answers_first() -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    curriculum = Curriculum(tokenizer, seed=1)
    drawn = Counter(curriculum._world(rng).name for rng in [seeded(3)] for _ in range(2000))
    assert {name: pytest.approx(2000 * share, rel=0.2) for name, share in SHARES.items()} == drawn

    def tokens(stage: Stage) -> float:
        rng = seeded(4)
        made = [
            curriculum.few_shot(rng, stage, world=curriculum.roleplay, fixed_shots=2)
            for _ in range(40)
        ]
        return sum(len(episode.context) for episode in made)

    assert tokens(Stage(1.0, 2, 1.0, short=1.0)) < 0.9 * tokens(Stage(1.0, 2, 0.0))


@pytest.mark.filterwarnings("default")  # the compiler warns itself
def test_compiled_pieces_compute_what_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", modeling_llama.apply_rotary_pos_emb)
    model = tiny_model()
    episode = Episode([1, 5, 9, 7], [branch_of(4, [([2, 8], 0.0), ([3, 6, 11], 1.0)])])
    batch = collate([episode, episode])
    before = token_logprobs(model, batch)
    layer = model.model.layers[0]  # type: ignore[union-attr, index]
    plain_forward = layer.mlp.forward
    assert fuse(model)
    assert layer.mlp.forward is not plain_forward
    after = token_logprobs(model, batch)
    assert torch.allclose(before, after, rtol=1e-5, atol=1e-6)
    before.sum().backward()
    plain = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    after.sum().backward()
    fused = [p.grad for p in model.parameters() if p.grad is not None]
    for a, b in zip(plain, fused, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_muon_trains_the_hidden_matrices_and_adamw_the_rest() -> None:
    model = tiny_model()
    adamw, muon = _optimizers(model, LoopConfig(10, 1e-3, matrix_learning_rate=5e-3))
    held = [{id(p) for g in o.param_groups for p in g["params"]} for o in (adamw, muon)]
    for name, parameter in model.named_parameters():
        hidden = name.endswith("proj.weight")
        assert id(parameter) in held[hidden], name
        assert id(parameter) not in held[not hidden], name
    (everything,) = _optimizers(model, LoopConfig(10, 1e-3))
    assert sum(len(g["params"]) for g in everything.param_groups) == len(list(model.parameters()))


def test_no_loss_falls_on_the_context_or_the_question() -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    curriculum = Curriculum(tokenizer, seed=1)
    episode = curriculum.few_shot(seeded(1), Stage(1.0, 4, 0.0))
    fmt = curriculum.format
    for branch in episode.branches:
        if branch.ids[0] == fmt.question:
            asked = branch.ids.index(fmt.chosen)
            assert not any(branch.weights[: asked + 1])
            assert all(branch.weights[asked + 1 :])


SHORT: dict[str, Any] = {
    "shots": 2, "pairs_per_user": 2, "tokens_per_step": 600, "steps": 2, "rank": 2,
    "learning_rate": 0.05,
}  # fmt: skip


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_pref_ft_then_ipo_write_adapters_that_change_the_model(
    checkpoint: Path, tmp_path: Path
) -> None:
    train(TrainConfig(checkpoint, tmp_path / "a", "pref_ft", "pref_ft", **SHORT))
    train(TrainConfig(checkpoint, tmp_path / "b", "ipo", "fspo", start="pref_ft", **SHORT))
    ids = torch.tensor([[1, 50, 60, 70]])
    base, _, _ = load_base(checkpoint)
    logits = [
        m(input_ids=ids).logits
        for m in (base, with_adapter(checkpoint, "pref_ft"), with_adapter(checkpoint, "fspo"))
    ]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])
    first = rows_of(tmp_path / "b")[0]
    assert {"loss", "reward_accuracy", "margin_nats", "tokens_per_second"} <= set(first)
    assert first["margin_nats"] == pytest.approx(0.0, abs=1e-4)  # it starts where its reference is
    assert (tmp_path / "b" / "loss.png").stat().st_size > 5000
    for config in checkpoint.rglob("*.json"):
        assert str(checkpoint.parent) not in config.read_text(), f"{config} names a folder"
    assert not (checkpoint / "adapters" / "fspo" / REFERENCE).exists()
    with pytest.raises(CheckpointError, match="no adapter 'nobody'"):
        with_adapter(checkpoint, "nobody")


@pytest.mark.parametrize("changes", [{"start": "seed"}, {}, {"adapter": None}])
def test_the_margin_is_against_what_the_run_started_from(
    changes: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    """Of an adapter, of the base under a new adapter, of a model trained whole: one reference."""
    train(TrainConfig(checkpoint, tmp_path / "s", "pref_ft", "seed", **SHORT))
    settings = {"adapter": "x", **SHORT, "bf16": False, **changes}
    config = TrainConfig(checkpoint, tmp_path / "r", "ipo", **settings)
    tokenizer = load_base(checkpoint)[1]
    train(config)
    before, after = rows_of(tmp_path / "r")
    assert before["margin_nats"] == pytest.approx(0.0, abs=1e-3)
    start = with_adapter(checkpoint, config.start)
    trained = (
        with_adapter(checkpoint, "x")
        if config.adapter
        else load_base(tmp_path / "r" / "checkpoint")[0]
    )
    draw = steps_of(episode_maker(config, CompactFormat(tokenizer), 4096), seed=1, tokens=600)
    batch = collate(draw(0))
    with torch.no_grad():
        sums = [branch_logprobs(token_logprobs(m, batch), batch) for m in (trained, start)]
    assert abs(float(margins(*sums, batch).mean())) > 0.01  # two steps of a large rate move it
    assert after["margin_nats"] != pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "dpo", "label_smoothing": 0.1, "recompute_activations": True},
        {"objective": "label_token", "heldout_users": 2, "evaluate_every": 1},
        {"objective": "ipo", "description_first": True, "length_normalized": True, "beta": 0.5},
        {"objective": "ipo", "cache_reference": True},
        {"objective": "pref_ft", "adapter": None, "fewest_shots": 0, "world": "elix_easy"},
    ],
)
def test_every_objective_trains(changes: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    # On one episode again and again, so that the loss can only fall.
    settings = {"adapter": "y", "episodes": 1, **SHORT, "steps": 8, "learning_rate": 0.01}
    settings |= changes
    written = train(TrainConfig(checkpoint, tmp_path, **settings))
    rows = rows_of(tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert any(file.suffix == ".safetensors" for file in written.iterdir())
    if "heldout_users" in changes:
        assert 0 <= rows[0]["eval/label_accuracy"] <= 1


def test_a_reference_that_is_kept_is_computed_once_however_pairs_are_packed(
    checkpoint: Path, tmp_path: Path
) -> None:
    config = TrainConfig(checkpoint, tmp_path, "ipo", "z", cache_reference=True, **SHORT)
    model, tokenizer, _ = load_base(checkpoint)
    other = tiny_model()
    calls = []

    def reference(batch: Batch) -> torch.Tensor:
        calls.append(1)
        return token_logprobs(other, batch)

    loss = LossOf(replace(config, bf16=False), reference)
    maker = episode_maker(config, CompactFormat(tokenizer), 4096)
    one, two, three = (maker.episode(seeded(i)) for i in range(3))
    with torch.no_grad():
        for episodes in ([one, two], [three]):
            loss(model, collate(episodes))
        assert len(calls) == 2
        kept, _ = loss(model, collate([three, one]))
        assert len(calls) == 2  # nothing was computed again
        fresh, _ = LossOf(replace(config, bf16=False), reference)(model, collate([three, one]))
    assert len(calls) == 3
    torch.testing.assert_close(kept, fresh, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": -1.0}, "got -1"),
        ({"label_smoothing": 0.5}, "got 0.5"),
        ({"fewest_shots": 9}, r"shots \(8\), got 9"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": float("nan")}, "got nan"),
        ({"adapter": None, "start": "a"}, "needs the name of an adapter"),
        ({"world": "nowhere"}, "nowhere"),
        ({"shots": 400, "fewest_shots": 400}, "400 shots and a held-out pair of roleplay"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_first_step(
    changes: dict[str, Any], message: str, checkpoint: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"objective": "ipo", "adapter": "x", **changes}
    with pytest.raises((TrainingError, WorldError), match=message):
        train(TrainConfig(checkpoint, tmp_path, **settings))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(checkpoint, folder)
    train_tokenizer(corpus(300, 1), vocab_size=900).save_pretrained(folder)
    with pytest.raises(TrainingError, match=r"ids up to 899, the model's embedding has 600 rows"):
        train(TrainConfig(folder, tmp_path / "run", "ipo", "x"))


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(
    checkpoint: Path, tmp_path: Path
) -> None:
    settings = {**SHORT, "steps": 6, "checkpoint_every": 1, "learning_rate": 1e30, "clip": 1e30}
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step \d"):
        train(TrainConfig(checkpoint, tmp_path, "pref_ft", "x", **settings))
    assert (tmp_path / "state.pt").is_file()


def test_two_processes_take_the_steps_of_one(checkpoint: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'model = "{checkpoint}"\n[[stages]]\nobjective = "ipo"\nbf16 = false\nsteps = 4\n'
        "shots = 2\npairs_per_user = 2\ntokens_per_step = 3000\nmicro_tokens = 600\n"
        "learning_rate = 1e-3\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
              "2", "-m"]  # fmt: skip
    for name, command in (("one", [sys.executable, "-m"]), ("two", launch)):
        arguments = ["fspo_core.cli", "train", "--recipe", str(recipe), "--out"]
        done = subprocess.run(
            [*command, *arguments, str(tmp_path / name)],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, two = (rows_of(tmp_path / name / "stage_1") for name in ("one", "two"))
    assert {r["processes"] for r in one} == {1}
    assert {r["processes"] for r in two} == {2}
    assert [r["tokens"] for r in one] == [r["tokens"] for r in two]
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-4)


def test_a_folder_of_another_configuration_is_not_resumed(tmp_path: Path) -> None:
    pretrain(tiny_config(tmp_path, steps=1))
    with pytest.raises(TrainingError, match="another configuration"):
        pretrain(tiny_config(tmp_path, steps=2))


def test_a_run_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, torch; torch.set_num_threads(1)\n"
        "from fspo_core.training.pretrain import PretrainConfig, pretrain\n"
        "pretrain(PretrainConfig(out=pathlib.Path(sys.argv[1]), steps=12, tokens_per_step=600, "
        f"checkpoint_every=2, **{TINY!r}))\n"
    )

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    assert start("whole").wait() == 0
    process = start("killed")
    state = tmp_path / "killed" / "state.pt"
    while not state.is_file():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    rows = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) < 12, "killed too late to show anything"
    assert start("killed").wait() == 0

    def losses(name: str) -> list[float]:
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert losses("killed") == losses("whole")
    weights = [
        (tmp_path / n / "checkpoint" / "model.safetensors").read_bytes()
        for n in ("whole", "killed")
    ]
    assert weights[0] == weights[1]
