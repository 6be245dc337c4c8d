"""The (eps, eta) curve counted sample by sample, and its area by adding up strips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from midef.core import NotApplicable
from midef.metrics import METRICS
from midef.metrics.privacy_curve import curve_areas, privacy_curve
from midef.testing.metrics import evidence

ERRORS = np.array([0.3, 0.0, 0.1, 0.3, 0.75])


def test_one_minus_eta_is_the_share_of_samples_with_at_least_this_error() -> None:
    eps = [0.0, 0.1, 0.2, 0.3, 0.300001, 0.75, 1.0]
    counted = [1 - sum(error >= at for error in ERRORS.tolist()) / 5 for at in eps]
    assert privacy_curve(ERRORS, np.array(eps)).tolist() == pytest.approx(counted)
    assert counted[3] == pytest.approx(0.4), "an error of exactly eps is no success of the attacker"


def test_the_area_is_that_of_thin_strips_also_of_errors_above_1() -> None:
    errors = np.random.default_rng(0).gamma(1.0, 0.4, 300)
    assert (errors > 1).any()
    strips = (np.arange(200_000) + 0.5) / 200_000
    assert curve_areas(errors).mean() == pytest.approx(privacy_curve(errors, strips).mean(), abs=1e-5)
    assert curve_areas(errors).mean() == pytest.approx(1 - np.minimum(errors, 1).mean())


def test_the_metric_is_1_for_the_private_images_and_1_minus_their_error_for_others() -> None:
    given = evidence(1)
    area, error = (METRICS.make(name).measure(given) for name in ("privacy_curve_area", "reconstruction_error"))
    assert area.value == pytest.approx(1 - error.value, rel=1e-12) and area.n == error.n
    assert error.low is not None and area.high == pytest.approx(1 - error.low)
    found = METRICS.make("privacy_curve_area").measure(replace(given, images=given.originals))
    assert found.value == 1.0
    black, white = (np.full_like(given.originals, level) for level in (0, 255))  # type: ignore[arg-type]
    assert METRICS.make("privacy_curve_area").measure(replace(given, images=black, originals=white)).value == 0.0


def test_an_attack_that_looks_for_an_identity_has_no_curve() -> None:
    with pytest.raises(NotApplicable, match="the privacy curve compares pairs"):
        METRICS.make("privacy_curve_area").measure(replace(evidence(), originals=None))
