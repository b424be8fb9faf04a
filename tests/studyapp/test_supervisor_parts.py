"""The supervisor's parts: children that end with their parent, restarts, refusals."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studyapp.children import Child, ChildSpec, StartRefused
from studyapp.preflight import CHECKPOINT_FILES, check_engine, check_port, take_lock
from studyapp.supervisor import PROCESSED_SECONDS, Supervised, remove_processed_messages
from tests.studyapp.demo_process import ROOT, is_alive, wait_for


def spec(folder: Path, script: str) -> ChildSpec:
    return ChildSpec(
        name="part",
        command=["/bin/sh", "-c", script],
        log=folder / "logs" / "part.log",
        env={"PATH": "/usr/bin:/bin"},
        cwd=folder,
        end_signals=((signal.SIGTERM, 0.3),),
    )


def test_ending_a_child_ends_what_it_started_even_if_both_ignore_the_signal(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "trap '' TERM; sh -c 'trap \"\" TERM; sleep 60' & echo $!; wait"))
    wait_for(lambda: child.spec.log.read_text().strip(), 10, "the grandchild's id")
    grandchild = int(child.spec.log.read_text())
    began = time.monotonic()
    child.end()
    assert time.monotonic() - began < 2
    wait_for(lambda: not is_alive(grandchild), 5, "the grandchild's end")


def test_a_child_leads_a_session_of_its_own_so_ctrl_c_passes_it_by(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "sleep 60"))
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        group, session = int(fields[2]), int(fields[3])
        assert group == session == child.pid
    finally:
        child.end()


def test_the_kernel_ends_the_child_of_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; "
        "from tests.studyapp.test_supervisor_parts import Child, spec; "
        f"child = Child(spec(Path({str(tmp_path)!r}), 'sleep 60')); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        child = int(output.readline())
        assert is_alive(child)
        parent.kill()
        parent.wait()
    wait_for(lambda: not is_alive(child), 5, "the orphan's end")


def test_a_dead_child_is_started_again_after_pauses_that_double(tmp_path: Path) -> None:
    said: list[str] = []
    part = Supervised(spec(tmp_path, "exit 3"))
    pauses = []
    now = time.monotonic()
    part.start()
    for _ in range(4):
        assert part.child is not None
        part.child.process.wait()
        part.tend(now, said.append)
        assert part.child is None
        pauses.append(part.start_at - now)
        part.tend(part.start_at - 0.01, said.append)
        assert part.child is None, "started before its pause was over"
        part.tend(part.start_at, said.append)
        assert part.child is not None
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert "part ended (status 3)" in said[0]
    part.child.end()


def test_a_child_that_had_run_steadily_is_back_at_the_shortest_pause(tmp_path: Path) -> None:
    part = Supervised(spec(tmp_path, "exit 0"), failures=6)
    part.start()
    assert part.child is not None
    part.child.process.wait()
    later = part.child.started_at + 61
    part.tend(later, [].append)
    assert part.start_at - later == pytest.approx(0.5)


def test_a_second_holder_of_the_data_folder_is_refused(short_folder: Path) -> None:
    with take_lock(short_folder), pytest.raises(StartRefused, match="a demo already runs"):
        take_lock(short_folder)
    take_lock(short_folder).close()


def test_a_lock_file_left_behind_does_not_lock(short_folder: Path) -> None:
    (short_folder / "lock").touch()
    take_lock(short_folder).close()


def test_a_port_in_use_is_refused_with_the_way_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 15790)),
        pytest.raises(StartRefused, match=r"port 15790 .*--port"),
    ):
        check_port("127.0.0.1", 15790)
    check_port("127.0.0.1", 15790)


def test_a_port_about_to_be_free_is_waited_for() -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import socket, time; s = socket.create_server(('127.0.0.1', 15791)); "
            "print(flush=True); time.sleep(0.5)",
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    with holder.stdout as output:
        output.readline()
        check_port("127.0.0.1", 15791, patience=20)
    holder.wait()


@pytest.mark.parametrize("missing", CHECKPOINT_FILES)
def test_a_checkpoint_without_one_of_its_files_is_refused_by_its_name(
    tmp_path: Path, missing: str
) -> None:
    for name in CHECKPOINT_FILES:
        if name != missing:
            (tmp_path / name).touch()
    with pytest.raises(StartRefused, match=f"{missing} is missing.*FSPO_ENGINE"):
        check_engine(f"local:{tmp_path}")
    (tmp_path / missing).touch()
    check_engine(f"local:{tmp_path}")


@pytest.mark.parametrize("engine", ["", "remote", "no.such.module:Engine", "local2:x", "tests."])
def test_an_engine_nobody_knows_is_refused(engine: str) -> None:
    with pytest.raises(StartRefused, match="FSPO_ENGINE is"):
        check_engine(engine)


def test_an_engine_by_module_and_factory_is_taken() -> None:
    check_engine("tests.engines:EchoEngine")


def test_only_old_processed_messages_are_removed(tmp_path: Path) -> None:
    (tmp_path / "1.upkeep.msg").touch()
    now = time.time()
    remove_processed_messages(tmp_path, now)
    assert (tmp_path / "1.upkeep.msg").exists()
    remove_processed_messages(tmp_path, now + PROCESSED_SECONDS + 5)
    assert not (tmp_path / "1.upkeep.msg").exists()
