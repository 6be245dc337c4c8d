"""`midef cite`: every component cites something that has an entry."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core.works import known_works, works_of
from midef.storage import Store
from midef.storage.addresses import stored_sweeps
from midef.sweep.catalogue.published.rows import published_rows
from midef.sweep.cli.listing import list_entries

Midef = Callable[..., tuple[int, str, str]]
KINDS = ("defenses", "attacks", "priors", "datasets", "architectures", "metrics", "analyses")


def braces_match(entry: str) -> bool:
    bare = re.sub(r"\\[{}]", "", entry)
    return bare.count("{") == bare.count("}")


def test_entries_are_whole() -> None:
    works = known_works()
    assert len({work.key for work in works}) == len(works) > 50
    numbers = [number for work in works for number in re.findall(r"\n  eprint = \{(.+)\}", work.bibtex)]
    assert len(set(numbers)) == len(numbers) > 20, "two works with one arXiv number"
    for work in works:
        assert work.cited and braces_match(work.bibtex) and "cited =" not in work.bibtex, work.key
        for field in ("author", "title", "year"):
            assert re.search(rf"\n  {field} = \{{.+\}},\n", work.bibtex), (work.key, field)


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_of_ours_cites_a_known_work_or_says_why_not(kind: str) -> None:
    keys = {work.key for work in known_works()}
    for entry in list_entries(kind, packages=False):
        found = works_of(entry["paper"])
        assert {work.key for work in found} <= keys, (entry["name"], entry["paper"])
        if not found:
            assert re.fullmatch(r"|standard|baseline|combination|midef's own.*", entry["paper"]), entry["name"]


def test_a_work_is_cited_by_somebody_and_an_arxiv_number_is_that_of_its_paper() -> None:
    papers = [entry["paper"] for kind in KINDS for entry in list_entries(kind, packages=False)]
    papers += [row.source for row in published_rows()]
    named = {work.key for paper in set(papers) for work in works_of(paper)}
    assert named == {work.key for work in known_works()}
    for paper in set(papers):
        for number in re.findall(r"arXiv:? ?(\d{4}\.\d{5})", paper):
            assert any(number in work.bibtex for work in works_of(paper)), paper


def test_a_sweep_cites_what_it_uses(midef: Midef, small: Path, tmp_path: Path) -> None:
    code, text, _ = midef("cite", small)
    keys = re.findall(r"@\w+\{([^,]+),", text)
    assert code == 0 and keys[-1] == "midef" and len(set(keys)) == len(keys) and braces_match(text)
    assert {"tran2025midre", "zhang2020gmi"} <= set(keys) and "peng2022bido" not in keys
    code, said, _ = midef("cite", small, "--uses", "--out", tmp_path / "refs" / "used.bib")
    written = (tmp_path / "refs" / "used.bib").read_text()
    assert code == 0 and said.startswith(f"{len(keys)} entries: ")
    assert re.search(r"@article\{tran2025midre,\n  annote = \{[^}]*midre", written)


def test_a_stack_a_prior_and_published_numbers_are_cited(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Callable[..., Path]
) -> None:
    text = midef("cite", write_yaml(spec(defenses=["midre+bido"])), "--uses")[1]
    assert "tran2025midre" in text and "peng2022bido" in text


def test_works_of_strangers_are_cited_by_their_words() -> None:
    (work,) = works_of("A & B, on_inversion, XYZ 2031 (arXiv 3101.00001)")
    assert r"A \& B, on\_inversion" in work.bibtex and "eprint = {3101.00001}" in work.bibtex
    assert braces_match(work.bibtex) and works_of("") == []


@pytest.mark.parametrize(
    "paper", ["Liu et al., CVPR 2022", "LeCun et al., Nature 2015", "Wang et al., NeurIPS 2021 (arXiv 3101.00001)"]
)
def test_a_namesake_of_a_known_work_is_cited_by_its_words(paper: str) -> None:
    (work,) = works_of(paper)
    assert not work.cited and paper in work.bibtex


def test_wrong_sweeps_and_files(midef: Midef) -> None:
    code, _, err = midef("cite", "smokee")
    assert code == 2 and "smoke" in err
    code, _, err = midef("cite", "smoke", "--out", ".")
    assert code == 2 and "is a folder" in err


def test_a_stored_sweep_is_cited_by_its_address(midef: Midef, finished: Path, store: Store, tmp_path: Path) -> None:
    (plan,) = stored_sweeps(store)
    of_file = midef("cite", finished, "--uses")
    for address in (plan.name, plan.address, plan.digest[:8]):
        assert midef("cite", address, "--store", "store", "--uses") == of_file
    code, _, err = midef("cite", "elsewhere", "--store", "store")
    assert code == 2 and "'elsewhere'" in err and "small" in err
    assert midef("cite", "smoke", "--store", "store")[0] == 0, "the catalogue is still there"
