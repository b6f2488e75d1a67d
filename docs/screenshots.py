"""docs/images/dashboard/*.webp: the dashboard, as docs/dashboard.md shows it. `python docs/screenshots.py`, to look at.

A server of its own, with the models that the tests use; what is said, drawn and searched for is real, and the usage of
the last weeks is made up.
"""

import io
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that `homeport` and `tests` are found when this file is run as a script

import msgspec  # noqa: E402
import openai  # noqa: E402
from PIL import Image  # noqa: E402, TID253
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from homeport import clock  # noqa: E402
from tests import model_files, stores  # noqa: E402
from tests.server import KEY, Running, running  # noqa: E402
from tests.store import made_usage  # noqa: E402

FOLDER = ROOT / "docs" / "images" / "dashboard"
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 740}
DAYS = 30


def settings() -> dict[str, Any]:
    models = {
        "smollm2-135m-instruct": {"engine": "llama_cpp", "path": str(model_files.smollm2())},
        "all-minilm-l6-v2": {"engine": "onnx", "path": str(model_files.minilm())},
        "scene-1": {"engine": "scene", "path": str(model_files.scene())},
        "echo": {"engine": "echo"},
    }
    return {"models": models, "jobs": {"poll_seconds": 0.2}, "telemetry": {"metrics": "local"}}


def usage_of_weeks(server: Running, projects: dict[str, str]) -> None:
    """project -> a key of it."""
    random.seed(11)
    now = clock.now()
    rows = []
    for place in range(6000):
        started = now - DAYS * 86_400 * random.random() ** 1.3
        project = random.choice(list(projects))
        model, price = random.choice([("gpt-4o", 2.5), ("gpt-4o-mini", 0.15), ("text-embedding-3-small", 0.02)])
        tokens = random.randrange(200, 6000)
        answered = 0 if model.startswith("text") else random.randrange(20, 900)
        cost = int((tokens * price + answered * price * 4) * 1_000_000)
        kept = random.random() < 0.15
        row = made_usage.row(
            place,
            started_at=started,
            ended_at=started + random.random() * 4,
            project_id=project,
            key_id=projects[project],
            model=model,
            ran=model,
            input_tokens=tokens,
            output_tokens=answered,
            cost_pico=0 if kept else cost,
            saved_pico=cost if kept else 0,
            list_pico=cost,
            cache_hit=kept,
        )
        rows.append(row)
    server.begin(server.app.books.rows.write(rows)).result(120)


def filled(server: Running, client: openai.OpenAI) -> dict[str, str]:
    """Name -> id, of what pages are opened for."""
    admin = client.admin.organization
    keys: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in ("Support", "Research", "Website"):
        project = admin.projects.create(name=name)
        account = admin.projects.service_accounts.create(name=f"{name.lower()}-ci", project_id=project.id)
        keys[project.id] = account.api_key.id if account.api_key else ""
        found[name] = project.id
        admin.projects.spend_limit.update(project.id, threshold_amount=2500, currency="USD", interval="month")  # cents
    usage_of_weeks(server, keys)
    store = client.vector_stores.create(name="Harbour handbook", metadata={"team": "support"})
    for name, text in {
        "ferries.md": "The ferry to the island leaves at nine in the morning, and comes back at six. Bicycles go free.",
        "mooring.md": "Boats up to twelve metres moor at pier B. The harbour master is on channel 12.",
        "fees.md": "A night costs eighteen euros, electricity included. Children under twelve stay for nothing.",
    }.items():
        stores.put(client, store.id, text + "\n\n" + stores.prose(120, seed=name), name)
    found["store"] = store.id
    lines = [
        {
            "custom_id": str(at),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "echo", "messages": [{"role": "user", "content": f"line {at}"}]},
        }
        for at in range(200)
    ]
    file = client.files.create(file=("questions.jsonl", b"\n".join(map(msgspec.json.encode, lines))), purpose="batch")
    client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    return found


class Album:
    def __init__(self, browser: Browser, server: Running) -> None:
        self._browser = browser
        self._server = server

    def page(self, *, dark: bool = False, phone: bool = False) -> Page:
        size: Any = PHONE if phone else WIDE
        page = self._browser.new_page(
            viewport=size, color_scheme="dark" if dark else "light", device_scale_factor=1.5, locale="en-GB"
        )
        page.set_default_timeout(180_000)
        page.goto(f"{self._server.url}/dashboard/sign-in")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/dashboard/chat")
        return page

    def open(self, page: Page, path: str) -> None:
        page.goto(f"{self._server.url}/dashboard{path}")
        page.wait_for_load_state("networkidle")

    def keep(self, page: Page, name: str) -> None:
        page.wait_for_timeout(600)
        image = Image.open(io.BytesIO(page.screenshot()))
        image.convert("RGB").save(FOLDER / f"{name}.webp", quality=82, method=6)
        sys.stdout.write(f"{name}.webp\n")


def shots(album: Album, ids: dict[str, str]) -> None:
    page = album.page()
    album.open(page, "/chat")
    page.get_by_label("Model").first.select_option("smollm2-135m-instruct")
    page.get_by_label("Message", exact=True).fill(
        "Write a Python function that adds two numbers, and say how it is called."
    )
    page.keyboard.press("Enter")
    page.get_by_text("tokens/s").first.wait_for()
    album.keep(page, "chat")
    album.open(page, "/images")
    page.get_by_label("Prompt").fill("a red sailboat on the sea at sunset, a lighthouse beside it")
    page.get_by_role("button", name="Draw").click()
    page.locator("main img").first.wait_for()
    album.keep(page, "images")
    for path, name in {
        "/limits": "limits",
        "/requests": "requests",
        "/jobs": "jobs",
        f"/projects/{ids['Support']}": "project",
        "/status": "status",
        "/conformance": "conformance",
    }.items():
        album.open(page, path)
        album.keep(page, name)
    page = album.page(dark=True)
    album.open(page, f"/vector-stores/{ids['store']}")
    page.get_by_label("What is looked for").fill("When does the boat to the island go?")
    page.keyboard.press("Enter")
    page.locator(".hits > li").first.wait_for()
    album.keep(page, "vector-store-dark")
    album.open(page, "/usage")
    album.keep(page, "usage-dark")
    page = album.page(phone=True)
    album.open(page, "/status")
    album.keep(page, "status-phone")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as data,
        running(Path(data), settings()) as server,
        sync_playwright() as playwright,
    ):
        with openai.OpenAI(base_url=server.base_url, api_key=KEY, admin_api_key=KEY) as client:
            ids = filled(server, client)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shots(Album(browser, server), ids)
        browser.close()


if __name__ == "__main__":
    main()
