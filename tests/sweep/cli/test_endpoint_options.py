"""How an endpoint is asked, as it is written on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from midef.attacks import AccessLevel
from midef.audit.budget import Rate
from midef.core.errors import PreflightError, SpecError
from midef.sweep.cli.app import make_parser
from midef.sweep.cli.endpoint_options import EndpointArguments
from midef.sweep.cli.options import parsed

URL = "http://127.0.0.1:1/predict"


def options(*written: str) -> EndpointArguments:
    args: argparse.Namespace = make_parser().parse_args(["audit", "--endpoint", URL, "--private", "p", *written])
    return parsed(EndpointArguments, args)


def test_every_option_reaches_the_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "x")
    written = (
        "--name login --answers labels --query-budget 500 --rate 2.5 --rate-per-minute 90 --batch-size 8 --timeout 3 "
        "--tries 2 --header Authorization=MODEL_TOKEN --price 1.5"
    )
    box = options(*written.split()).opened(str(tmp_path), 12)
    assert (box.name, box.access, box.n_classes, box.budget) == ("login", AccessLevel.LABELS, 12, 500)
    assert box.rate == Rate(per_second=2.5, per_minute=90) and box.batch_size == 2  # what a second allows
    assert box.retries.most == 1 and box.price_per_1000 == 1.5
    assert box._source.read_s == 3 and box._source.headers == {"Authorization": "MODEL_TOKEN"}  # type: ignore[attr-defined]
    assert (tmp_path / "answers.sqlite").exists()
    plain = options("--name", "login").opened(str(tmp_path), None)
    assert plain.access == AccessLevel.SCORES and plain.budget is None and plain.batch_size == 64


@pytest.mark.parametrize(
    ("written", "store", "message"),
    [
        ("", "s", "give --endpoint its --name: which model answers there"),
        (
            "--name m --header Authorization=Bearer:s3cret",
            "s",
            "expected --header NAME=VARIABLE, with the name of an env",
        ),
        ("--name m --header Authorization", "s", "expected --header NAME=VARIABLE"),
        ("--name m --rate 0", "s", "expected a rate limit per second above 0, got 0.0"),
        ("--name m --timeout nan", "s", "expected read_s to be seconds above 0, got nan"),
        ("--name m --price -1", "s", "expected a price of 0 or more"),
        ("--name m", "s3://bucket/s", "are kept in a folder of this machine, got --store s3://bucket/s"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_with_it(written: str, store: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        options(*written.split()).opened(store if "://" in store else str(tmp_path / store), None)
    assert message in str(raised.value) and "s3cret" not in str(raised.value)


def test_a_variable_that_is_not_set_is_missing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_TOKEN", raising=False)
    with pytest.raises(PreflightError, match="'MODEL_TOKEN', for the header Authorization, is not set; export it"):
        options("--name", "m", "--header", "Authorization=MODEL_TOKEN").opened(str(tmp_path), None)
