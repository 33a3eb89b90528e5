// The rows of a table as points, by any two of its columns.

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "pentagon"];
const MANY_POINTS = 300;
const GOLDEN = 0.6180339887;

const scatterSpec = {
  height: (chart, width) => (width < 480 ? 320 : 400),

  make(chart, state, colours, width) {
    const context = rowContext(chart, colours);
    const [x, y] = [state.x ?? chart.x, state.y ?? chart.y].map((key) => context.columns.get(key));
    const colour = context.columns.get(state.colour ?? chart.colour) ?? null;
    const rows = context.rows.filter((row) => isDrawn(context, x, row) && isDrawn(context, y, row));
    const axes = { xaxis: "x", yaxis: "y" };
    return {
      traces: [pointTrace(context, rows, { x, y, colour }, axes), ...mainTrace(context, rows, { x, y }, axes)],
      layout: {
        xaxis: rowAxis(context, x, state.logX, `${x.key} ${state.logX}`, width),
        yaxis: rowAxis(context, y, state.logY, `${y.key} ${state.logY}`, 400),
        margin: { r: colour ? 20 : 12 },
      },
      legend: mainLegend(context),
    };
  },
};

/** What the charts of a table's rows have in common. */
function rowContext(chart, colours) {
  const table = blocks.get(chart.table);
  const columns = columnsOf(table);
  const rows = table.rows.map((_, row) => row);
  return { chart, colours, table, columns, rows, label: columns.get(chart.label) };
}

const cellOf = ({ table }, column, row) => table.rows[row][column.place];
const cellsOf = ({ table }, column) => table.rows.map((row) => row[column.place]);

function isDrawn(context, column, row) {
  const value = cellOf(context, column, row);
  return isNumeric(context.table, column) ? typeof value === "number" : value !== null;
}

/** Numbers are where they are; texts side by side, a little apart from their equals. */
function coordinates(context, column, rows) {
  if (isNumeric(context.table, column)) return rows.map((row) => cellOf(context, column, row));
  const texts = textsOf(context, column);
  const aside = (row) => (((row * GOLDEN) % 1) - 0.5) * 0.3;
  return rows.map((row) => texts.indexOf(String(cellOf(context, column, row))) + aside(row));
}

function textsOf(context, column) {
  const texts = cellsOf(context, column).filter((value) => value !== null).map(String);
  return [...new Set(texts)].sort(collator.compare);
}

/** The axis of a column; `room` is how many pixels it has. */
function rowAxis(context, column, isLog, revision, room) {
  const text = label(titleOf(column), Math.max(12, Math.floor(room / 8)));
  const axis = { title: { text }, uirevision: revision };
  if (!isNumeric(context.table, column)) return { ...axis, ...textAxis(textsOf(context, column), room) };
  const isLogarithmic = isLog ?? (context.chart.log_columns ?? []).includes(column.key);
  const values = cellsOf(context, column);
  const percent = column.shape === "percent" ? { tickformat: ".2~%" } : null;
  const ticks = percent ?? fewTicks(values) ?? (isLogarithmic ? logTicks(values) : tickStyle(values));
  return { ...axis, type: isLogarithmic ? "log" : "linear", ...ticks };
}

function textAxis(texts, room) {
  const most = Math.min(24, Math.max(4, Math.floor(room / texts.length / 7)));
  const every = Math.ceil((texts.length * 30) / room);
  const tickvals = texts.map((_, place) => place).filter((place) => place % every === 0);
  const ticktext = tickvals.map((place) => label(texts[place], most));
  const range = [-0.5, texts.length - 0.5];
  return { type: "linear", tickmode: "array", tickvals, ticktext, range, autorange: false };
}

function pointTrace(context, rows, { x, y, colour }, axes) {
  const areMany = rows.length > MANY_POINTS;
  const marker = {
    size: areMany ? 6 : 8, opacity: areMany ? 0.7 : 0.85, line: { width: 0.5, color: context.colours.surface },
    ...colouring(context, rows, colour),
  };
  return {
    type: "scatter", mode: "markers", x: coordinates(context, x, rows), y: coordinates(context, y, rows), ...axes,
    marker, text: rows.map((row) => rowText(context, row, [x, y, colour])), hovertemplate: "%{text}<extra></extra>",
  };
}

/** What is told of a row: its label, then each column's value. */
function rowText(context, row, columns) {
  const told = (column) => label(shown(cellOf(context, column, row), column.shape, column.digits), 40);
  const lines = [...new Set(columns)].filter(Boolean);
  const values = lines.map((column) => `${label(titleOf(column), 30)}: ${told(column)}`);
  return [...(context.label ? [`<b>${told(context.label)}</b>`] : []), ...values].join("<br>");
}

/** Points coloured by a column: along the scale by numbers, a colour and a symbol for each text. */
function colouring(context, rows, column) {
  const { colours } = context;
  if (!column) return { color: colours.series[0] };
  const values = rows.map((row) => cellOf(context, column, row));
  if (!isNumeric(context.table, column)) {
    const texts = textsOf(context, column);
    const places = values.map((value) => Math.max(texts.indexOf(String(value)), 0));
    return {
      color: places.map((place) => colours.series[place % SERIES_COLOURS]),
      symbol: places.map((place) => SYMBOLS[place % SYMBOLS.length]),
    };
  }
  return {
    color: values.map((value) => (typeof value === "number" ? value : null)),
    colorscale: colourScale(colours, column.direction), colorbar: colourBar(colours, column),
  };
}

/** The scale for Plotly; the better end is the one that stands out. */
function colourScale({ scale }, direction) {
  const ordered = direction === "min" ? [...scale].reverse() : scale;
  return ordered.map((colour, place) => [place / (ordered.length - 1), colour]);
}

function colourBar(colours, column) {
  const font = { size: 12, color: colours.muted };
  return {
    title: { text: label(titleOf(column), 14), side: "top", font }, thickness: 10, outlinewidth: 0, nticks: 6,
    tickfont: { ...font, size: 11 }, exponentformat: "power",
  };
}

/** The row that stands out, such as the best trial. */
function mainTrace(context, rows, { x, y }, axes) {
  const { chart, colours } = context;
  if (!rows.includes(chart.main_row)) return [];
  const [across, up] = [x, y].map((column) => coordinates(context, column, [chart.main_row]));
  const marker = { symbol: "star", size: 15, color: colours.accent, line: { width: 1.5, color: colours.surface } };
  return [{ type: "scatter", mode: "markers", x: across, y: up, ...axes, marker, hoverinfo: "skip" }];
}

function mainLegend(context) {
  const { chart, label: named } = context;
  if (!named || !context.rows.includes(chart.main_row)) return [];
  const name = `${titleOf(named)}: ${shown(cellOf(context, named, chart.main_row), named.shape)}`;
  return [{ key: "", name, swatch: "star" }];
}
