"""Which questions of the suites take longest: only the whole suite asks them."""

import pytest

SLOW = ("test_the_same_seed_gives_the_same_weights", "test_every_pair_is_refused_with_a_reason_or_trains")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name == "test_defenses.py" and getattr(item, "originalname", "") in SLOW:
            item.add_marker(pytest.mark.slow)
