"""midef measures model-inversion defenses: train under a defense, attack, score utility and privacy."""

from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"

for _name in ("sweep", "dashboards"):
    if not (_package := Path(__file__).with_name(_name)).is_dir():
        raise ImportError(
            f"{_package} should be a link to the folder {_name} at the top of the checkout, and it is none: this "
            "checkout was made without links. Clone again with `git clone -c core.symlinks=true` (on Windows in "
            "developer mode), or install midef from a wheel.",
            name="midef",
        )


def __getattr__(name: str) -> object:
    """`midef.audit`, a package that can be called, imported when it is asked for."""
    if name == "audit":
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
