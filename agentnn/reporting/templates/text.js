// Values as a person reads them: the same rules as agentnn/reporting/shapes.py.

const NOTHING = "–";
const NUMERIC = new Set(["number", "percent", "duration"]);
const JOINER = "\u200d";

/** A cell as text. */
function shown(value, shape = "text", digits = null, isSigned = false) {
  if (value === null || value === undefined) return NOTHING;
  if (typeof value === "boolean") return String(value);
  if (typeof value === "string") return shownText(value, shape);
  if (shape === "duration") return duration(value);
  const text = shape === "percent" ? `${number(value * 100, digits ?? 2)}%` : number(value, digits);
  return isSigned && value > 0 ? `+${text}` : text;
}

function shownText(value, shape) {
  if (shape === "time") return moment(visible(value));
  return visible(shape === "id" ? [...value].slice(0, 8).join("") : value);
}

/** A finite number: with so many decimal places, or with about four significant digits. */
function number(value, digits = null) {
  const size = Math.abs(value);
  if (digits !== null && size < 1e15) return grouped(fixed(value, digits));
  if (Number.isInteger(value) && size < 1e15) return grouped(String(value));
  if (size >= 1e-4 && size < 1e6) {
    const text = fixed(value, Math.max(3 - Math.floor(Math.log10(size)), 0));
    return grouped(text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  }
  const [mantissa, exponent] = value.toExponential(3).split("e");
  return `${mantissa.replace(/\.?0+$/, "")}e${Number(exponent)}`;
}

function fixed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

function grouped(text) {
  const [whole, decimals] = text.split(".");
  if (Math.abs(Number(whole)) < 10000) return text;
  const parts = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return decimals === undefined ? parts : `${parts}.${decimals}`;
}

const DURATIONS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Seconds in their two greatest units: 12 min 4 s. */
function duration(seconds) {
  const size = Math.abs(seconds);
  if (size >= 1e15) return `${number(seconds)} s`;
  if (size < 60) return `${number(seconds, Number.isInteger(seconds) ? 0 : size >= 1 ? 1 : 3)} s`;
  const rest = Number(size.toFixed(0));
  const place = DURATIONS.findIndex(([unit]) => rest >= unit);
  const [[unit, name], [finer, finerName]] = DURATIONS.slice(place, place + 2);
  const below = Math.floor((rest % unit) / finer);
  return `${seconds < 0 ? "-" : ""}${Math.floor(rest / unit)} ${name}${below ? ` ${below} ${finerName}` : ""}`;
}

/** An ISO 8601 time as 2026-01-05 09:30:15; what is none stays as it is. */
function moment(text) {
  const found = /^(.{10})T(.{5,}?)(?:\.\d*)?(?:Z|\+00:00)$/.exec(text);
  return found ? `${found[1]} ${found[2]}` : text;
}

/** A text whose control, direction and other invisible characters are spelled out. */
function visible(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (char) => (char === JOINER ? char : spelled(char)));
}

function spelled(char) {
  const short = { "\n": "\\n", "\t": "\\t", "\r": "\\r" }[char];
  if (short) return short;
  const code = char.codePointAt(0).toString(16);
  if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
  return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
}

/** A text for Plotly, which would take <b>, <a> and &amp; in it for markup; shortened where it is long. */
function label(text, most = 60) {
  const chars = [...visible(String(text))];
  const short = chars.length > most ? `${chars.slice(0, most - 1).join("")}…` : chars.join("");
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** An element with attributes and children, all of them text or elements: nothing is ever parsed as markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A label within a template of Plotly's, where %{…} has a meaning, too. */
function templateLabel(text) {
  return label(text).replace(/%/g, "&#37;");
}
