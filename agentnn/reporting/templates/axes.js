// Axes: what their ticks say, and what all of them have in common.

const FEW = 6;
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** The least and the greatest of some numbers; nothing of none. */
function extent(values) {
  if (!values.length) return [];
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

const numbersOf = (values) => values.filter((value) => typeof value === "number");

/** Numbers of a common size are written out; only great and small ones as powers. */
function tickStyle(values) {
  const [least, most] = extent(numbersOf(values));
  const size = Math.max(Math.abs(least ?? 1), Math.abs(most ?? 1));
  return size >= 1e-3 && size < 1e9 ? { exponentformat: "none", separatethousands: true } : {};
}

/** The ticks of a logarithmic axis: on a long one only powers of ten, for a lone 2 or 5 tells nobody of which. */
function logTicks(values) {
  const [least, most] = extent(values.filter((value) => value > 0));
  if (most === undefined) return {};
  const digits = most / least > 50 ? [1] : most / least > 5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const tickvals = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power += 1) {
    for (const digit of digits) tickvals.push(Number((digit * 10 ** power).toPrecision(3)));
  }
  return { tickmode: "array", tickvals, ticktext: tickvals.map(powerText) };
}

function powerText(value) {
  if (value >= 1e-3 && value < 1e5) return number(value);
  const [mantissa, exponent] = value.toExponential().split("e").map(Number);
  const raised = String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
  return `${mantissa === 1 ? "" : `${mantissa}×`}10${raised}`;
}

/** Where there are but a few values and all are whole, these are the ticks. */
function fewTicks(values) {
  const distinct = [...new Set(numbersOf(values))].sort((one, other) => one - other);
  if (distinct.length > FEW || !distinct.every(Number.isInteger)) return null;
  const gap = (distinct.at(-1) - distinct[0]) / 12;
  const tickvals = distinct.filter((value, place) => place === 0 || value - distinct[place - 1] > gap);
  return { tickmode: "array", tickvals, ticktext: tickvals.map((value) => number(value)) };
}

/** About five round values from the least to the most. */
function niceValues(least, most) {
  const rough = (most - least) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough);
  const first = Math.ceil(least / step - 1e-9);
  const count = Math.floor(most / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/** The layout that all charts start from; `axis` is for each of their axes. */
function baseLayout(colours, width, height) {
  const axis = {
    gridcolor: colours.grid, linecolor: colours.border, zerolinecolor: colours.border, tickcolor: colours.border,
    zeroline: false, showline: false, ticks: "", ticklabelstandoff: 4, automargin: true, exponentformat: "power",
    nticks: width < 480 ? 5 : 8, tickfont: { color: colours.muted, size: 11.5 },
    title: { font: { color: colours.muted, size: 12 }, standoff: 10 },
  };
  const hoverlabel = {
    bgcolor: colours.surface, bordercolor: colours.border, font: { color: colours.text, size: 12 },
    align: "left", namelength: -1,
  };
  return {
    width, height, axis, hoverlabel, colorway: colours.series, showlegend: false, hovermode: "closest",
    paper_bgcolor: colours.surface, plot_bgcolor: colours.surface, dragmode: coarse ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.text },
    margin: { l: 48, r: 12, t: 10, b: 40 }, transition: { duration: 0 },
  };
}

/** A chart's layout over the common one. An axis stays zoomed until its revision or the number of resets changes. */
function mergedLayout({ axis, ...base }, layout, resets) {
  const merged = { ...base, ...layout, margin: { ...base.margin, ...layout.margin } };
  for (const key of Object.keys(merged).filter((name) => /^[xy]axis\d*$/.test(name))) {
    const own = merged[key];
    const title = own.title?.text ? { ...axis.title, ...own.title } : {};
    merged[key] = { ...axis, ...own, title, uirevision: `${own.uirevision} ${resets}` };
  }
  return merged;
}
