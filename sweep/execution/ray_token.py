"""Token of a Ray started here: whoever reads it can run code as this user while that Ray lives."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path


def token_file() -> Path:
    """The file in which Ray looks for the token: $RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def make_token() -> None:
    """Make the token file for this user alone (0600), if Ray would make it: Ray's own is open to every user.

    Where it cannot be written, a token for this process and those it starts stands in the environment.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    if mode != "token" or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    token = secrets.token_hex(32)
    try:
        path = token_file()
        if path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(path, token)
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        os.environ["RAY_AUTH_TOKEN"] = token


def _write_once(path: Path, token: str) -> None:
    """Write a file of mode 0600 that appears whole; one that another process made meanwhile stays."""
    part = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(token)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink(missing_ok=True)


def token_problem() -> str:
    """What is wrong with the rights of the token file, and the cure; "" if nothing is, or there is none."""
    try:
        path = token_file()
        about, folder = path.stat(), path.parent.stat()
    except (OSError, RuntimeError):
        return ""
    problems = []
    user = getattr(os, "getuid", lambda: about.st_uid)()
    rights, rights_above = stat.S_IMODE(about.st_mode), stat.S_IMODE(folder.st_mode)
    if about.st_uid != user:
        problems.append(f"Ray's token {path} belongs to another user (number {about.st_uid}); move it away")
    if rights & 0o077:
        risk = "others can read it and run code as you"
        problems.append(f"Ray's token {path} has mode {rights:04o}: {risk}; chmod 600 {path}")
    if rights_above & 0o022:
        risk = "others can replace it"
        problems.append(f"{path.parent}, the folder of Ray's token, has mode {rights_above:04o}: {risk}; chmod 700 it")
    return "; ".join(problems)
