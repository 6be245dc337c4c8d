"""Attacks on a model that somebody has: a network, a function or an endpoint. Imports no Ray.

This package can be called: `midef.audit(model, private=..., public=...)` is `midef.audit.run.audit` and the report of
what it found.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midef.audit.report import AuditReport


class _Callable(ModuleType):
    """A package that is also its one function."""

    def __call__(
        self,
        model: Any,
        *,
        threshold: float | None = None,
        with_private: bool = False,
        shows_people: bool = True,
        **options: Any,
    ) -> AuditReport:
        """Audit a model and report.

        Args:
            model: and `options` as of `midef.audit.run.audit`.
            threshold: attack accuracy in percent that must not be exceeded.
            with_private: show private images beside the reconstructions.
            shows_people: the classes are people.
        """
        from midef.audit.reported import report_of
        from midef.audit.run import audit

        found = audit(model, **options)
        return report_of(found, threshold=threshold, with_private=with_private, shows_people=shows_people)


sys.modules[__name__].__class__ = _Callable
