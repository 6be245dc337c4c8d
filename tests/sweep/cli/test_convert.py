"""`midef convert`: what it prints, and what it leaves out. The conversion has tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from midef.attacks.priors.published import convert as conversion

Midef = Callable[..., tuple[int, str, str]]


def test_it_prints_the_files_and_the_licence(midef: Midef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(source: Path, folder: Path, name: str) -> tuple[list[Path], str]:
        assert (source, folder, name) == (Path("x.pkl"), Path("weights"), "metfaces")
        return [folder / "a.safetensors", folder / "b.safetensors"], name

    monkeypatch.setattr(conversion, "convert", convert)
    code, out, _ = midef("convert", "x.pkl", "weights", "--weights", "metfaces")
    assert code == 0
    assert out.splitlines()[:2] == ["written: weights/a.safetensors", "written: weights/b.safetensors"]
    assert "NVIDIA Source Code License" in out and "CC BY-NC 2.0" in out and "no commercial use" in out


def test_what_cannot_be_converted_is_a_sentence(midef: Midef, tmp_path: Path) -> None:
    code, out, err = midef("convert", "nowhere.pkl", "weights", "--weights", "ffhq")
    assert (code, out) == (3, "") and "there is no file nowhere.pkl" in err
    code, _, err = midef("convert", "nowhere.pkl", "weights")
    assert code == 2 and "Known: afhq-dog, ffhq, ffhq-256, ffhq-256-ada, metfaces" in err
    Path("ffhq.pkl").write_bytes(b"cos\nsystem\n(S'touch marker'\ntR.")
    code, _, err = midef("convert", "ffhq.pkl", "weights")
    assert code == 3 and "names os.system" in err and "nothing of it was run" in err
    assert not Path("marker").exists() and not Path("weights").exists()
