"""The views of the page, in the order of their tabs. docs/dashboard.md says how to add one."""

from __future__ import annotations

from midef.dashboards.views import (
    analyses,
    architectures,
    definitions,
    matching,
    overview,
    published,
    runs,
    setup,
    strengths,
    worst,
)
from midef.dashboards.views.base import View

VIEWS: tuple[View, ...] = (
    overview.VIEW,
    setup.VIEW,
    worst.VIEW,
    strengths.VIEW,
    architectures.VIEW,
    matching.VIEW,
    published.VIEW,
    runs.VIEW,
    analyses.VIEW,
    definitions.VIEW,
)
