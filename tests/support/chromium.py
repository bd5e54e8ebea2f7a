"""Headless Chromium over its debugging pipe: opens pages at a width and colour scheme, and says what they did. Standard library only."""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

DEADLINE_SECONDS = 120  # a loaded machine starts it in seconds


def find():
    """Chromium's path, or None. CHROMIUM names another one."""
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


class Chromium:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="rosa_test_chromium.")
        command_read, self.commands = os.pipe()
        self.answers, answer_write = os.pipe()

        def give_pipe():
            # It reads commands from 3 and answers on 4. Moved up first, for either may be 3 or 4 itself.
            read_end, write_end = os.dup(command_read), os.dup(answer_write)
            while read_end in (3, 4) or write_end in (3, 4):
                read_end, write_end = os.dup(command_read), os.dup(answer_write)
            os.dup2(read_end, 3)
            os.dup2(write_end, 4)

        self.process = subprocess.Popen(
            [find(), "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir=" + self.profile,
             "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=give_pipe, close_fds=False,
            start_new_session=True)
        os.close(command_read)
        os.close(answer_write)
        self.buffer = b""
        self.events = []
        self.last_id = 0
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.page_call(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _message(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.answers, 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError("Chromium ended" if ready else "Chromium does not answer")
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, parameters=None, **more):
        self.last_id += 1
        command = {"id": self.last_id, "method": method, "params": parameters or {}, **more}
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            message = self._message(deadline)
            if message.get("id") == self.last_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def page_call(self, method, parameters=None):
        return self.call(method, parameters, sessionId=self.session)

    def evaluate(self, expression):
        result = self.page_call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, path, width, height, scheme):
        """Loads a file. Returns what was asked from the network, and what the console and the page complained of."""
        self.page_call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        self.page_call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.events.clear()
        url = "file://" + os.path.abspath(path)
        self.page_call("Page.navigate", {"url": url})
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message(deadline))
        asked = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        complaints = [event["params"] for event in self.events if event.get("method") in
                      ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")]
        return [one for one in asked if one != url and not one.startswith("data:")], complaints

    def screenshot(self, top=0, height=None):
        """PNG bytes of the window, or of a stripe of the whole page."""
        parameters = {"format": "png"}
        if height:
            width = self.evaluate("innerWidth")
            parameters.update(captureBeyondViewport=True, clip={"x": 0, "y": top, "width": width, "height": height, "scale": 1})
        return base64.b64decode(self.page_call("Page.captureScreenshot", parameters)["data"])
