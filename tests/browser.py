"""Headless Chromium, for tests and pictures of pages. Two pipes control it, without a driver."""

from __future__ import annotations

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
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30.0
"""How many seconds an answer, or a text on a page, may take."""


def found() -> str | None:
    """Returns the path of a browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in a browser of its own, which ends with the context.

    It uses the DevTools protocol: JSON messages that end with a zero byte. The browser reads them
    from descriptor 3 and writes them to descriptor 4.
    """

    def __init__(self) -> None:
        executable = found()
        if executable is None:
            raise FileNotFoundError("Chromium is not installed.")
        self._folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        to_us, to_it = os.pipe(), os.pipe()
        command = [
            *("sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1', "sh", executable),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}", "about:blank"),
        ]
        self._process = subprocess.Popen(command, stdin=to_it[0], stdout=to_us[1])
        os.close(to_it[0])
        os.close(to_us[1])
        self._out, self._in = to_it[1], to_us[0]
        self._heard = b""
        self._last = 0
        self._session: str | None = None
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.call("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._folder.cleanup()

    def look(self, width: int, height: int, dark: bool = False, phone: bool = False, scale: float = 1) -> None:
        """Sets the size of the window in px, the preferred colours, and whether it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Opens an address."""
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Returns the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Waits until a JavaScript expression is true, and returns its value.

        Raises:
            TimeoutError: it did not become true in time. The message has the text of the page.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{script} is not true of: {self.run('document.body?.innerText')}")

    def shows(self, *texts: str) -> None:
        """Waits until the page shows all the texts."""
        self.until(f"{json.dumps(texts)}.every(text => document.body?.innerText.includes(text))")

    def text(self) -> str:
        """Returns the text of the page."""
        return str(self.run("document.body?.innerText"))

    def picture(self, file: Path, height: int | None = None, whole: bool = False) -> None:
        """Saves a PNG file of the window, of its upper `height` px, or of the whole page."""
        size = self.call("Page.getLayoutMetrics")
        seen = size["cssContentSize" if whole else "cssLayoutViewport"]
        wide, high = seen.get("width", seen.get("clientWidth")), seen.get("height", seen.get("clientHeight"))
        clip = {"x": 0, "y": 0, "width": wide, "height": height or high, "scale": 1}
        answer = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the protocol.

        Raises:
            RuntimeError: the browser refused.
            TimeoutError: it did not answer.
        """
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._out, rest) :]
        while (answer := self._next()).get("id") != self._last:
            pass  # events
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self) -> Any:
        while b"\0" not in self._heard:
            if not select.select([self._in], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser does not answer")
            if not (part := os.read(self._in, 1 << 20)):
                raise RuntimeError("the browser ended")
            self._heard += part
        message, _, self._heard = self._heard.partition(b"\0")
        return json.loads(message)
