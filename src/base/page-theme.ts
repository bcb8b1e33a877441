/** Colours that people with colour vision deficiencies tell apart (Okabe and Ito, "Color universal design", 2008), lighter on a dark page. */
export const lightTheme = `color-scheme: light; --page: #fff; --panel: #f5f7f9; --text: #1a1f26; --muted: #59636e; --line: #d5dbe1; --link: #0a4f8f;
--good: #00664b; --bad: #a33c00; --unsure: #6b5200; --good-page: #e5f4ee; --bad-page: #fdeee4; --unsure-page: #fbf4dd;
--old: #1a1a1a; --oracle: #7a7a7a; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b4568c; --c4: #c98a00; --c5: #2f93cf; --c6: #8a7a00;`;
export const darkTheme = `color-scheme: dark; --page: #12161b; --panel: #1b2128; --text: #e8edf2; --muted: #a3aeb9; --line: #36404a; --link: #8cc8ff;
--good: #5fd6ae; --bad: #ffab78; --unsure: #e8cf6a; --good-page: #12302a; --bad-page: #3a2214; --unsure-page: #322b12;
--old: #f2f2f2; --oracle: #a8a8a8; --c0: #56b4e9; --c1: #ff8a3c; --c2: #2fcb9b; --c3: #e69cc6; --c4: #f0b429; --c5: #8bd3ff; --c6: #e6d94a;`;

/** What all pages have in common: colours, light and dark, by the system or by `data-theme`; type, tables, the mark of the focus. */
export const baseStyle = `
:root { ${lightTheme} --plot-background: var(--page); }
@media (prefers-color-scheme: dark) { :root { ${darkTheme} } }
:root[data-theme=light] { ${lightTheme} }
:root[data-theme=dark] { ${darkTheme} }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; max-width: 72rem; margin: 0 auto; padding: 1.2rem 1.2rem 4rem; color: var(--text); background: var(--page); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; }
thead th { font-weight: 600; color: var(--muted); border-bottom: 2px solid var(--line); }
figure { margin: 1rem 0; }
`;
