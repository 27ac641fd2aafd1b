"""`spacy t2v report`: one page, from whatever files exist, that a browser shows correctly on a phone and in dark mode."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE

pytest.importorskip("matplotlib", reason="Matplotlib is not installed")

from t2v import events  # noqa: E402
from t2v.errors import InputError  # noqa: E402
from t2v.report import write_report  # noqa: E402

BEGUN = 1_790_000_000.0


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def event(seconds: float, kind: str, **fields: Any) -> dict[str, Any]:
    return {"time": BEGUN + seconds, "kind": kind, **fields}


@pytest.fixture()
def run(tmp_path: Path) -> Path:
    """A run of four epochs with two workers, one of which is lost and comes back."""
    out = tmp_path / "out"
    long = "/data/" + "a-folder-with-a-long-name/" * 6 + "raw.jsonl"
    happened = [
        event(0, "started", version="0.2.0", texts=[long], documents=1370, words=156142, lanes=4, workers=2),
        event(1, "worker_joined", worker=1, host="node<script>alert(1)</script>", workers=1),
        event(2, "worker_joined", worker=2, host="node2", workers=2),
    ]
    log = []
    for epoch in range(4):
        words, loss = 156142 * (epoch + 1), 3.0 / (epoch + 1)
        happened += [
            event(60 * epoch + 10 * part, "progress", nr_word=words, words_per_second=5e4, workers=2, loss=loss) for part in range(5)
        ]
        happened.append(event(60 * epoch + 55, "evaluation", epoch=epoch, nr_word=words, loss=loss * 1.1, best=True))
        happened.append(event(60 * epoch + 56, "checkpoint", file=f"checkpoints/{epoch}.safetensors", epoch=epoch, nr_word=words))
        log.append({"nr_word": words, "loss": loss, "epoch_loss": loss, "epoch": epoch, "loss_per_selected_word": loss})
        (out / f"model{epoch}.bin").parent.mkdir(exist_ok=True)
        (out / f"model{epoch}.bin").write_bytes(b"x" * 1000)
    log.append({**log[-1], "epoch_loss": 0.0, "epoch": 4, "loss_per_selected_word": 0.0})  # of model-last.bin
    happened.append(event(100, "worker_left", worker=2, host="node2", reason="lost", workers=1))
    happened.append(event(100, "fault", what="worker 2 was lost; its lanes were done again", worker=2))
    happened.append(event(240, "stopped", status="done", why="4 epochs"))
    (out / "config.cfg").write_text("")
    (out / "model-best.bin").write_bytes(b"x" * 1000)
    lines(out / "log.jsonl", log)
    (out / "t2v" / "job").mkdir(parents=True)
    (out / "t2v" / "job" / "job.json").write_text(json.dumps({"language": "fr", "vectors": None, "training": {"seed": 0}}))
    lines(events.events_path(out), happened)
    cells = [{"size": size, "weights": name, "scores": [0.5, 0.6]} for size in (100, 500) for name in (None, "model-best.bin")]
    (out / "t2v" / "evaluate").mkdir()
    (out / "t2v" / "evaluate" / "summary.json").write_text(json.dumps({"cells": cells, "verdicts": ["model-best.bin does not help here."]}))
    return out


def test_page_tells_the_run(run: Path) -> None:
    page = write_report(run).read_text()
    assert page.count("<svg") == 4
    for part in ["finished (4 epochs)", "2 workers joined, 1 left; 1 fault survived; 4 checkpoints written.", "its lanes were done again"]:
        assert part in page
    assert "--initialize.init_tok2vec" in page and "model-best.bin" in page
    assert "model-best.bin does not help here." in page
    assert '<td>model3.bin</td><td class="n">0.0 MB</td><td class="n">0.7500</td><td class="n">0.8250</td>' in page
    assert "epochs saved</th><td>4</td>" in page, "the row of model-last.bin is not an epoch"
    assert "&lt;script&gt;alert(1)" in page and "<script" not in page
    assert "{}" not in page and "None" not in page
    assert "#0102" not in page, "a placeholder for a colour is left"


def test_page_loads_nothing(run: Path) -> None:
    page = write_report(run).read_text()
    names = set(re.findall(r'https?://[^"\s<)]+', page)) - {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not names
    assert not re.findall(r"<(?:script|link rel=\"stylesheet|img|iframe)|@import|url\((?!#)", page)


def test_ids_are_unique_and_references_are_met(run: Path) -> None:
    page = write_report(run).read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) and all(
        (one or other) in ids for one, other in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    )


def test_less_is_enough(run: Path) -> None:
    shutil.rmtree(run / "t2v")
    assert write_report(run).read_text().count("<svg") == 1
    (run / "log.jsonl").write_text('{"nr_word":10,"loss":4.0,"epoch_loss":4.0,"epoch":0}\nnot JSON\n{"nr_word":"x"}\n[1]\n{"nr_w')
    (run / "config.cfg").unlink()
    page = write_report(run, run / "page.html").read_text()
    assert "Loss of each epoch" in page and "-t2v" in page
    (run / "log.jsonl").unlink()
    with pytest.raises(InputError, match="neither log.jsonl nor"):
        write_report(run)


def test_missing_matplotlib_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install \"t2v\[report\]\""):
        write_report(run)


def test_a_notebooks_backend_does_no_harm(run: Path) -> None:
    """Jupyter sets it for every command that a cell runs, for a Python that may have other packages."""
    code = "import sys; from pathlib import Path; from t2v.report import write_report; write_report(Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    subprocess.run([sys.executable, "-c", code, str(run)], env=environment, check=True)
    assert (run / "t2v/report.html").read_text().count("<svg") == 4


def browser() -> Any:
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver: the report is not tested in a browser")
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def test_browser_shows_it(run: Path) -> None:
    page = write_report(run)
    driver = browser()
    try:
        seen = {}
        for scheme in ("light", "dark"):
            size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            driver.get(page.absolute().as_uri())
            width, plot, text, ink, back = driver.execute_script(
                "const style = (name) => getComputedStyle(document.querySelector(name));"
                "return [document.documentElement.scrollWidth, document.querySelector('svg').getBoundingClientRect().width,"
                " style('body').color, style('svg text').fill, style('body').backgroundColor];"
            )
            assert width == 390, "the page is wider than a phone"
            assert 300 < plot < 390
            assert driver.get_log("browser") == []
            picture = driver.get_screenshot_as_png()
            assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
            seen[scheme] = {name: brightness(color) for name, color in (("text", text), ("ink", ink), ("back", back))}
        assert seen["light"]["back"] > 200 > 120 > max(seen["light"]["text"], seen["light"]["ink"])
        assert seen["dark"]["back"] < 60 < 180 < min(seen["dark"]["text"], seen["dark"]["ink"])
    finally:
        driver.quit()


def brightness(color: str) -> float:
    """The mean of `rgb(r, g, b)`, 0 to 255."""
    numbers = [float(part) for part in re.findall(r"[\d.]+", color)[:3]]
    return sum(numbers) / 3
