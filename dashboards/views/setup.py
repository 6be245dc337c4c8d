"""One setup: trade-off plot, table and reconstructions. A file per setup."""

from __future__ import annotations

from midef.dashboards.views.base import Pieces, Shown, View


def pieces(shown: Shown) -> Pieces:
    """The data of each setup, under the name that the list of setups gives it."""
    return ((setup.piece, setup) for setup in shown.setups)


VIEW = View(name="setup", title="Setup", pieces=pieces)
