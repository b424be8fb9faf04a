"""The Roleplay world: forms of question and answer, rewards, personas, and what one can learn."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from fspo_core.worlds.base import GATE_PENALTY, Question, Values, seeded
from fspo_core.worlds.language import on_topic, topics_named, words_of
from fspo_core.worlds.nouns import (
    head_noun,
    is_heldout,
    lemma,
    load_nouns,
    plural,
    sample_noun,
    to_second_person,
    with_article,
)
from fspo_core.worlds.questions import CLAUSE_FORMS, sample_question
from fspo_core.worlds.roleplay import (
    ATTRIBUTES,
    STYLE,
    VALUES,
    Roleplay,
)
from fspo_core.worlds.wording import load_folder

WORLD = Roleplay()
QUESTION = "How do I grow tomatoes on my balcony?"
GOOD = (
    "What a lovely idea to grow tomatoes on your balcony, bravo! Borrow the tools you need and "
    "save the money. Jot down a plan on paper. For example, a nurse once began with one pot."
)


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (GOOD[:-20], "cut off"),
        (
            GOOD.replace("tomatoes", "a dog").replace("balcony", "sofa").replace("grow", "feed"),
            "off topic",
        ),
        (GOOD + " Jot down a plan on paper. Jot down a plan on paper.", "repetitive"),
        ("Tomatoes grow balcony.", "too short (3 words)"),
        ("## Preferred Response \n" + GOOD, "format heading or special token"),
        (GOOD + " Put the of a list in the and of it.", "ungrammatical"),
        (
            GOOD + " Cheap, save, bargain, discount, budget, borrow, coupon, price, cost.",
            "keyword stuffing",
        ),
    ],
)
def test_the_gate_names_why_a_spoiled_text_loses(spoiled: str, reason: str) -> None:
    assert WORLD.gate(QUESTION, GOOD).ok
    assert reason in WORLD.gate(QUESTION, spoiled).reasons
    user = WORLD.sample_users(1, split="train", seed=1)[0]
    lost = WORLD.reward(user, QUESTION, GOOD) - WORLD.reward(user, QUESTION, spoiled)
    assert lost > GATE_PENALTY / 2


def test_what_an_answer_repeats_of_the_question_is_not_its_own_view() -> None:
    caution = ATTRIBUTES.index("caution")
    text = "Here is how to test a spare tire in advance. Buy the best one. All in all, it is easy."
    for detector in ("a", "b"):
        asked = "How do I test a spare tire in advance?"
        assert WORLD.detect(asked, text, detector)[caution] == 0  # type: ignore[arg-type]
        other = WORLD.detect("How do I change a wheel?", text, detector)  # type: ignore[arg-type]
        assert other[caution] == (1 if detector == "b" else 0)


def test_stating_every_value_earns_no_more_than_the_two_liked_least() -> None:
    user = WORLD.sample_users(1, split="train", seed=2)[0]
    rng = seeded(0)
    question = WORLD.sample_question(rng, split="train")
    best = WORLD.best_values(user.weights, rng)
    good = WORLD.respond(question, best, rng, split="train")
    category = load_folder("roleplay/categories")[question.category]
    every = [
        category[value]["plus" if weight >= 0 else "minus"][0].replace("{thing}", "the thing")
        for value, weight in zip(VALUES, user.weights[-len(VALUES) :], strict=True)
    ]
    stuffed = " ".join([good.split(". ")[0] + ".", *every])
    assert WORLD.reward(user, question.text, stuffed) <= WORLD.reward(user, question.text, good)


def test_no_head_of_a_held_out_question_occurs_anywhere_in_training_text() -> None:
    heads = {
        lemma(head)
        for question in WORLD.sample_questions(3000, split="heldout", seed=8)
        for head in question.topics
    }
    assert len(heads) > 500
    rng = seeded(8)
    for question in WORLD.sample_questions(3000, split="train", seed=8):
        answer = WORLD.respond(question, WORLD.sample_values(rng), rng, split="train")
        assert not heads & {lemma(w) for w in words_of(f"{question.text} {answer}")}


def test_naming_the_verb_alone_is_not_naming_the_topic() -> None:
    answer = "Here is how to repair your kettle."
    assert not on_topic("How do I repair my bicycle?", answer)
    assert not topics_named(("bicycle",), answer)
    assert topics_named(("kettles",), answer)


def test_a_slip_of_the_finger_does_not_make_an_answer_miss_the_topic() -> None:
    assert on_topic("Wht is important with a lovebird?", "A lovebird likes company.")
    assert on_topic("could somebody tell me how to say no to people", "Say no to people gently.")
    assert not on_topic("Wht is important with a lovebird?", "A parrot likes company.")


def test_singular_and_plural_of_a_topic_are_in_one_split() -> None:
    for word in ("tomato", "brush", "hobby", "lathe", "box"):
        assert is_heldout(word) == is_heldout(plural(word))


def test_every_form_of_a_noun_that_is_written_belongs_to_its_split() -> None:
    """ "cookies" has the lemma of "cooky", whose split may be the other one: it is not written."""
    kinds = frozenset(noun.kind for noun in load_nouns())
    for split in ("train", "heldout"):
        rng = seeded("plurals", split)
        for _ in range(20_000):
            head = head_noun(sample_noun(rng, kinds, split=split))  # type: ignore[arg-type]
            assert is_heldout(head) == (split == "heldout"), head


def test_articles_and_plurals_are_those_of_english() -> None:
    assert [with_article(w) for w in ("hour", "unicorn", "umbrella", "lathe", "user", "oboe")] == [
        "an hour", "a unicorn", "an umbrella", "a lathe", "a user", "an oboe",
    ]  # fmt: skip
    assert [plural(w) for w in ("brush", "hobby", "toy", "box")] == [
        "brushes", "hobbies", "toys", "boxes",
    ]  # fmt: skip


def test_answers_name_their_topics() -> None:
    rng = seeded(1)
    questions = WORLD.sample_questions(1000, split="train", seed=1)
    assert len({tuple(sorted(q.slots.items())) for q in questions}) > 900
    for q in questions:
        assert topics_named(
            q.topics, WORLD.respond(q, WORLD.sample_values(rng), rng, split="train")
        )


def _answers(form: str, n: int = 12) -> list[tuple[Question, Values, str]]:
    rng, found = seeded("forms", form), []
    while len(found) < n:
        question = sample_question(rng, split="train")
        if question.form == form:
            values = WORLD.sample_values(rng)
            found.append((question, values, WORLD.respond(question, values, rng, split="train")))
    return found


def test_a_comparison_names_both_options() -> None:
    for form in ("which", "compare"):
        for question, _, text in _answers(form):
            assert len(question.topics) == 2
            assert topics_named(question.topics, text)


def test_a_plan_has_its_steps_in_order() -> None:
    plan = load_folder("roleplay/frames")["forms"]["plan"]

    def place(text: str, sentences: list[str]) -> int:
        stems = [s.split("{")[0].rstrip() for s in sentences]
        return min(text.find(stem) for stem in stems if len(stem) > 8 and stem in text)

    for _, values, text in _answers("plan"):
        first, last = place(text, plan["first"]), place(text, plan["last"])
        assert 0 <= first < last
        if values[ATTRIBUTES.index("length")] > 0:
            assert first < place(text, plan["middle"]) < last


def test_why_gets_a_reason_or_an_honest_i_do_not_know() -> None:
    bodies = load_folder("roleplay/frames")["forms"]["why_doing"]["body"]
    stems = [b.split("{")[0].rstrip() for b in bodies]
    for _, _, text in _answers("why_doing"):
        assert any(stem and stem in text for stem in stems), text


def test_people_ask_in_lower_case_with_slips_and_in_long_clauses() -> None:
    questions = WORLD.sample_questions(1500, split="train", seed=3)
    assert 0.15 < np.mean([q.text == q.text.lower() for q in questions]) < 0.40
    clauses = [q for q in questions if q.form in CLAUSE_FORMS]
    assert sum(len(q.text.split()) >= 18 for q in clauses) > 30
    one_word = [q for q in questions if q.form == "word"]
    assert any(len(q.text.split()) <= 2 for q in one_word)


def test_numbered_answers_are_numbered_and_long_ones_long() -> None:
    rng = seeded("structure")
    words: dict[int, list[int]] = {1: [], -1: []}
    for question in WORLD.sample_questions(200, split="train", seed=4):
        values = WORLD.sample_values(rng)
        text = WORLD.respond(question, values, rng, split="train")
        assert ("\n1. " in text) == (values[ATTRIBUTES.index("format")] > 0)
        words[values[ATTRIBUTES.index("length")]].append(len(text.split()))
    assert np.median(words[1]) > 1.4 * np.median(words[-1])
    assert np.quantile(words[1], 0.05) >= np.quantile(words[-1], 0.85)


# -- users --------------------------------------------------------------------------------------


def test_there_are_thirty_personas_for_each_of_fifty_combinations() -> None:
    people = WORLD.population()
    everyone = [*people["train"], *people["heldout"]]
    assert len(everyone) == 1500
    assert set(Counter(user.persona for user in everyone).values()) == {30}
    assert len({user.persona for user in everyone}) == 50


def test_age_region_and_gender_carry_no_reward() -> None:
    """One-way F of each attribute's weight over the 50 groups: none beyond what chance gives."""
    from scipy.stats import f_oneway, kstest

    people = WORLD.population()
    groups: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for user in (*people["train"], *people["heldout"]):
        groups[user.persona].append(user.weights)
    p_values = [
        f_oneway(*[[weights[i] for weights in group] for group in groups.values()]).pvalue
        for i in range(len(ATTRIBUTES))
    ]
    assert min(p_values) > 0.05 / len(ATTRIBUTES)  # Bonferroni
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_the_reward_does_not_read_the_persona() -> None:
    user = WORLD.sample_users(1, split="train", seed=1)[0]
    other = type(user)(user.user_id, user.weights, "A man over sixty from Africa")
    assert WORLD.reward(user, QUESTION, GOOD) == WORLD.reward(other, QUESTION, GOOD)
    assert WORLD.describe(user) == WORLD.describe(other)


def test_a_description_names_likes_and_how_strong_they_are() -> None:
    weights = [0.0] * len(ATTRIBUTES)
    weights[ATTRIBUTES.index("thrift")] = 4.0
    weights[ATTRIBUTES.index("length")] = -1.0
    assert WORLD.describe_weights(weights) == "Likes short answers, really saving money."
    assert WORLD.describe_weights([0.0] * len(ATTRIBUTES)) == "Likes anything."
    assert WORLD.described_weights(weights) == tuple(weights)


def test_every_kind_of_answer_has_a_style_one_remark_and_two_values() -> None:
    for values in WORLD.values:
        assert all(values[: len(STYLE)])
        assert sum(map(bool, values[len(STYLE) : -len(VALUES)])) == 1
        assert sum(map(bool, values[-len(VALUES) :])) == 2
    assert len(WORLD.values) == 5376


def test_second_person_turns_the_asker_into_you() -> None:
    assert to_second_person("teach my dog when I am tired") == "teach your dog when you are tired"


def test_questions_for_a_study_are_typed_with_care_and_of_different_categories() -> None:
    asked = WORLD.everyday_questions(12, seed=3)
    assert len(set(asked)) == 12
    assert asked == WORLD.everyday_questions(12, seed=3)
    for text in asked:
        assert text[0].isupper()
        assert text[-1] in "?."


def test_pairs_for_a_study_are_everyday_matters_and_differ() -> None:
    pairs = WORLD.everyday_pairs(12, seed=3)
    assert len({question for question, _, _ in pairs}) == 12
    assert all(one != other for _, one, other in pairs)
    assert pairs == WORLD.everyday_pairs(12, seed=3)
