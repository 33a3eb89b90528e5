// Lines over steps or dates: learning curves, equity, drawdowns, optimisation histories.

const MOST_COLOURED = 16;
const COLOURED_OF_MANY = 10;
const MOST_UNIFIED = 10;
const OTHERS = "\u0000others";
const DASHES = ["solid", "dot", "dashdot"];
const keyOf = (series) => series.group || series.name;

const lineSpec = {
  height: (chart, width) => (chart.is_filled ? 220 : width < 480 ? 260 : 320),

  make(chart, state, colours) {
    const coloured = colouredSeries(chart);
    const context = {
      chart, state, colours, coloured, others: chart.series.filter((series) => !coloured.includes(series)),
      places: colourPlaces(chart), isUnified: chart.series.length <= MOST_UNIFIED,
      isPercent: chart.y_shape === "percent", xTitle: chart.x_title ?? "step",
      mainKeys: new Set(coloured.filter((series) => series.is_main).map(keyOf)),
    };
    const traces = context.others.length ? [otherLines(context)] : [];
    const mainLast = [...coloured].sort((one, other) => Boolean(one.is_main) - Boolean(other.is_main));
    for (const series of mainLast) traces.push(...lineTraces(context, series));
    return { traces, layout: lineLayout(context), legend: lineLegend(context) };
  },
};

// Which lines have which colour

/** The lines that have a colour: all, or of many the main ones and some others; the rest is grey. */
function colouredSeries(chart) {
  if (chart.series.length <= MOST_COLOURED) return chart.series;
  const main = chart.series.filter((series) => series.is_main);
  const taken = new Set(main.map(keyOf));
  const others = chart.series.filter((series) => !taken.has(keyOf(series)));
  return [...main, ...others.slice(0, Math.max(COLOURED_OF_MANY - main.length, 0))];
}

function colouredKeys(chart) {
  const coloured = colouredSeries(chart);
  return [...new Set([...coloured.filter((series) => series.is_main), ...coloured].map(keyOf))];
}

/** Charts with lines in common have the colours of all their lines in common, so that a run looks the same in all. */
const sharedColours = [];

function shareColours(charts) {
  for (const keys of charts.map(colouredKeys)) {
    let shared = sharedColours.find((places) => keys.some((key) => places.has(key)));
    if (!shared) sharedColours.push((shared = new Map()));
    for (const key of keys) if (!shared.has(key)) shared.set(key, shared.size);
  }
}

function colourPlaces(chart) {
  const keys = colouredKeys(chart);
  return sharedColours.find((places) => keys.some((key) => places.has(key))) ?? new Map();
}

function dashOf(series, place) {
  return series.style === "dash" ? "dash" : DASHES[Math.floor(place / SERIES_COLOURS) % DASHES.length];
}

// The traces

function lineTraces(context, series) {
  const { chart, state, colours } = context;
  const place = context.places.get(keyOf(series));
  const own = colours.series[place % SERIES_COLOURS];
  const colour = !series.is_main && context.mainKeys.has(keyOf(series)) ? faded(own, 0.4) : own;
  const arePoints = series.style === "points";
  const isMarked = arePoints || isLonely(series.y);
  const line = {
    color: colour, width: series.is_main && chart.series.length > 2 ? 2.75 : 1.75, dash: dashOf(series, place),
    shape: series.style === "steps" ? "hv" : "linear",
  };
  const drawn = {
    type: "scatter", mode: isMarked ? "markers" : "lines", x: abscissas(chart, series), y: series.y, line,
    name: label(series.name, 40), visible: !state.hidden.has(series.name), connectgaps: false,
    marker: { color: colour, size: arePoints ? 5 : 6, opacity: arePoints ? 0.8 : 1 },
    text: bandTexts(context, series), hovertemplate: lineHover(context, series),
    ...(chart.is_filled ? { fill: "tozeroy", fillcolor: faded(colour, 0.18) } : {}),
  };
  const band = bandTraces(series, drawn, colour);
  if (isMarked || !isSmoothed(context)) return [...band, drawn];
  const thin = { ...line, width: 1, color: faded(colour, 0.3) };
  const raw = { ...drawn, line: thin, hoverinfo: "skip", hovertemplate: null };
  return [...band, raw, { ...drawn, y: smoothed(series.y, state.smoothing) }];
}

/** Whether no two values follow one another, so that there is no line to be seen. */
function isLonely(values) {
  const isGap = (value) => value === null || value === undefined;
  return values.every((value, place) => isGap(value) || (isGap(values[place - 1]) && isGap(values[place + 1])));
}

function bandTraces(series, { x, visible: isVisible }, colour) {
  if (!series.low || !series.high) return [];
  const line = { width: 0, color: colour };
  const edge = { type: "scatter", mode: "lines", x, line, hoverinfo: "skip", visible: isVisible };
  return [{ ...edge, y: series.low }, { ...edge, y: series.high, fill: "tonexty", fillcolor: faded(colour, 0.16) }];
}

function bandTexts({ isPercent }, series) {
  if (!series.low || !series.high) return undefined;
  const told = (value) => shown(value, isPercent ? "percent" : "number");
  return series.y.map((_, place) => ` (${told(series.low[place])} to ${told(series.high[place])})`);
}

const hoverValue = ({ isPercent }) => (isPercent ? "%{y:.2%}" : "%{y:.5~g}");

function lineHover(context, series) {
  const band = series.low && series.high ? "%{text}" : "";
  if (context.isUnified) return `${hoverValue(context)}${band}`;
  return `${templateLabel(context.xTitle)} %{x}: <b>${hoverValue(context)}</b>${band}`;
}

/** Many more lines, as one trace in grey; their names are told where the pointer is. */
function otherLines(context) {
  const { chart, state, colours, others } = context;
  const [x, y, text] = [[], [], []];
  for (const series of others) {
    const at = abscissas(chart, series);
    const name = label(series.name, 40);
    const values = isSmoothed(context) ? smoothed(series.y, state.smoothing) : series.y;
    x.push(...at.slice(0, values.length), null);
    y.push(...values, null);
    text.push(...values.map(() => name), "");
  }
  return {
    type: "scatter", mode: "lines", x, y, text, name: "", visible: !state.hidden.has(OTHERS), connectgaps: false,
    line: { color: faded(colours.other, others.length > 60 ? 0.25 : 0.5), width: 1 },
    hovertemplate: `${templateLabel(context.xTitle)} %{x}: <b>${hoverValue(context)}</b><extra>%{text}</extra>`,
  };
}

const isSmoothed = ({ chart, state }) => chart.can_smooth && state.smoothing > 0;

/** An exponential moving average without a bias to the start; gaps stay gaps. */
function smoothed(values, weight) {
  let [sum, share] = [0, 0];
  return values.map((value) => {
    if (value === null) return null;
    sum = sum * weight + value * (1 - weight);
    share = share * weight + (1 - weight);
    return sum / share;
  });
}

// What is around them

function lineLayout({ chart, state, isUnified, isPercent, xTitle }) {
  const isLog = state.isLog ?? Boolean(chart.is_log_y);
  const isDate = chart.x_shape === "date";
  const values = chart.series.flatMap((series) => series.y);
  const ticks = isLog ? logTicks(values) : isPercent ? { tickformat: ".2~%" } : tickStyle(values);
  const heading = { text: `${templateLabel(xTitle)} %{x}`.trim() };
  return {
    hovermode: isUnified ? "x unified" : "closest",
    ...(xTitle ? {} : { margin: { b: 28 } }),
    xaxis: {
      title: { text: label(xTitle) }, type: isDate ? "date" : "linear", uirevision: "x", showgrid: false,
      showline: true, hoverformat: isDate ? "%Y-%m-%d" : ",~r", ...(isUnified ? { unifiedhovertitle: heading } : {}),
      ...(isDate ? {} : { exponentformat: "none", separatethousands: true }),
    },
    yaxis: {
      title: { text: chart.y_title === chart.title ? "" : label(chart.y_title ?? "") }, type: isLog ? "log" : "linear",
      uirevision: `y ${isLog}`, ...ticks,
    },
  };
}

function lineLegend({ coloured, others, places }) {
  const entries = coloured.map((series) => {
    const place = places.get(keyOf(series));
    const look = series.style === "points" ? "points" : dashOf(series, place);
    return { key: series.name, name: series.name, swatch: `series-${(place % SERIES_COLOURS) + 1} ${look}` };
  });
  if (others.length) entries.push({ key: OTHERS, name: `${number(others.length)} others`, swatch: "other" });
  return entries;
}
