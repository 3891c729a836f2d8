"""The browser of these tests, which is closed behind the last of them."""

from tests.builders.browser import browser, open_page  # noqa: F401 - fixtures
