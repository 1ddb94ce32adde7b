"""Chromium without a window, driven through two pipes (its DevTools protocol): no port, no library.

For the screenshots of the documents and for the tests of pages. https://chromedevtools.github.io/devtools-protocol
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
MISSING = (
    f"no browser is on PATH ({', '.join(NAMES)}): `make chromium` installs Debian's chromium where you "
    "are root; elsewhere install one (`sudo apt-get install chromium`) and run the same again"
)
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    # /dev/shm is 64 MB in a container, which large pages fill.
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    # Whatever a page asks for outside is not found.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def program() -> str:
    """Where the browser is; raises FileNotFoundError that says how to get one."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(MISSING)


class Browser:
    """One browser; `with` ends it and removes its profile.

    Raises TimeoutError where it has not answered a call, or told of an event, within `seconds`.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds

    def __enter__(self) -> "Browser":
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The protocol is spoken on descriptors 3 and 4. Root has no sandbox.
        flags = [*_FLAGS, f"--user-data-dir={self._profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        start = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", start, program(), *flags],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self.events = b"", 0, list[dict[str, Any]]()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(min(10, self._seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """What the browser answers; what happens meanwhile is added to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(self._write, json.dumps({**message, **({"sessionId": session} if session else {})}).encode() + b"\0")
        end = time.monotonic() + self._seconds
        while True:
            answer = self._next(method, end)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def until(self, method: str) -> dict[str, Any]:
        """The next event of this kind."""
        end = time.monotonic() + self._seconds
        while True:
            event = self._next(method, end)
            self.events.append(event)
            if event.get("method") == method:
                return event

    def _next(self, awaited: str, end: float) -> dict[str, Any]:
        """The next message, which comes before `end` by the monotonic clock."""
        while b"\0" not in self._buffer:
            # A read has no end of its own where the browser is silent.
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"the browser has not answered {awaited} in {self._seconds:g} seconds")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser has ended")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, file: Path, width: int = 1200, height: int = 900, *, dark: bool = False, media: str = "") -> "Page":
        """A page of a file, loaded and laid out."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, media=media, features=[scheme])
        self.events.clear()
        start = time.monotonic()
        self.call("Page.navigate", session, url=file.resolve().as_uri())
        if not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.until("Page.loadEventFired")
        page = Page(self, session)
        # A frame is painted after the next one has begun.
        page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
        page.seconds = time.monotonic() - start
        return page


class Page:
    """A page that is loaded; `seconds` is how long that took, painting included."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session, self.seconds = browser, session, 0.0

    def value(self, expression: str) -> Any:
        """What JavaScript of ours finds in the page."""
        found = self._browser.call(
            "Runtime.evaluate", self._session, expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']['text']}")
        return found["result"].get("value")

    @property
    def complaints(self) -> list[str]:
        """What the console has: errors and warnings, exceptions, violations of the page's own policy."""
        found = []
        for event in self._browser.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            elif event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                found.append(json.dumps(params)[:500])
        return found

    @property
    def requests(self) -> list[str]:
        """All that it asked for, itself included."""
        events = (one for one in self._browser.events if one.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in events]

    def screenshot(self, file: Path, height: int | None = None, begin: str = "html") -> None:
        """A PNG of the whole page, or of so much of it from the element `begin` (a selector) on."""
        width, whole = (self.value(f"document.documentElement.scroll{side}") for side in ("Width", "Height"))
        top = self.value(f"document.querySelector({json.dumps(begin)}).getBoundingClientRect().top")
        clip = {"x": 0, "y": top, "width": width, "height": min(height or whole, whole - top), "scale": 1}
        found = self._browser.call(
            "Page.captureScreenshot", self._session, format="png", clip=clip, captureBeyondViewport=True
        )
        file.write_bytes(base64.b64decode(found["data"]))

    def print(self, file: Path) -> None:
        """A PDF, as it comes from the printer."""
        found = self._browser.call("Page.printToPDF", self._session, printBackground=True, preferCSSPageSize=True)
        file.write_bytes(base64.b64decode(found["data"]))
