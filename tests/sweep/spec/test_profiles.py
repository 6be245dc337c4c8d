"""What attacks run with in small profiles is said by the attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from midef.attacks import ATTACKS, AccessLevel, Attack
from midef.core import Recipe, SpecError
from midef.sweep.spec.profiles import AUTO, PROFILES, SMOKE, Profile
from midef.sweep.spec.resolve import Sweep

SMALL = [profile for profile in PROFILES.values() if profile.small is not None]


@pytest.mark.parametrize("profile", SMALL, ids=lambda profile: profile.name)
@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_attack_is_valid_and_cheaper_in_every_small_profile(name: str, profile: Profile) -> None:
    assert profile.small is not None
    params = ATTACKS.get(name).small(profile.small)
    assert ATTACKS.make(name, params) != ATTACKS.make(name)
    assert ATTACKS.make(name, ATTACKS.get(name).small(replace(profile.small, search=2, steps=2, public_steps=2)))


def test_every_profile_leaves_it_to_the_run_who_trains() -> None:
    assert {profile.train_workers for profile in PROFILES.values()} == {AUTO}


def test_published_attacks_keep_their_papers_budget() -> None:
    assert PROFILES["paper"].small is None


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an attack that says nothing of small profiles."""

    @dataclass(frozen=True, kw_only=True)
    class Silent(Attack):
        access: ClassVar[AccessLevel] = AccessLevel.LABELS
        presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"orig": {"iterations": 7}}

        iterations: int = 2400

        @override
        def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
            return {}

    ATTACKS.names()
    monkeypatch.setattr(ATTACKS, "_classes", {**ATTACKS._classes})
    ATTACKS.add("silent")(Silent)
    return "silent"


def test_an_attack_that_says_nothing_is_refused_where_the_budget_is_small(
    silent: str, sweep_of: Callable[..., Sweep]
) -> None:
    with pytest.raises(SpecError) as caught:
        sweep_of({"attack": silent}, profile=SMOKE.name)
    assert "attack 'silent' does not say what it runs with in a small profile" in str(caught.value)
    assert "give Silent a classmethod `small`" in str(caught.value)


def test_a_preset_needs_no_small_budget(silent: str, sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of({"attack": f"{silent}:orig"}, profile=SMOKE.name)
    assert sweep.cells[0].cell.setup.attack.params == {"iterations": 7}
