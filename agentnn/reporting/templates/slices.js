// One column over each of several others, a small panel for each.

const PANEL = { width: 230, height: 210, gap: 0.03, below: 0.15 };

const sliceSpec = {
  height: (chart, width) => panelGrid(chart, width).rows * PANEL.height + 30,

  make(chart, state, colours, width) {
    const context = rowContext(chart, colours);
    const grid = { ...panelGrid(chart, width), width };
    const traces = [];
    const layout = { margin: { b: 44 } };
    chart.panels.forEach((key, place) => addPanel(context, grid, key, place, traces, layout));
    return { traces, layout, legend: mainLegend(context) };
  },
};

function panelGrid(chart, width) {
  const columns = Math.max(1, Math.min(chart.panels.length, Math.floor(width / PANEL.width)));
  return { columns, rows: Math.ceil(chart.panels.length / columns) };
}

function addPanel(context, grid, key, place, traces, layout) {
  const { chart } = context;
  const [x, y, colour] = [key, chart.y, chart.colour].map((one) => context.columns.get(one) ?? null);
  const rows = context.rows.filter((row) => isDrawn(context, x, row) && isDrawn(context, y, row));
  const nth = place ? String(place + 1) : "";
  const axes = { xaxis: `x${nth}`, yaxis: `y${nth}` };
  const points = pointTrace(context, rows, { x, y, colour }, axes);
  points.marker.showscale = Boolean(points.marker.colorscale) && place === 0 && grid.width > 480;
  if (place) delete points.marker.colorbar;
  traces.push(points, ...mainTrace(context, rows, { x, y }, axes));

  const [column, row] = [place % grid.columns, Math.floor(place / grid.columns)];
  const room = grid.width / grid.columns - 40;
  layout[`xaxis${nth}`] = {
    ...rowAxis(context, x, undefined, key, room), nticks: 4, anchor: axes.yaxis,
    domain: share(column, grid.columns, PANEL.gap),
  };
  layout[`yaxis${nth}`] = {
    ...rowAxis(context, y, undefined, "y", 160), anchor: axes.xaxis, showticklabels: column === 0,
    domain: share(grid.rows - 1 - row, grid.rows, PANEL.below),
    ...(column ? { title: { text: "" } } : {}), ...(place ? { matches: "y" } : {}),
  };
}

/** The part of the whole that the one at this place has, with a gap to its neighbours. */
function share(place, count, gap) {
  const size = (1 - gap * (count - 1)) / count;
  return [place * (size + gap), place * (size + gap) + size];
}
