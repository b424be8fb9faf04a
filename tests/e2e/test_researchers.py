"""What researchers do with a running demo: a simulated cohort, its check, the dashboard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.person import photograph
from tests.studyapp.demo_process import ROOT, DemoProcess, demo_environment

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]


def manage(demo: DemoProcess, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=demo_environment(demo.home, STUDY_BASE_URL=demo.base),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_cohort_is_simulated_checked_exported_and_seen_on_the_dashboard(
    page: Page, demo: DemoProcess, tmp_path: Path
) -> None:
    report_file, export_file = tmp_path / "report.json", tmp_path / "export.json"
    manage(
        demo, "simulate_participants", "--study", "demo", "--participants", "4", "--seed", "1",
        "--log", str(tmp_path / "log.jsonl"), "--check", "--json", str(report_file),
    )  # fmt: skip
    report = json.loads(report_file.read_text())
    assert (report["participants"], report["complete"], report["judgments"]) == (4, 4, 20)
    assert report["check"]["passed"]
    manage(demo, "export_winrates", "--study", "demo", "--json", str(export_file))
    exported = json.loads(export_file.read_text())
    assert exported["rows"] == report["rows"]

    look = photograph(page)
    sign_in(page, demo)
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()
    look("dashboard-index")
    page.get_by_role("link", name="Which answer suits you?").click()
    expect(page.get_by_text("Pairing A").first).to_be_visible()
    expect(page.get_by_text("alive", exact=True).first).to_be_visible()
    assert "fspo" not in page.content()
    look("dashboard-study")

    page.get_by_text("Unblind: show the arms' names").click()
    page.get_by_label("I want to unblind this study.").check()
    look("dashboard-unblind")
    page.get_by_role("button", name="Unblind", exact=True).click()
    expect(page.get_by_role("rowheader", name="fspo – base")).to_be_visible()


def sign_in(page: Page, demo: DemoProcess) -> None:
    password = demo.password()
    assert password is not None, demo.output
    page.goto(f"{demo.base}/dashboard/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
