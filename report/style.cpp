#include "report/style.h"

namespace rosa::report {
namespace {

// Series colours c0..c7: told apart also by readers who see no red or no green, and at 3:1 on their background.
constexpr std::string_view kStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fcfcfb; --raised: #ffffff; --ink: #18212c; --quiet: #56616d; --rule: #d8dde2; --grid: #e9ecef;
  --rose: #a8124f; --tint: #fbe8ef; --wrong: #a8124f; --control: #f1f3f5;
  --c0: #043d8f; --c1: #ec2900; --c2: #0f895c; --c3: #874974; --c4: #7e7c00; --c5: #276abb; --c6: #4a3712; --c7: #7f8a94;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #11161c; --raised: #161c24; --ink: #e7ebef; --quiet: #a2adb9; --rule: #323b46; --grid: #222a33;
    --rose: #ff8fb6; --tint: #40192b; --wrong: #ff9dbf; --control: #1d2530;
    --c0: #0f65f9; --c1: #fa5708; --c2: #4ee29a; --c3: #f979f0; --c4: #f7f873; --c5: #d9f8ff; --c6: #a75b3f; --c7: #75878e;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); border-top: 4px solid var(--rose);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
}
header, main, footer { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
footer { padding-top: 24px; padding-bottom: 48px; color: var(--quiet); font-size: 14px; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -0.015em; text-wrap: balance; overflow-wrap: anywhere; margin: 0; }
h1 { font-size: 34px; font-weight: 700; }
h2 { font-size: 28px; font-weight: 700; }
h3 { font-size: 21px; font-weight: 650; margin: 56px 0 6px; }
p { margin: 8px 0; max-width: 84ch; overflow-wrap: anywhere; }
a { color: var(--rose); }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.92em; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 24px; list-style: none; padding: 0; margin: 12px 0 0; }
article { margin-top: 28px; padding-bottom: 40px; }
article + article { border-top: 1px solid var(--rule); padding-top: 48px; }
.lead { color: var(--quiet); font-size: 17px; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 20px; margin: 20px 0 0; font-size: 14px; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.findings { border-left: 3px solid var(--rose); padding: 2px 0 2px 20px; margin: 28px 0 0; list-style: none; max-width: 92ch; }
.findings li { margin: 6px 0; }
.note { color: var(--quiet); font-size: 14.5px; }
.status { border: 1px solid var(--rule); border-radius: 6px; background: var(--raised); padding: 10px 16px; margin: 24px 0 0; font-size: 14.5px; }
.status ul { margin: 6px 0; padding-left: 20px; }

figure { margin: 20px 0 0; }
figcaption { color: var(--quiet); font-size: 14.5px; max-width: 92ch; margin-bottom: 14px; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 430px), 1fr)); gap: 26px 36px; }
.panel { min-width: 0; max-width: 600px; }
.panel-title { font-weight: 650; font-size: 15px; margin: 0 0 2px; }
.chart { display: block; width: 100%; height: auto; }
.chart text { font-size: 12px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
.chart .label, .chart .value { fill: var(--ink); }
.grid { stroke: var(--grid); }
.axis { stroke: var(--quiet); }
.line { fill: none; stroke: var(--c); stroke-width: 1.9; stroke-linejoin: round; stroke-linecap: round; }
.line.control { stroke-dasharray: 5 4; }
.band { fill: var(--c); opacity: 0.13; }
.dot { fill: var(--c); stroke: var(--paper); stroke-width: 0.8; }
.dot.soft { fill-opacity: 0.75; }
.leader { fill: none; stroke: var(--c); opacity: 0.55; }
.span { stroke: var(--c); stroke-width: 5; opacity: 0.28; }
.mean { stroke: var(--ink); stroke-width: 2; }
.reference { stroke: var(--ink); stroke-dasharray: 5 4; stroke-width: 1.3; }
.ink { --c: var(--ink); } .c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.swatch { width: 22px; height: 12px; margin-right: 8px; vertical-align: -1px; flex: none; }

.scroll { overflow-x: auto; margin: 22px 0 0; border: 1px solid var(--rule); border-radius: 6px; background: var(--raised); }
.scroll:focus-visible, a:focus-visible, summary:focus-visible { outline: 2px solid var(--rose); outline-offset: 2px; }
table { border-collapse: separate; border-spacing: 0; font-size: 14px; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { caption-side: top; text-align: left; color: var(--quiet); }
caption span { display: inline-block; position: sticky; left: 0; padding: 10px 14px 8px; max-width: min(calc(100vw - 50px), 1100px); }
th, td { padding: 5px 12px; text-align: right; white-space: nowrap; border-top: 1px solid var(--grid); }
thead th { font-weight: 600; color: var(--quiet); font-size: 13px; vertical-align: bottom; }
thead .group { text-align: center; border-bottom: 1px solid var(--rule); color: var(--ink); }
th.name { text-align: left; position: sticky; left: 0; background: var(--raised); border-right: 1px solid var(--rule); }
tbody th { font-weight: 500; }
.entry { display: flex; align-items: center; }
.entry > span { min-width: 0; }
wbr { display: none; }
tr.control th, tr.control td { background: var(--control); border-bottom: 1px solid var(--rule); }
td.best { font-weight: 700; color: var(--rose); background: var(--tint); }
.star { font-size: 11px; margin-right: 5px; vertical-align: 1px; }
.spread { color: var(--quiet); font-weight: 400; font-size: 12.5px; }
td.best .spread { color: inherit; }
.nothing { color: var(--quiet); }

.samples { margin: 14px 0 0; }
summary { cursor: pointer; font-weight: 600; padding: 4px 0; }
.samples .scroll { margin-top: 6px; }
.lines { min-width: 0; }
td.characters { padding-right: 28px; }
.lines th, .lines td { text-align: left; border: 0; padding: 1px 12px; }
.lines tbody tr:first-child > * { border-top: 1px solid var(--grid); padding-top: 8px; }
.lines tbody tr:last-child > * { padding-bottom: 8px; }
.lines th { color: var(--quiet); position: sticky; left: 0; background: var(--raised); }
.characters { font: 14px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
.count { color: var(--quiet); }
mark { background: var(--tint); color: var(--wrong); font-weight: 700; text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 2px; }

@media (max-width: 640px) {
  header, main, footer { padding-left: 16px; padding-right: 16px; }
  h1 { font-size: 27px; }
  h2 { font-size: 23px; }
  h3 { margin-top: 44px; }
  .chart text { font-size: 14px; }
  th.name { min-width: 138px; max-width: 46vw; white-space: normal; overflow-wrap: break-word; padding-right: 8px; }
  th, td { padding-left: 9px; padding-right: 9px; }
  wbr { display: inline; }
}
@media print { .scroll { overflow: visible; border: 0; } figure, .panel, tr { break-inside: avoid; } }
)css";

constexpr std::string_view kRunStyle = R"css(
.line.faint { stroke-width: 0.9; opacity: 0.55; }
.band.faint { opacity: 0.14; }
.area { fill: var(--c); opacity: 0.62; stroke: var(--c); stroke-width: 0.5; }
.hover path { fill: transparent; pointer-events: all; }
.hover path:hover { fill: var(--ink); fill-opacity: 0.07; }
.event { --e: var(--c5); }
.event.stage { --e: var(--c2); } .event.skip { --e: var(--c4); } .event.back { --e: var(--c3); } .event.failure { --e: var(--c1); }
.event-mark { fill: var(--e); stroke: var(--paper); stroke-width: 0.8; }
.event-line { stroke: var(--e); stroke-width: 0.9; stroke-dasharray: 2 3; fill: none; }
.heat { fill: var(--c0); }
.h0 { fill-opacity: 0.05; } .h1 { fill-opacity: 0.14; } .h2 { fill-opacity: 0.24; } .h3 { fill-opacity: 0.34; } .h4 { fill-opacity: 0.44; }
.h5 { fill-opacity: 0.55; } .h6 { fill-opacity: 0.66; } .h7 { fill-opacity: 0.77; } .h8 { fill-opacity: 0.88; } .h9 { fill-opacity: 1; }
.cross { fill: none; stroke: var(--c1); stroke-width: 1.6; }
.texts td { text-align: left; white-space: pre-wrap; min-width: 140px; max-width: 72ch; overflow-wrap: anywhere; vertical-align: top; }
.texts thead th { text-align: left; }
.texts tbody th { vertical-align: top; }
.texts tbody tr:first-child > * { border-top: 1px solid var(--grid); }
section > details { margin: 14px 0 0; }
@media (min-width: 641px) { th.name { min-width: 90px; } }
@media (max-width: 640px) { .chart text { font-size: 13px; } }
)css";

}  // namespace

std::string_view style_sheet() { return kStyle; }

std::string run_style_sheet() { return std::string(kStyle) + std::string(kRunStyle); }

}  // namespace rosa::report
