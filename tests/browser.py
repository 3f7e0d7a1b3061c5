"""A headless Chromium, driven by the Chrome DevTools Protocol through a pair of pipes."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60
"""The longest time to wait for an answer or an event."""
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9}


def find_browser() -> str | None:
    """Returns the path of a browser on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page of the browser. events: those that the browser has reported, oldest first."""

    def __init__(self, reader: int, writer: int):
        self._reader, self._writer = reader, writer
        self._text, self._number, self._session = b"", 0, None
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        """Returns the browser's answer to a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, path: Path, width: int = 1100, height: int = 900, scheme: str = "light"):
        """Opens a file, with the size of a window in pixels and a color scheme, and waits."""
        size = {"width": width, "height": height}
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=mobile)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        for kind in ("rawKeyDown", "keyUp"):
            code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            self.call("Input.dispatchKeyEvent", type=kind, **code)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Presses the mouse's left button at a point of the window and releases it at another."""
        for kind, (x, y), buttons in (
            ("mousePressed", start, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            button = {"button": "left", "buttons": buttons, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def screenshot(self, path: Path) -> None:
        """Writes a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _read(self) -> dict:
        while b"\0" not in self._text:
            ready, _, _ = select.select([self._reader], [], [], SECONDS)
            assert ready, "the browser does not answer"
            part = os.read(self._reader, 1 << 20)
            assert part, "the browser has ended"
            self._text += part
        message, _, self._text = self._text.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def open_browser(path: str) -> Iterator[Page]:
    """Yields an empty page of a browser, which ends with the context."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (to_browser, writer), (reader, from_browser) = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_browser, from_browser)]
        arguments = [
            path,
            "--headless",
            "--no-sandbox",  # It is not available in most containers; the pages are our own.
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ]
        actions = [
            (os.POSIX_SPAWN_DUP2, ends[0], 3),  # Where the browser reads and writes.
            (os.POSIX_SPAWN_DUP2, ends[1], 4),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        variables = os.environ | {"TMPDIR": profile}
        process = os.posix_spawn(path, arguments, variables, file_actions=actions)
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        try:
            page = Page(reader, writer)
            yield page
            page.call("Browser.close")
        finally:
            os.close(writer)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(reader)
