"""Adds to the shared style sheet what the page about a data set needs: two themes, charts, narrow screens."""

from __future__ import annotations

from mets3d.reporting.html_page import PageKind

# Every pair of text and ground has a contrast of at least 4.5 in both themes; a test computes it.
CSS = """
:root { color-scheme: light dark; --grid: #e6e8ec; --link: #0b5cad; --bad: #b42318; --bar: #0072B2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #a4adb9; --line: #323a44; --tint: #1c222a; --edge: #6b7684; --paper: #13171c;
    --back: #0b0e11; --warn: #e3b341; --note: #2a2412; --grid: #262d36; --link: #7db8f5; --bad: #ff8a80;
    --bar: #5aa9d6; }
}
a { color: var(--link); }
.skip { position: absolute; left: -999px; padding: 8px 14px; background: var(--paper); border: 2px solid var(--link); }
.skip:focus { left: 8px; top: 8px; z-index: 9; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 18px 0 0; padding: 0; list-style: none; }
nav a { display: inline-block; padding: 4px 0; }
h2 { scroll-margin-top: 12px; }
.tile b { font-size: 26px; overflow-wrap: anywhere; }
.tile { flex-basis: 150px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(290px, 100%), 1fr)); gap: 22px 34px;
  margin: 16px 0; }
.two { grid-template-columns: repeat(auto-fill, minmax(min(290px, 100%), 500px)); }
.charts > * { margin: 0; min-width: 0; }
figure h3 { margin: 0 0 6px; font-size: 15px; line-height: 1.3; overflow-wrap: anywhere; }
figure svg { display: block; width: 100%; height: auto; font-family: inherit; }
.chart svg { max-width: 500px; }
figcaption, td, th, caption { overflow-wrap: anywhere; }
caption b { position: sticky; left: 0; display: inline-block; max-width: calc(100vw - 36px); font-weight: inherit; }
.panels { display: grid; grid-template-columns: repeat(4, 1fr); gap: 4px; background: #000; }
.maps .panels { grid-template-columns: repeat(3, 1fr); }
@media (max-width: 620px) {
  .panels { grid-template-columns: 1fr 1fr; }
  .maps .panels { grid-template-columns: 1fr; }
}
.scale { display: flex; align-items: center; gap: 10px; color: var(--soft); font-size: 13px; }
.scale i { flex: 1; max-width: 260px; height: 10px; border-radius: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; }
.legend i, .dot { display: inline-block; width: 12px; height: 12px; border-radius: 6px; margin-right: 6px;
  border: 1px solid var(--soft); }
.wide { margin: 14px 0; position: relative; }
p { text-wrap: pretty; }
.charts .wide { margin: 0; }
.wide td, .wide th { white-space: nowrap; }
.kinds td:last-child { white-space: normal; min-width: 16em; }
.sets thead th:not(:first-child) { text-align: right; }
.no { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.bars td:last-child { width: 34%; min-width: 84px; }
.bars td i { display: block; height: 4px; background: var(--bar); border-radius: 2px; margin: 2px 0 2px auto; }
.error { color: var(--bad); font-weight: 600; }
.warning { color: var(--warn); font-weight: 600; }
.note { color: var(--soft); }
.tall { max-height: 75vh; overflow: auto; border: 1px solid var(--line); border-radius: 6px; }
.sortable th, .sortable td { font-size: 12.5px; padding: 3px 8px; }
.sortable thead th { position: sticky; top: 0; background: var(--paper); }
.sortable tbody th { text-align: left; position: sticky; left: 0; background: var(--paper); }
.sortable thead th:first-child { left: 0; z-index: 1; }
.sortable th.n { text-align: right; }
.sortable button { all: unset; cursor: pointer; padding: 4px 0; }
.sortable button:focus-visible { outline: 2px solid var(--link); }
.sortable button::after { content: " ↕"; color: var(--edge); }
[aria-sort=ascending] button::after { content: " ↑"; color: inherit; }
[aria-sort=descending] button::after { content: " ↓"; color: inherit; }
@media print { .tall { max-height: none; overflow: visible; } nav, .skip { display: none; } }
"""

EXPLORE = PageKind("mets3d explore", CSS, '<meta name="color-scheme" content="light dark">')
