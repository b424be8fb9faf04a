"""What the personal reward model thought of people's labels: from the worker to every reader."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from fspo_core.types import UserHistory
from studyapp import services, tasks
from studyapp.analysis import label_rows, refresh_snapshot
from studyapp.models import Participant, PredictedLabel, Study
from tests.engines import EchoEngine, GuessingEngine
from tests.studyapp.cohorts import ask, demo_study, play_through, start

pytestmark = pytest.mark.django_db
GUESSES = [0.5, 0.6, 0.7, 0.8]


class CountingGuesser(GuessingEngine):
    asked = 0

    def label_probabilities(self, history: UserHistory) -> list[float]:
        type(self).asked += 1
        return super().label_probabilities(history)


class LostGuesser(EchoEngine):
    asked = 0

    def label_probabilities(self, history: UserHistory) -> list[float]:
        type(self).asked += 1
        raise RuntimeError(f"{len(history.preferences)} labels are too many")


@pytest.fixture(autouse=True)
def _fresh_worker(settings: Any) -> None:
    settings.FSPO_ENGINE = "tests.engines:GuessingEngine"
    tasks._engine.cache_clear()
    tasks._unpredictable.clear()


@pytest.fixture
def study() -> Study:
    return demo_study()


def test_labels_are_predicted_once_when_all_are_in(study: Study, settings: Any) -> None:
    settings.FSPO_ENGINE = "tests.studyapp.test_label_prediction:CountingGuesser"
    CountingGuesser.asked = 0
    play_through(study)
    play_through(study, preview=True)
    start(study)
    assert tasks.predict_labels() == 4
    assert tasks.predict_labels() == 0
    assert CountingGuesser.asked == 1
    stored = PredictedLabel.objects.order_by("label__position")
    assert [row.probability for row in stored] == GUESSES
    assert {row.checkpoint for row in stored} == {"echo-fspo"}


def test_answers_come_first(study: Study) -> None:
    ask(study)
    assert tasks.predict_labels() == 0
    tasks.generate()
    assert tasks.predict_labels() == 4


def test_an_engine_that_cannot_predict_is_not_asked(study: Study, settings: Any) -> None:
    settings.FSPO_ENGINE = "tests.engines:EchoEngine"
    play_through(study)
    assert tasks.predict_labels() == 0


def test_labels_that_cannot_be_predicted_are_let_be_and_hold_up_nobody(
    study: Study, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FSPO_ENGINE = "tests.studyapp.test_label_prediction:LostGuesser"
    LostGuesser.asked = 0
    for _ in range(2):
        play_through(study)
    assert tasks.predict_labels() == tasks.predict_labels() == 0
    assert LostGuesser.asked == 2
    assert "4 labels are too many" in caplog.text


def test_two_workers_store_a_prediction_once_and_none_of_someone_who_is_gone(study: Study) -> None:
    person = play_through(study)
    given = {"probabilities": GUESSES, "checkpoint": "c"}
    assert services.store_label_predictions(participant_id=person.pk, **given) == 4
    assert services.store_label_predictions(participant_id=person.pk, **given) == 0
    last = Participant.objects.order_by("pk").last()
    assert last is not None
    assert services.store_label_predictions(participant_id=last.pk + 1, **given) == 0


def test_labels_may_be_withdrawn_while_they_are_predicted(study: Study) -> None:
    person = play_through(study)
    services.withdraw(participant=person)
    given = {"probabilities": GUESSES, "checkpoint": "c"}
    assert services.store_label_predictions(participant_id=person.pk, **given) == 0


def test_the_first_labels_alone_are_stored_where_later_ones_did_not_fit(study: Study) -> None:
    person = play_through(study)
    given = {"probabilities": GUESSES[:2], "checkpoint": "c"}
    assert services.store_label_predictions(participant_id=person.pk, **given) == 2
    with pytest.raises(ValueError, match="5 probabilities came for 4 labels"):
        services.store_label_predictions(
            participant_id=play_through(study).pk, probabilities=[0.5] * 5, checkpoint="c"
        )


def test_whoever_has_the_models_predicts(settings: Any) -> None:
    routes = settings.CELERY_TASK_ROUTES
    assert routes[tasks.predict_labels.name] == routes[tasks.generate.name]
    assert tasks.sweep.name not in routes


def test_a_prediction_is_a_probability(study: Study) -> None:
    person = play_through(study)
    wrong = {"probabilities": [1.5, 0.5, 0.5, 0.5], "checkpoint": "c"}
    with pytest.raises(IntegrityError, match="prediction_is_a_probability"):
        services.store_label_predictions(participant_id=person.pk, **wrong)


def test_snapshot_dashboard_and_api_show_one_set_of_figures(study: Study, client: Client) -> None:
    for _ in range(3):
        play_through(study)
    before = refresh_snapshot(study=study)
    assert "no label predictions" in before.payload["label_prediction"]["refused"]
    tasks.predict_labels()
    snapshot = refresh_snapshot(study=study)
    assert snapshot.input_hash != before.input_hash
    rows = snapshot.payload["label_prediction"]["rows"]
    # A half is half right; the others were over one half, and their choices were made.
    assert [(row["shots"], row["accuracy"], row["users"]) for row in rows] == [
        (0, 0.5, 3), (1, 1.0, 3), (2, 1.0, 3), (3, 1.0, 3),
    ]  # fmt: skip
    assert rows[3]["log_loss"] == pytest.approx(0.2231, abs=1e-4)  # -ln 0.8
    assert rows[3]["calibration_error"] == pytest.approx(0.2)  # right always, 0.8 said
    client.force_login(User.objects.create_user("ada", is_staff=True))
    html = client.get(reverse("dashboard:study", args=[study.slug])).content.decode()
    assert "Do earlier labels tell the next one?" in html
    assert "0.223" in html
    answer = client.get(reverse("api:winrates", args=[study.slug])).json()
    assert answer["label_prediction"] == snapshot.payload["label_prediction"]


def test_the_export_has_every_label_with_its_prediction(study: Study) -> None:
    play_through(study)
    tasks.predict_labels()
    services.withdraw(participant=play_through(study))
    out = io.StringIO()
    call_command(
        "export_winrates", "--study", "demo", "--level", "labels", "--format", "jsonl", stdout=out
    )
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["shots"], line["probability"]) for line in lines] == list(enumerate(GUESSES))
    stored = {str(row.label.public_id): row.label for row in PredictedLabel.objects.all()}
    for line in lines:
        label = stored[line["label"]]
        preference = label.as_preference()
        chosen = label.pair.response_a if line["chosen"] == "a" else label.pair.response_b
        assert chosen == preference.chosen
        assert line["chosen_side"] == label.choice
        assert line["pair_position"] == label.pair.position


def test_labels_without_a_prediction_are_exported_and_shown(study: Study) -> None:
    play_through(study)
    assert {row.probability for row in label_rows(study)} == {None}
    out = io.StringIO()
    call_command("export_winrates", "--study", "demo", "--level", "labels", stdout=out)
    assert "4 labels" in out.getvalue()


def test_reading_labels_costs_one_query(study: Study, django_assert_num_queries: object) -> None:
    for _ in range(2):
        play_through(study)
    tasks.predict_labels()
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert len(label_rows(study)) == 8
