"""The Roleplay world: its text says what its latent attributes are, and its splits are disjoint."""

from __future__ import annotations

import numpy as np
import pytest

from fspo_core.errors import WorldError
from fspo_core.worlds import get_world
from fspo_core.worlds.language import on_topic, topics_named, words_of
from fspo_core.worlds.optimum import PosteriorReader
from fspo_core.worlds.roleplay import ATTRIBUTES, GATE_PENALTY, Roleplay
from fspo_core.worlds.topics import (
    is_heldout,
    lemma,
    load_toml,
    load_topics,
    sample_question,
    to_second_person,
    wordings,
)

WORLD = Roleplay()
QUESTION = "How do I grow tomatoes on my balcony?"
GOOD = (
    "What a lovely idea to grow tomatoes on your balcony! Borrow what you need before you buy "
    "anything. Make a list on paper. For example, try one small part tonight. In the end, practice "
    "does the rest."
)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_detectors_read_the_latent_attributes_off_written_answers(split: str) -> None:
    rng = np.random.default_rng(5)
    wrong = total = 0
    for _ in range(800):
        question = sample_question(rng, split=split)  # type: ignore[arg-type]
        values = WORLD.sample_values(rng)
        text = WORLD.respond(question, values, rng, split=split)  # type: ignore[arg-type]
        wrong += sum(a != b for a, b in zip(values, WORLD.detect(question.text, text), strict=True))
        total += len(values)
        assert WORLD.gate(question.text, text).ok, (question.text, text)
    assert wrong / total < 0.003


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (GOOD[:-20], "cut off"),
        (
            GOOD.replace("tomatoes", "a dog").replace("balcony", "sofa").replace("grow", "feed"),
            "off topic",
        ),
        (GOOD + " Make a list on paper. Make a list on paper.", "repetitive"),
        ("Tomatoes grow balcony.", "too short (3 words)"),
        ("## Preferred Response \n" + GOOD, "format heading or special token"),
        (GOOD + " Put the of a list in the and of it.", "ungrammatical"),
    ],
)
def test_the_gate_names_why_a_spoiled_text_loses(spoiled: str, reason: str) -> None:
    assert WORLD.gate(QUESTION, GOOD).ok
    assert reason in WORLD.gate(QUESTION, spoiled).reasons
    user = WORLD.sample_users(1, split="train", seed=1)[0]
    assert (
        WORLD.reward(user, QUESTION, spoiled)
        < WORLD.reward(user, QUESTION, GOOD) - GATE_PENALTY / 2
    )


def test_scrambled_answers_fail_the_gate() -> None:
    rng = np.random.default_rng(3)
    failed = 0
    for question in WORLD.sample_questions(200, split="train", seed=3):
        words = WORLD.respond(question, WORLD.sample_values(rng), rng, split="train").split()
        failed += not WORLD.gate(question.text, " ".join(rng.permutation(words))).ok
    assert failed >= 190


def test_a_question_about_planning_does_not_make_its_answer_a_planned_one() -> None:
    start = ATTRIBUTES.index("start")
    text = (
        "Here is how to plan a party. Buy the best you can afford. Use an app as your guide. "
        "All in all, it is easy."
    )
    assert WORLD.detect("How do I plan a party?", text)[start] == 0


def test_stating_every_viewpoint_earns_no_more_than_the_two_liked_least() -> None:
    user = WORLD.sample_users(1, split="train", seed=2)[0]
    likes = [WORLD.best_values(user.weights, np.random.default_rng(i)) for i in range(3)]
    question = WORLD.sample_questions(1, split="train", seed=2)[0]
    rng = np.random.default_rng(0)
    best = WORLD.reward(user, question.text, WORLD.respond(question, likes[0], rng, split="train"))
    stuffed = tuple(v or (1 if w >= 0 else -1) for v, w in zip(likes[0], user.weights, strict=True))
    text = WORLD.respond(question, stuffed, rng, split="train")
    assert WORLD.reward(user, question.text, text) <= best


def test_users_questions_and_wordings_of_the_splits_are_disjoint() -> None:
    train = {u.weights for u in WORLD.sample_users(300, split="train", seed=1)}
    held = {u.weights for u in WORLD.sample_users(300, split="heldout", seed=1)}
    signs = [{tuple(np.sign(w)) for w in users} for users in (train, held)]
    assert not signs[0] & signs[1]
    clause_forms = load_toml("questions.toml")["clause"]
    assert not set(wordings(clause_forms, "train")) & set(wordings(clause_forms, "heldout"))
    nouns = {np_text.split()[-1] for category in load_topics().nouns for np_text in category}
    held_share = sum(is_heldout(noun) for noun in nouns) / len(nouns)
    assert 0.1 < held_share < 0.3


def test_no_head_of_a_held_out_question_occurs_anywhere_in_training_text() -> None:
    heads = {
        lemma(head)
        for question in WORLD.sample_questions(3000, split="heldout", seed=8)
        for head in question.topics
    }
    assert len(heads) > 300
    rng = np.random.default_rng(8)
    for question in WORLD.sample_questions(3000, split="train", seed=8):
        answer = WORLD.respond(question, WORLD.sample_values(rng), rng, split="train")
        assert not heads & {lemma(w) for w in words_of(f"{question.text} {answer}")}


def test_naming_the_verb_alone_is_not_naming_the_topic() -> None:
    answer = "Here is how to repair your kettle."
    assert not on_topic("How do I repair my bicycle?", answer)
    assert not topics_named(("bicycle",), answer)
    assert topics_named(("kettles",), answer)


def test_singular_and_plural_of_a_topic_are_in_one_split() -> None:
    for singular, plural in [("tomato", "tomatos"), ("brush", "brushes"), ("hobby", "hobbies")]:
        assert is_heldout(singular) == is_heldout(plural)


def test_there_are_thousands_of_topics_and_they_are_named_by_the_answers() -> None:
    questions = WORLD.sample_questions(4000, split="train", seed=1)
    assert len({q.echo for q in questions}) > 3500
    rng = np.random.default_rng(1)
    named = [
        topics_named(q.topics, WORLD.respond(q, WORLD.sample_values(rng), rng, split="train"))
        for q in questions[:500]
    ]
    assert sum(named) == len(named)


def test_labels_follow_bradley_terry() -> None:
    user = WORLD.sample_users(1, split="train", seed=4)[0]
    rng = np.random.default_rng(4)
    first, second = WORLD.sample_values(rng), WORLD.sample_values(rng)
    p = WORLD.label_probability(user, first, second)
    gap = float(np.dot(user.weights, np.subtract(first, second)))
    assert p == pytest.approx(1 / (1 + np.exp(-gap)))
    assert p + WORLD.label_probability(user, second, first) == pytest.approx(1)


def test_a_good_answer_for_everybody_exists() -> None:
    users = WORLD.sample_users(600, split="train", seed=9)
    mean = np.mean([u.weights for u in users], axis=0)
    rng = np.random.default_rng(9)
    common = WORLD.best_values(mean, rng)
    wins = []
    for user in users:
        gap = np.dot(user.weights, np.subtract(common, WORLD.sample_values(rng)))
        wins.append(0.5 if gap == 0 else float(gap > 0))
    assert 0.55 < np.mean(wins) < 0.85


def test_more_labels_bring_the_posterior_closer_to_the_user() -> None:
    rng = np.random.default_rng(2)
    reader = PosteriorReader(WORLD, particles=2000, seed=1)
    right = {1: 0, 8: 0}
    users = WORLD.sample_users(150, split="heldout", seed=2)
    for user in users:
        pairs = WORLD.sample_pairs(user, 9, rng, split="heldout")
        for n in right:
            right[n] += reader.prefers_chosen(pairs[:n], pairs[8]) > 0.5
    assert right[8] > right[1] > 0.5 * len(users)


def test_a_best_pair_sets_an_answer_nothing_beats_beside_another() -> None:
    rng = np.random.default_rng(4)
    others = [WORLD.sample_values(rng) for _ in range(300)]
    for user in WORLD.sample_users(20, split="train", seed=4):
        top = max(WORLD.latent_reward(user.weights, values) for values in others)
        for pair in WORLD.sample_pairs(user, 3, rng, split="train", best=True):
            rewards = [WORLD.latent_reward(user.weights, v) for v in (pair.chosen, pair.rejected)]
            assert max(rewards) >= top


def test_the_same_seed_gives_the_same_users_questions_and_labels() -> None:
    user = WORLD.sample_users(2, split="heldout", seed=3)[1]
    assert user == WORLD.sample_users(2, split="heldout", seed=3)[1]
    assert WORLD.history(user, 3, split="heldout", seed=5) == WORLD.history(
        user, 3, split="heldout", seed=5
    )


def test_second_person_turns_the_asker_into_you() -> None:
    assert to_second_person("teach my dog when I am tired") == "teach your dog when you are tired"


def test_an_unknown_world_is_refused_by_name() -> None:
    with pytest.raises(WorldError, match="'mars'"):
        get_world("mars")
