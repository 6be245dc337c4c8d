"""Which processes are known to run: of this machine alone."""

from __future__ import annotations

import os
import subprocess
import sys

from midef.storage.processes import process_lives, this_machine


def test_a_process_of_this_machine_is_known_dead_or_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_lives(this_machine(), process.pid) is True and process_lives(this_machine(), os.getpid()) is True
    process.communicate(b"\n")
    assert process_lives(this_machine(), process.pid) is False


def test_a_process_of_another_machine_may_run() -> None:
    assert process_lives(f"{this_machine()}0", os.getpid()) is None


def test_a_machine_keeps_its_name_in_other_processes() -> None:
    code = "from midef.storage.processes import this_machine; print(this_machine())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == this_machine()
