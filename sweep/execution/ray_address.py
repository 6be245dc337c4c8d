"""Address of a running Ray cluster: asks whether one answers there, then joins it. Ray itself would try for minutes."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from midef.core.errors import PreflightError

ANSWER_S = 10.0
"""Seconds in which somebody must answer at an address."""
RAY_ADDRESS = "RAY_ADDRESS"
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of gRPC says first: HTTP/2's preface and empty settings. A server answers with its settings."""
_SETTINGS = 4


def named_address(given: str) -> tuple[str, str]:
    """The address of the cluster to join, and what named it: `--address`, or $RAY_ADDRESS if none or `auto` is given.

    Args:
        given: host:port, ray://host:port, `auto`, or "" for what the environment says.
    """
    environment = os.environ.get(RAY_ADDRESS, "").strip()
    if given.strip() in ("", "auto") and environment:
        return environment, RAY_ADDRESS
    return given.strip() or "auto", "--address"


def join_cluster(given: str, *, start: str = "start it", **options: Any) -> None:
    """Join a running cluster.

    Args:
        given: as of `named_address`.
        start: advice on how to start one.
        options: of `ray.init`.

    Raises:
        PreflightError: within seconds, if no cluster answers there or it does not let this machine in.
    """
    import ray
    from ray.exceptions import AuthenticationError, RayError

    address, origin = named_address(given)
    where = f"{address} ({origin})" if address != "auto" else "on this machine"
    advice = f"{start} or unset RAY_ADDRESS" if origin == RAY_ADDRESS else f"{start} or leave --address out"
    answers = "answers at" if address != "auto" else "runs"
    if reason := silence(address):
        raise PreflightError(f"no Ray cluster {answers} {where}; {advice} ({reason})")
    try:
        ray.init(address=address, **options)
    except (RayError, OSError, ValueError, RuntimeError, ImportError) as error:
        reason = _first_line(error)
        at = f"at {where}" if address != "auto" else where
        if isinstance(error, AuthenticationError) or "Failed to connect" in reason:  # Ray calls a refusal that, too
            raise PreflightError(
                f"the Ray cluster {at} does not let this machine in ({reason}); set RAY_AUTH_MODE=token, and take "
                f"~/.ray/auth_token from its head; or {advice.removeprefix(f'{start} or ')}"
            ) from error
        if "mismatch" in reason.lower():
            raise PreflightError(
                f"the Ray cluster {at} has other versions than this machine ({_one_line(error)}); install the same Ray "
                f"and Python here, or {advice.removeprefix(f'{start} or ')}"
            ) from error
        raise PreflightError(f"no Ray cluster {answers} {where}; {advice} ({reason})") from error


def silence(address: str) -> str:
    """Why no Ray answers at an address, "" if one does; takes no longer than `ANSWER_S`.

    What is no `host:port`, such as an address of a plugin of Ray, is left to Ray.

    Args:
        address: host:port, ray://host:port or `auto`.
    """
    from ray._private import services

    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "ray"):
        return ""
    try:
        # Ray asks this machine's own address instead of 127.0.0.1, and finds out what `auto` stands for.
        place = rest.partition("/")[0] if scheme else services.canonicalize_bootstrap_address(rest)
    except (OSError, ValueError, RuntimeError) as error:
        return _first_line(error)
    host, _, port = (place or "").rpartition(":")
    if not host or not port.isdigit():
        return "expected host:port, ray://host:port or auto"
    reasons: list[str] = []
    # A thread, because the resolver of names has no time limit of its own.
    asking = threading.Thread(target=lambda: reasons.append(_ask(host.strip("[]"), int(port))), daemon=True)
    asking.start()
    asking.join(ANSWER_S)
    return reasons[0] if reasons else f"nothing came within {ANSWER_S:.0f} s"


def _ask(host: str, port: int) -> str:
    """Why no gRPC server answers there; "" if one does."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_S / 2) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return ""
            connection.sendall(_HELLO)
            answer = connection.recv(4)
    except TimeoutError:
        return f"nothing came within {ANSWER_S / 2:.0f} s"
    except (OSError, OverflowError, UnicodeError) as error:
        return getattr(error, "strerror", None) or _first_line(error)
    return "" if len(answer) == _SETTINGS and answer[3] == _SETTINGS else "what listens there is no Ray"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
