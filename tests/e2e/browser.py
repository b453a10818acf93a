"""Drives a headless Chromium through its debugging pipe, with the standard library only.

Messages are JSON terminated by NUL. The browser reads requests from file descriptor 3 and writes responses to 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"]


def find():
    """Returns the browser's path, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser process with one page."""

    def __init__(self, path, timeout=60):
        self.timeout = timeout
        self.folder = tempfile.mkdtemp(prefix="secateur-browser-")
        (there, self.write), (self.read, back) = os.pipe(), os.pipe()
        # Copies to descriptors above 4 first, because a pipe may itself be 3 or 4.
        high = [os.dup2(fd, to) for fd, to in ((there, 203), (back, 204))]

        def wire():
            os.dup2(203, 3)
            os.dup2(204, 4)

        self.process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self.folder}", "about:blank"], preexec_fn=wire, close_fds=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (there, back, *high):
            os.close(fd)
        self.count, self.buffer, self.events, self.session = 0, b"", [], None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                raise TimeoutError("the browser does not respond")
            got = os.read(self.read, 1 << 16)
            if not got:
                raise ConnectionError("the browser has exited")
            self.buffer += got
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data):]
        deadline = time.monotonic() + self.timeout
        while True:
            response = self.message(deadline)
            if response.get("id") == self.count:
                if "error" in response:
                    raise RuntimeError(f"{method}: {response['error']}")
                return response["result"]
            self.events.append(response)

    def open(self, url):
        """Loads a page, and waits until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + self.timeout
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.message(deadline))
        self.settle()

    def settle(self):
        """Waits for two frames, after which size observers have redrawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def run(self, code):
        """Evaluates an expression in the page and returns its value."""
        response = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in response:
            details = response["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return response["result"].get("value")

    def complaints(self):
        """Returns console errors, console warnings and network requests since the page was opened."""
        self.run("1")
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(a.get("value")) for a in params["args"]))
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:", "blob:")):
                found.append("requested " + params["request"]["url"])
        return found

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.settle()

    def prefers(self, scheme):
        """Emulates the preferred colour scheme of the system, and a preference for no animation."""
        features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]
        self.call("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in features])
        self.settle()

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name)

    def mouse(self, start, end):
        """Presses the mouse at a place of the window, moves it, and releases it."""
        points = [start, [(start[0] + end[0]) / 2, (start[1] + end[1]) / 2], end]
        event = lambda kind, at, **more: self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **more)
        event("mouseMoved", start)
        event("mousePressed", start, button="left", clickCount=1)
        for at in points:
            event("mouseMoved", at, button="left", buttons=1)
        event("mouseReleased", end, button="left", clickCount=1)

    def screenshot(self, path, whole=True):
        """Saves a PNG of the page."""
        response = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(response["data"]))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(10)
        except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.write)
        os.close(self.read)
        shutil.rmtree(self.folder, ignore_errors=True)
