"""Style of the page of an audit, from 390 px to A4."""

from __future__ import annotations

STYLE = """
:root { --ink: #222; --soft: #5c5c5c; --line: #d9d9d9; --ours: #0072b2; --theirs: #767676; --bad: #a33a00; \
--good: #11612c; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, \
"Helvetica Neue", "DejaVu Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
main { max-width: 880px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0; }
h2 { font-size: 18px; margin: 32px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 16px 0 4px; }
p { margin: 0 0 8px; }
ul { margin: 0; padding-left: 20px; }
li { margin: 0 0 4px; }
.soft, small, figcaption { color: var(--soft); }
.soft { font-size: 13.5px; }
.lead { font-size: 19px; line-height: 1.45; text-wrap: pretty; }
.verdict { padding: 8px 12px; border-left: 4px solid var(--bad); background: #fbf0ea; }
.verdict.below { border-color: var(--good); background: #ecf6ef; }
table { width: 100%; border-collapse: collapse; font-size: 14px; margin: 8px 0; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; border-bottom-color: #999; }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 108px; }
td.number { white-space: nowrap; }
td:not(.number) { overflow-wrap: anywhere; min-width: 110px; }
svg { display: block; width: 100%; max-width: 680px; height: auto; margin: 8px 0 0; }
svg text { font-size: 12px; fill: var(--ink); }
svg .name { paint-order: stroke; stroke: #fff; stroke-width: 4px; }
svg .name.strong { font-weight: 700; }
svg .name.theirs { fill: var(--soft); }
svg .tick { text-anchor: middle; fill: var(--soft); }
svg .grid { stroke: #e8e8e8; }
svg .chance { stroke: var(--ink); stroke-dasharray: 3 3; }
svg .span { stroke: var(--ours); stroke-width: 2; }
svg .span.strong { stroke-width: 4; }
svg .dot.ours { fill: var(--ours); }
svg .dot.theirs { fill: #fff; stroke: var(--theirs); stroke-width: 2; }
.key { color: var(--soft); font-size: 13px; }
.key span { margin-left: 14px; }
.key span:first-child { margin-left: 0; }
.key .ours { color: var(--ours); }
.faces { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 0; width: 112px; break-inside: avoid; }
figure img { display: block; width: 112px; height: 112px; object-fit: contain; border: 3px dashed #9a9a9a; \
image-rendering: pixelated; }
figure.hit img { border: 3px solid var(--ink); }
figure.private img { border: 3px double var(--bad); }
figcaption { font-size: 12.5px; line-height: 1.35; margin-top: 3px; }
pre { padding: 10px 12px; background: #f4f4f4; font-size: 13px; white-space: pre-wrap; }
code { background: #f4f4f4; padding: 1px 4px; font-size: 13.5px; }
pre code { padding: 0; }
dl { margin: 0; }
dl div { display: flex; gap: 14px; padding: 3px 0; border-bottom: 1px solid var(--line); }
dt { flex: 0 0 190px; color: var(--soft); }
dd { margin: 0; }
@media screen and (max-width: 640px) {
  main { padding: 16px 14px 32px; }
  .lead { font-size: 17px; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, tbody th, td { display: block; }
  tr { padding: 7px 0; border-bottom: 1px solid var(--line); }
  th, td { padding: 1px 0; border: 0; }
  td.number { white-space: normal; }
  td:empty { display: none; }
  td::before { content: attr(data-head) ": "; color: var(--soft); }
  td[data-head=""]::before { content: ""; }
  svg text { font-size: 19px; }
  dl div { display: block; }
}
@page { size: A4; margin: 16mm; }
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  tr, svg, .verdict, dl div { break-inside: avoid; }
  thead { display: table-header-group; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
