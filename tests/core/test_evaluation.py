"""Evaluation in the synthetic world, with small random models that the tests make."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fspo_core.cli import app
from fspo_core.engines.local import LocalEngine
from fspo_core.errors import CheckpointError, WorldError
from fspo_core.evaluation import synthetic
from fspo_core.evaluation.gates import predicted_labels, topic_naming
from fspo_core.evaluation.label_prediction import label_prediction
from fspo_core.evaluation.specimens import specimens_markdown
from fspo_core.modeling import (
    adapter_path,
    new_adapter,
    new_llama,
    save_adapter,
    save_base,
    train_tokenizer,
)
from fspo_core.rewards import PersonalReward, ipo_label_probability
from fspo_core.training.pretrain import corpus
from fspo_core.types import (
    Completion,
    GenerationFailure,
    GenerationRequest,
    Preference,
    Sampling,
    UserHistory,
)
from fspo_core.worlds import get_world

WORLD = get_world("roleplay")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluated")
    tokenizer = train_tokenizer(corpus(200, 1), vocab_size=600)

    def model(seed: int = 1) -> object:
        return new_llama(
            vocab_size=600, hidden=32, layers=2, heads=2, feed_forward=48, context=2048, seed=seed
        )

    save_base(path, model(), tokenizer, {"format": "compact"})
    for seed, name in enumerate(("pref_ft", "ipo", "fspo")):
        adapter = new_adapter(model(), rank=2, seed=seed)
        for parameter_name, parameter in adapter.named_parameters():
            if "lora_B" in parameter_name:
                parameter.data.normal_(std=0.3)
        save_adapter(path, name, adapter)
        (adapter_path(path, name) / "fspo.json").write_text('{"recipe": {"beta": 0.0625}}')
    return path


COLUMN = synthetic.Column("roleplay", "heldout", 2)


class EmptyEngine:
    """Writes nothing."""

    def generate(self, requests: Sequence[GenerationRequest]) -> list[GenerationFailure]:
        return [GenerationFailure(r.request_id, r.arm, "empty answer") for r in requests]

    def fingerprint(self, arm: str) -> str:
        return arm


def config(people: int = 3, seeds: int = 2) -> synthetic.EvaluationConfig:
    return synthetic.EvaluationConfig(
        people=people, seed=7, seeds=seeds, sampling=Sampling(max_new_tokens=8)
    )


def test_every_arm_control_and_writer_has_a_row_against_base_and_some_against_ipo(
    folder: Path,
) -> None:
    evaluation = synthetic.Evaluation(LocalEngine(folder), config())
    rows = synthetic.rows(evaluation.answers(COLUMN), COLUMN, seed=1)
    against_base = [row.arm for row in rows if row.against == "base"]
    assert against_base == [*config().arms, *synthetic.WRITERS]
    assert [row.arm for row in rows if row.against == "ipo"] == ["fspo", "stranger"]
    assert all((row.users, row.judgments) == (3, 6) for row in rows)
    for row in rows:
        assert row.detector_a is not None
        assert row.detector_b is not None
        assert 0 <= row.detector_a <= 1
    by_arm = {row.arm: row for row in rows if row.against == "base"}
    # A random model's words never pass the gate, the world's own do, and win therefore.
    assert by_arm["ceiling"].winrate == by_arm["ceiling"].share == 1.0
    assert by_arm["ceiling"].gate_pass_rate == by_arm["copycat"].gate_pass_rate == 1.0
    assert by_arm["fspo"].both_pass is None
    assert by_arm["fspo"].tokens > 0
    assert by_arm["ceiling"].tokens == 0


def test_what_reads_no_labels_is_written_once_for_all_columns(folder: Path) -> None:
    class Counting(LocalEngine):
        asked: Counter[str] = Counter()

        def generate(
            self, requests: Sequence[GenerationRequest]
        ) -> list[Completion | GenerationFailure]:
            self.asked.update(request.arm for request in requests)
            return super().generate(requests)

    engine = Counting(folder)
    evaluation = synthetic.Evaluation(engine, config(people=2, seeds=1))
    one, two = (replace(COLUMN, shots=shots) for shots in (1, 2))
    first, second = evaluation.answers(one), evaluation.answers(two)
    assert first["base"] == second["base"]
    assert engine.asked["base"] == engine.asked["ipo"] == engine.asked["oracle"] == 2
    assert engine.asked["pref_ft"] == 4
    # The labels of few are the first of many.
    assert second["fspo"][0].history.preferences[:1] == first["fspo"][0].history.preferences


def test_the_same_seed_gives_the_same_answers(folder: Path) -> None:
    engine = LocalEngine(folder)
    first, second = (
        synthetic.Evaluation(engine, config(people=2, seeds=1)).answers(COLUMN) for _ in range(2)
    )
    assert first == second


def answer_of(arm: str, person: str, reward: float, text: str = "Text.") -> synthetic.Answer:
    user = WORLD.sample_users(1, split="heldout", seed=1)[0]
    question = WORLD.sample_questions(1, split="heldout", seed=1)[0]
    return synthetic.Answer(
        person,
        user,
        question,
        UserHistory(person),
        arm,
        0,
        text,
        reward,
        True,
        True,
        (reward, reward),
    )


def test_judging_counts_a_higher_reward_as_a_win_and_an_equal_one_as_a_tie() -> None:
    base = [answer_of("base", f"p{n}", 1.0) for n in range(3)]
    own = [answer_of("fspo", f"p{n}", reward) for n, reward in enumerate((2.0, 1.0, 0.0))]
    outcomes = [j.outcome for j in synthetic.judge(own, base, COLUMN)]
    assert outcomes == ["win", "tie", "loss"]


def test_the_share_of_the_ceiling_is_what_is_won_over_a_half() -> None:
    rewards = {"base": 1.0, "ceiling": 2.0}
    answers = {arm: [answer_of(arm, f"p{n}", r) for n in range(8)] for arm, r in rewards.items()}
    # Six of eight won: 0.75; a quarter over one half, of the half that the ceiling has.
    answers["fspo"] = [answer_of("fspo", f"p{n}", 2.0 if n < 6 else 0.0) for n in range(8)]
    rows = {row.arm: row for row in synthetic.rows(answers, COLUMN, seed=1)}
    assert rows["fspo"].winrate == 0.75
    assert rows["fspo"].share == pytest.approx(0.5)
    assert rows["fspo"].share_low is not None
    assert rows["fspo"].share_high is not None
    assert rows["fspo"].share_low < 0.5 < rows["fspo"].share_high
    assert rows["ceiling"].share == 1.0


def test_the_headline_is_the_mean_of_three_domains_means() -> None:
    def row(world: str, split: str, winrate: float, arm: str = "fspo") -> synthetic.ArmRow:
        return synthetic.ArmRow(arm, "base", world, 8, winrate, 0.0, 1.0, 9, 9, user_split=split)

    rows = [
        row("reviews", "train", 0.8), row("reviews", "heldout", 0.6),
        row("elix_easy", "heldout", 1.0), row("elix_hard", "heldout", 0.8),
        row("roleplay", "heldout", 0.8),
        row("roleplay", "heldout", 0.7, "ipo"),
    ]  # fmt: skip
    assert synthetic.headline(rows) == {"fspo": pytest.approx((0.7 + 0.9 + 0.8) / 3)}


def test_columns_are_the_papers_unless_others_are_asked_for() -> None:
    assert len(synthetic.columns_of("all", [])) == 13
    assert [c.shots for c in synthetic.columns_of("roleplay", [])] == [1, 2, 4, 8, 16]
    assert synthetic.columns_of("reviews", [3]) == [
        synthetic.Column("reviews", "train", 3), synthetic.Column("reviews", "heldout", 3),
    ]  # fmt: skip
    with pytest.raises(WorldError, match="narnia"):
        synthetic.columns_of("narnia", [])


@pytest.mark.parametrize("world", ["reviews", "elix_easy", "elix_hard", "roleplay"])
def test_the_worlds_own_answers_name_their_topic_and_strangers_like_something_else(
    world: str,
) -> None:
    column = synthetic.Column(world, "heldout", 2)
    evaluation = synthetic.Evaluation(EmptyEngine(), config(people=40, seeds=1))
    answers = evaluation.answers(column)["ceiling"]
    assert sum(answer.names_topic for answer in answers) >= 38
    for person in evaluation.people(column):
        assert person.stranger_pairs[0].preference != person.pairs[0].preference
    assert not any(answer.passes_gate for answer in evaluation.answers(column)["base"])


def test_an_evaluation_of_nobody_is_refused() -> None:
    with pytest.raises(WorldError, match="got 0 and 2"):
        config(people=0)


def test_people_of_a_world_with_few_users_have_labels_of_their_own() -> None:
    people = synthetic.cast(get_world("reviews"), "train", 2, config(people=9))
    assert len({person.user.user_id for person in people}) <= 4
    assert len({person.name for person in people}) == 9
    assert len({person.pairs[0].preference for person in people}) > 5


def test_swapping_exchanges_chosen_and_rejected_of_every_label() -> None:
    history = UserHistory("u", (Preference("Q?", "good", "bad"),))
    assert synthetic.swap(history).preferences == (Preference("Q?", "bad", "good"),)
    assert synthetic.swap(synthetic.swap(history)) == history


def test_exchanging_the_responses_turns_the_margin_round(folder: Path) -> None:
    reward = PersonalReward.load(folder)
    history = WORLD.history(
        WORLD.sample_users(1, split="train", seed=1)[0], 2, split="train", seed=1
    )
    pair = Preference(
        "How do I bake bread?", "Use an app as your guide.", "Read a good book about it."
    )
    turned = Preference(pair.question, pair.rejected, pair.chosen)
    one, other = reward.margins(history, [pair, turned])
    assert one == pytest.approx(-other, abs=1e-4)
    assert one != 0
    assert reward.margins(UserHistory("u"), [pair])[0] != pytest.approx(one)


def test_each_label_is_predicted_from_those_before_it(folder: Path) -> None:
    reward, engine = PersonalReward.load(folder), LocalEngine(folder)
    user = WORLD.sample_users(1, split="train", seed=1)[0]
    history = WORLD.history(user, 3, split="train", seed=1)
    found = engine.label_probabilities(history)
    for known, probability in enumerate(found):
        before = UserHistory("u", history.preferences[:known])
        (margin,) = reward.margins(before, [history.preferences[known]])
        assert probability == pytest.approx(ipo_label_probability(margin, 0.0625), abs=1e-5)
    assert engine.label_probabilities(UserHistory("u")) == []
    # The same models go on writing answers.
    assert engine.model("fspo").config._attn_implementation == "sdpa"


def test_labels_that_do_not_fit_are_not_predicted(folder: Path) -> None:
    engine = LocalEngine(folder)
    user = WORLD.sample_users(1, split="train", seed=1)[0]
    history = WORLD.history(user, 16, split="train", seed=1)
    found = engine.label_probabilities(history)
    lengths = [len(engine.format.shot(i, p)) for i, p in enumerate(history.preferences, 1)]
    assert 0 < len(found) < 16
    assert 1 + sum(lengths[: len(found)]) <= engine.context < 1 + sum(lengths[: len(found) + 1])


@pytest.mark.parametrize("recipe", [{"objective": "dpo"}, {"length_normalized": True}])
def test_margins_that_are_no_ipo_probabilities_are_refused(
    folder: Path, tmp_path: Path, recipe: dict[str, object]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    said = {"recipe": {"beta": 0.1, "objective": "ipo", **recipe}}
    (adapter_path(copy, "fspo") / "fspo.json").write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match="labels are predicted by IPO"):
        PersonalReward.load(copy)


def test_a_checkpoint_that_does_not_tell_its_beta_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (adapter_path(copy, "fspo") / "fspo.json").unlink()
    with pytest.raises(CheckpointError, match="beta"):
        PersonalReward.load(copy)


def test_the_label_probability_of_ipo_is_clipped() -> None:
    # 1/2 + 0.0625 * 4 = 0.75
    assert ipo_label_probability(4.0, 0.0625) == 0.75
    assert ipo_label_probability(100.0, 0.0625) == 1.0
    assert ipo_label_probability(-100.0, 0.0625) == 0.0
    with pytest.raises(CheckpointError, match="nan"):
        ipo_label_probability(float("nan"), 0.0625)


def test_gates_stand_beside_the_bayes_optimal_reader(folder: Path) -> None:
    found = predicted_labels(PersonalReward.load(folder), shots=(0, 2), users=4)
    assert list(found) == ["model", "optimum"]
    for predictions in found.values():
        rows = label_prediction(predictions)
        assert [(row.shots, row.users, row.labels) for row in rows] == [(0, 4, 16), (2, 4, 16)]
    (named,) = topic_naming(LocalEngine(folder), ("fspo",), questions=3)
    assert named.questions == 3


def test_specimens_show_the_labels_and_leave_room_for_a_verdict(folder: Path) -> None:
    text = specimens_markdown(LocalEngine(folder), count=2, seed=1, shots=2)
    assert text.count("Verdict:") == 2
    assert text.count("\n\nrather than\n\n") == 4


def test_the_commands_write_figures_a_report_and_its_plot(folder: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    winrates, gates, out = tmp_path / "w.json", tmp_path / "g.json", tmp_path / "results.md"
    waits, pages = tmp_path / "waits.json", tmp_path / "pages.json"
    waits.write_text(
        json.dumps(
            {"seconds": [1.0, 2.0], "median_s": 1.5, "p95_s": 2.0, "provenance": "Commit a."}
        )
    )
    figures = {"requests": 200, "median_ms": 17.2, "p95_ms": 33.3}
    pages.write_text(
        json.dumps({"all": figures, "answers_due": {"before": 9}, "provenance": "Commit b."})
    )
    engine = ["--engine", f"local:{folder}"]
    commands = [
        [
            "evaluate",
            "--world",
            "elix_easy",
            "--shots",
            "1",
            "--users",
            "2",
            "--seeds",
            "1",
            *engine,
            "--json",
            str(winrates),
        ],
        [
            "gates",
            "--checkpoint",
            str(folder),
            "--users",
            "2",
            "--questions",
            "2",
            "--json",
            str(gates),
        ],
        ["report", "--winrates", str(winrates), "--gates", str(gates), "--out", str(out),
         "--answers", str(waits), "--pages", str(pages)],
    ]  # fmt: skip
    for command in commands:
        result = runner.invoke(app, command)
        assert result.exit_code == 0, (command, result.output, result.exception)
    rows = json.loads(winrates.read_text())["rows"]
    keys = {"arm", "against", "world", "shots", "winrate", "low", "high", "users", "judgments"}
    assert keys <= set(rows[0])
    assert {(row["world"], row["user_split"]) for row in rows} == {("elix_easy", "heldout")}
    report = out.read_text()
    assert f"{100 * rows[0]['winrate']:.1f}" in report
    assert "| 2 | 1.50 | 2.00 |" in report
    assert "| 200 | 17 | 33 |" in report
    assert "Commit a." in report
    assert "Commit b." in report
    assert (tmp_path / "winrates.png").stat().st_size > 5000


def test_pairs_for_a_study_come_as_toml() -> None:
    import tomllib

    result = CliRunner().invoke(app, ["pairs", "--count", "3"])
    pairs = tomllib.loads(result.output)["pairs"]
    assert len(pairs) == 3
    assert all(pair["response_a"] != pair["response_b"] for pair in pairs)


def test_training_refuses_an_objective_it_does_not_have(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('model = "m"\n[[stages]]\nobjective = "ppo"\n')
    result = CliRunner().invoke(app, ["train", "--recipe", str(recipe), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "'ppo'" in str(result.exception)
