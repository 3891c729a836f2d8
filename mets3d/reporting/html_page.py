"""Frames a page: one HTML template and its style sheet; nothing is loaded from outside the file."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from string import Template

CSS = """
:root { --ink: #22272e; --soft: #57606a; --line: #dfe3e8; --tint: #f6f7f9; --edge: #aab1bb; --paper: #fff;
  --back: #eef0f3; --warn: #8a5a00; --note: #fff8e6; }
* { box-sizing: border-box; }
html { background: var(--back); }
body { margin: 0 auto; max-width: 1180px; padding: 40px 50px 56px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header p { margin: 4px 0 0; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 20px; letter-spacing: -0.01em; margin: 40px 0 10px; padding-top: 16px;
  border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 8px 0; max-width: 84ch; }
.small, figcaption { color: var(--soft); font-size: 13px; max-width: 116ch; }
code { font: 12.5px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
p code, li code { background: var(--tint); border: 1px solid var(--line); border-radius: 4px; padding: 1px 5px; }
.notes { margin: 22px 0 0; padding: 12px 18px; background: var(--note); border-left: 4px solid #e6b800;
  border-radius: 4px; }
.notes h2 { all: unset; font-weight: 600; color: var(--warn); }
.notes ul { margin: 4px 0 0; padding-left: 18px; }
.notes li { margin: 3px 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 14px; margin: 24px 0 0; }
.tile { flex: 1 1 200px; border: 1px solid var(--line); border-top: 4px solid var(--edge); border-radius: 6px;
  padding: 12px 16px 13px; }
.tile b { display: block; font-size: 32px; line-height: 1.15; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: 13px; }
.tile strong { font-size: 14px; }
.verdict { display: grid; grid-template-columns: max-content 1fr; gap: 7px 22px; margin: 14px 0 6px; padding: 16px 20px;
  background: var(--tint); border: 1px solid var(--line); border-radius: 6px; font-variant-numeric: tabular-nums; }
.verdict dt { font-weight: 600; }
.verdict dd { margin: 0; }
.verdict dd:first-of-type { font-size: 17px; margin-bottom: 4px; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: 26px 40px;
  margin: 16px 0; }
.grid > table { align-self: start; }
.grid.one { grid-template-columns: minmax(0, 1fr); gap: 20px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums lining-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 5px; }
caption span { color: var(--soft); font-weight: 400; font-size: 13px; margin-left: 6px; }
th, td { padding: 4px 6px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-size: 14px; }
thead th { color: var(--soft); font-weight: 500; font-size: 12.5px; vertical-align: bottom;
  border-bottom: 1.5px solid var(--edge); }
tbody th { font-weight: 500; }
.numbers th, .numbers td { white-space: nowrap; }
td.n { text-align: right; }
.numbers thead th:not(:first-child), .cases thead th:not(:first-child) { text-align: right; }
th i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 7px; }
.text { table-layout: fixed; }
.text th:first-child { width: 9em; }
.text.settings th:first-child { width: 17em; }
.text tbody th { color: var(--soft); }
.text thead th { color: var(--ink); font-weight: 600; }
.text td { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.cases th, .cases td { font-size: 12.5px; padding: 3px 5px; white-space: nowrap; }
.cases td.start { padding-left: 14px; }
.cases thead td { border: 0; }
.cases th.group { text-align: center !important; color: var(--ink); font-weight: 600; border-bottom: 3px solid; }
figure { margin: 18px 0 26px; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin-top: 6px; }
details { margin: 14px 0; }
summary { cursor: pointer; font-weight: 500; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; overflow-x: auto;
  font: 12px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { margin-top: 44px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--soft); font-size: 13px; }
@media (max-width: 700px) {
  body { padding: 20px 16px 32px; }
  h1 { font-size: 24px; }
}
@media print {
  html { background: none; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2, h3 { break-after: avoid; }
  .tile { flex-basis: 120px; padding: 8px 12px; }
  table, .tile, .notes { break-inside: avoid; }
  .cases { break-inside: auto; }
  .grid { grid-template-columns: 1fr 1fr; gap: 14px 24px; }
  th, td, thead th { font-size: 7.5pt; padding: 2pt 3pt; }
  .cases th, .cases td { font-size: 6.5pt; padding: 1.5pt 2pt; }
  .wide { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="$generator">$head
<title>$title</title>
<style>$css</style>
</head>
<body>
$body
</body>
</html>
"""
)


@dataclass(frozen=True)
class PageKind:
    """A kind of page: the mark by which its own are known, and what it adds to the style sheet and the head."""

    generator: str
    css: str = ""
    head: str = ""  # HTML


def page_html(kind: PageKind, title: str, body: str) -> str:
    """Returns a whole page; `title` and `body` are HTML, already escaped."""
    head = f"\n{kind.head}" if kind.head else ""
    return PAGE.substitute(generator=escape(kind.generator), head=head, title=title, css=CSS + kind.css, body=body)
