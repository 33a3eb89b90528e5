// The level of one column over two others, between the points by how near they are.

const CELLS = 48;
const REACH = 0.3;

const contourSpec = {
  height: (chart, width) => (width < 480 ? 320 : 420),

  make(chart, state, colours) {
    const context = rowContext(chart, colours);
    const columns = [chart.x, chart.y, chart.value].map((key) => context.columns.get(key));
    const isWhole = (row) => columns.every((column) => typeof cellOf(context, column, row) === "number");
    const rows = context.rows.filter(isWhole);
    const points = rows.map((row) => columns.map((column) => cellOf(context, column, row)));
    const isLog = [0, 1].map((place) => {
      const isAsked = (chart.log_columns ?? []).includes(columns[place].key);
      return isAsked && points.every((point) => point[place] > 0);
    });
    const look = { colorscale: colourScale(colours, chart.direction), colorbar: colourBar(colours, columns[2]) };
    const [xaxis, yaxis] = [0, 1].map((place) => {
      const axis = rowAxis(context, columns[place], isLog[place], columns[place].key, 400);
      return { ...axis, showgrid: false };
    });
    return {
      traces: [
        ...(points.length > 2 ? [levels(points, isLog, look)] : []),
        {
          type: "scatter", mode: "markers", x: points.map((point) => point[0]), y: points.map((point) => point[1]),
          text: rows.map((row) => rowText(context, row, columns)), hovertemplate: "%{text}<extra></extra>",
          marker: { size: 7, color: colours.surface, line: { width: 1.5, color: colours.text } },
        },
      ],
      layout: { xaxis, yaxis, margin: { r: 20 } },
    };
  },
};

function levels(points, isLog, look) {
  const axes = [0, 1].map((place) => gridAxis(points.map((point) => point[place]), isLog[place]));
  const placed = points.map(([x, y, value]) => [axes[0].at(x), axes[1].at(y), value]);
  const width = Math.min(Math.max(0.9 / Math.sqrt(points.length), 0.06), 0.2);
  const steps = Array.from({ length: CELLS + 1 }, (_, place) => place / CELLS);
  return {
    type: "contour", x: steps.map(axes[0].back), y: steps.map(axes[1].back), ...look, ncontours: 14,
    z: steps.map((up) => steps.map((across) => levelAt(placed, across, up, width))),
    contours: { coloring: "heatmap", showlines: true }, line: { width: 0.5, color: "rgba(127,127,127,0.6)" },
    hoverinfo: "skip", connectgaps: false,
  };
}

function gridAxis(values, isLog) {
  const [there, back] = isLog ? [Math.log10, (value) => 10 ** value] : [Number, Number];
  const [least, most] = extent(values.map(there));
  const size = most - least || 1;
  return { at: (value) => (there(value) - least) / size, back: (part) => back(least + part * size) };
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
