"""`midef export`, and reading a bundle back by `midef merge`."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from midef.storage import Store
from midef.storage.addresses import stored_sweeps
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


def members(path: str) -> dict[str, bytes]:
    """Name and content of everything in a bundle, read with nothing of ours."""
    content = pa.input_stream(path, compression="zstd").read()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert all(member.isreg() and member.uid == 0 and member.uname == "" for member in archive)
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]


def repack(path: str, contents: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> None:
    with (
        pa.CompressedOutputStream(pa.OSFile(path, "wb"), "zstd") as sink,
        tarfile.open(fileobj=sink, mode="w|") as archive,
    ):
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if extra is not None:
            archive.addfile(extra)


def test_a_bundle_of_results(midef: Midef, finished: Path, store: Store) -> None:
    (sweep,) = stored_sweeps(store)
    before = sorted(Path("store").rglob("*"))
    code, out, err = midef("export", "small.tar.zst", "--store", "store")
    assert (code, err) == (0, "")
    rows = len(store.results.read())
    assert out.startswith(
        f"{sweep.address}: {rows} rows of 2 of 2 planned cells, 11 recipes, no artifacts (--artifacts all)"
    )
    assert f"sha256: {hashlib.sha256(Path('small.tar.zst').read_bytes()).hexdigest()}\n" in out
    assert sorted(Path("store").rglob("*")) == before
    top = f"small-{sweep.digest[:10]}"
    inside = members("small.tar.zst")
    assert {name.split("/")[0] for name in inside} == {top}
    listed = dict(reversed(line.split("  ")) for line in inside[f"{top}/CHECKSUMS"].decode().splitlines())
    assert listed == {
        name.removeprefix(f"{top}/"): hashlib.sha256(content).hexdigest()
        for name, content in inside.items()
        if not name.endswith("/CHECKSUMS")
    }
    readme = inside[f"{top}/README.md"].decode()
    assert f"# Results of {sweep.address}" in readme and "midre" in readme and "sha256sum -c CHECKSUMS" in readme
    target = resolve(read_spec(finished)).cells[1].recipes.target
    assert json.loads(inside[f"{top}/recipes/{target.key}.json"]) == json.loads(json.dumps(target.as_plain()))
    assert not any("/artifacts/" in name for name in inside)
    code, out, _ = midef("merge", "small.tar.zst", "--store", "theirs")
    assert code == 0 and out.startswith("small.tar.zst: 2 cells, 1 plan; 0 things here already\n")
    assert "0 cells with results, 0 plans before, 0 artifacts, 2 cells with results, 1 plan now" in out
    assert midef("table", "--store", "theirs")[1] == midef("table", "--store", "store")[1]


def test_with_artifacts_and_twice_the_same_bytes(midef: Midef, finished: Path, store: Store) -> None:
    code, out, _ = midef("export", "one.tar.zst", "--store", "store", "--artifacts", "all")
    assert code == 0 and "11 recipes, 2 split, " in out and "2 scores" in out
    midef("export", "two.tar.zst", "--store", "store", "--artifacts", "all")
    assert Path("one.tar.zst").read_bytes() == Path("two.tar.zst").read_bytes()
    midef("merge", "one.tar.zst", "--store", "theirs")
    assert Store.open("theirs").artifacts.keys() == store.artifacts.keys()
    assert midef("verify", "--store", "theirs")[0] == 0
    assert midef("run", finished, "--store", "theirs")[1].startswith("nothing to do: all 2 cells")
    midef("export", "some.tar.zst", "--store", "store", "--artifacts", "scores")
    kinds = {name.split("/")[2] for name in members("some.tar.zst") if "/artifacts/" in name}
    assert kinds == {"scores"}


def test_paths_of_this_machine_stay_here(
    midef: Midef,
    spec: Callable[..., dict[str, Any]],
    write_yaml: Callable[..., Path],
    make_tree: Callable[..., Path],
    store: Store,
    publish_cell: Callable[..., None],
    tmp_path: Path,
) -> None:
    tree = make_tree("people", dict.fromkeys("abcdefgh", 12))
    path = write_yaml(spec({"private": {"name": "image_folder", "path": str(tree)}}))
    for planned in resolve(read_spec(path)).cells:
        publish_cell(planned)
    assert midef("run", path, "--store", "store")[0] == 0
    midef("export", "small.tar.zst", "--store", "store", "--artifacts", "all")
    assert [name for name, content in members("small.tar.zst").items() if str(tmp_path).encode() in content] == []
    midef("merge", "small.tar.zst", "--store", "theirs")
    spec_json = json.loads(stored_sweeps(Store.open("theirs"))[0].manifest.spec_json)
    assert spec_json["setups"][0]["private"]["path"] == "people"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.zip"], "small.zip: a bundle is called NAME.tar.zst"),
        (["there.tar.zst"], "there.tar.zst is there already; delete it or give another name"),
        (["no/small.tar.zst"], "there is no folder"),
        (
            ["a.tar.zst", "--artifacts", "targets"],
            "--artifacts targets: it is no kind of artifact; did you mean 'target'",
        ),
        (["a.tar.zst", "--sweep", "smal"], "this store has no sweep 'smal'; did you mean 'small'"),
    ],
)
def test_what_is_refused(midef: Midef, finished: Path, arguments: list[str], message: str) -> None:
    Path("there.tar.zst").write_bytes(b"")
    code, _, err = midef("export", *arguments, "--store", "store")
    assert code == 2 and message in err


def test_a_store_without_results(midef: Midef, store: Store) -> None:
    code, _, err = midef("export", "a.tar.zst", "--store", "store")
    assert code == 2 and "has no sweep yet" in err
    store.sweeps.write_manifest("abcd", [{"cell": "c1"}], '{"name": "small"}')
    code, _, err = midef("export", "a.tar.zst", "--store", "store")
    assert code == 3 and "small@abcd has no results yet; nothing to export" in err and not Path("a.tar.zst").exists()


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "extra",
    [
        member("TOP/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("TOP/hard", tarfile.LNKTYPE, "TOP/README.md"),
        member("TOP/pipe", tarfile.FIFOTYPE),
        member("TOP/device", tarfile.CHRTYPE),
        member("/tmp/absolute", tarfile.REGTYPE),
        member("TOP/../../above", tarfile.REGTYPE),
        member("TOP/.hidden", tarfile.REGTYPE),
        member("outside", tarfile.REGTYPE),
    ],
    ids=lambda extra: extra.name.rpartition("/")[2],
)
def test_a_bundle_that_is_not_safe(midef: Midef, finished: Path, store: Store, extra: tarfile.TarInfo) -> None:
    midef("export", "small.tar.zst", "--store", "store")
    inside = members("small.tar.zst")
    top = next(iter(inside)).split("/")[0]
    extra = member(extra.name.replace("TOP", top), extra.type, extra.linkname.replace("TOP", top))
    repack("bad.tar.zst", inside, extra)
    code, _, err = midef("merge", "bad.tar.zst", "--store", "theirs")
    assert code == 3 and "bad.tar.zst is not safe to unpack: " in err
    assert not Path("theirs").exists() and not Path("../above").exists()


@pytest.mark.parametrize("how", ["changed", "missing", "not listed", "cut", "no zstd", "two tops", "no checksums"])
def test_a_damaged_bundle(midef: Midef, finished: Path, store: Store, how: str) -> None:
    midef("export", "small.tar.zst", "--store", "store")
    inside = members("small.tar.zst")
    top = next(iter(inside)).split("/")[0]
    rows = next(name for name in inside if "/results/" in name)
    if how == "changed":
        inside[rows] = inside[rows][:-9] + b"x" + inside[rows][-8:]
    elif how == "missing":
        del inside[rows]
    elif how == "not listed":
        inside[f"{top}/more.json"] = b"{}"
    elif how == "two tops":
        inside["other/more.json"] = b"{}"
    elif how == "no checksums":
        del inside[f"{top}/CHECKSUMS"]
    repack("bad.tar.zst", inside)
    if how == "cut":
        Path("bad.tar.zst").write_bytes(Path("small.tar.zst").read_bytes()[:900])
    elif how == "no zstd":
        Path("bad.tar.zst").write_bytes(b"hello")
    code, _, err = midef("merge", "bad.tar.zst", "--store", "theirs")
    assert code == 3 and "bad.tar.zst" in err and not Path("theirs").exists()
    if how in ("changed", "missing", "not listed"):
        assert f"nothing of it is merged: {how}: " in err
