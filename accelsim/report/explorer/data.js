// The study's data: packed columns to typed arrays, and numbers to text.

const study = JSON.parse(document.getElementById("data").textContent);
const N = study.length;
const best = new Map(Object.entries(study.objectives)); // measure -> min or max
const causes = new Map(Object.entries(study.causes));
const ARRAYS = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };

function decoded(text, Kind) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Kind(bytes.buffer);
}

// Numbers as accelsim/report/packed.py writes them: {f32}, {f64}, {same, length}.
function numbers(packed) {
  if (packed.f32 !== undefined) return decoded(packed.f32, Float32Array);
  if (packed.f64 !== undefined) return decoded(packed.f64, Float64Array);
  return new Float64Array(packed.length).fill(packed.same === null ? NaN : packed.same);
}

// Values that repeat: {of: values, u1 or u2 or u4: which of them}.
function coded(packed) {
  const kind = ["u1", "u2", "u4"].find((k) => packed[k] !== undefined);
  return { of: packed.of, codes: decoded(packed[kind], ARRAYS[kind]) };
}

const PREFIXES = new Map([[-15, "f"], [-12, "p"], [-9, "n"], [-6, "µ"], [-3, "m"], [0, ""],
  [3, "k"], [6, "M"], [9, "G"], [12, "T"], [15, "P"], [18, "E"]]);

// [factor, prefix] for numbers of this size; there are no kiloseconds.
function prefixFor(size, unit) {
  if (!(size > 0)) return [1, ""];
  const power = Math.max(-15, Math.min(unit === "s" ? 0 : 18, 3 * Math.floor(Math.log10(size * 1.0000001) / 3)));
  return [10 ** power, PREFIXES.get(power)];
}

// Four digits, or all of a whole number below ten million; never a trailing 0.
function shortNumber(value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return String(value);
  if (size < 1e-4 || size >= 1e7) return value.toExponential(3).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(size >= 1000 ? Math.ceil(Math.log10(size)) : 4)));
}

function withUnit(text, unit) {
  if (!unit) return text;
  return unit === "%" || unit === "×" ? `${text} ${unit}` : `${text} ${unit}`;
}

// A number in its own best prefix: 3.2 GB.
function quantity(value, unit) {
  if (Number.isNaN(value)) return "–";
  const [factor, prefix] = prefixFor(Math.abs(value), unit);
  return withUnit(shortNumber(value / factor), prefix + unit);
}

function middle(values) {
  const step = Math.max(1, Math.floor(values.length / 2000));
  const sizes = [];
  for (let i = 0; i < values.length; i += step) {
    if (Number.isFinite(values[i]) && values[i] !== 0) sizes.push(Math.abs(values[i]));
  }
  sizes.sort((a, b) => a - b);
  return sizes[sizes.length >> 1] || 0;
}

// A column; what takes time is made when it is first looked at.
//   values  number per row, as shown (a code of a category)
//   labels  texts of the codes of a category, else null
//   levels  the distinct values of an axis, in order, else null
class Column {
  constructor(told) {
    Object.assign(this, { unit: "", factor: 1, prefixed: false, label: told.name }, told);
  }
  get key() {
    return this.name;
  }
  once(name, value) {
    Object.defineProperty(this, name, { value });
    return value;
  }
  get coding() {
    return this.once("coding", this.role === "axis" ? coded(this.data) : null);
  }
  get labels() {
    const of = this.coding && this.coding.of;
    const named = of && !of.every((value) => value === null || typeof value === "number");
    return this.once("labels", named ? of.map((v) => (v === null ? "none" : String(v))) : null);
  }
  get raw() {
    if (!this.coding) return this.once("raw", numbers(this.data));
    const { of, codes } = this.coding;
    if (this.labels) return this.once("raw", codes);
    return this.once("raw", Float64Array.from(codes, (code) => of[code] ?? NaN));
  }
  get prefix() {
    if (!this.prefixed) return this.once("prefix", [1, ""]);
    return this.once("prefix", prefixFor(middle(this.raw) * this.factor, this.unit));
  }
  get shownUnit() {
    return this.unit ? this.prefix[1] + this.unit : "";
  }
  get values() {
    const scale = this.factor / this.prefix[0];
    if (scale === 1) return this.once("values", this.raw);
    return this.once("values", Float64Array.from(this.raw, (value) => value * scale));
  }
  get levels() {
    if (!this.coding) return this.once("levels", null);
    if (this.labels) return this.once("levels", this.labels.map((_, code) => code));
    const of = this.coding.of.filter((value) => value !== null);
    return this.once("levels", of.sort((a, b) => a - b));
  }
  get extent() {
    let least = Infinity;
    let most = -Infinity;
    for (const value of this.values) {
      if (value < least) least = value;
      if (value > most && value < Infinity) most = value;
    }
    return this.once("extent", [least, most]);
  }
  get suitsLog() {
    const [least, most] = this.extent;
    return !this.labels && least > 0 && most / least > 20;
  }
  get title() {
    return this.shownUnit ? `${this.label} (${this.shownUnit})` : this.label;
  }
  get better() {
    const end = best.get(this.name);
    return end ? (end === "min" ? "less is better" : "more is better") : "";
  }
  text(row) {
    const value = this.values[row];
    return this.labels ? this.labels[value] : shortNumber(value);
  }
  textWithUnit(row) {
    const known = !this.labels && !Number.isNaN(this.values[row]);
    return known ? withUnit(this.text(row), this.shownUnit) : this.text(row);
  }
}

const columns = new Map(study.columns.map((told) => [told.name, new Column(told)]));
const axes = [...columns.values()].filter((column) => column.role === "axis");
const objectives = [...best.keys()].map((name) => columns.get(name));
const ids = numbers(study.ids);
const errors = coded(study.errors);
const onFront = new Uint8Array(N); // of the points shown; at first, of all
const wholeFront = coded({ of: [], ...study.front }).codes;
for (const row of wholeFront) onFront[row] = 1;

const outside = new Uint8Array(N); // does not keep the study's constraints
for (const row of coded({ of: [], ...study.outside }).codes) outside[row] = 1;

function failed(row) {
  return errors.of[errors.codes[row]] !== null;
}
function message(row) {
  return errors.of[errors.codes[row]] || "";
}
// A stored number of a row, in the measure's own unit, or NaN where there is no such column.
function stored(name, row) {
  const column = columns.get(name);
  return column && !column.labels ? column.raw[row] * column.factor : NaN;
}
