import { baseStyle } from '../base/page-theme.ts';

/** Styles of the live page: light and dark, from a phone on. */
export const watchStyle = `${baseStyle}
body { font-size: 15px; max-width: 78rem; padding: 1rem; }
header { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; justify-content: space-between; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; min-width: 0; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .5rem; }
bdi { overflow-wrap: anywhere; }
.long { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }
#connection { margin: 0; color: var(--muted); }
#connection.lost { color: var(--bad); font-weight: 600; }
table { width: 100%; }
th, td { vertical-align: top; }
th:first-child, td:first-child { white-space: normal; min-width: 11rem; max-width: 24rem; font-weight: 400; }
thead th:first-child { font-weight: 600; }
td:nth-child(2), th:nth-child(2) { text-align: left; }
.name { display: flex; gap: .5rem; align-items: flex-start; }
.name input { margin: .3rem 0 0; accent-color: var(--link); }
.about { color: var(--muted); font-size: .85em; }
.swatch { flex: none; width: 1.6rem; height: .3rem; margin-top: .55rem; border-radius: 2px; }
.state { white-space: nowrap; }
.state.running, .state.elsewhere { color: var(--link); } .state.finished, .state.done { color: var(--good); }
.state.interrupted, .state.stale { color: var(--unsure); } .state.damaged { color: var(--bad); }
.state.waiting { color: var(--muted); }
.progress { height: .3rem; background: var(--line); border-radius: 2px; margin-top: .25rem; }
.progress div { height: 100%; background: var(--link); border-radius: 2px; }
ol.stages { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem; }
ol.stages li { border: 1px solid var(--line); border-radius: 6px; padding: .1rem .55rem; background: var(--panel); min-width: 0; max-width: 100%; overflow-wrap: anywhere; }
ol.stages li.running { border-color: var(--link); }
ol.stages b { font-weight: 600; }
ol.stages .about { margin-left: .4rem; }
.controls { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; margin: 0 0 .6rem; }
select, input { font: inherit; color: inherit; }
select { background: var(--panel); border: 1px solid var(--muted); border-radius: 4px; padding: .1rem .3rem; }
#charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(23rem, 100%), 1fr)); gap: .8rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem .6rem; background: var(--panel); min-width: 0; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .8rem; font-weight: 600; overflow-wrap: anywhere; }
figcaption .read { font-weight: 400; font-variant-numeric: tabular-nums; color: var(--muted); min-height: 1.5em; }
figcaption .read span::before { content: ''; display: inline-block; width: .7em; height: .25em; margin: 0 .3em .2em .6em; background: var(--of); border-radius: 1px; }
.plot { width: 100%; }
.u-title, .u-legend { display: none; }
#messages { list-style: none; padding: 0; margin: 0; }
#messages li { border-bottom: 1px solid var(--line); padding: .25rem 0; overflow-wrap: anywhere; }
#messages .warning { border-left: 4px solid var(--unsure); padding-left: .6rem; }
.when { color: var(--muted); font-variant-numeric: tabular-nums; }
.empty { color: var(--muted); }
@media print { .controls { display: none; } figure { break-inside: avoid; } }
`;
