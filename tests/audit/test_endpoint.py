"""A server that dies, lies or is slow costs no answer twice, and says so clearly."""

from __future__ import annotations

import base64
import email.utils
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from midef.attacks import AccessLevel
from midef.audit.answers import AnswerStore
from midef.audit.black_box import LONGEST_WAIT_S
from midef.audit.budget import Rate
from midef.audit.endpoint import Endpoint, Http
from midef.audit.source import Retries
from midef.core import PreflightError, SpecError
from midef.core.errors import BudgetReached, EndpointError
from tests.audit.conftest import CLASSES, Clock, Reply, Server, scores_of, told

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def endpoint(server: Server, store: AnswerStore, clock: Clock) -> Endpoint:
    return endpoint_of(server, store, clock)


def endpoint_of(server: Server, store: AnswerStore, clock: Clock, **options: Any) -> Endpoint:
    given = {"name": "m", "batch_size": 4, "clock": clock, "sleep": clock.sleep, **options}
    return Endpoint(server.url, store=store, **given)


def failure_of(endpoint: Endpoint, images: Tensor) -> EndpointError:
    with pytest.raises(EndpointError) as raised:
        endpoint(images)
    return raised.value


def in_turn(server: Server, *replies: Reply | None) -> None:
    """Answer with these, then as usual."""
    waiting = list(replies)
    server.reply = lambda request: waiting.pop(0) if waiting else told(scores=scores_of(request))


def test_it_is_asked_by_the_contract_and_answers_in_order(
    endpoint: Endpoint, server: Server, store: AnswerStore, clock: Clock, images: Tensor
) -> None:
    scores = endpoint(images)
    assert [len(request["images"]) for request in server.requests] == [4, 4, 2]
    decoded = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))).transpose(2, 0, 1)
        for request in server.requests
        for image in request["images"]
    ]
    assert np.array_equal(np.stack(decoded), (images * 255).round().to(torch.uint8).numpy())
    assert torch.equal(scores, torch.tensor(scores_of({"ids": server.ids})))
    assert torch.equal(endpoint(images.flip(0)), scores.flip(0)) and len(server.requests) == 3
    assert (
        torch.equal(endpoint_of(server, AnswerStore(store.path), clock)(images), scores) and len(server.requests) == 3
    )
    assert (endpoint.asked, endpoint.paid, endpoint.n_classes) == (20, 10, CLASSES)
    assert endpoint.access == AccessLevel.SCORES and endpoint.name == "m"
    other = endpoint_of(server, store, clock, name="n")
    assert other.known(images) == 0 and endpoint.known(images) == 10


def test_labels_need_the_number_of_classes(server: Server, store: AnswerStore, clock: Clock, images: Tensor) -> None:
    server.reply = lambda request: told(labels=[1] * len(request["ids"]))
    box = endpoint_of(server, store, clock, answers="labels")
    assert "labels do not tell how many classes there are; give the number" in str(failure_of(box, images))
    server.reply = lambda request: told(labels=[1] * len(request["ids"]), classes=3, ids=request["ids"])
    assert box(images).tolist() == [1] * 10 and box.n_classes == 3 and box.access == AccessLevel.LABELS
    server.reply = lambda request: told(labels=[1] * len(request["ids"]), classes=4)
    assert "expected 3 classes, got 4: another model answers there" in str(failure_of(box, images.flip(3)))


@pytest.mark.parametrize(
    ("reply", "said", "kind"),
    [
        (told(scores=[[0.25] * 4] * 3), "expected 4 answers, one for each image, got 3", "data"),
        (told(scores=[[float("nan")] * 4] * 4), "a score is no finite number", "diverged"),
        (told(scores=[[0.5, 0.5]] * 4), "expected 4 scores for each image, got 2", "data"),
        (told(scores=[[9.0, -3.0, 1.0, 0.0]] * 4), "a score is negative (-3); logits are not scores", "data"),
        ((200, {}, b"<html><body>Sign in</body></html>"), "expected JSON, got HTML: '<html><body>Sign in", "data"),
        ((200, {}, b'{"scores": [[0.25, 0.2'), 'expected JSON, got \'{"scores"', "data"),
        (told(scores=[[0.25] * 4] * 4, ids=["b", "a"]), "the ids of the answers are not those of the images", "data"),
        ((404, {}, b""), "status 404 Not Found; correct the path of the URL", "refused"),
        ((413, {}, b""), "status 413 Request Entity Too Large; lower batch_size", "refused"),
        (
            (307, {"Location": "http://elsewhere/"}, b""),
            "it redirects to http://elsewhere/, which is not fol",
            "refused",
        ),
    ],
    ids=["length", "nan", "classes", "logits", "html", "cut off", "order", "404", "413", "redirect"],
)
def test_a_wrong_answer_is_said_once_stored_never_and_what_came_before_stays(
    reply: Reply, said: str, kind: str, endpoint: Endpoint, server: Server, store: AnswerStore, images: Tensor
) -> None:
    in_turn(server, told(scores=[[0.25] * 4] * 4), reply)
    error = failure_of(endpoint, images)
    assert said in str(error) and error.failure == kind and error.exit_code == 3
    assert str(error).startswith(f"m ({server.url}): ")
    assert str(error).endswith(f"4 answers are stored in {store.path} and are not asked for again")
    assert len(server.requests) == 2
    assert len(endpoint(images)) == 10
    assert sorted(server.ids[:4] + server.ids[8:]) == sorted(set(server.ids))  # the second request is sent again


def test_a_request_without_an_answer_is_sent_again_after_growing_pauses(
    server: Server, store: AnswerStore, clock: Clock, images: Tensor
) -> None:
    in_turn(server, (500, {}, b""), None, (502, {}, b""), (503, {}, b""))
    box = endpoint_of(server, store, clock, retries=Retries(most=4, first_s=1.0, longest_s=3.0, seed=1), batch_size=10)
    assert len(box(images)) == 10 and len(server.requests) == 5
    for pause_s, longest in zip(clock.slept, [1.0, 2.0, 3.0, 3.0], strict=True):
        assert longest / 2 <= pause_s <= longest
    assert box.paid == 40  # the 503 did no work; the others may charge
    in_turn(server, *[(500, {}, b"")] * 9)
    error = failure_of(endpoint_of(server, store, clock, retries=Retries(most=2)), images.flip(3))
    assert "status 500 Internal Server Error (3 times). 10 answers are stored" in str(error)
    assert error.failure == "died"


def test_pauses_are_those_of_their_seed(server: Server, tmp_path: Path, images: Tensor) -> None:
    def slept(seed: int, place: str) -> list[float]:
        in_turn(server, *[(500, {}, b"")] * 3)
        clock = Clock()
        endpoint_of(server, AnswerStore(tmp_path / place), clock, retries=Retries(seed=seed))(images)
        return clock.slept

    assert slept(0, "a") == slept(0, "b") != slept(1, "c")


@pytest.mark.parametrize("is_date", [False, True])
@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_a_server_asks_for_is_made(
    status: int, is_date: bool, endpoint: Endpoint, server: Server, clock: Clock, images: Tensor
) -> None:
    after = email.utils.formatdate(time.time() + 40.9, usegmt=True) if is_date else "40"
    in_turn(server, (status, {"Retry-After": after}, b""))
    assert len(endpoint(images)) == 10 and endpoint.paid == 10
    assert clock.slept == [pytest.approx(40, abs=3)]


def test_a_long_pause_ends_the_run(endpoint: Endpoint, server: Server, clock: Clock, images: Tensor) -> None:
    in_turn(server, (429, {"Retry-After": str(int(LONGEST_WAIT_S) + 3000)}, b""))
    error = failure_of(endpoint, images)
    assert "status 429 Too Many Requests; lower the rate limit, and asks to wait 3,600 s; run it again" in str(error)
    assert error.failure == "hung" and clock.slept == [] and endpoint.paid == 0


def test_a_slow_server_is_waited_for_so_long_and_no_longer(
    server: Server, store: AnswerStore, clock: Clock, images: Tensor
) -> None:
    def slow(request: dict[str, Any]) -> Reply:
        time.sleep(0.15)
        return told(scores=scores_of(request))

    server.reply = slow
    box = endpoint_of(server, store, clock, read_s=0.05, retries=Retries(most=1), batch_size=10)
    error = failure_of(box, images)
    assert "no answer in 0.05 s (2 times)" in str(error) and error.failure == "hung"
    assert box.paid == 20 and box.stored == 0  # it may have worked, so the budget counts it


@pytest.mark.parametrize("length", ["100000", ""], ids=["says how much", "says nothing"])
def test_a_server_that_trickles_is_slow_too(
    length: str, server: Server, store: AnswerStore, clock: Clock, images: Tensor
) -> None:
    server.hold = Event()
    server.reply = lambda request: (200, {"Content-Length": length}, b'{"scores": ')
    error = failure_of(endpoint_of(server, store, clock, read_s=0.1, retries=Retries(most=0)), images)
    server.hold.set()
    assert "no answer in 0.1 s. 0 answers" in str(error) and error.failure == "hung"


def test_a_response_that_is_cut_off_is_none(endpoint: Endpoint, server: Server, images: Tensor) -> None:
    server.reply = lambda request: (
        200,
        {"Content-Length": "5000"},
        json.dumps({"scores": scores_of(request)}).encode(),
    )
    error = failure_of(endpoint, images)
    assert "the connection broke before the answer was there (IncompleteRead" in str(error) and error.failure == "died"


def test_nobody_there(store: AnswerStore, clock: Clock, images: Tensor) -> None:
    with Server(("127.0.0.1", 0), None) as gone:  # type: ignore[arg-type]
        url = gone.url
    box = Endpoint(url, name="m", store=store, clock=clock, sleep=clock.sleep, retries=Retries(most=2))
    error = failure_of(box, images)
    assert f"m ({url}): no connection (Connection refused) (3 times). 0 answers" in str(error)
    assert error.failure == "died" and box.paid == 0 and len(clock.slept) == 2


def test_retries_never_pass_the_budget(server: Server, store: AnswerStore, clock: Clock, images: Tensor) -> None:
    server.reply = lambda request: (500, {}, b"")
    box = endpoint_of(server, store, clock, budget=25, batch_size=10, retries=Retries(most=9))
    with pytest.raises(
        BudgetReached, match="the query budget of 25 is reached: 20 were sent, and the next step needs 10"
    ):
        box(images)
    assert len(server.ids) == 20


def test_the_rate_limit_counts_retries(server: Server, store: AnswerStore, clock: Clock, images: Tensor) -> None:
    in_turn(server, (500, {}, b""))
    box = endpoint_of(server, store, clock, rate=Rate(per_second=4), retries=Retries(first_s=0.1))
    box(images)
    assert [len(request["ids"]) for request in server.requests] == [4, 4, 4, 2]
    assert clock.now - 1_000_000 == pytest.approx(3.0, abs=0.02)


def test_secrets_come_from_the_environment_and_go_nowhere_else(
    server: Server,
    store: AnswerStore,
    clock: Clock,
    images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MODEL_TOKEN", "Bearer s3cret-token")
    in_turn(server, (503, {}, b""), (200, {}, b"s3cret-token of Bearer s3cret-token"))
    box = endpoint_of(server, store, clock, headers={"Authorization": "MODEL_TOKEN"})
    error = failure_of(box, images)
    assert server.headers[0]["Authorization"] == "Bearer s3cret-token"
    assert "expected JSON, got '*** of ***'" in str(error) or "'*** of Bearer ***'" in str(error)
    files = [path.read_bytes().decode("latin-1") for path in store.path.parent.iterdir()]
    shown = [str(error), repr(box._source), caplog.text, *files]
    assert not any("s3cret" in text for text in shown)
    monkeypatch.delenv("MODEL_TOKEN")
    with pytest.raises(
        PreflightError, match="variable 'MODEL_TOKEN', for the header Authorization, is not set; export"
    ):
        endpoint_of(server, store, clock, headers={"Authorization": "MODEL_TOKEN"})
    monkeypatch.setenv("MODEL_TOKEN", "two\nlines")
    with pytest.raises(PreflightError, match="'MODEL_TOKEN' holds characters that no header may have"):
        endpoint_of(server, store, clock, headers={"Authorization": "MODEL_TOKEN"})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/predict", "expected a URL that begins with http:// or https:// and names a host, got ftp"),
        ("file:///etc/passwd", "expected a URL that begins with http:// or https://"),
        ("127.0.0.1:8000/predict", "expected a URL"),
        ("http:///predict", "names a host"),
        ("http://host:99999/", "expected a URL as http://127.0.0.1:8000/predict: Port out of range"),
        ("http://me:secret@host/", "give a header by an environment variable"),
        ("http://host/a b\r\nX: y", "without spaces"),
        ("http://host/#top", "leave that out"),
    ],
)
def test_urls_that_are_not_asked(url: str, said: str) -> None:
    with pytest.raises(SpecError) as raised:
        Http(url)
    assert said in str(raised.value) and "secret" not in str(raised.value)


def test_headers_are_sent_encrypted_or_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "x")
    for url in ("https://model.example/predict", "http://127.0.0.1/", "http://[::1]:8000/", "http://localhost:1/"):
        assert Http(url, headers={"Authorization": "MODEL_TOKEN"}).where == url
    with pytest.raises(SpecError, match=r"headers from the environment would go to model.example unencrypted; give"):
        Http("http://model.example/", headers={"Authorization": "MODEL_TOKEN"})
    with pytest.raises(SpecError, match=r"(?s)3 problems:.*name of a header, got 'A b'.*Host is set by midef.*read_s"):
        Http("http://localhost/", headers={"A b": "MODEL_TOKEN", "Host": "MODEL_TOKEN"}, read_s=0)


def test_a_query_string_is_sent_and_not_shown(server: Server, store: AnswerStore, clock: Clock, images: Tensor) -> None:
    server.reply = lambda request: (404, {}, b"")
    box = Endpoint(server.url + "?code=s3cret", name="m", store=store, clock=clock, sleep=clock.sleep)
    assert "s3cret" not in str(failure_of(box, images)) and "s3cret" not in repr(box._source)


CHILD = """
import sys
import torch
from midef.audit.answers import AnswerStore
from midef.audit.endpoint import Endpoint

images = torch.randint(0, 256, (10, 3, 6, 6), generator=torch.Generator().manual_seed(0)) / 255
Endpoint(sys.argv[1], name="m", store=AnswerStore(sys.argv[2]), batch_size=2)(images)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_asks_nothing_twice(
    server: Server, store: AnswerStore, clock: Clock, images: Tensor
) -> None:
    def kill_in_the_third(request: dict[str, Any]) -> Reply | None:
        if len(server.requests) == 3:
            child.send_signal(signal.SIGKILL)
            return None
        return told(scores=scores_of(request))

    server.reply = kill_in_the_third
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(store.path)], env=environment)
    assert child.wait(120) == -signal.SIGKILL
    answered, on_their_way = server.ids[:4], server.ids[4:]
    box = endpoint_of(server, store, clock, budget=12)
    assert (box.stored, box.paid) == (4, 6) and len(on_their_way) == 2
    server.requests.clear()
    server.reply = lambda request: told(scores=scores_of(request))
    assert len(box(images)) == 10 and clock.slept == []
    assert len(server.ids) == 6 and not set(server.ids) & set(answered)
    assert (box.paid, box.left) == (12, 0)
