"""A model behind HTTP; `docs/audit_endpoint.md` has the JSON contract. Proxies are not used, redirects not followed."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

from midef.audit.answers import AnswerStore
from midef.audit.black_box import BlackBox
from midef.audit.contract import CONTRACT, AnswerKind, Pixels, read_response, request_body
from midef.audit.source import Unanswered
from midef.core.errors import EndpointError, PreflightError, SpecError
from midef.core.text import printable

LARGEST_ANSWER = 64 * 2**20
"""Bytes of a response that are read."""
_TRIED_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_DECLINED = {408, 425, 429, 503}
"""Statuses that say that no work was done, of those that are tried again."""
_ADVICE = {
    401: "give the header it wants by the name of an environment variable",
    403: "give the header it wants by the name of an environment variable",
    404: "correct the path of the URL",
    405: "it must accept POST",
    413: "lower batch_size",
    429: "lower the rate limit",
}


class Endpoint(BlackBox):
    """A model behind an HTTP endpoint with the JSON contract of `docs/audit_endpoint.md`.

    Args:
        url: `http` or `https`. Redirects are not followed, proxies are not used.
        name: says which model this is; nobody can check it.
        store: of answers.
        answers: what the endpoint gives, `scores` or `labels`.
        headers: by name, each the name of the environment variable that holds its value, which is read when the
            request is sent, and neither stored nor shown. Without TLS they are sent to this machine only.
        connect_s: seconds to connect.
        read_s: seconds from the request to the end of its answer.
        options: of `BlackBox`.

    Raises:
        SpecError: with all that is wrong.
        PreflightError: if an environment variable is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        store: AnswerStore,
        answers: AnswerKind = "scores",
        headers: Mapping[str, str] | None = None,
        connect_s: float = 10.0,
        read_s: float = 60.0,
        **options: Any,
    ) -> None:
        source = Http(url, headers=dict(headers or {}), connect_s=connect_s, read_s=read_s)
        super().__init__(source, name=name, store=store, answers=answers, **options)


@dataclass(frozen=True, kw_only=True)
class Http:
    """Sends one request, on a connection of its own.

    Args:
        url: of the endpoint; what stands behind its question mark is not shown.
        headers: names of environment variables by names of headers.
        connect_s: seconds to connect, > 0.
        read_s: seconds from the request to the end of its answer, > 0.
    """

    url: str = field(kw_only=False, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_s: float = 10.0
    read_s: float = 60.0

    def __post_init__(self) -> None:
        if problems := [*_problems_of(self.url, bool(self.headers)), *self._problems()]:
            raise SpecError(problems)
        self._secrets()

    def _problems(self) -> list[str]:
        problems = [f"expected a name of a header, got {name!r}" for name in self.headers if not _is_token(name)]
        reserved = [name for name in self.headers if name.lower() in _RESERVED]
        problems += [f"the header {name} is set by midef; leave it out" for name in reserved]
        for what, seconds in (("connect_s", self.connect_s), ("read_s", self.read_s)):
            if not 0 < seconds < 86_400:
                problems.append(f"expected {what} to be seconds above 0, got {seconds}")
        return problems

    @property
    def contract(self) -> str:
        return CONTRACT

    @property
    def where(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def __call__(self, pixels: Pixels, digests: Sequence[bytes], answers: AnswerKind) -> tuple[Any, int | None]:
        body = self._sent(request_body(pixels, digests, answers))
        try:
            return read_response(body, digests, answers)
        except EndpointError as error:
            raise EndpointError(self._hidden(str(error)), failure=error.failure) from None

    def _sent(self, body: bytes) -> bytes:
        """Send a request; the body of its answer."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self._secrets()}
        parts = urlsplit(self.url)
        connection = self._connection(parts)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise self._failed(f"its certificate does not hold ({error.verify_message})", is_final=True) from error
        except TimeoutError as error:
            raise Unanswered(f"no connection in {self.connect_s:g} s", "hung", is_declined=True) from error
        except OSError as error:
            raise self._failed(f"no connection ({error.strerror or error})") from error
        sock = connection.sock
        assert sock is not None, "connected above"
        sock.settimeout(self.read_s)
        try:
            with _until(sock, self.read_s) as is_late:
                try:
                    connection.request("POST", _target(parts), body, headers)
                    answer = self._read(connection.getresponse())
                    if is_late.is_set():  # cut off, which some responses do not show
                        raise TimeoutError
                    return answer
                except (OSError, http.client.HTTPException) as error:
                    if is_late.is_set() or isinstance(error, TimeoutError):
                        raise Unanswered(f"no answer in {self.read_s:g} s", "hung") from error
                    what = self._hidden(f"{type(error).__name__}: {error}"[:200])
                    raise Unanswered(f"the connection broke before the answer was there ({what})", "died") from error
        finally:
            connection.close()

    def _failed(self, what: str, *, is_final: bool = False) -> Unanswered:
        return Unanswered(self._hidden(what), "died", is_declined=True, is_final=is_final)

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        assert parts.hostname is not None, "checked with the URL"
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self.connect_s)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.connect_s)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The body of a response with status 200."""
        status = response.status
        if status == 200:
            body = response.read(LARGEST_ANSWER + 1)
            if len(body) > LARGEST_ANSWER:
                raise EndpointError(f"expected at most {LARGEST_ANSWER:,} bytes, got more", failure="data")
            if response.length:
                raise http.client.IncompleteRead(body, response.length)
            return body
        if 300 <= status < 400:
            there = self._hidden(str(response.headers.get("Location", "nowhere"))[:300])
            raise Unanswered(
                f"it redirects to {there}, which is not followed; give that URL if it is yours",
                "refused",
                is_declined=True,
                is_final=True,
            )
        advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
        said = self._hidden(f"status {status} {response.reason}{advice}"[:300])
        if status not in _TRIED_AGAIN:
            raise Unanswered(said, "refused", is_declined=400 <= status < 500, is_final=True)
        raise Unanswered(
            said,
            "hung" if status in _DECLINED else "died",
            is_declined=status in _DECLINED,
            wait_s=_wait_s(response.headers.get("Retry-After")),
        )

    def _secrets(self) -> dict[str, str]:
        """Headers with their values.

        Raises:
            PreflightError: if a variable is missing or holds no value of a header.
        """
        values, problems = {}, []
        for name, variable in self.headers.items():
            value = os.environ.get(variable, "")
            if not value:
                problems.append(f"the environment variable {variable!r}, for the header {name}, is not set; export it")
            elif not (value.isascii() and value.isprintable()):
                problems.append(f"the environment variable {variable!r} holds characters that no header may have")
            values[name] = value
        if problems:
            raise PreflightError(problems)
        return values

    def _hidden(self, text: str) -> str:
        """Text of the other side for people, without what is secret."""
        for variable in self.headers.values():
            value = os.environ.get(variable, "")
            for secret in {value, value.rpartition(" ")[2]} - {""}:
                text = text.replace(secret, "***")
        return printable(text, keep="")


_RESERVED = {"content-type", "content-length", "host", "transfer-encoding", "connection", "accept-encoding"}


@contextmanager
def _until(sock: socket.socket, seconds: float) -> Iterator[Event]:
    """Shut a socket down after some seconds, however slowly it trickles; the event says that this was done."""
    is_late = Event()

    def end() -> None:
        is_late.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _problems_of(url: str, has_secrets: bool) -> list[str]:
    """Why a URL cannot be asked; its secrets are not repeated."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return [f"expected a URL as http://127.0.0.1:8000/predict: {error}"]
    if parts.scheme not in ("http", "https") or not host:
        return [
            f"expected a URL that begins with http:// or https:// and names a host, got {parts.scheme or 'neither'}"
        ]
    problems = []
    if not url.isascii() or not url.isprintable() or " " in url:
        problems.append("expected a URL of printable ASCII characters without spaces; encode the others with %")
    if "@" in parts.netloc:
        problems.append("a URL with a name and password is stored by shells; give a header by an environment variable")
    if parts.fragment:
        problems.append("a URL with '#' means a place in a page; leave that out")
    if has_secrets and parts.scheme == "http" and not _is_loopback(host):
        problems.append(f"headers from the environment would go to {host} unencrypted; give an https:// URL")
    return problems


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_token(name: str) -> bool:
    return name.isascii() and bool(name) and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name)


def _wait_s(retry_after: str | None) -> float:
    """Seconds of a `Retry-After` header, which are a number or a date; 0.0 where it says nothing."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdigit():
        return float(retry_after)
    with suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0
