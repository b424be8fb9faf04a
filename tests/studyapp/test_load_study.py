from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from studyapp import selectors, services
from studyapp.errors import UnknownChoice
from studyapp.models import AuditEvent, PairPool, StudyVersion
from tests.studyapp import walk

pytestmark = pytest.mark.django_db
DEMO = Path(settings.BASE_DIR) / "studies" / "demo.toml"


def load(path: Path, *options: str) -> str:
    out = StringIO()
    call_command("load_study", str(path), *options, stdout=out)
    return out.getvalue()


def test_the_demo_study_is_loaded_once_and_open(tmp_path: Path) -> None:
    assert load(DEMO) == "study demo: new version 1\n"
    assert load(DEMO) == "study demo: unchanged, version 1\n"
    study = selectors.get_study("demo")
    assert study.is_open
    assert StudyVersion.objects.count() == 1
    assert PairPool.objects.count() == len(study.versions.get().study_config.pairs)


def test_a_changed_file_makes_a_new_version_and_those_who_began_stay_on_the_old_one(
    tmp_path: Path,
) -> None:
    load(DEMO)
    study = selectors.get_study("demo")
    began = walk.start(study)
    changed = tmp_path / "demo.toml"
    text = DEMO.read_text(encoding="utf-8")
    changed.write_text(text.replace("[labels]\ncount = 4", "[labels]\ncount = 3"), encoding="utf-8")
    assert load(changed) == "study demo: new version 2\n"
    began.refresh_from_db()
    assert began.study_version.number == 1
    assert walk.start(study).study_version.number == 2
    assert load(DEMO) == "study demo: new version 3\n"
    assert AuditEvent.objects.filter(action="load_study").count() == 3


def test_a_faulty_file_names_file_and_key_and_changes_nothing(tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.toml"
    text = DEMO.read_text(encoding="utf-8")
    faulty.write_text(text.replace("[labels]\ncount = 4", "[labels]\ncount = 0"), encoding="utf-8")
    with pytest.raises(CommandError, match=r"faulty\.toml: labels\.count: .* got 0"):
        load(faulty)
    assert not StudyVersion.objects.exists()


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.toml: cannot be read"):
        load(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match=r"binary\.toml: cannot be read"):
        load(binary)


def test_check_reads_the_file_and_changes_nothing() -> None:
    assert "valid, study 'demo'" in load(DEMO, "--check")
    assert not StudyVersion.objects.exists()


def test_a_change_of_state_is_written_down() -> None:
    study = walk.load()
    for state in ("paused", "paused", "open"):
        services.set_study_state(study=study, state=state, actor="anna")
    details = AuditEvent.objects.filter(action="set_study_state", actor="anna").order_by("at")
    assert [event.detail for event in details] == [
        {"from": "open", "to": "paused"},
        {"from": "paused", "to": "open"},
    ]
    with pytest.raises(UnknownChoice, match="'ajar'"):
        services.set_study_state(study=study, state="ajar", actor="anna")
