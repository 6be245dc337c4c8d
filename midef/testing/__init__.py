"""Contract suites: the questions midef asks every component, for components of other packages too. Needs pytest.

A test class subclasses a suite and names its components; without `names` every registered one is asked:

    from midef.testing import DefenseContract

    class TestShout(DefenseContract):
        names = ("shout",)
"""

import pytest

for _suite in ("suite", "architectures", "attacks", "datasets", "defenses", "metrics", "values"):
    pytest.register_assert_rewrite(f"midef.testing.{_suite}")

from midef.testing.architectures import ArchitectureContract  # noqa: E402
from midef.testing.attacks import AttackContract, PriorContract  # noqa: E402
from midef.testing.datasets import DatasetContract  # noqa: E402
from midef.testing.defenses import DefenseContract  # noqa: E402
from midef.testing.metrics import MetricContract  # noqa: E402

__all__ = [
    "ArchitectureContract",
    "AttackContract",
    "DatasetContract",
    "DefenseContract",
    "MetricContract",
    "PriorContract",
]
