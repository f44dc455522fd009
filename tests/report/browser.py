#!/usr/bin/python3
"""Opens reports of specrep-report in headless Chromium, and checks what a person would see there.

The logs beside this file are made up: of a protection with what a report has to show.

usage: browser.py SPECREP-REPORT [SCREENSHOT-FOLDER]
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PLOTS = ("timeline", "delay", "pause", "residual", "wire")
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
START_TIMEOUT_S = 60
# Of WCAG 2, level AA: text against what is behind it.
CONTRAST_MIN = 4.5
# Pixels: some lines of text.
ROW_HEIGHT_MAX = 250
EVIL = "</title><script>document.title='hacked'</script><b id=evil>&\"'"


class Browser:
    """A session of WebDriver, spoken by hand: no package of Python's does that in Debian's base."""

    def __init__(self, profile):
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        self._url = None
        try:
            port = self._port()
            options = {"args": [*CHROMIUM, f"--user-data-dir={profile}"]}
            session = self._call("POST", f"http://127.0.0.1:{port}/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
            self._url = f"http://127.0.0.1:{port}/session/{session['sessionId']}"
        except BaseException:
            self.close()
            raise

    def close(self):
        with contextlib.suppress(OSError):
            if self._url:
                self._call("DELETE", self._url)
        self._driver.terminate()
        self._driver.wait()

    def open(self, path):
        self._call("POST", f"{self._url}/url", {"url": path.as_uri()})

    def run(self, script):
        return self._call("POST", f"{self._url}/execute/sync", {"script": script, "args": []})

    def devtools(self, command, **parameters):
        return self._call("POST", f"{self._url}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, dark):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                      mobile=False)
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def console(self):
        return self._call("POST", f"{self._url}/se/log", {"type": "browser"})

    def screenshot(self, path):
        import base64
        data = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _port(self):
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            line = self._driver.stdout.readline()
            assert line, "chromedriver ended"
            if "started successfully on port" in line:
                return int(line.rstrip().rstrip(".").split()[-1])
        raise AssertionError("chromedriver does not say its port")

    @staticmethod
    def _call(method, url, body=None):
        request = urllib.request.Request(url, json.dumps(body or {}).encode() if method == "POST" else None,
                                         {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error.read().decode()[:500]}") from None


# Text and what is behind it: the ratio of their luminances (WCAG 2).
CONTRASTS = """
const rgb = (css) => css.match(/[\\d.]+/g).map(Number);
const luminance = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
return ['h1', 'h2', 'p', 'dt', 'dd', 'th', 'td', 'svg text'].map((s) => { const e = document.querySelector(s);
  const style = getComputedStyle(e); const color = rgb(s === 'svg text' ? style.fill : style.color);
  const [a, b] = [luminance(color), luminance(behind(e))].sort(); return [s, (b + 0.05) / (a + 0.05)]; });
"""


def check(browser, report, events, screenshots):
    for width, dark in ((1100, False), (1100, True), (400, False)):
        browser.size(width, 900, dark)
        browser.open(report)
        for plot in PLOTS:
            box = browser.run(f"""const e = document.getElementById('{plot}'); if (!e) return null;
                const r = e.getBoundingClientRect(); const shapes = e.querySelectorAll('.area, polyline, .state');
                return [r.width, r.height, [...shapes].filter((s) => s.getBoundingClientRect().width > 0).length];""")
            assert box, f"no plot {plot}"
            assert box[0] > 300 and box[1] > 40 and box[2] > 0, f"plot {plot} cannot be seen: {box}"
        rows = browser.run("return document.querySelectorAll('#events tbody tr').length")
        assert rows == events, f"{rows} rows of events, of {events}"
        tallest = browser.run("return Math.max(...[...document.querySelectorAll('#events tr')].map((r) => r.clientHeight))")
        assert tallest < ROW_HEIGHT_MAX, f"at {width} pixels an event is {tallest} tall"
        overflow = browser.run("return document.scrollingElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"at {width} pixels the page is {overflow} too wide"
        for what, contrast in browser.run(CONTRASTS):
            assert contrast >= CONTRAST_MIN, f"{what} is hard to read ({'dark' if dark else 'light'}): {contrast:.1f}"
        loaded = browser.run("return performance.getEntriesByType('resource').map((r) => r.name)")
        assert loaded == [], f"the page loads {loaded}"
        if screenshots:
            browser.screenshot(screenshots / f"{report.stem}-{width}-{'dark' if dark else 'light'}.png")
    troubles = browser.console()
    assert troubles == [], troubles


def main():
    program = sys.argv[1]
    screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="specrep-report-") as name:
        folder = pathlib.Path(name)
        browser = Browser(folder / "profile")
        try:
            for log in sorted(HERE.glob("*.events")):
                report = folder / f"{log.stem}.html"
                subprocess.run([program, log.stem, "--input", log, "-o", report], check=True)
                lines = [json.loads(line) for line in log.read_text().splitlines()]
                check(browser, report, sum(line["event"] != "figures" for line in lines), screenshots)
                print(f"{log.name}: {len(lines)} lines, {report.stat().st_size} bytes of report")

            evil = folder / "evil.html"
            subprocess.run([program, EVIL, "--input", log, "-o", evil], check=True)
            browser.open(evil)
            assert browser.run("return document.title") == f"Protection of {EVIL}"
            assert browser.run("return document.querySelectorAll('script, #evil').length") == 0
        finally:
            browser.close()


main()
