"""What the browser's eyes see: each fault that tests of pages look for, on a page that has it."""

from __future__ import annotations

SOUND = """<!DOCTYPE html><html lang="en"><head><title>Sound</title><meta name="viewport" content="width=device-width">
<style>body { background: #fff; color: #222 } .wide { overflow-x: auto } .wide p { width: 5000px }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } }</style></head>
<body><main><h1>Sound</h1><div class="wide" tabindex="0"><p>Long</p></div><details><summary>More</summary>%s</details>
</main></body></html>"""
FAULTS = """<script>nothing.there()</script><script>console.error("lost")</script>
<img alt="" src="http://localhost:1/picture.png"><img alt="" src="beside.png"><img alt="" src="../above.png">
<p id="long" style="width: 900px">long</p><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
<p style="color: #ddd; background: #fff">pale</p>"""


def written(tmp_path, added=""):
    file = tmp_path / "index.html"
    file.write_text(SOUND % added, encoding="utf-8")
    return file


def test_nothing_is_seen_on_a_sound_page(open_page, tmp_path):
    opened = open_page(written(tmp_path))
    opened.unfold()
    assert (opened.errors, opened.requests, opened.overflow(), opened.barriers()) == ([], [], [], [])
    assert opened.colours("light") == ("rgb(34, 34, 34)", "rgb(255, 255, 255)")
    assert opened.colours("dark") == ("rgb(238, 238, 238)", "rgb(17, 17, 17)")


def test_each_fault_is_seen(open_page, tmp_path):
    opened = open_page(written(tmp_path, FAULTS))
    opened.unfold()
    opened.page.wait_for_load_state("networkidle")
    said = [line for line in opened.errors if "Failed to load" not in line]
    assert said == ["script: nothing is not defined", "console, error: lost"]
    assert [address.rpartition("/")[2] for address in opened.requests] == ["picture.png", "beside.png", "above.png"]
    assert [address.rpartition("/")[2] for address in opened.strangers()] == ["picture.png", "above.png"]
    assert [address.rpartition("/")[2] for address in opened.strangers(tmp_path.parent)] == ["picture.png"]
    lines = opened.overflow()
    assert any(line.startswith("at 390 px: p#long reaches to ") for line in lines)
    assert any(line.startswith("at 800 px: the page is ") for line in lines)
    assert not [line for line in lines if line.startswith("at 1600 px")]
    assert sorted(line.partition(" ")[0] for line in opened.barriers()) == ["color-contrast", "image-alt"]
