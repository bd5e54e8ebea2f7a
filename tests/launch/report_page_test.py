#!/usr/bin/env python3
"""`rosa report` from outside: the page in headless Chromium at phone and desktop widths, light and dark, and the command's errors.
Exit code 77: skipped. ROSA_BUILD names the build folder; report_page_test.py FOLDER also keeps pictures of the page there."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

source = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(source / "tests/support"), str(source / "tests/launch")]
import check_report_page  # noqa: E402
import chromium  # noqa: E402
import experiment_folders  # noqa: E402
import run_folders  # noqa: E402

ROSA = pathlib.Path(os.environ.get("ROSA_BUILD", source / "build")) / "bin/rosa"
BLANK_PNG_BYTES = 12000  # a window of one colour takes 3000 to 8000
failures = []

# What no reader should meet, measured in the page itself.
COMPLAINTS = r"""(() => {
  const found = [];
  for (const one of document.querySelectorAll('details')) one.open = true;
  const rgb = text => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const background = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  for (const e of document.querySelectorAll('body *')) {
    if (!Array.from(e.childNodes).some(n => n.nodeType === 3 && n.data.trim()) || ['title', 'desc'].includes(e.tagName)) continue;
    const style = getComputedStyle(e), color = rgb(e.tagName === 'text' ? style.fill : style.color);
    if (contrast(color, background(e)) < 4.5) found.push(`contrast of '${e.textContent.slice(0, 20)}'`);
  }
  for (const svg of document.querySelectorAll('svg.chart')) {
    const frame = svg.getBoundingClientRect();
    const scale = frame.width / svg.viewBox.baseVal.width;
    const labels = [];
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
      if (!inside) found.push(`'${text.textContent}' leaves its chart`);
      if (parseFloat(getComputedStyle(text).fontSize) * scale < 9.5) found.push(`'${text.textContent}' is too small`);
      labels.push([box, text.textContent]);
    }
    for (const [a, one] of labels) for (const [b, other] of labels) {
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left), height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (a !== b && one < other && width > 2 && height > 0.35 * Math.min(a.height, b.height)) found.push(`'${one}' lies on '${other}'`);
    }
  }
  for (const e of document.querySelectorAll('th.name')) if (e.clientWidth < 60) found.push(`'${e.textContent}' is squeezed`);
  return found.slice(0, 10);
})()"""


def check(what, holds, detail=""):
    if not holds:
        failures.append(what)
        print(f"FAILED: {what} {detail}")


def rosa(*arguments):
    return subprocess.run([str(ROSA), *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_command(folders, work):
    page = work / "page.html"
    made = rosa("report", *folders, "-o", page)
    check("rosa report", made.returncode == 0, made.stderr)
    check("the structure of the page", not (wrong := check_report_page.problems(page.read_text())), wrong[:5])
    tables = rosa("report", folders[0], "--markdown")
    check("--markdown", tables.returncode == 0 and "## Final loss" in tables.stdout, tables.stderr)
    check("--markdown alone writes no page", not pathlib.Path("report.html").exists())

    missing = rosa("report", work)
    check("a folder of something else", missing.returncode == 3 and "holds no experiment.json" in missing.stderr, missing.stderr)
    damaged = pathlib.Path(folders[1]) / "none-seed0/metrics.jsonl"
    whole = damaged.read_text()
    damaged.write_text(whole.replace('{"kind"', '{"kind', 1))
    broken = rosa("report", *folders, "-o", work / "broken.html")
    check("a damaged file", broken.returncode == 3 and f"{damaged}:1:" in broken.stderr and not (work / "broken.html").exists(), broken.stderr)
    damaged.write_text(whole)
    return page


def test_runs(runs, experiment, work):
    """Returns pages of one run and of two."""
    pages = []
    for name, folders in (("run.html", runs[:1]), ("runs.html", runs)):
        pages.append(work / name)
        made = rosa("report", *folders, "-o", pages[-1])
        check("rosa report of runs", made.returncode == 0 and f"{len(folders)} run" in made.stdout, made.stderr)
        check(f"the structure of {name}", not (wrong := check_report_page.problems(pages[-1].read_text())), wrong[:5])
    tables = rosa("report", *runs, "--markdown")
    for part in ("## Loss", "| run.seed | 1 | 2 |", "failed"):
        check(f"--markdown of runs: {part}", tables.returncode == 0 and part in tables.stdout, tables.stderr)
    check("only what differs", "adapter.name" not in tables.stdout)
    check("a value with a # in it", '| adapter.name | a # b | run.yaml:5 |' in rosa("report", runs[0], "--markdown").stdout)

    for what, folders, part in (("a run and an experiment", [runs[0], experiment], "make a page of each kind"),
                                ("a run twice", [runs[0], runs[0]], "is given twice")):
        refused = rosa("report", *folders, "-o", work / "refused.html")
        check(what, refused.returncode == 2 and part in refused.stderr and not (work / "refused.html").exists(), refused.stderr)
    kept = (pathlib.Path(runs[0]) / "metrics.jsonl").read_bytes()
    refused = rosa("report", runs[0], "-o", pathlib.Path(runs[0]) / "metrics.jsonl", "--force")
    check("an output that is an input", refused.returncode == 2 and (pathlib.Path(runs[0]) / "metrics.jsonl").read_bytes() == kept, refused.stderr)
    refused = rosa("report", runs[0], "-o", "-", "--follow")
    check("--follow into a stream", refused.returncode == 2 and "--follow" in refused.stderr, refused.stderr)
    return pages


def until(holds):
    deadline = time.monotonic() + 120
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_follow(run, work):
    page = work / "follow.html"
    program = subprocess.Popen([str(ROSA), "report", run, "-o", str(page), "--follow", "1"], stdout=subprocess.PIPE, text=True)
    try:
        check("--follow writes a page", until(page.exists))
        check("it loads itself anew", 'http-equiv="refresh" content="1"' in page.read_text())
        check("it shows no failure to come", "the moon" not in page.read_text())
        with open(pathlib.Path(run) / "logs/rank_0000.log", "a") as log:
            log.write("10:00:00.000 error [rank 0] the moon is full\n")
        check("it is written anew", until(lambda: "the moon is full" in page.read_text()))
        program.send_signal(signal.SIGINT)
        check("Ctrl-C ends it", program.wait(120) == 0)
        check("the last page stays as it is", 'http-equiv="refresh"' not in page.read_text())
        check("and leaves nothing else", sorted(work.glob("*follow*")) == [page], list(work.glob("*follow*")))
    finally:
        program.kill()
        program.wait()


def test_browser(page, least, pictures):
    with chromium.Chromium() as browser:
        shots = {}
        for width in (390, 1280):
            for scheme in ("light", "dark"):
                name = f"{page.stem}, {width} px, {scheme}"
                asked, complaints = browser.open(page, width, 900, scheme)
                check(f"{name}: requests", not asked, asked)
                check(f"{name}: console", not complaints, complaints)
                wrong = browser.evaluate(COMPLAINTS)
                check(f"{name}: readable", not wrong, wrong)
                scroll = browser.evaluate("document.documentElement.scrollWidth")
                check(f"{name}: no sideways scrolling", scroll <= width, f"it is {scroll} px wide")
                # Thick enough to see: charts and tables have a size.
                seen = browser.evaluate("[...document.querySelectorAll('svg.chart, table')].filter(e => e.getBoundingClientRect().height > 40).length")
                check(f"{name}: charts and tables", seen > least, seen)
                shots[name] = browser.screenshot()
                check(f"{name}: not blank", len(shots[name]) > BLANK_PNG_BYTES, f"{len(shots[name])} bytes")
                if pictures:
                    height = browser.evaluate("document.documentElement.scrollHeight")
                    for top in range(0, height, 1600):
                        picture = browser.screenshot(top, min(1600, height - top))
                        (pictures / f"{page.stem}-{width}-{scheme}-{top // 1600:02d}.png").write_bytes(picture)
        check("light and dark differ", len(set(shots.values())) == 4)


def main():
    if not ROSA.exists():
        print(f"skipped: there is no program {ROSA}")
        return 77
    pictures = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(prefix="rosa_test.") as folder:
        work = pathlib.Path(folder)
        os.chdir(work)
        experiments = experiment_folders.make(str(work))
        pages = [(test_command(experiments, work), 40)]
        runs = run_folders.make(work / "runs")
        pages += zip(test_runs(runs, experiments[0], work), (25, 35))
        test_follow(runs[1], work)
        if failures or chromium.find():
            if not failures:
                for page, least in pages:
                    test_browser(page, least, pictures)
            print("failed: " + ", ".join(failures) if failures else "passed")
            return 1 if failures else 0
    print("skipped: there is no Chromium to look at the page with; its structure and the command were checked")
    return 77


if __name__ == "__main__":
    sys.exit(main())
