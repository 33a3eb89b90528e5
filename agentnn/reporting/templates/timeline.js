// What ran when: few spans in a lane each, many in as many lanes as ran at once.

const STATES = {
  complete: { series: 1, pattern: "" },
  failed: { series: 2, pattern: "x" },
  running: { series: 3, pattern: "." },
  pruned: { series: 4, pattern: "/" },
};
const MOST_NAMED = 24;

const timelineSpec = {
  height(chart) {
    const lanes = lanesOf(chart);
    return Math.max(lanes.count * (lanes.areNamed ? 22 : 20), 44) + 50;
  },

  make(chart, state, colours) {
    const lanes = lanesOf(chart);
    const states = [...new Set(chart.spans.map((span) => span.state))];
    const named = lanes.areNamed ? chart.spans : [];
    return {
      traces: states.map((name) => spanTrace(chart, lanes, name, colours, state)),
      layout: {
        barmode: "overlay", xaxis: { type: "date", title: { text: "UTC" }, uirevision: "x" },
        yaxis: {
          autorange: "reversed", showgrid: false, fixedrange: true, tickmode: "array",
          tickvals: named.map((_, place) => place), ticktext: named.map((span) => label(span.label, 20)),
        },
      },
      legend: states.map((name) => ({ key: name, name, swatch: `series-${STATES[name]?.series ?? "none"} block` })),
    };
  },
};

function spanTrace(chart, lanes, name, colours, state) {
  const { series, pattern } = STATES[name] ?? { pattern: "" };
  const places = chart.spans.map((_, place) => place).filter((place) => chart.spans[place].state === name);
  const spans = places.map((place) => chart.spans[place]);
  const last = latest(chart);
  return {
    type: "bar", orientation: "h", name: label(name), visible: !state.hidden.has(name), width: 0.72,
    base: spans.map((span) => span.start.replace(/Z$/, "")), x: spans.map((span) => lengthOf(span, last)),
    y: places.map((place) => lanes.of[place]),
    marker: {
      color: series ? colours.series[series - 1] : colours.other, line: { width: 1, color: colours.surface },
      pattern: { shape: pattern, fillmode: "overlay", fgcolor: colours.surface, size: 6, solidity: 0.25 },
    },
    customdata: spans.map((span) => spanText(span, last)), hovertemplate: "%{customdata}<extra></extra>",
  };
}

function spanText(span, last) {
  const lasted = span.end ? duration(lengthOf(span, last) / 1000) : "not ended";
  return `<b>${label(span.label)}</b><br>${label(span.state)}<br>${label(moment(span.start))}, ${lasted}`;
}

const lengthOf = (span, last) => Math.max(Date.parse(span.end ?? last) - Date.parse(span.start), 1);

function latest(chart) {
  const times = chart.spans.map((span) => span.end ?? span.start);
  return times.reduce((one, other) => (Date.parse(other) > Date.parse(one) ? other : one));
}

/** Each span in the first lane that is free when it starts; few spans have a lane each. */
function lanesOf({ spans }) {
  const places = spans.map((_, place) => place);
  if (spans.length <= MOST_NAMED) return { areNamed: true, count: spans.length, of: places };
  const start = (place) => Date.parse(spans[place].start);
  const last = latest({ spans });
  const ends = [];
  const of = [];
  for (const place of places.sort((one, other) => start(one) - start(other) || one - other)) {
    const free = ends.findIndex((before) => before <= start(place));
    of[place] = free < 0 ? ends.length : free;
    ends[of[place]] = start(place) + lengthOf(spans[place], last);
  }
  return { areNamed: false, count: ends.length, of };
}
