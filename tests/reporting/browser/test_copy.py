from mets3d.reporting import report


def test_the_methods_are_copied_by_keyboard_and_without_network(make_run, open_page, tmp_path, empty_curves):
    opened = open_page(report([make_run()], tmp_path / "out"))
    button = opened.page.locator("button.copy")
    button.focus()
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_function("document.querySelector('.copy ~ [role=status]').textContent !== ''")
    selected = opened.page.evaluate("getSelection().toString().trim()")
    assert selected == opened.page.locator("#methods-text").inner_text().strip()
    assert "The network is a" in selected
    assert (opened.errors, opened.requests) == ([], [])
