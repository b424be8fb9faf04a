"""Every world: its text says what its latent attributes are, and its splits are disjoint."""

from __future__ import annotations

import re
import tomllib
from collections import Counter

import numpy as np
import pytest

from fspo_core.errors import WorldError
from fspo_core.evaluation.planted import gate_errors
from fspo_core.synthesis.audit import templates_of
from fspo_core.worlds import WORLDS, World, get_world
from fspo_core.worlds.base import Detector, Split, seeded
from fspo_core.worlds.elix import FIELDS, LEVELS, ElixHard, concepts, is_heldout_combination
from fspo_core.worlds.freeze import fingerprint_hash, frozen
from fspo_core.worlds.nouns import belongs, load_nouns
from fspo_core.worlds.questions import FORMS, categories, groups
from fspo_core.worlds.reviews import titles
from fspo_core.worlds.roleplay import VALUES
from fspo_core.worlds.wording import CONTENT, load_folder, load_toml

SPLITS: tuple[Split, ...] = ("train", "heldout")
DETECTORS: tuple[Detector, ...] = ("a", "b")


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest) -> World:
    return get_world(request.param)


def test_the_worlds_are_the_frozen_ones(world: World) -> None:
    assert frozen()[world.name] == fingerprint_hash(world)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("detector", DETECTORS)
def test_each_detector_reads_the_latent_attributes_off_written_answers(
    world: World, split: Split, detector: Detector
) -> None:
    rng = seeded("detect", split)
    wrong: Counter[str] = Counter()
    for question in world.sample_questions(250, split=split, seed=5):
        values = world.sample_values(rng)
        text = world.respond(question, values, rng, split=split)
        read = world.detect(question.text, text, detector)
        wrong.update(
            attribute
            for attribute, told, seen in zip(world.attributes, values, read, strict=True)
            if told != seen
        )
    assert max(wrong.values(), default=0) <= 0.05 * 250, wrong


def test_the_gate_passes_good_answers_and_refuses_spoiled_ones(world: World) -> None:
    for split in SPLITS:
        for row in gate_errors(world, texts=120, seed=2, split=split):
            assert row.error <= 0.05, row


def test_a_users_own_best_answer_beats_what_the_user_likes_least(world: World) -> None:
    rng = seeded("reward", world.name)
    for user in world.sample_users(12, split="heldout", seed=1):
        question = world.sample_question(rng, split="heldout")
        best = world.best_values(user.weights, rng)
        worst = world.best_values([-w for w in user.weights], rng)
        good, bad = (world.respond(question, v, rng, split="heldout") for v in (best, worst))
        if best != worst and world.latent_reward(user.weights, best) > world.latent_reward(
            user.weights, worst
        ):
            assert world.reward(user, question.text, good) > world.reward(user, question.text, bad)


def test_the_same_seed_gives_the_same_users_questions_and_labels(world: World) -> None:
    user = world.sample_users(2, split="heldout", seed=3)[1]
    assert user == world.sample_users(2, split="heldout", seed=3)[1]
    histories = [world.history(user, 3, split="heldout", seed=5) for _ in range(2)]
    assert histories[0] == histories[1]
    assert histories[0] != world.history(user, 3, split="heldout", seed=6)


def test_no_sentence_and_no_topic_stands_in_both_splits(world: World) -> None:
    seen: dict[str, tuple[set[str], set[str]]] = {}
    for split in SPLITS:
        rng = seeded("splits", split)
        sentences: set[str] = set()
        topics: set[str] = set()
        for question in world.sample_questions(500, split=split, seed=7):
            text = world.respond(question, world.sample_values(rng), rng, split=split)
            slots = sorted(question.slots.values(), key=len, reverse=True)
            sentences.update(templates_of(text, slots))
            topics.update(question.topics)
        seen[split] = (sentences, topics)
    assert not seen["train"][0] & seen["heldout"][0]
    assert not seen["train"][1] & seen["heldout"][1]


def test_held_out_users_have_combinations_that_training_never_sees(world: World) -> None:
    people = world.population()
    train = {u.weights for u in people["train"]}
    heldout = {u.weights for u in people["heldout"]}
    if world.name == "elix_easy":  # the paper holds out questions only
        assert train == heldout
    else:
        assert not train & heldout


def test_labels_follow_bradley_terry_at_the_stated_temperature(world: World) -> None:
    rng = seeded("labels")
    user = world.sample_users(1, split="train", seed=4)[0]
    for _ in range(20):
        first, second = world.sample_values(rng), world.sample_values(rng)
        gap = float(np.dot(user.weights, np.subtract(first, second))) / world.temperature
        p = world.label_probability(user, first, second)
        assert p == pytest.approx(1 / (1 + np.exp(-gap)))
        kept = [world.prefers_first(user, first, second, rng) for _ in range(400)]
        share = np.mean([label is not None for label in kept])
        # Kept where two independent labels agree: p² + (1 - p)².
        assert share == pytest.approx(p**2 + (1 - p) ** 2, abs=0.11)


def test_an_unknown_world_is_refused_by_name() -> None:
    with pytest.raises(WorldError, match="'mars'"):
        get_world("mars")


# -- what the content must have ---------------------------------------------------------------


def test_there_are_three_hundred_real_titles_of_four_kinds() -> None:
    kinds = Counter(entry["kind"] for entry in titles().values())
    assert sum(kinds.values()) >= 300
    assert set(kinds) == {"film", "series", "anime", "book"}


def test_every_concept_is_explained_at_all_five_levels_with_terms_of_its_own() -> None:
    assert len(concepts()) >= 80
    assert len({c["field"] for c in concepts().values()}) >= 8
    for name, concept in concepts().items():
        terms: list[str] = []
        for level in LEVELS:
            assert len(concept[level]["explain"]) >= 2, (name, level)
            terms += concept[level]["terms_a"] + concept[level]["terms_b"]
        assert len(terms) == len(set(terms)), name
        assert set(concept["analogy"]) >= set(FIELDS) - {concept["field"]}, name


def test_elix_hard_has_550_users_and_holds_out_combinations_of_every_level_and_field() -> None:
    people = ElixHard().population()
    assert len(people["train"]) + len(people["heldout"]) == 550
    held = [(i, j) for i in range(5) for j in range(11) if is_heldout_combination(i, j)]
    assert {i for i, _ in held} == set(range(5))
    assert {j for _, j in held} == set(range(11))


def test_there_are_twenty_thousand_topic_heads_and_six_hundred_verbs() -> None:
    heads = {noun.word for noun in load_nouns()}
    verbs: set[str] = set()
    for category in load_folder("roleplay/categories"):
        for split in SPLITS:
            for group in groups(category, split):
                heads |= {thing.split()[-1].lower() for thing in group.things}
                verbs |= {forms[0] for forms in group.verbs}
                assert all(len(forms) == 4 for forms in group.verbs), category
    usable = {head for head in heads if belongs(head, "train") or belongs(head, "heldout")}
    assert len(usable) >= 20_000
    assert len(verbs) >= 600


def test_every_category_has_viewpoints_and_every_form_is_asked() -> None:
    assert len(categories()) >= 20
    for name, entry in load_folder("roleplay/categories").items():
        views = [entry[value][side] for value in VALUES for side in ("plus", "minus")]
        assert all(len(view) >= 8 for view in views), name
    asked = {q.form for q in get_world("roleplay").sample_questions(2000, split="train", seed=1)}
    assert asked == set(FORMS)


def test_detectors_share_no_cue() -> None:
    for file in ("roleplay/lexicon.toml", "reviews/lexicon.toml"):
        lexicon = tomllib.loads((CONTENT / file).read_text())
        poles = [p for e in lexicon.values() for p in ([e] if "a" in e else e.values())]
        a, b = ([c for pole in poles for c in pole[key]] for key in "ab")
        assert len(a) == len(set(a))
        assert len(b) == len(set(b))
        assert not set(a) & set(b)


def test_value_sentences_have_cues_of_both_detectors_and_of_no_other_pole() -> None:
    """What the brief asks of the hand-written content, over all of it."""
    from fspo_core.worlds.roleplay import cue_reader

    for name, entry in load_folder("roleplay/categories").items():
        for value in VALUES:
            for side in ("plus", "minus"):
                for sentence in entry[value][side]:
                    for detector in DETECTORS:
                        found = set(cue_reader(detector).count(sentence))
                        assert found == {f"{value}.{side}"}, (name, sentence, found)
        for sentence in entry["tips"]:
            assert not any(cue_reader(d).count(sentence) for d in DETECTORS), (name, sentence)


def test_style_sentences_have_cues_of_their_pole_and_bodies_none() -> None:
    from fspo_core.worlds.roleplay import cue_reader

    for attribute, sides in load_toml("roleplay/frames/style.toml").items():
        for side, kinds in sides.items():
            for sentence in (s for kind, ss in kinds.items() if kind != "lead" for s in ss):
                for detector in DETECTORS:
                    found = set(cue_reader(detector).count(sentence))
                    question = attribute == "ending" and side == "plus"  # "?" counts at the end
                    assert found | ({f"{attribute}.{side}"} if question else set()) == {
                        f"{attribute}.{side}"
                    }, (sentence, found)
    for form, parts in load_toml("roleplay/frames/forms.toml").items():
        if isinstance(parts, dict):
            for sentence in (s for key, ss in parts.items() if key != "questions" for s in ss):
                assert not any(cue_reader(d).count(sentence) for d in DETECTORS), (form, sentence)


def test_no_answer_has_a_slot_left_open(world: World) -> None:
    rng = seeded("slots")
    for question in world.sample_questions(300, split="train", seed=9):
        text = world.respond(question, world.sample_values(rng), rng, split="train")
        assert not re.search(r"[{}]", text + question.text), text


def test_kinds_of_nouns_belong_to_one_category_each() -> None:
    kinds = [k for ks in load_toml("roleplay/general.toml")["kinds"].values() for k in ks]
    assert len(kinds) == len(set(kinds))
    assert {noun.kind for noun in load_nouns()} <= set(kinds)
