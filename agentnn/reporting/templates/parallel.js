// Parallel coordinates, in our own SVG: Plotly's need eval, which the page's policy refuses.

const SVG = "http://www.w3.org/2000/svg";
const PARALLEL = { height: 340, top: 46, bottom: 26, side: 54, narrowest: 104 };
const REACHED = 12;

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function startParallel(figure, chart) {
  const table = blocks.get(chart.table);
  const columns = columnsOf(table);
  const colour = columns.get(chart.colour);
  const view = {
    chart, figure, table, colour, brushes: new Map(), area: figure.querySelector(".plot"),
    rows: table.rows.filter((row) => typeof row[colour.place] === "number"),
    tip: element("div", { class: "tip", hidden: true }), status: element("p", { class: "count", role: "status" }),
  };
  const keys = [...chart.columns.filter((key) => key !== chart.colour), chart.colour];
  view.axes = keys.map((key) => parallelAxis(view, columns.get(key)));
  view.clear = toolButton("Clear selection", () => {
    view.brushes.clear();
    drawParallel(view);
  });
  view.clear.hidden = true;
  view.area.style.height = `${PARALLEL.height}px`;
  figure.querySelector(".corner").append(view.status, view.clear);
  const hint = element("p", { class: "hint" }, "Drag along an axis to select a range of it.");
  figure.querySelector(".legend").append(hint);
  figure.append(view.tip);
  watchParallel(view);
}

function watchParallel(view) {
  const sized = new ResizeObserver(() => {
    if (Math.abs(view.area.clientWidth - (view.width ?? 0)) > 1) drawParallel(view);
  });
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    sized.observe(view.area);
  }, { rootMargin: NEAR });
  near.observe(view.area);
  themeListeners.push(() => view.width && drawParallel(view));
  printListeners.push(() => drawParallel(view));
}

// The axes

/** An axis: where a value is on it (0 below, 1 above), and what its ticks say. */
function parallelAxis(view, column) {
  const values = view.rows.map((row) => row[column.place]);
  const numbers = numbersOf(values);
  const axis = { column, title: visible(titleOf(column)) };
  if (!isNumeric(view.table, column) || !numbers.length) return { ...axis, ...textScale(values) };
  const isLog = (view.chart.log_columns ?? []).includes(column.key) && numbers.every((value) => value > 0);
  return { ...axis, ...numberScale(numbers, isLog, column) };
}

function textScale(values) {
  const texts = [...new Set(values.filter((value) => value !== null).map(String))].sort(collator.compare);
  const at = (value) => (value === null ? null : (texts.indexOf(String(value)) + 0.5) / texts.length);
  return { at, ticks: texts.length > 16 ? [] : texts.map((text) => [at(text), visible(text)]) };
}

function numberScale(numbers, isLog, column) {
  const there = isLog ? Math.log10 : Number;
  const [least, most] = extent(numbers);
  const size = there(most) - there(least);
  const at = (value) => (typeof value !== "number" ? null : size ? (there(value) - there(least)) / size : 0.5);
  const distinct = [...new Set(numbers)];
  const areFew = distinct.length <= FEW;
  const round = () => (isLog ? logTicks(numbers).tickvals : niceValues(least, most));
  const values = areFew ? distinct : round().filter((value) => value >= least && value <= most);
  const told = (value) => (isLog && !areFew ? powerText(value) : shown(value, column.shape));
  return { at, ticks: apart(values.map((value) => [at(value), told(value)])) };
}

/** Of ticks that lie on one another only the first. */
function apart(ticks) {
  const kept = [];
  for (const tick of ticks.sort(([one], [other]) => one - other)) {
    if (!kept.length || tick[0] - kept.at(-1)[0] > 0.045) kept.push(tick);
  }
  return kept;
}

// The drawing

function drawParallel(view) {
  const available = root.dataset.printing ? PRINTED_WIDTH : view.area.clientWidth;
  const width = Math.max(available, (view.axes.length - 1) * PARALLEL.narrowest + 2 * PARALLEL.side);
  const step = (width - 2 * PARALLEL.side) / Math.max(view.axes.length - 1, 1);
  view.width = view.area.clientWidth;
  view.x = view.axes.map((_, place) => PARALLEL.side + place * step);
  view.y = (at) => PARALLEL.top + (1 - at) * (PARALLEL.height - PARALLEL.top - PARALLEL.bottom);
  view.lines = parallelLines(view);
  const lines = svg("g", { class: "lines" }, ...view.lines.map((line) => line.path));
  const axes = view.axes.map((axis, place) => axisGroup(view, axis, place));
  view.drawing = svg("svg", { width, height: PARALLEL.height, "aria-hidden": "true" }, lines, ...axes);
  view.drawing.addEventListener("pointermove", (event) => pointAt(view, event));
  view.drawing.addEventListener("pointerleave", () => pointAt(view, null));
  view.area.replaceChildren(view.drawing);
  view.area.dataset.drawn = "";
  if (width > available) view.area.tabIndex = 0; // it scrolls
  else view.area.removeAttribute("tabindex");
  selectLines(view);
}

/** A line for each row, the best ones last and so above the others. */
function parallelLines(view) {
  const colours = palette();
  const last = view.axes.at(-1);
  const goodness = (row) => {
    const at = last.at(row[view.colour.place]);
    return view.chart.direction === "min" ? 1 - at : at;
  };
  const ordered = [...view.rows].sort((one, other) => goodness(one) - goodness(other));
  return ordered.map((row) => ({ row, path: parallelLine(view, row, onScale(colours.scale, goodness(row))) }));
}

function parallelLine(view, row, colour) {
  let [path, isOn] = ["", false];
  view.axes.forEach((axis, place) => {
    const at = axis.at(row[axis.column.place]);
    if (at !== null) path += `${isOn ? "L" : "M"}${view.x[place].toFixed(1)} ${view.y(at).toFixed(1)}`;
    isOn = at !== null;
  });
  return svg("path", { d: path, stroke: colour });
}

function axisGroup(view, axis, place) {
  const isLast = place === view.axes.length - 1;
  const anchor = isLast ? "end" : place === 0 ? "start" : "middle";
  const aside = { start: 6 - PARALLEL.side, middle: 0, end: PARALLEL.side - 6 }[anchor];
  const heading = { class: "axis-title", x: aside, y: PARALLEL.top - 24, "text-anchor": anchor };
  const title = svg("text", heading, shortened(axis.title, 15), svg("title", {}, axis.title));
  const beside = { class: "tick", x: isLast ? -6 : 6, dy: "0.32em", "text-anchor": isLast ? "end" : "start" };
  const ticks = axis.ticks.map(([at, text]) => svg("text", { ...beside, y: view.y(at) }, shortened(text, 12)));
  const brushed = svg("rect", { class: "brushed", x: -7, width: 14, visibility: "hidden" });
  const reach = { y: PARALLEL.top - 8, height: view.y(0) - PARALLEL.top + 16 };
  const grip = svg("rect", { class: "grip", x: -16, width: 32, ...reach });
  grip.addEventListener("pointerdown", (event) => startBrush(view, axis, brushed, grip, event));
  showBrush(view, axis, brushed);
  const line = svg("line", { y1: view.y(1), y2: view.y(0) });
  const at = { class: "axis", transform: `translate(${view.x[place].toFixed(1)} 0)` };
  return svg("g", at, title, line, ...ticks, brushed, grip);
}

function shortened(text, most) {
  const chars = [...text];
  return chars.length > most ? `${chars.slice(0, most - 1).join("")}…` : text;
}

// Selecting ranges

function startBrush(view, axis, brushed, grip, event) {
  const at = ({ clientY }) => {
    const inside = clientY - view.drawing.getBoundingClientRect().top;
    return Math.min(Math.max((view.y(0) - inside) / (view.y(0) - view.y(1)), 0), 1);
  };
  const from = at(event);
  const move = (one) => {
    const to = at(one);
    if (Math.abs(to - from) < 0.01) view.brushes.delete(axis);
    else view.brushes.set(axis, [Math.min(from, to), Math.max(from, to)]);
    showBrush(view, axis, brushed);
    selectLines(view);
  };
  const end = () => grip.removeEventListener("pointermove", move);
  grip.setPointerCapture(event.pointerId);
  grip.addEventListener("pointermove", move);
  grip.addEventListener("pointerup", end, { once: true });
  grip.addEventListener("pointercancel", end, { once: true });
  move(event);
  event.preventDefault();
}

function showBrush(view, axis, brushed) {
  const range = view.brushes.get(axis);
  brushed.setAttribute("visibility", range ? "visible" : "hidden");
  if (!range) return;
  brushed.setAttribute("y", view.y(range[1]));
  brushed.setAttribute("height", view.y(range[0]) - view.y(range[1]));
}

function selectLines(view) {
  const ranges = [...view.brushes];
  const isIn = (row) => ranges.every(([axis, [low, high]]) => {
    const at = axis.at(row[axis.column.place]);
    return at !== null && at >= low && at <= high;
  });
  let count = 0;
  for (const line of view.lines) {
    line.isIn = isIn(line.row);
    count += line.isIn;
    line.path.classList.toggle("off", !line.isIn);
  }
  view.clear.hidden = !ranges.length;
  view.status.textContent = ranges.length ? `${number(count)} of ${number(view.rows.length)} selected` : "";
}

// The line under the pointer stands out, and is told

function pointAt(view, event) {
  const found = event ? nearestLine(view, event) : null;
  view.pointed?.path.classList.remove("pointed");
  view.pointed = found;
  view.tip.hidden = !found;
  if (!found) return;
  found.path.classList.add("pointed");
  view.tip.replaceChildren(...view.axes.map(({ column, title }) => {
    const told = shown(found.row[column.place], column.shape, column.digits);
    return element("div", {}, `${title}: `, element("strong", {}, told));
  }));
  placeTip(view, event);
}

function placeTip({ figure, tip }, { clientX, clientY }) {
  const frame = figure.getBoundingClientRect();
  const isRight = clientX - frame.left > frame.width / 2;
  tip.style.left = isRight ? "" : `${clientX - frame.left + 14}px`;
  tip.style.right = isRight ? `${frame.right - clientX + 14}px` : "";
  tip.style.top = `${clientY - frame.top + 14}px`;
}

function nearestLine(view, { clientX, clientY }) {
  const frame = view.drawing.getBoundingClientRect();
  const [x, y] = [clientX - frame.left, clientY - frame.top];
  const right = view.x.findIndex((at) => at >= x);
  if (right < 1) return null;
  const [before, after] = [view.axes[right - 1], view.axes[right]];
  const part = (x - view.x[right - 1]) / (view.x[right] - view.x[right - 1]);
  let [nearest, least] = [null, REACHED];
  for (const line of view.lines.filter((one) => one.isIn)) {
    const [a, b] = [before, after].map((axis) => axis.at(line.row[axis.column.place]));
    if (a === null || b === null) continue;
    const distance = Math.abs(view.y(a + (b - a) * part) - y);
    if (distance <= least) [nearest, least] = [line, distance];
  }
  return nearest;
}
