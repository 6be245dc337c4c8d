"""Works that components cite: BibTeX entries, found by the words of a component's `paper`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_ENTRY = re.compile(r"@(\w+)\{([^,\s]+),\n(.*?)\n\}", re.S)
_CITED = re.compile(r" *cited = \{(.*)\},\n?")
_ARXIV = re.compile(r"\b\d{4}\.\d{5}(?!\d)")
_OWN = re.compile(r"\b(midef's own|standard|baseline|combination)\b")
OURS = """\
@software{midef,
  author = {{The midef developers}},
  title = {{midef: a reference system for comparing model-inversion defenses}},
  version = {VERSION},
}"""


@dataclass(frozen=True)
class Work:
    """A published work.

    Args:
        key: of its BibTeX entry.
        cited: words by which components name it.
        bibtex: the entry.
    """

    key: str
    cited: tuple[str, ...]
    bibtex: str


@cache
def known_works() -> tuple[Work, ...]:
    """Every work that components of midef cite."""
    text = files(__package__).joinpath("works.bib").read_text(encoding="utf-8")
    works = []
    for entry in _ENTRY.finditer(text):
        cited = _CITED.search(entry[3])
        words = tuple(word.strip() for word in cited[1].split(";")) if cited else ()
        works.append(Work(entry[2], words, _CITED.sub("", entry[0])))
    return tuple(works)


def works_of(paper: str) -> list[Work]:
    """The works that a component names; one made from its words where none of them is known.

    Args:
        paper: of a component, or the source of a published number; "" and midef's own cite nothing. An arXiv number
            that belongs to none of the known works it names says that it means their namesake.

    >>> [work.key for work in works_of("Ho et al., NeurIPS 2020 (DDPM); Ho and Salimans, 2022")]
    ['ho2020ddpm', 'ho2022guidance']
    >>> works_of("standard"), works_of("A and B, XYZ 2031")[0].bibtex
    ([], '@misc{a-and-b-xyz-2031,\\n  note = {A and B, XYZ 2031},\\n}')
    """
    found = [work for work in known_works() if any(_names(paper, word) for word in work.cited)]
    numbers = _ARXIV.findall(paper)
    if any(not any(number in work.bibtex for work in found) for number in numbers):
        found = []
    if found or not paper.strip() or _OWN.search(paper):
        return found
    key = re.sub(r"[^a-z0-9]+", "-", paper.lower()).strip("-")[:40].strip("-")
    eprint = f"\n  eprint = {{{numbers[0]}}},\n  archiveprefix = {{arXiv}}," if numbers else ""
    note = re.sub(r"([{}%#$&_])", r"\\\1", " ".join(paper.split()))
    return [Work(key, (), f"@misc{{{key},\n  note = {{{note}}},{eprint}\n}}")]


def _names(paper: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", paper) is not None


def bibliography(works: Iterable[Work]) -> str:
    """BibTeX of works, each once, by key; midef itself last."""
    import midef

    by_key = {work.key: work.bibtex for work in works}
    return "\n\n".join([*(by_key[key] for key in sorted(by_key)), OURS.replace("VERSION", midef.__version__)])
