"""What components say of themselves, for the dashboard."""

from __future__ import annotations

from midef.core.works import works_of
from midef.sweep.cli.reference import reference


def test_the_papers_of_every_kind_are_told() -> None:
    papers = reference().papers
    assert set(papers) == {"attack", "prior", "defense", "architecture", "dataset", "metric"}
    assert [work.key for work in works_of(papers["defense"]["midre"])] == ["tran2025midre"]
