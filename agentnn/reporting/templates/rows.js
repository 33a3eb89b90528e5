// The rows of a table as points: by any two columns, or by each of several (slices).

const scatterSpec = {
  height: (chart, width) => (chart.panels?.length ? panelGrid(chart, width).rows * 210 + 30 : width < 480 ? 320 : 400),
  make: (chart, state, colours, width) => (chart.panels?.length ? panels : scatter)(chart, state, colours, width),
};

function scatter(chart, state, colours, width) {
  const context = rowContext(chart, colours);
  const [x, y] = [state.x ?? chart.x, state.y ?? chart.y].map((key) => context.columns.get(key));
  const colour = context.columns.get(state.colour === undefined ? chart.colour : state.colour) ?? null;
  const rows = context.rows.filter((row) => isDrawn(context, x, row) && isDrawn(context, y, row));
  return {
    traces: [pointTrace(context, rows, x, y, colour, "x", "y"), ...mainTrace(context, rows, x, y, "x", "y")],
    layout: {
      xaxis: rowAxis(context, x, state.logX, `x ${x.key} ${state.logX}`, width), yaxis: rowAxis(context, y, state.logY, `y ${y.key} ${state.logY}`, 400),
      margin: { r: colour ? 20 : 12 },
    },
    legend: mainLegend(context),
  };
}

function rowContext(chart, colours) {
  const table = blocks.get(chart.table);
  const columns = columnsOf(table);
  return { chart, colours, table, columns, rows: table.rows.map((_, row) => row), label: columns.get(chart.label) };
}

const cellOf = ({ table }, column, row) => table.rows[row][column.place];

function isDrawn(context, column, row) {
  const value = cellOf(context, column, row);
  return isNumeric(context.table, column) ? typeof value === "number" : value !== null;
}

/** Numbers are where they are; texts side by side, a little apart from their equals. */
function coordinates(context, column, rows) {
  if (isNumeric(context.table, column)) return rows.map((row) => cellOf(context, column, row));
  const texts = textsOf(context, column);
  return rows.map((row) => texts.indexOf(String(cellOf(context, column, row))) + (((row * GOLDEN) % 1) - 0.5) * 0.3);
}

const GOLDEN = 0.6180339887;

function textsOf({ table }, column) {
  const texts = table.rows.map((row) => row[column.place]).filter((value) => value !== null).map(String);
  return [...new Set(texts)].sort(collator.compare);
}

/** The axis of a column; `room` is how many pixels it has. */
function rowAxis(context, column, isLog, revision, room) {
  const { chart, table } = context;
  const axis = { title: { text: label(titleOf(column), Math.max(12, Math.floor(room / 8))) }, uirevision: revision };
  if (!isNumeric(table, column)) return { ...axis, ...textAxis(textsOf(context, column), room) };
  const isLogarithmic = isLog ?? (chart.log_columns ?? []).includes(column.key);
  const values = table.rows.map((row) => row[column.place]);
  const ticks = fewTicks(values) ?? (isLogarithmic ? logTicks(values) : tickStyle(values));
  return { ...axis, type: isLogarithmic ? "log" : "linear", ...(column.shape === "percent" ? { tickformat: ".2~%" } : ticks) };
}

/** Where there are but a few values and all are whole, these are the ticks. */
function fewTicks(values) {
  const distinct = [...new Set(values.filter((value) => typeof value === "number"))].sort((one, other) => one - other);
  if (distinct.length > FEW || !distinct.every(Number.isInteger)) return null;
  const gap = (distinct.at(-1) - distinct[0]) / 12;
  const tickvals = distinct.filter((value, place) => place === 0 || value - distinct[place - 1] > gap);
  return { tickmode: "array", tickvals, ticktext: tickvals.map((value) => number(value)) };
}

function textAxis(texts, room) {
  const each = Math.max(4, Math.floor(room / texts.length / 7));
  const every = Math.ceil((texts.length * 30) / room);
  const tickvals = texts.map((_, place) => place).filter((place) => place % every === 0);
  return { type: "linear", tickmode: "array", tickvals, ticktext: tickvals.map((place) => label(texts[place], Math.min(each, 24))), range: [-0.5, texts.length - 0.5], autorange: false };
}

function pointTrace(context, rows, x, y, colour, xaxis, yaxis) {
  const { colours } = context;
  const text = rows.map((row) => rowText(context, row, [x, y, colour]));
  const marker = { size: rows.length > 300 ? 6 : 8, opacity: rows.length > 300 ? 0.7 : 0.85, line: { width: 0.5, color: colours.surface }, ...colouring(context, rows, colour) };
  return { type: "scatter", mode: "markers", x: coordinates(context, x, rows), y: coordinates(context, y, rows), xaxis, yaxis, text, hovertemplate: "%{text}<extra></extra>", marker };
}

/** What is told of a row: its label, then each column's value. */
function rowText(context, row, columns) {
  const lines = [...new Set(columns)].filter(Boolean).map((column) => `${label(titleOf(column), 30)}: ${label(shown(cellOf(context, column, row), column.shape, column.digits ?? null), 30)}`);
  const name = context.label ? `<b>${label(shown(cellOf(context, context.label, row), context.label.shape), 40)}</b>` : "";
  return [name, ...lines].filter(Boolean).join("<br>");
}

/** Points coloured by a column: along the scale by numbers, one colour a text. */
function colouring({ table, colours }, rows, column) {
  if (!column) return { color: colours.series[0] };
  const values = rows.map((row) => table.rows[row][column.place]);
  if (!isNumeric(table, column)) {
    const texts = [...new Set(table.rows.map((row) => String(row[column.place])))];
    return { color: values.map((value) => colours.series[texts.indexOf(String(value)) % SERIES_COLOURS]), symbol: values.map((value) => SYMBOLS[texts.indexOf(String(value)) % SYMBOLS.length]) };
  }
  const scale = column.direction === "min" ? [...colours.scale].reverse() : colours.scale;
  return {
    color: values.map((value) => (typeof value === "number" ? value : null)), colorscale: scale.map((colour, place) => [place / (scale.length - 1), colour]),
    colorbar: { title: { text: label(titleOf(column), 14), side: "top", font: { size: 12, color: colours.muted } }, thickness: 10, outlinewidth: 0, tickfont: { color: colours.muted, size: 11 }, exponentformat: "power", nticks: 6 },
  };
}

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "pentagon"];

function mainTrace(context, rows, x, y, xaxis, yaxis) {
  const { chart, colours } = context;
  const row = chart.main_row;
  if (row === undefined || row === null || !rows.includes(row)) return [];
  return [{
    type: "scatter", mode: "markers", x: coordinates(context, x, [row]), y: coordinates(context, y, [row]), xaxis, yaxis, hoverinfo: "skip",
    marker: { symbol: "star", size: 15, color: colours.accent, line: { width: 1.5, color: colours.surface } },
  }];
}

function mainLegend(context) {
  const { chart, label: named } = context;
  if (chart.main_row === undefined || chart.main_row === null || !named) return [];
  return [{ key: "", name: `${titleOf(named)}: ${shown(cellOf(context, named, chart.main_row), named.shape)}`, swatch: "star" }];
}

// Slices

function panelGrid(chart, width) {
  const columns = Math.max(1, Math.min(chart.panels.length, Math.floor(width / 230)));
  return { columns, rows: Math.ceil(chart.panels.length / columns) };
}

function panels(chart, state, colours, width) {
  const context = rowContext(chart, colours);
  const y = context.columns.get(chart.y);
  const colour = context.columns.get(chart.colour) ?? null;
  const grid = panelGrid(chart, width);
  const traces = [];
  const layout = { margin: { b: 44 } };
  chart.panels.forEach((key, place) => {
    const x = context.columns.get(key);
    const number = place ? String(place + 1) : "";
    const rows = context.rows.filter((row) => isDrawn(context, x, row) && isDrawn(context, y, row));
    const trace = pointTrace(context, rows, x, y, colour, `x${number}`, `y${number}`);
    if (place) delete trace.marker.colorbar;
    trace.marker.showscale = Boolean(colour) && place === 0 && width > 480;
    traces.push(trace, ...mainTrace(context, rows, x, y, `x${number}`, `y${number}`));
    const [column, row] = [place % grid.columns, Math.floor(place / grid.columns)];
    layout[`xaxis${number}`] = { ...rowAxis(context, x, null, `x${number}`, width / grid.columns - 40), domain: share(column, grid.columns, 0.03), anchor: `y${number}`, nticks: 4 };
    layout[`yaxis${number}`] = {
      ...rowAxis(context, y, null, "y", 160), domain: share(grid.rows - 1 - row, grid.rows, 0.15), anchor: `x${number}`, showticklabels: column === 0,
      ...(column ? { title: { text: "" } } : {}), ...(place ? { matches: "y" } : {}),
    };
  });
  return { traces, layout, legend: mainLegend(context) };
}

/** The part of the whole that the one at this place has, with a gap to its neighbours. */
function share(place, count, gap) {
  const size = (1 - gap * (count - 1)) / count;
  return [place * (size + gap), place * (size + gap) + size];
}

function scatterTools(plot) {
  const { chart, state } = { chart: plot.block, state: plot.state };
  const columns = columnsOf(blocks.get(chart.table));
  const change = (name) => (key) => {
    state[name] = key;
    delete state[`log${name.toUpperCase()}`];
    for (const axis of ["x", "y"]) logs[axis].update();
    redraw(plot);
  };
  const options = [...new Set([chart.x, chart.y, ...(chart.choices ?? [])])].map((key) => [key, titleOf(columns.get(key))]);
  const logs = { x: logToggle(plot, columns, "x"), y: logToggle(plot, columns, "y") };
  const colours = [["", "nothing"], ...new Map([...(chart.colour ? [[chart.colour, titleOf(columns.get(chart.colour))]] : []), ...options])];
  plot.tools.append(
    chooser("X axis", options, chart.x, change("x")), logs.x.button, chooser("Y axis", options, chart.y, change("y")), logs.y.button,
    chooser("Colour", colours, chart.colour ?? "", change("colour")),
  );
}

function logToggle(plot, columns, axis) {
  const name = `log${axis.toUpperCase()}`;
  const isLog = () => plot.state[name] ?? (plot.block.log_columns ?? []).includes(plot.state[axis] ?? plot.block[axis]);
  const button = toggle("log", isLog(), (now) => {
    plot.state[name] = now;
    redraw(plot);
  });
  button.setAttribute("aria-label", `Log scale of the ${axis} axis`);
  const update = () => {
    button.setAttribute("aria-pressed", String(isLog()));
    button.disabled = !isNumeric(blocks.get(plot.block.table), columns.get(plot.state[axis] ?? plot.block[axis]));
  };
  update();
  return { button, update };
}
