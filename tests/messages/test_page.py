"""The page in a real browser: whatever strangers wrote is text there, the filters are in the URL, a message is sent again.

`UPDATE_PICTURES=1` writes docs/messages.png anew.
"""

import json
import os
import time
from urllib.parse import parse_qs, urlparse

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from harness.browser import browser, find_browser
from harness.envoy import ROOT
from harness.messages import Messages
from harness.records import Exporter, body
from harness.upstream import Upstream

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium: .ci/browser could not fetch it, and none is installed")

# Each would say so if it were more than text.
ATTACKS = [
    '<script>window.attacked = 1</script>', '<img src=x onerror="window.attacked = 2">', '"><svg onload=window.attacked=3>',
    "javascript:window.attacked=4", "'-window.attacked=5-'", "{{7*7}}${7*7}<%= 7*7 %>", "</textarea></pre></title><script>window.attacked=6</script>",
    '<iframe srcdoc="<script>parent.attacked=7</script>">', "\u202egnp.exe\u200b", '<a href="javascript:window.attacked=8" id=q>click</a>',
]
SHOWN = ["method", "path", "host", "status", "verdict", "reason", "policy", "provider", "delivery_id", "secret_id", "checks", "duplicate",
         "details", "source", "request_id"]


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "key").write_text("operator-key-0123456789\n")
    with Upstream() as upstream, Messages(folder, "--gateway", f"http://127.0.0.1:{upstream.port}", "--operator-key-file", str(folder / "key"),
                                          "--name", "anna") as messages:
        messages.upstream = upstream
        with Exporter(messages.otlp) as exporter:
            fill(exporter)
        yield messages


def fill(exporter: Exporter) -> None:
    now, count = time.time(), 0
    for hours in range(160, -1, -2):
        for turn in range(1 + (hours * 7) % 5):
            count += 1
            event = {"ref": "refs/heads/main", "number": count, "repository": {"full_name": "flexagon/deployments"}}
            good = {"verdict": "allow", "reason": "ok", "status": "202", "secret_id": "2026", "checks": "path:pass,source_ip:skip,token:skip,signature:pass",
                    "details": "via_upstream"} if (count + turn) % 4 else {}
            exporter.send({"request_id": f"00000000-0000-4000-8000-{count:012}", "delivery_id": f"72d3162e-cc78-11e3-81ab-{count:012}",
                           "path": "/flexdeploy/webhooks/v2/git/push?projectId=7", "policy": "git-push",
                           "headers": json.dumps({"content-type": "application/json", "x-github-event": "push", "x-hub-signature-256": "sha256=" + "0" * 64}),
                           } | good | body(json.dumps(event).encode()), at=now - hours * 3600 - 60 * turn)


@pytest.fixture(scope="module")
def page(messages, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


def wait(page, condition):
    return WebDriverWait(page, 15, poll_frequency=0.05).until(condition)


def rows(page) -> list[list[str]]:
    return page.execute_script("return [...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))")


def visit(page, messages, query: str = "") -> None:
    page.get(f"{messages.url}/{query}")
    wait(page, lambda page: page.find_element(By.ID, "live").text == "live")


def detail(page) -> str:
    return page.find_element(By.ID, "detail").text


def complaints(page) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def test_what_strangers_wrote_is_text_in_every_field(messages, page):
    complaints(page)
    with Exporter(messages.otlp) as exporter:
        for attack in ATTACKS:
            fields = {name: attack for name in SHOWN if name != "status"} | {"path": f"/{attack}?{attack}={attack}", "checks": f"{attack}:{attack}"}
            exporter.send(fields | {"headers": json.dumps({attack: attack, "x-list": [attack, attack]})} | body(attack.encode()))
    for attack in ATTACKS:
        found = next(one for one in messages.messages(verdict=attack))
        visit(page, messages, f"?id={found['id']}")
        wait(page, lambda page: f"Message {found['id']}" in detail(page))
        text = page.execute_script("return document.getElementById('detail').textContent")
        assert text.count(attack) >= 12, attack
        assert page.execute_script("return document.getElementById('payload').textContent") == attack
        row = next(one for one in rows(page) if one[1] == attack)
        assert row[3:7] == [attack, attack, attack, f"/{attack}?{attack}={attack}"] and row[7] == attack
        assert page.execute_script("return window.attacked ?? null") is None
        counts = page.execute_script("return ['script', 'img', 'iframe', 'svg', 'a[href^=\"javascript\"]'].map(name => document.querySelectorAll(name).length)")
        assert counts == [1, 0, 0, 1, 0], attack
        # The same from the URL, which anyone can make: in the filters.
        page.get(f"{messages.url}/?" + "&".join(f"{name}={json.dumps(attack)[1:-1].replace('&', '%26').replace('#', '%23')}" for name in ("verdict", "reason", "q")))
        wait(page, lambda page: page.find_element(By.ID, "live").text == "live")
        assert page.execute_script("return window.attacked ?? null") is None
    assert [one for one in complaints(page) if "Content Security Policy" in one or "TrustedHTML" in one] == [], "not even the policy was needed"


def test_nothing_is_asked_of_anyone_else(messages, page):
    visit(page, messages)
    asked = page.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert asked and all(one.startswith(messages.url) for one in asked)


def test_the_filters_are_in_the_url(messages, page):
    visit(page, messages)
    page.find_element(By.NAME, "verdict").send_keys("deny")
    wait(page, lambda page: parse_qs(urlparse(page.current_url).query) == {"verdict": ["deny"]})
    wait(page, lambda page: rows(page) and {row[1] for row in rows(page)} == {"deny"})
    page.find_element(By.ID, "q").send_keys("flexagon deployments")
    wait(page, lambda page: "q=flexagon" in page.current_url)
    url = page.current_url
    wait(page, lambda page: len(rows(page)) > 5)
    found = rows(page)
    page.get(url)
    wait(page, lambda page: rows(page) == found)
    assert page.find_element(By.ID, "q").get_attribute("value") == "flexagon deployments"
    page.back()
    page.find_element(By.ID, "clear").click()
    wait(page, lambda page: urlparse(page.current_url).query == "" and len(rows(page)) == 50)
    page.find_element(By.ID, "more").click()
    wait(page, lambda page: len(rows(page)) == 100)


def test_an_id_is_found(messages, page):
    (one,) = messages.messages(q="00000000-0000-4000-8000-000000000017")
    visit(page, messages)
    page.find_element(By.ID, "q").send_keys(one["delivery_id"])
    wait(page, lambda page: len(rows(page)) == 1 and rows(page)[0][7] == one["delivery_id"])


def test_the_week_is_drawn_by_verdict_and_an_hour_can_be_chosen(messages, page):
    visit(page, messages)
    # In one go: the week is drawn anew while new messages come.
    verdicts = wait(page, lambda page: page.execute_script("return [...document.querySelectorAll('#week rect')].map(bar => bar.getAttribute('class'))"))
    assert len(verdicts) > 80
    assert set(verdicts) >= {"allow", "deny"}
    page.execute_script("document.querySelector('#week rect.deny').dispatchEvent(new MouseEvent('click'))")
    wait(page, lambda page: "from=" in page.current_url and "verdict=deny" in page.current_url)
    wait(page, lambda page: 0 < len(rows(page)) < 10)


def test_the_keyboard_will_do(messages, page):
    visit(page, messages)
    wait(page, lambda page: len(rows(page)) == 50)
    everywhere = page.find_element(By.TAG_NAME, "body")
    everywhere.send_keys("j", "j", Keys.ENTER)
    wait(page, lambda page: "id=" in page.current_url and "Message" in detail(page))
    second = page.execute_script("return document.querySelectorAll('#rows tr')[1].dataset.id")
    assert parse_qs(urlparse(page.current_url).query)["id"] == [second]
    everywhere.send_keys("k")
    wait(page, lambda page: second not in parse_qs(urlparse(page.current_url).query)["id"])
    everywhere.send_keys(Keys.ESCAPE)
    wait(page, lambda page: "id=" not in page.current_url)
    everywhere.send_keys("/")
    assert page.switch_to.active_element.get_attribute("id") == "q"


def test_what_is_new_appears_by_itself(messages, page):
    visit(page, messages)
    with Exporter(messages.otlp) as exporter:
        exporter.send({"request_id": "brand-new", "delivery_id": "brand-new"})
    wait(page, lambda page: rows(page)[0][7] == "brand-new")


def test_a_message_is_sent_again_and_by_whom_is_shown(messages, page):
    refused = messages.messages(verdict="deny", q="flexagon")[0]
    visit(page, messages, f"?id={refused['id']}")
    wait(page, lambda page: page.find_elements(By.ID, "resubmit"))
    assert "webhook-guard doctor --provider github" in detail(page) and "✗ signature" in detail(page)
    mark = messages.upstream.mark()
    page.find_element(By.ID, "resubmit").click()
    page.find_element(By.ID, "no").click()
    assert messages.upstream.delta(mark).requests == 0
    page.find_element(By.ID, "resubmit").click()
    assert "as anna" in page.find_element(By.ID, "question").text
    page.find_element(By.ID, "yes").click()
    wait(page, lambda page: "by anna: answered 200" in detail(page))
    (sent,) = messages.upstream.requests
    assert sent.body == messages.body(refused["id"])


def test_the_payload_is_indented_or_as_it_came(messages, page):
    (one,) = messages.messages(q="00000000-0000-4000-8000-000000000017")
    visit(page, messages, f"?id={one['id']}")
    payload = wait(page, lambda page: page.find_element(By.ID, "payload"))
    assert payload.text == json.dumps(json.loads(messages.body(one["id"])), indent=2)
    next(button for button in page.find_elements(By.CSS_SELECTOR, "#detail button") if button.text == "Raw").click()
    assert payload.text == messages.body(one["id"]).decode()


@pytest.mark.skipif("UPDATE_PICTURES" not in os.environ, reason="a picture is made by hand: UPDATE_PICTURES=1")
def test_a_picture_for_the_readme(tmp_path):
    (tmp_path / "key").write_text("operator-key-0123456789\n")
    with Messages(tmp_path, "--name", "anna", "--gateway", "https://gateway.internal", "--operator-key-file",
                  str(tmp_path / "key")) as messages, browser(tmp_path) as page:
        with Exporter(messages.otlp) as exporter:
            fill(exporter)
        refused = messages.messages(verdict="deny")[0]
        visit(page, messages, f"?id={refused['id']}")
        wait(page, lambda page: "Message" in detail(page))
        page.save_screenshot(str(ROOT / "docs/messages.png"))
