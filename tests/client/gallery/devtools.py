"""Drives headless Chromium as a person would: presses, keys and eyes, over its own protocol.

The DevTools protocol is spoken through two pipes, a message a NUL, so no port is opened and
no package is needed. Input arrives in the page as trusted events: what a browser lets only
a person do, such as starting sound, is done as by a person.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--mute-audio", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip

# Chromium wants its pipes as descriptors 3 and 4.
_LAUNCH = (
    "import os, sys; r, w = int(sys.argv[1]), int(sys.argv[2]);"
    "os.dup2(r, 3); os.dup2(w, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Chromium:
    """A browser of its own, with a profile that is thrown away.

    Args:
      program: its path.
      profile: an empty folder.
    """

    def __init__(self, program: str, profile: Path):
        import fcntl

        theirs, self._to = os.pipe()
        self._from, back = os.pipe()
        # Out of the way of 3 and 4, which dup2 would close.
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs, back)]
        os.close(theirs)
        os.close(back)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, given), program,
             f"--user-data-dir={profile}", *SWITCHES],
            pass_fds=given, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in given:
            os.close(fd)
        self._buffer = b""
        self._count = 0
        self.pages: dict[str, Page] = {}

    def open(self, url: str, width: int = 1280, height: int = 900, **media: str) -> Page:
        """A new page that has loaded an address.

        Args:
          url: of the page.
          width, height: of its window, in CSS pixels.
          **media: features to pretend, as prefers_color_scheme="dark".
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        features = [{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        page.call("Emulation.setEmulatedMedia", features=features)
        page.go(url)
        return page

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """A command and its answer; events that come meanwhile go to their pages."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self.next_message(deadline - time.monotonic())
            assert answer is not None, f"no answer to {method} within a minute"
            if answer.get("id") == message["id"]:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def next_message(self, seconds: float) -> dict[str, Any] | None:
        """The next message, an event already handed to its page; None when none comes."""
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], max(seconds, 0))[0]:
                return None
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        page = self.pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.heard(message["method"], message["params"])
        return message

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._to)
        os.close(self._from)


class Page:
    """One page.

    Attributes:
      troubles: errors and warnings of its console, exceptions that nobody caught.
      urls: all that it asked for.
    """

    def __init__(self, browser: Chromium, session: str, target: str):
        self._browser, self._session, self._target = browser, session, target
        self._loaded = False
        self.troubles: list[str] = []
        self.urls: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def heard(self, event: str, params: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.troubles.append(str(details.get("exception", details).get("description", details)))
        elif event == "Runtime.consoleAPICalled":
            words = " ".join(str(arg.get("value", arg)) for arg in params["args"])
            self.troubles.append(f"{params['type']}: {words}")
        elif event == "Log.entryAdded":
            self.troubles.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif event == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    # ---- looking ----

    def go(self, url: str) -> None:
        """Loads an address and waits for its load event."""
        self._loaded = False
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 60
        while not self._loaded:
            assert self._browser.next_message(deadline - time.monotonic()) is not None, url

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        """Until an expression is true, as JavaScript takes it."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({script})"):
            assert time.monotonic() < deadline, (script, self.troubles)
            time.sleep(0.03)

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def texts(self, selector: str) -> list[str]:
        found = f"document.querySelectorAll({json.dumps(selector)})"
        return self.evaluate(f"[...{found}].map(one => one.textContent)")

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=False)["data"])

    # ---- hands ----

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Presses the mouse on an element, which is scrolled into sight."""
        box = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({ block: 'center', behavior: 'instant' });"
            "const { x, y, width, height } = one.getBoundingClientRect();"
            "return [x, y, width, height] })()"
        )
        x, y = box[0] + box[2] * at[0], box[1] + box[3] * at[1]
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def type(self, text: str) -> None:
        """Types into whatever has the focus."""
        for char in text:
            self.call("Input.insertText", text=char)

    def press(self, key: str, **more: Any) -> None:
        """A key: a letter, or a name such as Tab, Enter, ArrowRight; " " is the space bar."""
        code = {" ": 32, "Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "End": 35}[key]
        text = {" ": {"text": " "}, "Enter": {"text": "\r"}}.get(key, {})
        name = "Space" if key == " " else key
        common = {"key": key, "code": name, "windowsVirtualKeyCode": code, **more}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
