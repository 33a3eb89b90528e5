// Tables that sort and filter. The rows come from the report; what the page shows at first is only their beginning.

const FIRST_ROWS = 100; // as in agentnn/reporting/page_tables.py
const collator = new Intl.Collator("en", { numeric: true });
const STEPS = { none: "first", first: "second", second: "none" };

function startTables() {
  for (const place of document.querySelectorAll("[data-table]")) {
    const table = blocks.get(place.dataset.table);
    if (table.rows.length) startTable(place, table);
  }
}

function startTable(place, table) {
  const headings = [...place.querySelectorAll("thead tr:last-child > th")];
  const view = {
    table, place, headings, body: place.querySelector("tbody"), order: table.rows.map((_, row) => row),
    columns: [...columnsOf(table).values()], looks: headings.map((heading) => heading.className),
    digits: headings.map(({ dataset }) => (dataset.digits === undefined ? null : Number(dataset.digits))),
    most: FIRST_ROWS, terms: [], sorted: null,
  };
  view.marks = new Map((table.marks ?? []).map((mark) => [`${mark.row} ${mark.column}`, mark.kind]));
  view.status = element("p", { class: "count", role: "status" });
  view.more = element("button", { type: "button", class: "more", onclick: () => showAll(view) });
  const areMany = table.rows.length > 1;
  if (table.is_sortable !== false && areMany) headings.forEach((_, column) => makeSortable(view, column));
  if (table.is_filterable && areMany) place.querySelector(".tools").append(filterField(view), view.status);
  if (table.rows.length > FIRST_ROWS) {
    place.querySelector(".scroll").after(view.more);
    showRows(view);
  }
}

function makeSortable(view, column) {
  const heading = view.headings[column];
  const button = element("button", { type: "button", class: "sort", onclick: () => sortBy(view, column) });
  button.append(...heading.childNodes);
  heading.append(button);
}

/** The best first, then the worst first, then as it was. */
function sortBy(view, column) {
  const step = view.sorted?.column === column ? STEPS[view.sorted.step] : "first";
  view.sorted = step === "none" ? null : { column, step };
  const descending = (view.columns[column].direction === "max") === (step === "first");
  view.headings.forEach((heading, place) => {
    const state = place === column && view.sorted ? (descending ? "descending" : "ascending") : null;
    if (state) heading.setAttribute("aria-sort", state);
    else heading.removeAttribute("aria-sort");
  });
  view.order = view.table.rows.map((_, row) => row);
  if (view.sorted) view.order = sortedOrder(view.table.rows, column, descending);
  showRows(view);
}

/** Numbers before texts before nothing, whichever way the numbers go. */
function sortedOrder(rows, column, descending) {
  const sign = descending ? -1 : 1;
  const rank = (value) => (typeof value === "number" ? 0 : value === null ? 2 : 1);
  return rows.map((_, row) => row).sort((one, other) => {
    const [a, b] = [rows[one][column], rows[other][column]];
    const ranks = rank(a) - rank(b);
    if (ranks) return ranks;
    if (a === null) return one - other;
    return sign * (typeof a === "number" ? a - b : collator.compare(String(a), String(b))) || one - other;
  });
}

function filterField(view) {
  const wait = { timer: 0 };
  const input = element("input", {
    type: "search", autocomplete: "off", spellcheck: "false",
    placeholder: "Filter: words, or column > 0.5",
    oninput: () => {
      clearTimeout(wait.timer);
      wait.timer = setTimeout(() => {
        view.terms = termsOf(view, input.value);
        showRows(view);
      }, 60);
    },
  });
  return element("label", { class: "filter" }, element("span", { class: "said" }, `Filter ${view.table.title}`), input);
}

/** What a row must meet: words that it contains, and comparisons of a column with a number. */
function termsOf(view, text) {
  const compared = /([^\s<>=!]+)\s*(<=|>=|!=|=|<|>)\s*(-?[\d.]+(?:e[+-]?\d+)?%?)(?=\s|$)/gi;
  const terms = [];
  const rest = text.replace(compared, (all, name, sign, bound) => {
    const column = view.columns.find((one) => isCalled(one, name));
    if (!column) return all;
    terms.push(comparison(column.place, sign, bound.endsWith("%") ? parseFloat(bound) / 100 : Number(bound)));
    return " ";
  });
  const words = rest.toLowerCase().split(/\s+/).filter(Boolean);
  return [...terms, ...words.map((word) => (_, texts) => texts.includes(word))];
}

function isCalled({ title, key }, name) {
  const names = [title, key, key.replace(/^.*?\./, "")];
  return names.some((known) => known.toLowerCase() === name.toLowerCase());
}

function comparison(place, sign, bound) {
  const holds = {
    "<": (value) => value < bound, ">": (value) => value > bound, "<=": (value) => value <= bound,
    ">=": (value) => value >= bound, "=": (value) => value === bound, "!=": (value) => value !== bound,
  }[sign];
  return (row) => typeof row[place] === "number" && holds(row[place]);
}

function matches(view, row) {
  if (!view.terms.length) return true;
  const texts = (cells) => cells.map((cell, place) => `${cell ?? ""}\n${shownCell(view, cell, place)}`);
  view.texts ??= view.table.rows.map((cells) => texts(cells).join("\n").toLowerCase());
  return view.terms.every((term) => term(view.table.rows[row], view.texts[row]));
}

function shownCell(view, cell, place) {
  const { shape, is_signed: isSigned } = view.columns[place];
  return shown(cell, shape, view.digits[place], isSigned);
}

function showRows(view) {
  const found = view.order.filter((row) => matches(view, row));
  const rows = found.slice(0, view.most).map((row) => tableRow(view, row));
  view.body.replaceChildren(...rows);
  const all = view.table.rows.length;
  view.status.textContent = view.terms.length ? `${number(found.length)} of ${number(all)} rows` : "";
  view.more.hidden = found.length <= view.most;
  view.more.textContent = `Show all ${number(found.length)} rows`;
}

function showAll(view) {
  view.most = Infinity;
  showRows(view);
}

function tableRow(view, row) {
  const cells = view.table.rows[row];
  const mark = (place) => view.marks.get(`${row} ${place}`);
  return element("tr", {}, ...cells.map((cell, place) => tableCell(view, cell, place, mark(place))));
}

function tableCell(view, cell, place, mark) {
  const { shape } = view.columns[place];
  const isHeading = place === 0 && view.table.is_heading_first !== false;
  const text = shownCell(view, cell, place);
  const isFall = (mark === "better" || mark === "worse") && typeof cell === "number" && cell < 0;
  const full = shape === "id" && cell !== null ? visible(String(cell)) : text;
  const made = document.createElement(isHeading ? "th" : "td");
  if (isHeading) made.scope = "row";
  made.className = [view.looks[place], cell === null && "nothing", mark, isFall && "fall"].filter(Boolean).join(" ");
  if (full !== text) made.title = full;
  made.textContent = text;
  if (mark) made.append(element("span", { class: "said" }, ` (${mark})`));
  return made;
}
