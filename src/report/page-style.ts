import { baseStyle, lightTheme } from '../base/page-theme.ts';

/** The styles of a page: light and dark, for wide and narrow screens and for print. */
export const pageStyle = `
${baseStyle}header { display: flex; gap: 1rem; align-items: flex-start; justify-content: space-between; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .2rem 0 .6rem; min-width: 0; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .5rem; } h4 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; } h5 { font-size: .95rem; margin: 1.1rem 0 .2rem; }
p { margin: .5rem 0; max-width: 62rem; } p, h5, figcaption, dd, dt, caption { overflow-wrap: anywhere; }
a { color: var(--link); } th a, caption a, li a { color: inherit; text-decoration-style: dotted; text-decoration-color: var(--muted); text-underline-offset: .2em; }
.name { overflow-wrap: anywhere; }
.small { color: var(--muted); font-size: .875rem; }
.caution { border-left: 4px solid var(--c4); padding: .3rem .8rem; background: var(--unsure-page); }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: .5rem 0; border-block: 1px solid var(--line); }
button.theme { flex: none; font: inherit; font-size: .875rem; color: var(--text); background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .25rem .7rem; cursor: pointer; }
html:not(.scripted) .scripted-only { display: none; }

.banners { display: grid; grid-template-columns: minmax(0, 1fr); gap: .9rem; }
.banner { border: 1px solid var(--line); border-left: .5rem solid var(--muted); border-radius: .5rem; padding: .7rem 1.1rem; background: var(--panel); }
.banner.serves { border-left-color: var(--c2); background: var(--good-page); } .banner.fails { border-left-color: var(--c1); background: var(--bad-page); }
.banner.mixed, .banner.undecided { border-left-color: var(--c4); background: var(--unsure-page); }
.headline { font-size: 1.25rem; margin: .1rem 0 .5rem; } .headline .name { font-weight: 700; }
.headline .sign { display: inline-block; width: 1.4em; font-weight: 700; } .serves .sign { color: var(--good); } .fails .sign { color: var(--bad); } .mixed .sign, .undecided .sign { color: var(--unsure); }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: 0; padding: 0; font-size: .9rem; }
.chips li { border: 1px solid currentColor; border-radius: 1rem; padding: .05rem .7rem; background: var(--page); font-variant-numeric: tabular-nums; }
.met { color: var(--good); } .missed { color: var(--bad); } .undecided, .withheld { color: var(--unsure); } .banner.undecided, .banner.withheld { color: var(--text); }
.verdict { font-size: .95rem; } .banner details { border: 0; padding: 0; margin: .3rem 0 0; font-size: .95rem; } .banner summary { padding: .1rem 0; }

table { font-size: .93rem; }
caption { text-align: left; color: var(--muted); font-size: .875rem; padding: .2rem 0 .3rem; }
thead th { white-space: normal; vertical-align: bottom; }
tbody th { font-weight: 400; min-width: 8.5rem; max-width: 22rem; white-space: normal; } tbody th > a, .chips a { white-space: nowrap; }
button.sort { font: inherit; border: 0; background: none; color: var(--muted); cursor: pointer; padding: .2rem .3rem; min-width: 24px; min-height: 24px; }
button.sort::before { content: "↕"; } [aria-sort=ascending] > button.sort::before { content: "↑"; } [aria-sort=descending] > button.sort::before { content: "↓"; }

.forest-table { width: 100%; } .forest-table .criterion { text-align: left; } .forest-table .met, .forest-table .missed, .forest-table .undecided, .forest-table .withheld { color: inherit; }
td.bar, th.bar { width: 40%; min-width: 11rem; padding-inline: 1.2rem; overflow: hidden; }
.forest, .forest-axis { position: relative; height: 1.3rem; } .forest-axis span { position: absolute; transform: translateX(-50%); color: var(--muted); font-size: .8rem; }
.forest i { position: absolute; top: 50%; } .forest .zero { top: -2rem; bottom: -2rem; border-left: 2px solid var(--muted); margin-left: -1px; }
.forest .range { height: 4px; margin-top: -2px; border-radius: 2px; background: var(--oracle); } .forest .dot { width: 12px; height: 12px; margin: -6px; border-radius: 50%; background: var(--oracle); }
.met .range, .met .dot { background: var(--c2); } .missed .range, .missed .dot { background: var(--c1); } .missed .dot { border-radius: 0; } tr.undecided .dot { background: var(--page); border: 3px solid var(--oracle); }
tr.met td.criterion { color: var(--good); } tr.missed td.criterion { color: var(--bad); } tr.undecided td.criterion { color: var(--unsure); }

figcaption { color: var(--muted); font-size: .9rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit; } svg.narrow { display: none; }
svg .off, .no-bands svg .band { display: none; } svg.sample { display: inline-block; width: 30px; height: 12px; flex: none; }
.read { display: grid; grid-template-columns: minmax(0, 1.75fr) minmax(0, 1fr); gap: 1.2rem; align-items: start; }
.lines td { padding-inline: .5rem; } .lines label { display: flex; gap: .5rem; align-items: center; min-height: 26px; cursor: pointer; }
.lines input, .bands input { width: 1.05rem; height: 1.05rem; flex: none; accent-color: var(--link); }
.bands { display: flex; gap: .5rem; align-items: center; padding: .5rem .2rem; font-size: .9rem; }
.cursor line { stroke: var(--text); stroke-width: 1; stroke-dasharray: 2 2; } .cursor circle { stroke: var(--page); stroke-width: 1.5; }
svg[data-x] { touch-action: pan-y; cursor: crosshair; }
.cursor-label { display: grid; grid-template-columns: auto 1fr; gap: .8rem; align-items: center; font-size: .9rem; padding: .2rem 0; } .cursor-label .at { min-width: 7.5em; font-variant-numeric: tabular-nums; } input[type=range] { width: 100%; accent-color: var(--link); min-height: 24px; }
.single svg { max-width: 52rem; }
.side-by-side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 1rem; }

details { border: 1px solid var(--line); border-radius: .5rem; padding: .2rem .9rem; margin: .8rem 0; } details[open] { padding-bottom: .8rem; }
summary { cursor: pointer; padding: .4rem 0; } summary h3 { display: inline; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; font-size: .9rem; } .key span::before { content: ""; display: inline-block; width: 1.6em; height: .8em; margin-right: .5em; vertical-align: baseline; }
.key .genuine::before { background: var(--c0); opacity: .6; } .key .impostor::before { background: var(--c1); opacity: .6; } .key .limit::before { height: 0; border-top: 3px solid var(--old); vertical-align: middle; } .key .own::before { height: 0; border-top: 3px dashed var(--c2); vertical-align: middle; }
.good { color: var(--good); } .bad { color: var(--bad); }
.change-bar { display: grid; gap: .3rem; max-width: 36rem; margin: .8rem 0; } .change-bar div { display: grid; grid-template-columns: 1fr 11rem; gap: .6rem; align-items: center; color: var(--text); font-size: .9rem; } .change-bar i { height: 1rem; border-radius: .2rem; background: var(--c2); } .change-bar .bad i { background: var(--c1); }
.examples { display: flex; flex-wrap: wrap; gap: .7rem; list-style: none; padding: 0; margin: .5rem 0; } .example { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .4rem; background: var(--panel); }
.example div { display: flex; gap: .3rem; } .example img { width: 56px; height: 56px; object-fit: contain; background: #fff; border-radius: .2rem; border: 2px solid transparent; }
.example img:nth-child(2) { border-color: var(--c2); } .example img:nth-child(3) { border-color: var(--c1); } .example figcaption { font-size: .8rem; text-align: center; }
ol.classes { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; padding: 0; margin: .5rem 0; list-style: none; font-size: .9rem; } .classes li { display: flex; gap: .45rem; align-items: center; max-width: 18rem; } .classes b { display: inline-block; min-width: 1.5rem; text-align: center; border-bottom: 4px solid var(--series); } .classes img { width: 32px; height: 32px; object-fit: contain; background: #fff; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 1rem; max-width: 62rem; } dt:target, dt:target + dd { background: var(--unsure-page); }

@media (max-width: 760px) {
  body { font-size: 15px; padding-inline: 1rem; } header { flex-direction: column; gap: .2rem; }
  svg.broad { display: none; } svg.narrow { display: block; } .read { grid-template-columns: minmax(0, 1fr); gap: .4rem; }
  th, td { padding-inline: .45rem; } .change-bar div { grid-template-columns: 1fr 9.5rem; } .example img { width: 44px; height: 44px; } .examples { gap: .4rem; }
  .forest-table { font-size: .87rem; } .forest-table th, .forest-table td { padding-inline: .25rem; } .forest-table tbody th { min-width: 0; } .forest-table .more, .forest-table .criterion .word { display: none; } .forest-table td { white-space: normal; }
  .forest-table td.bar, .forest-table th.bar { width: 34%; min-width: 5.5rem; padding-inline: .8rem; }
}
@media print {
  :root, :root[data-theme] { ${lightTheme} }
  :root { font-size: 11px; } body { font-size: 1rem; max-width: none; padding: 0; } th, td { padding-inline: .4rem; white-space: normal; } nav, button, .cursor-label, .bands { display: none !important; } a { color: inherit; text-decoration: none; }
  * { print-color-adjust: exact; } .banner, figure, .figure, tr { break-inside: avoid; } .wide { overflow: visible; } h2, h3, h4 { break-after: avoid; }
}
`;
