"""Pages of runs in a real browser: every screen, both themes, keyboard, paper."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from mets3d.reporting import report
from mets3d.reporting.html_page import PageKind, Section, page_html
from mets3d.reporting.html_table import Cell, Heading, Table, flow, row_head
from mets3d.reporting.lesion_lines import PLACE
from tests.reporting.conftest import random_lesions, write_table

SIXTY = [f"BraTS-MET-{number:05d}-000" for number in range(60)]
VALUES = ("−2.5", "10", "–", "9", "1,200")
ROWS = [[row_head(f"case {at}"), Cell(value), Cell("12 × 9", order=100 - at)] for at, value in enumerate(VALUES)]
TABLE = Table("Cases", [Heading("Case", words=True), "Value", "Shape"], ROWS, rows_are="cases")
PLACED = ("case", "region", "rules", "lesion", "kind", "reference_volume_mm3", "dice", *PLACE, "i")
MIDDLE = (25.0, 15.0, 10.0)  # of the phantom's lesion
LONG = Markup("<p>{}</p>").format("A long part. " * 900)


def written(tmp_path, *parts):
    sections = [
        Section("table", "A table", flow(TABLE, *parts)),
        Section("folded", "Folded", Markup("<details><summary>More</summary><p id='inside'>inside</p></details>")),
        Section("long", "A long part", LONG),
        Section("last", "The last part", LONG),
    ]
    file = tmp_path / "index.html"
    file.write_text(page_html(PageKind("mets3d test"), "Frame", sections, footer="made"), encoding="utf-8")
    return file


def first_column(opened):
    return opened.page.locator("table.sortable tbody tr:visible th").all_inner_texts()


def sound(opened):
    """Nothing to complain of, folded or not, in either theme."""
    assert (opened.errors, opened.requests) == ([], [])
    assert opened.overflow() == []
    opened.unfold()
    assert opened.overflow() == []
    opened.shorten_tables()  # axe takes minutes on thousands of rows
    assert opened.barriers("light") == opened.barriers("dark") == []
    assert opened.colours("light") != opened.colours("dark")


def test_a_table_sorts_numbers_as_numbers_by_keyboard_and_what_is_missing_stays_last(open_page, tmp_path):
    opened = open_page(written(tmp_path))
    button = opened.page.get_by_role("button", name="Value")
    button.focus()
    opened.page.keyboard.press("Enter")
    assert first_column(opened) == [f"case {at}" for at in (0, 3, 1, 4, 2)]
    opened.page.keyboard.press("Enter")
    assert first_column(opened) == [f"case {at}" for at in (4, 1, 3, 0, 2)]
    assert opened.page.locator("th[aria-sort]").all_inner_texts() == ["Value"]
    opened.page.get_by_role("button", name="Shape").focus()
    opened.page.keyboard.press("Space")
    assert first_column(opened) == [f"case {at}" for at in (4, 3, 2, 1, 0)]  # by number, not by text
    assert opened.page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_a_filter_shows_rows_with_every_word(open_page, tmp_path):
    opened = open_page(written(tmp_path))
    field = opened.page.get_by_label("Filter cases")
    field.fill("9 CASE")
    assert first_column(opened) == [f"case {at}" for at in range(5)]  # every shape has a 9
    field.fill("1,200 4")
    assert first_column(opened) == ["case 4"]
    assert opened.page.get_by_role("status").inner_text() == "1 of 5 shown"
    field.fill("")
    assert len(first_column(opened)) == 5


def test_the_contents_stay_in_view_and_fold_away_on_a_small_screen(open_page, tmp_path):
    opened = open_page(written(tmp_path))
    links = opened.page.locator(".contents .beside a")
    links.last.click()
    opened.page.wait_for_function("document.querySelector('.contents .beside a[aria-current]')?.hash === '#last'")
    assert opened.page.evaluate("scrollY") > 500
    box = links.first.bounding_box()
    assert 0 <= box["y"] < 900
    opened.set_width(390)
    assert not links.first.is_visible()
    folded = opened.page.locator(".contents details")
    assert folded.get_attribute("open") is None
    folded.locator("summary").focus()
    opened.page.keyboard.press("Enter")
    folded.locator("a").first.click()
    assert folded.get_attribute("open") is None
    assert opened.page.url.endswith("#table")


def test_the_keyboard_skips_to_the_content(open_page, tmp_path):
    opened = open_page(written(tmp_path))
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "content"


def test_paper_shows_what_is_folded_and_no_contents(open_page, tmp_path):
    opened = open_page(written(tmp_path), scheme="dark")
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("#inside").is_visible()
    assert not opened.page.locator(".contents").is_visible()
    assert not opened.page.locator(".filter").is_visible()
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not opened.page.locator("#inside").is_visible()


def test_a_run_of_sixty_cases_with_ten_lesions_each(open_page, cohort_run, tmp_path):
    run = cohort_run(cases=SIXTY, lesions=random_lesions(SIXTY, 0, amount=10)).run.path
    index = report([run], tmp_path / "out")
    assert index.stat().st_size < 1e6
    opened = open_page(index)
    lesions_by_region(opened)
    on_paper(opened)
    sound(opened)


def lesions_by_region(opened):
    """The list begins with one region; the choice among them works by keyboard, and with the words of the filter."""
    rows = opened.page.locator("table.lesions tbody tr:visible th")
    choice = opened.page.get_by_role("combobox", name="Region")
    assert choice.evaluate("(one) => [...one.options].map((option) => option.text)") == ["ET", "WT", "TC", "all"]
    assert rows.evaluate_all("(all) => [...new Set(all.map((one) => one.textContent.split(' ')[0]))]") == ["ET"]
    assert rows.count() == 600
    choice.focus()
    opened.page.keyboard.press("ArrowDown")
    assert rows.evaluate_all("(all) => [...new Set(all.map((one) => one.textContent.split(' ')[0]))]") == ["WT"]
    opened.page.get_by_label("Filter lesions").fill(SIXTY[7])
    assert rows.count() == 10
    choice.select_option(label="all")
    assert rows.count() == 30
    opened.page.get_by_label("Filter lesions").fill("")
    assert rows.count() == 1800
    choice.select_option(label="ET")


def on_paper(opened):
    """The long list is cut there, what is cut is said, and no heading stands alone."""
    page = opened.page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    rows = page.locator("table.lesions tbody tr:visible")
    assert rows.count() == 60
    assert page.locator(".paper").inner_text().startswith("On paper are the first 60 rows")
    bare = """() => [...document.querySelectorAll("main h2, main h3")].filter((head) => {
      for (let next = head.nextElementSibling; next; next = next.nextElementSibling)
        if (next.getBoundingClientRect().height) return false;
      return head.getBoundingClientRect().height > 0;
    }).map((head) => head.textContent)"""
    assert page.evaluate(bare) == []
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.locator(".paper").is_visible()


@pytest.mark.usefixtures("empty_curves")
def test_a_comparison(open_page, cohort_run, tmp_path):
    cases = SIXTY[:7]
    lesions = random_lesions(cases, 0, amount=2)
    names = enumerate(("one-" * 20, "two"))
    runs = [cohort_run(name, seed, cases=cases, lesions=lesions).run.path for seed, name in names]
    sound(open_page(report(runs, tmp_path / "out")))


def test_arms_with_pictures_and_pages_of_cases(open_page, make_run, data_set, scores_of, tmp_path, empty_curves):
    """Three arms over the same two cases: what the index and a case's page show of each."""
    cases, data = ("A", "B"), data_set(("A", "B"))
    runs = []
    for seed, term in enumerate(("none", "hausdorff_distance", "signed_distance")):
        runs.append(
            make_run(term, cases=cases, data=data, scores=scores_of(cases, seed), settings={"loss": {"boundary": term}})
        )
        write_table(runs[-1] / "lesions.csv", PLACED, [("A", "ET", "brats2023", 1, "missed", 5.0, "", *MIDDLE, 25)])
    index = report(runs, tmp_path / "out")
    assert index.stat().st_size < 1e6
    opened = open_page(index)
    sound(opened)
    assert opened.page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    pictures = opened.page.locator("details.case figcaption").all_inner_texts()
    assert len(pictures) == len(cases) * (1 + len(runs)), "slices of a case, and lesions of each arm"
    page = open_page(index.parent / "cases" / "A.html")
    page.page.wait_for_selector(".viewer[data-ready]")
    names = [label.inner_text().strip() for label in page.page.locator('label:has(input[data-kind="overlay"])').all()]
    assert [name for name in names if name.startswith("Prediction")] == [f"Prediction of {run}" for run in labels(page)]
    assert page.page.locator("tbody tr[id^=lesion]").count() == len(runs)
    assert page.strangers(index.parent) == page.errors == page.overflow() == []
    assert page.barriers("light") == page.barriers("dark") == []
    assert page.colours("light") != page.colours("dark")


def labels(opened):
    """The arms of a case's page, by the table of its scores."""
    return list(dict.fromkeys(opened.page.locator("#scores + div tbody td:nth-child(2)").all_inner_texts()))


def test_pictures_of_a_run(open_page, make_run, data_set, scores_of, tmp_path, empty_curves):
    run = make_run(cases=("A", "B"), data=data_set(("A", "B")), scores=scores_of(("A", "B"), 0))
    opened = open_page(report([run], tmp_path / "out"))
    sound(opened)
    assert opened.page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    opened.set_width(1600)
    top = opened.page.locator("#pictures").bounding_box()["y"] + opened.page.evaluate("scrollY")
    assert top < 2 * 900  # within the first two screens
