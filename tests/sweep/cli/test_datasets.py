"""`midef datasets card`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

Midef = Callable[..., tuple[int, str, str]]


def test_the_card_of_the_embedded_faces(midef: Midef) -> None:
    code, out, _ = midef("datasets", "card", "synthetic_faces(identities=12)")
    assert code == 0
    for word in ("licence", "consent", "source", "identities", "images", "fingerprint computed from its parameters"):
        assert re.search(rf"^{word}", out, re.M), word
    assert re.search(r"^identities +12$", out, re.M)


def test_the_card_of_own_images(midef: Midef, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 7})
    code, out, _ = midef("datasets", "card", f"image_folder(path={folder},licence=CC0,title=My people)")
    assert code == 0 and out.startswith("My people\n")
    assert re.search(r"^licence +CC0$", out, re.M) and re.search(r"^identities +2$", out, re.M)
    assert re.search(r"^fingerprint +[0-9a-f]{64}$", out, re.M)


@pytest.mark.parametrize(
    ("dataset", "code", "expected"),
    [
        ("image_folder(path=nowhere)", 3, "no such file or folder"),
        ("image_foldr", 2, "unknown dataset 'image_foldr'; did you mean 'image_folder'?"),
        ("image_folder(pth=x)", 2, "dataset 'image_folder' has no parameter 'pth'; did you mean 'path'?"),
    ],
)
def test_a_card_that_cannot_be_made(midef: Midef, dataset: str, code: int, expected: str) -> None:
    found, _, err = midef("datasets", "card", dataset)
    assert found == code and expected in err
