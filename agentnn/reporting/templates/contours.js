// The level of one column over two others, between the points by how near they are.

const CELLS = 48;
const REACH = 0.3;

const contourSpec = {
  height: (chart, width) => (width < 480 ? 320 : 420),

  make(chart, state, colours) {
    const context = rowContext(chart, colours);
    const [x, y, value] = [chart.x, chart.y, chart.value].map((key) => context.columns.get(key));
    const rows = context.rows.filter((row) => [x, y, value].every((column) => typeof cellOf(context, column, row) === "number"));
    const points = rows.map((row) => [x, y, value].map((column) => cellOf(context, column, row)));
    const isLog = [x, y].map((column, place) => (chart.log_columns ?? []).includes(column.key) && points.every((point) => point[place] > 0));
    const scale = (chart.direction === "min" ? [...colours.scale].reverse() : colours.scale).map((colour, place, all) => [place / (all.length - 1), colour]);
    const bar = { ...colouring(context, rows, value).colorbar };
    const traces = points.length > 2 ? [levels(points, isLog, scale, bar)] : [];
    traces.push({
      type: "scatter", mode: "markers", x: points.map((point) => point[0]), y: points.map((point) => point[1]), text: rows.map((row) => rowText(context, row, [x, y, value])),
      hovertemplate: "%{text}<extra></extra>", marker: { size: 7, color: colours.surface, line: { width: 1.5, color: colours.text } },
    });
    const axis = (column, place) => ({ ...rowAxis(context, column, isLog[place], column.key, 400), showgrid: false });
    return { traces, layout: { xaxis: axis(x, 0), yaxis: axis(y, 1), margin: { r: 20 } } };
  },
};

function levels(points, isLog, colorscale, colorbar) {
  const axes = [0, 1].map((place) => gridAxis(points.map((point) => point[place]), isLog[place]));
  const placed = points.map((point) => [axes[0].at(point[0]), axes[1].at(point[1]), point[2]]);
  const width = Math.min(Math.max(0.9 / Math.sqrt(points.length), 0.06), 0.2);
  const steps = Array.from({ length: CELLS + 1 }, (_, place) => place / CELLS);
  const z = steps.map((up) => steps.map((across) => levelAt(placed, across, up, width)));
  return {
    type: "contour", x: steps.map(axes[0].back), y: steps.map(axes[1].back), z, colorscale, colorbar, ncontours: 14, hoverinfo: "skip", connectgaps: false,
    contours: { coloring: "heatmap", showlines: true }, line: { width: 0.5, color: "rgba(127,127,127,0.6)" },
  };
}

function gridAxis(values, isLog) {
  const [there, back] = isLog ? [Math.log10, (value) => 10 ** value] : [Number, Number];
  const scaled = values.map(there);
  const [least, most] = [Math.min(...scaled), Math.max(...scaled)];
  const size = most - least || 1;
  return { at: (value) => (there(value) - least) / size, back: (share) => back(least + share * size) };
}

/** The mean of the points around, the nearer the weightier; nothing where no point is near. */
function levelAt(points, across, up, width) {
  let [sum, weights, nearest] = [0, 0, Infinity];
  for (const [x, y, value] of points) {
    const distance = (x - across) ** 2 + (y - up) ** 2;
    const weight = Math.exp(-distance / (2 * width * width));
    nearest = Math.min(nearest, distance);
    sum += weight * value;
    weights += weight;
  }
  return nearest > REACH * REACH || weights === 0 ? null : sum / weights;
}
