"""The review page and the line page in a real browser, against a real monitor."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Error, Page, expect

from tests.integration.monitor.browser import TABLET, Visit, chromium
from tests.integration.monitor.live import TOKENS, Server, a_record, send
from tests.integration.monitor.pictures import CHALLENGER, CHAMPION, Piece, add_picture, jpeg, label, store

REFUSED = "Failed to load resource"
"""Chromium says this of every answer of 400 and more, and of none at all."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One monitor on SQLite; each test has a model of its own."""
    folder = tmp_path_factory.mktemp("pages")
    found = Server(folder, f"sqlite:///{folder}/monitor.db").start()
    yield found
    found.kill()


@pytest.fixture
def visit(browser: Browser, monitor: Server) -> Iterator[Callable[..., Visit]]:
    """People at the pages. What their browsers complained of fails the test."""
    visits: list[Visit] = []

    def come(**options: Any) -> Visit:
        visits.append(Visit(browser, monitor.url, **options))
        return visits[-1]

    yield come
    for one in visits:
        one.context.close()
    assert [text for one in visits for text in one.unexpected()] == []


@pytest.fixture
def model() -> str:
    return f"m-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def pieces(monitor: Server, model: str) -> list[Piece]:
    """Five pieces without a label, the least sure first, and one without a picture."""
    found = [Piece(f"{model}-{n}", "scratch", "ok", 0.40 + 0.1 * n) for n in range(5)]
    with monitor.client("handler") as handler:
        store(handler, found, model)
        store(handler, [Piece(f"{model}-blind", "scratch", "ok", 0.3)], model, pictures=False)
    return found


def truth(monitor: Server, piece: Piece) -> tuple[str | None, str | None]:
    """What the monitor holds to be true of a piece, and who said so."""
    with monitor.client("inspector") as inspector:
        found = inspector.get(f"/v1/predictions/{piece.id}").json()
    return found["truth"], found["truth_by"]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens outside of the browser."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def key_of(page: Page, name: str) -> str:
    """The key that the button of a class shows."""
    found = page.locator(f"#classes [data-label={name}]").get_attribute("aria-keyshortcuts")
    assert found
    return found


def shown(page: Page) -> str:
    """The id of the piece on the screen."""
    return (page.locator("#picture").get_attribute("alt") or "").removeprefix("Piece ")


def test_pieces_are_labelled_by_key_the_least_sure_first(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit()
    page = one.review(model)
    assert shown(page) == pieces[0].id
    natural = page.locator("#picture").evaluate("image => image.naturalWidth")
    assert natural == 128, "the picture itself is on the screen"
    expect(page.locator("#classes .predicted")).to_have_text(re.compile("ok.*40"))
    page.keyboard.press(key_of(page, "scratch"))
    expect(page.locator("#picture")).to_have_attribute("alt", f"Piece {pieces[1].id}")
    one.ready()
    page.keyboard.press(key_of(page, "ok"))
    expect(page.locator("#save")).to_have_text("All saved")
    expect(page.locator("#latest li")).to_have_text(
        [re.compile("ok by Ada.*saved"), re.compile("scratch by Ada.*saved")]
    )
    assert truth(monitor, pieces[0]) == ("scratch", "Ada")
    assert truth(monitor, pieces[1]) == ("ok", "Ada")
    one.ready()
    assert shown(page) == pieces[2].id


def test_a_key_that_is_held_down_labels_one_piece(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit()
    page = one.review(model)
    for _ in range(5):
        page.keyboard.down("1")  # the second and later ones are repeats, as of a key that is held
        one.ready()
    page.keyboard.up("1")
    expect(page.locator("#latest li")).to_have_count(1)
    assert truth(monitor, pieces[1]) == (None, None)


def test_undo_takes_the_label_back_and_shows_the_piece_again(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit()
    page = one.review(model)
    page.keyboard.press("1")
    one.ready()
    until(lambda: truth(monitor, pieces[0]) == ("ok", "Ada"))
    page.keyboard.press("u")
    expect(page.locator("#picture")).to_have_attribute("alt", f"Piece {pieces[0].id}")
    expect(page.locator("#latest li")).to_have_text(re.compile("taken back"))
    until(lambda: truth(monitor, pieces[0]) == (None, None))
    one.ready()
    page.keyboard.press(key_of(page, "scratch"))
    until(lambda: truth(monitor, pieces[0]) == ("scratch", "Ada"))
    with monitor.client("inspector") as inspector:
        queue = inspector.get(f"/v1/predictions?model={model}&labelled=false&has_image=true").json()["predictions"]
    assert {item["id"] for item in queue} == {piece.id for piece in pieces[1:]}


def test_skip_and_a_class_that_the_model_does_not_know(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit()
    page = one.review(model)
    page.keyboard.press("s")
    expect(page.locator("#picture")).to_have_attribute("alt", f"Piece {pieces[1].id}")
    one.ready()
    page.keyboard.press("n")
    page.get_by_label("Name it").fill("glue_spot")
    page.keyboard.press("Enter")
    until(lambda: truth(monitor, pieces[1]) == ("glue_spot", "Ada"))
    for _ in pieces[2:]:
        one.ready()
        page.keyboard.press("s")
    page.get_by_role("button", name="Show skipped pieces again").click()
    one.ready()
    assert shown(page) == pieces[0].id
    assert truth(monitor, pieces[0]) == (None, None)


def test_two_people_see_each_other(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    with monitor.client("inspector") as inspector:
        label(inspector, {pieces[4].id: "scratch"}, "Bo")
    one = visit()
    page = one.open(f"/review?model=lyon/{model}&piece={pieces[4].id}")
    one.sign_in()
    expect(page.locator("#verdict")).to_contain_text("Bo labelled it scratch; your label replaces that.")
    expect(page.locator("#people")).to_contain_text("Bo 1")


def test_with_fingers_on_a_tablet(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit(tablet=True)
    page = one.review(model)
    targets = page.locator("#classes button, .panel .actions button")
    for box in (target.bounding_box() for target in targets.all()):
        assert box and box["height"] >= 44, "a finger needs room"
        assert box["y"] + box["height"] <= TABLET["height"], "everything is on the screen without scrolling"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out sideways"
    page.locator("#classes [data-label=scratch]").tap()
    until(lambda: truth(monitor, pieces[0]) == ("scratch", "Ada"))
    one.ready()
    page.locator("#undo").tap()
    until(lambda: truth(monitor, pieces[0]) == (None, None))


def test_a_wrong_token_is_a_sentence_with_the_fix(visit: Callable[..., Visit], model: str, pieces: list[Piece]) -> None:
    one = visit()
    page = one.open(f"/review?model=lyon/{model}")
    fault = page.locator("#sign-fault")
    one.sign_in(token="x" * 30)
    expect(fault).to_contain_text("This token is not known")
    expect(fault).to_contain_text("whoever runs the monitor has it")
    one.sign_in(token=TOKENS["trainer"])
    expect(fault).to_contain_text("‘trainer’ lacks the role feedback")
    one.sign_in(token="two words")
    expect(fault).to_contain_text("no spaces")
    one.sign_in(name=" ")
    expect(fault).to_contain_text("Say who you are")
    one.sign_in()
    one.ready()
    kept = page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]")
    assert kept == [1, 0, ""], "the token is kept for this tab only"
    one.forgive(REFUSED)


def test_nothing_is_lost_while_the_monitor_is_away(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit()
    page = one.review(model)
    monitor.kill()
    for key in ("1", "2", "1"):
        one.ready()
        page.keyboard.press(key)
    page.keyboard.press("u")  # the third was never sent: it is as if it had not been
    expect(page.locator("#save")).to_have_text("2 changes not saved")
    expect(page.locator("#notice")).to_contain_text("The monitor does not answer")
    warned: list[str] = []

    def stay(dialog: Dialog) -> None:
        warned.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.close(run_before_unload=True)
    until_in(page, lambda: warned == ["beforeunload"])
    monitor.start()
    expect(page.locator("#save")).to_have_text("All saved", timeout=30_000)
    expect(page.locator("#notice")).to_be_hidden()
    assert [truth(monitor, piece)[1] for piece in pieces[:3]] == ["Ada", "Ada", None]
    assert shown(page) == pieces[2].id
    one.forgive(REFUSED)


def until_in(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for something that the browser tells of: its events arrive while it is asked."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen")


def test_a_token_that_is_taken_away_stops_labels_and_keeps_them(
    monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]
) -> None:
    one = visit()
    page = one.review(model)
    tokens = monitor.folder / "tokens"
    before = tokens.read_text()
    tokens.write_text(before.replace(TOKENS["inspector"], "another-token-altogether-1"))
    until(lambda: monitor_refuses(monitor))
    page.keyboard.press("1")
    expect(page.locator("#sign-fault")).to_contain_text("This token is not known")
    expect(page.locator("#save")).to_have_text("1 change not saved")
    one.sign_in(token="another-token-altogether-1")
    expect(page.locator("#save")).to_have_text("All saved")
    tokens.write_text(before)
    until(lambda: not monitor_refuses(monitor))
    assert truth(monitor, pieces[0]) == ("ok", "Ada")
    one.forgive(REFUSED)


def monitor_refuses(monitor: Server) -> bool:
    """Whether the inspector's token is refused now."""
    with monitor.client("inspector") as inspector:
        return inspector.get("/v1/token").status_code == 401


@pytest.fixture
def watched(monitor: Server, model: str) -> dict[str, Any]:
    """A model with champion, canary, labels, wrong ones among them, a confirmed drift; as the API has it."""
    champion = [Piece(f"{model}-c{n}", "scratch" if n < 4 else "ok", "ok", 0.7 + 0.05 * n) for n in range(6)]
    canary = [Piece(f"{model}-n{n}", "bent_tab", "bent_tab", 0.6 + 0.05 * n, CHALLENGER) for n in range(5)]
    unknown = [Piece(f"{model}-u", "ok", "ok", 0.41)]
    with monitor.client("handler") as handler, monitor.client("inspector") as inspector:
        store(handler, [*champion, *canary, *unknown], model)
        label(inspector, {piece.id: piece.truth for piece in [*champion, *canary]}, "Bo")
    settings = {
        "line": "line-1",
        "champion": CHAMPION,
        "challenger": CHALLENGER,
        "drift": {"backend": "builtin", "detector": "MMDOnline", "expected_run_images": 20_000, "confirm_windows": 3},
        "data_quality": None,
        "storage": {"endpoint": "minio:9000", "bucket": "puzzlenet", "secure": False},
        "labels_wanted": 40,
    }
    with monitor.client("operator") as operator:
        answer = operator.put(f"/v1/models/lyon/{model}", json=settings)
        assert answer.status_code == 200, answer.text
    for images, score, phase in ((500, 0.004, "None"), (1000, 0.009, "Suspected"), (1500, 0.0143, "Confirmed")):
        drifted(monitor, model, images, score, phase)
    with monitor.client("trainer") as reader:
        state = reader.get(f"/v1/models/lyon/{model}").json()["state"]
        report = reader.get("/v1/accuracy", params={"model": model, "window": "24h"}).json()
    return {"state": state, "report": report}


def drifted(monitor: Server, model: str, images: int, score: float, phase: str) -> None:
    """What the drift worker stores."""
    found = {
        "version": CHAMPION,
        "detector": "MMDOnline",
        "backend": "builtin",
        "images": images,
        "score": score,
        "threshold": 0.0121,
        "p_value": None,
        "phase": phase,
        "harmful": "Yes" if phase == "Confirmed" else "Unknown",
        "since": datetime.now(UTC).isoformat(),
        "message": f"The score was {score} after {images} pictures.",
    }
    body = {"report": found, "cursor": images, "state": "c3RhdGU=", "config": "c1"}
    with monitor.client("drift") as worker:
        answer = worker.put(f"/v1/drift/lyon/{model}/{CHAMPION}", json=body)
    assert answer.status_code == 200, answer.text


def test_the_line_page_shows_what_the_api_says(
    visit: Callable[..., Visit], model: str, watched: dict[str, Any]
) -> None:
    one = visit()
    page = one.open(f"/line?model=lyon/{model}")
    one.sign_in(token=TOKENS["trainer"])
    expect(page.get_by_role("heading", level=1)).to_have_text(f"lyon/{model}")
    by_version = {item["version"]: item for item in watched["report"]["revisions"]}
    for version, role in ((CHAMPION, "Champion"), (CHALLENGER, "Challenger, the present canary")):
        card, found = page.locator(f"[data-version='{version}']"), by_version[version]
        expect(card).to_contain_text(role)
        expect(card).to_contain_text(f"{100 * found['accuracy']:.1f}\u202f% accurate")
        expect(card).to_contain_text(f"{found['labelled']} labels, {found['wrong']} wrong, of {found['predictions']}")
    for cell in watched["report"]["confusion"]:
        shown_cell = page.locator(f"[data-cell='{cell['truth']}/{cell['label']}']")
        expect(shown_cell).to_have_text(str(cell["count"]))
    total = sum(int(text) for text in page.locator("[data-cell]").all_inner_texts())
    assert total == watched["report"]["labelled"] == 11
    (drift,) = watched["state"]["drift"]
    expect(page.locator("[data-phase=Confirmed]")).to_contain_text(drift["message"])
    expect(page.locator("[data-phase=Confirmed]")).to_contain_text("score 0.0143, threshold 0.0121")
    expect(page.locator("#drift-chart .series path").first).to_have_attribute("d", re.compile(r"^M\S+ \S+L\S+ \S+L\S+"))
    expect(page.locator("#input-text")).to_contain_text(watched["state"]["input"]["message"])


def test_the_line_page_shows_its_worst_pieces_and_draws_accuracy(
    visit: Callable[..., Visit], model: str, watched: dict[str, Any]
) -> None:
    one = visit(tablet=True)
    page = one.open(f"/line?model=lyon/{model}")
    one.sign_in(token=TOKENS["trainer"])
    wrong = page.locator("#wrong [data-piece]")
    expect(wrong).to_have_count(4)
    expect(wrong.first).to_have_attribute("data-piece", f"{model}-c3")  # of four mistakes the surest
    expect(wrong.first).to_contain_text("is scratch, says Bo")
    expect(page.locator("#unsure [data-piece]").first).to_have_attribute("data-piece", f"{model}-u")
    expect(wrong.first.locator("img")).to_have_js_property("naturalWidth", 128)
    page.locator("#accuracy-chart summary").tap()
    rows = page.locator("#accuracy-chart tbody tr")
    texts = [re.sub(r"\s+", " ", text) for text in rows.all_inner_texts()]
    assert any("champion" in text and "33 %" in text and "6 labels, 4 wrong" in text for text in texts), texts
    assert any("challenger" in text and "100 %" in text for text in texts), texts
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out sideways"
    wrong.first.tap()
    page.wait_for_url(f"**/review?piece={model}-c3")


def test_progress_towards_the_labels_that_are_wanted(
    monitor: Server, visit: Callable[..., Visit], model: str, watched: dict[str, Any]
) -> None:
    one = visit()
    page = one.review(model)
    text = page.locator("#progress-text")
    expect(text).to_have_text("11 of 40 new labels for a retraining. 29 more start one.")
    assert page.locator("#progress-bar").evaluate("bar => [bar.value, bar.max]") == [11, 40]
    page.keyboard.press("1")
    expect(text).to_contain_text("12 of 40", timeout=30_000)
    expect(page.locator("#placeholder")).to_contain_text("No piece is waiting")
    with monitor.client("operator") as operator:
        settings = operator.get(f"/v1/models/lyon/{model}").json()["settings"]
        operator.put(f"/v1/models/lyon/{model}", json=settings | {"labels_wanted": 5}).raise_for_status()
    page.reload()
    expect(text).to_have_text("12 of 5 new labels for a retraining. One starts as soon as nothing is in its way.")
    with monitor.client("operator") as operator:
        used = {"labels_wanted": 5, "labels_used": 10}
        operator.put(f"/v1/models/lyon/{model}", json=settings | used).raise_for_status()
    page.reload()
    expect(text).to_have_text("2 of 5 new labels for a retraining. 3 more start one.")
    assert page.locator("#progress-bar").evaluate("bar => [bar.value, bar.max]") == [2, 5]


def test_the_policy_holds_and_a_class_name_is_never_markup(
    monitor: Server, visit: Callable[..., Visit], model: str
) -> None:
    name = "<img src=x onerror=alert(1)>"
    record = a_record(name, model=model, probabilities={name: 0.91, "ok": 0.09})
    with monitor.client("handler") as handler:
        send(handler, [record])
        add_picture(handler, str(record["id"]), jpeg("ok", 1))
    one = visit()
    page = one.review(model)
    expect(page.locator("#classes .predicted .name")).to_contain_text(name)
    assert one.complaints == []
    with pytest.raises(Error, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>markup</b>'")
    page.evaluate("fetch('https://example.org/').catch(() => undefined)")
    until_in(page, lambda: any("example.org" in text for text in one.complaints))
    one.forgive("TrustedHTML", "example.org")


def test_with_the_tab_key_alone(monitor: Server, visit: Callable[..., Visit], model: str, pieces: list[Piece]) -> None:
    one = visit()
    page = one.review(model)
    page.locator("#classes [data-label=scratch]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#picture")).to_have_attribute("alt", f"Piece {pieces[1].id}")
    expect(page.locator("#classes [data-label=scratch]")).to_be_focused()
    expect(page.locator("#spoken")).to_have_text("scratch. Next: the model says ok.")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#save")).to_have_text("All saved")
    expect(page.locator("#latest li")).to_have_count(2)
    assert [truth(monitor, piece) for piece in pieces[:2]] == [("scratch", "Ada")] * 2
