"""The files of the page: how its data is written, and how its scripts become one page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from midef.core import MidefError
from midef.dashboards.frame_data import Page
from midef.dashboards.pictures import pictures_in, remove_stale
from midef.dashboards.views.base import View
from midef.dashboards.views.order import VIEWS

PAGE = Path(__file__).parent / "page"
SCRIPTS = (
    *("dom", "pieces", "views", "link", "filters", "hover", "tables", "parquet", "export", "sheets", "live", "header"),
    "plot",
)
"""Scripts of the frame, in the order they are joined; those of the views follow, and `main` starts them."""
# Beside pictures and scripts of this folder nothing loads. `connect-src` also ends what a script might try.
POLICY = (
    "default-src 'none'; script-src 'self' file: 'unsafe-inline'; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; font-src data:; connect-src 'none'"
)
PUT = "MIDEF.put("
"""What a piece of the page begins with."""
PIECE = re.compile(r"[a-z0-9][a-z0-9_-]*")


def script(page: Page) -> str:
    """`data.js`."""
    return f"window.MIDEF = {_json(page)};\n"


def piece(name: str, data: object) -> str:
    """`data/NAME.js`: the data of a view, or a part of it.

    Args:
        name: small letters, digits, `-` and `_`.
        data: dataclasses and JSON.

    Raises:
        ValueError: for a name that is no file name everywhere.
    """
    if not PIECE.fullmatch(name):
        raise ValueError(f"a piece of the page is named in small letters, digits, - and _, got {name!r}")
    return f'{PUT}"{name}", {_json(data)});\n'


def _json(data: object) -> str:
    """JSON that is also safe inside a script element."""
    text = json.dumps(data, default=_plain, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: object) -> dict[str, Any]:
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"the page holds dataclasses and JSON, got {type(value).__name__}")
    return {field.name: getattr(value, field.name) for field in fields(value)}


def clear(out: Path) -> None:
    """Make the folder, and remove the data of an earlier build, and what it wrote of private images."""
    (out / "data").mkdir(parents=True, exist_ok=True)
    remove_stale(out)
    for path in _pieces(out):
        path.unlink()


def ours(out: Path) -> list[Path]:
    """Pictures and pieces that a build wrote; files of others are left alone."""
    return sorted([*pictures_in(out), *_pieces(out)])


def _pieces(out: Path) -> list[Path]:
    return [path for path in (out / "data").glob("*.js") if _is_piece(path)]


def _is_piece(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(len(PUT)) == PUT


def write(path: Path, text: str) -> None:
    """Write a file at once: somebody may have the page open."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def copy_plotly(out: Path) -> None:
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    if not source.is_file():
        raise MidefError("the installed plotly has no package_data/plotly.min.js; install plotly>=6")
    shutil.copyfile(source, out / "plotly.min.js")


def html() -> str:
    """The page with its style and scripts inside: names of a store are data and stay in `data.js`."""
    page = (PAGE / "index.html").read_text("utf-8")
    style = "\n".join(path.read_text("utf-8") for path in (PAGE / "page.css", *sorted((PAGE / "views").glob("*.css"))))
    code = "\n".join(path.read_text("utf-8") for path in scripts())
    parts = {"policy": POLICY, "style": style, "script": code, "sections": "".join(map(_section, VIEWS))}
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text)
    return page


def scripts() -> tuple[Path, ...]:
    """Scripts of the page, in the order they are joined."""
    views = sorted((PAGE / "views").glob("*.js"))
    return (*(PAGE / f"{name}.js" for name in SCRIPTS), *views, PAGE / "main.js")


def _section(view: View) -> str:
    """The section that a view draws into."""
    path = PAGE / "views" / f"{view.name}.html"
    inner = path.read_text("utf-8") if path.is_file() else ""
    return f'<section id="view-{view.name}" class="view" hidden>\n{inner}</section>\n'
