"""Options of a verb that asks a model behind an endpoint."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from midef.core.errors import SpecError
from midef.sweep.cli.options import positive

if TYPE_CHECKING:
    from midef.audit.endpoint import Endpoint

ANSWERS_FILE = "answers.sqlite"
"""File of paid answers in the store of an audit."""


@dataclass(frozen=True, kw_only=True)
class EndpointArguments:
    """The options of `add_endpoint_options`."""

    endpoint: str | None
    name: str
    answers: Literal["scores", "labels"]
    query_budget: int | None
    rate: float | None
    rate_per_minute: int | None
    batch_size: int
    timeout: float
    tries: int
    header: list[str]
    price: float | None

    def opened(self, store: str, n_classes: int | None) -> Endpoint:
        """The endpoint, its paid answers in the folder of a store.

        Args:
            n_classes: of the model; None where nobody said it.

        Raises:
            SpecError: with what is wrong.
            PreflightError: if the environment variable of a header is missing.
        """
        from midef.audit.answers import AnswerStore
        from midef.audit.budget import Rate
        from midef.audit.endpoint import Endpoint
        from midef.audit.source import Retries

        if "://" in store:
            raise SpecError(f"answers of an endpoint are kept in a folder of this machine, got --store {store}")
        if self.endpoint is None or not self.name:
            raise SpecError("give --endpoint its --name: which model answers there, as `--name login-2026-11`")
        return Endpoint(
            self.endpoint,
            name=self.name,
            store=AnswerStore(Path(store) / ANSWERS_FILE),
            answers=self.answers,
            n_classes=n_classes,
            headers=_headers(self.header),
            read_s=self.timeout,
            budget=self.query_budget,
            rate=Rate(per_second=self.rate, per_minute=self.rate_per_minute),
            batch_size=self.batch_size,
            retries=Retries(most=self.tries - 1),
            price_per_1000=self.price,
        )


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how an endpoint is asked; `--endpoint` itself is the verb's."""
    asked = parser.add_argument_group("a model behind an endpoint", "the contract: docs/audit_endpoint.md")
    asked.add_argument("--name", default="", help="of the model; its answers are stored under this name")
    asked.add_argument(
        "--answers", default="scores", choices=("scores", "labels"), help="what it gives (default scores)"
    )
    asked.add_argument(
        "--query-budget",
        type=positive,
        metavar="N",
        help="most images that are ever sent to it, those of earlier runs included",
    )
    asked.add_argument("--rate", type=float, metavar="N", help="most images in any second")
    asked.add_argument("--rate-per-minute", type=positive, metavar="N", help="most images in any minute")
    asked.add_argument("--batch-size", type=positive, default=64, metavar="N", help="images in a request (default 64)")
    asked.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait for an answer (default 60)"
    )
    asked.add_argument(
        "--tries", type=positive, default=6, metavar="N", help="how often a request is sent before it fails (default 6)"
    )
    asked.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VARIABLE",
        help="a header with the value of an environment variable, as Authorization=MODEL_TOKEN (repeatable)",
    )
    asked.add_argument("--price", type=float, metavar="P", help="of 1,000 queries, for the estimate before it starts")


def _headers(written: list[str]) -> dict[str, str]:
    """Names of environment variables by names of headers.

    Raises:
        SpecError: if one is written otherwise; a value written by mistake is not repeated.
    """
    headers = {}
    for each in written:
        name, separator, variable = each.partition("=")
        if not (name and separator and variable.isidentifier()):
            raise SpecError(
                "expected --header NAME=VARIABLE, with the name of an environment variable that holds the value, as "
                "Authorization=MODEL_TOKEN; a value itself is never given on the command line"
            )
        headers[name] = variable
    return headers
