"""What an installed midef brings along, and that its commands work: one package, its files plain files, no links."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("midef", "sweep", "dashboards", "pyproject.toml", "README.md", "LICENSE")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MIDEF_"))}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def package_files() -> set[str]:
    """Every file of the package in the checkout, by its place in an installed one."""
    places = {"midef": "midef", "sweep": "midef/sweep", "dashboards": "midef/dashboards"}
    return {
        f"{place}/{path.relative_to(ROOT / folder)}"
        for folder, place in places.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with its links and without what earlier builds left."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(sources, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(sources, "sdist", tmp_path_factory.mktemp("sdist"))


def build(sources: Path, kind: str, out: Path) -> Path:
    """The archive a front end gets from the build backend."""
    backend = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
    return out / run(sys.executable, "-c", backend, f"build_{kind}", out, cwd=sources).splitlines()[-1]


def fresh_environment(folder: Path) -> Path:
    """An environment that sees the packages installed here, but no midef; its folder of packages."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    # A folder named in a .pth file is searched, its own .pth files (an editable midef) are not read.
    (packages / "here.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    return packages


def install(source: Path, environment: Path, *options: str) -> None:
    pip = ("-m", "pip", "--python", environment / "bin" / "python", "install", "--quiet", "--no-index", "--no-deps")
    run(sys.executable, *pip, "--no-build-isolation", *options, source, cwd=environment)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An environment with the wheel in it, and its folder of packages."""
    environment = tmp_path_factory.mktemp("installed")
    packages = fresh_environment(environment)
    install(wheel, environment)
    return environment, packages


def test_only_midef_lands_in_site_packages(installed: tuple[Path, Path]) -> None:
    _, packages = installed
    names = {path.name for path in packages.iterdir() if path.name not in ("here.pth", "__pycache__")}
    assert {name for name in names if not name.endswith(".dist-info")} == {"midef"}


def test_every_file_of_the_package_is_there_as_a_plain_file(installed: tuple[Path, Path]) -> None:
    _, packages = installed
    arrived = [path for path in (packages / "midef").rglob("*") if "__pycache__" not in path.parts]
    assert {str(path.relative_to(packages)) for path in arrived if path.is_file()} == package_files()
    assert {"midef/dashboards/page/index.html", "midef/sweep/catalogue/published/results.csv"} <= package_files()
    assert not [path for path in arrived if path.is_symlink()]


def test_a_source_archive_makes_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (sources,) = tmp_path.iterdir()
    again = build(sources, "wheel", tmp_path)
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_the_commands_work(installed: tuple[Path, Path], tmp_path: Path) -> None:
    environment, packages = installed
    midef, python = environment / "bin" / "midef", environment / "bin" / "python"
    place = run(python, "-c", "import midef.dashboards.build as b; print(b.__file__)", cwd=tmp_path)
    assert place.strip() == str(packages / "midef" / "dashboards" / "build.py")
    assert run(midef, "--version", cwd=tmp_path).startswith("midef ")
    assert " to do, 0 failed before, 0 refused" in run(midef, "plan", "smoke", cwd=tmp_path)
    assert "midre" in run(python, "-m", "midef", "list", "defenses", cwd=tmp_path)
    assert "certain" in run(midef, "list", "published", cwd=tmp_path)
    run(python, "-c", "from midef.storage import Store; Store.open('store')", cwd=tmp_path)
    run(midef, "dashboard", "build", "--store", "store", "--out", "page", cwd=tmp_path)
    assert (tmp_path / "page" / "index.html").is_file()


def test_an_editable_install_offers_midef_alone(sources: Path, tmp_path: Path) -> None:
    fresh_environment(tmp_path / "venv")
    install(sources, tmp_path / "venv", "--editable")
    program = (
        "import importlib.util, midef.sweep, midef.dashboards\n"
        "print(midef.sweep.__file__, [n for n in ('sweep', 'dashboards') if importlib.util.find_spec(n)])"
    )
    said = run(tmp_path / "venv" / "bin" / "python", "-c", program, cwd=tmp_path)
    assert said.split(maxsplit=1) == [str(sources / "midef" / "sweep" / "__init__.py"), "[]\n"]
    assert run(tmp_path / "venv" / "bin" / "midef", "--version", cwd=tmp_path).startswith("midef ")
