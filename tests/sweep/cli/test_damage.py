"""Files of a store with a flipped bit, cut off, emptied or replaced, and every command that reads them.

`python benchmarks/reliability_table.py damage` is the same with 3,000 bits.
"""

from __future__ import annotations

from pathlib import Path

from reliability import damage


def test_no_damage_ends_in_a_traceback_or_another_number(tmp_path: Path) -> None:
    counts = damage.run(tmp_path, flips=170, commands_each=1)
    assert [(one.tracebacks, one.silent) for one in counts if not one.is_right] == []
    assert min(one.flips for one in counts) >= 8 and sum(one.flips for one in counts) == 170
    assert sum(one.named for one in counts) > 15
