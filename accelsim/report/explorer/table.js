// The table of all points: only the rows in sight are elements.

const LINE = 28;
const SPARE = 6; // rows kept above and below those in sight
const usualMeasures = ["tflops", "dram_bytes", "energy_pj", "area_um2"];

// Columns that are no axis or measure, with the few things the table asks of a column.
const idColumn = {
  name: "point", key: "\u0000point", title: "point", about: "number of the point", values: ids, labels: null,
  text: (row) => String(ids[row]),
};
const frontColumn = {
  name: "front", key: FRONT, title: "front", about: "yes: on the Pareto front", words: true,
  values: onFront, text: (row) => (onFront[row] ? "yes" : ""),
};
const errorColumn = {
  name: "error", key: "\u0000error", title: "error", about: "why the point failed", words: true,
  values: errors.codes, text: message,
};
const outsideColumn = {
  name: "feasible", key: "\u0000feasible", title: "feasible", about: "no: does not keep the study's constraints", words: true,
  values: outside, text: (row) => (outside[row] ? "no" : ""),
};
const table = { columns: [], order: [], sort: null, inputs: new Map() };

const anyFailed = errors.of.some((text) => text !== null);
const marks = [idColumn, frontColumn, ...(outside.includes(1) ? [outsideColumn] : [])];
const reasons = anyFailed ? [errorColumn] : [];
const first = [...marks, ...axes, ...objectives];
const usual = usualMeasures.map((name) => columns.get(name)).filter(Boolean);
const others = [...columns.values()].filter((column) => !first.includes(column));
const everyColumn = [...first, ...others, ...reasons];
const visible = new Set([...first, ...usual, ...reasons]);

function widthOf(column) {
  let longest = column.title.length + 3;
  const step = Math.max(1, Math.floor(N / 200));
  for (let row = 0; row < N; row += step) longest = Math.max(longest, column.text(row).length);
  return Math.max(76, Math.min(column === errorColumn ? 340 : 220, Math.round(longest * 7.4 + 20)));
}
function isText(column) {
  return Boolean(column.labels || column.words);
}

function sortRows() {
  const rows = [];
  for (let row = 0; row < N; row++) if (choice.shown[row]) rows.push(row);
  const { sort } = table;
  if (sort) {
    const { column, down } = sort;
    let { values } = column;
    if (isText(column)) {
      // By what is read, not by the order of codes.
      const texts = [...new Set(rows.map((row) => column.text(row)))].sort((a, b) => a.localeCompare(b));
      const rank = new Map(texts.map((text, index) => [text, index]));
      values = Array.from({ length: N });
      for (const row of rows) values[row] = rank.get(column.text(row));
    }
    const sign = down ? -1 : 1;
    rows.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return sign * (x - y) || a - b;
    });
  }
  table.order = rows;
}

function drawHead() {
  const shown = everyColumn.filter((column) => visible.has(column));
  table.columns = shown;
  const template = shown.map((column) => `minmax(${widthOf(column)}px, ${widthOf(column)}fr)`).join(" ");
  table.grid.style.setProperty("--columns", template);
  const total = shown.reduce((width, column) => width + widthOf(column), 0);
  table.grid.style.setProperty("--width", `${total}px`);
  table.grid.setAttribute("aria-colcount", shown.length);
  const names = element("div", { role: "row", class: "line head", "aria-rowindex": 1 });
  const fields = element("div", { role: "row", class: "line head fields", "aria-rowindex": 2 });
  table.inputs.clear();
  for (const column of shown) {
    names.append(headCell(column));
    fields.append(element("div", { role: "gridcell" }, filterInput(column)));
  }
  table.head.replaceChildren(names, fields);
}
function headCell(column) {
  const { sort } = table;
  const sorted = sort && sort.column === column ? (sort.down ? "descending" : "ascending") : "none";
  const button = element("button", {
    type: "button", title: [column.title, column.about, column.better].filter(Boolean).join(": "),
    onclick: () => {
      table.sort = sorted === "none" ? { column, down: false }
        : sorted === "ascending" ? { column, down: true } : null;
      drawHead();
      drawTable();
      names().find((cell) => cell.dataset.key === column.key).firstChild.focus();
    },
  }, element("span", { text: column.title }), element("i", { text: { none: "", ascending: "▲", descending: "▼" }[sorted] }));
  const cell = element("div", { role: "columnheader", "aria-sort": sorted, class: isText(column) ? "" : "number" }, button);
  cell.dataset.key = column.key;
  cell.dataset.name = column.name;
  return cell;
}
function names() {
  return [...table.head.firstChild.children];
}
function filterInput(column) {
  const input = element("input", {
    type: "text", "aria-label": `filter ${column.title}`, spellcheck: "false", autocomplete: "off",
    placeholder: isText(column) ? "text" : "2..8",
  });
  const filter = choice.filters.get(column.key);
  if (filter) input.value = filter.text;
  input.addEventListener("change", () => applyInput(column, input));
  input.addEventListener("input", () => {
    clearTimeout(input.waiting);
    input.waiting = setTimeout(() => applyInput(column, input), 250);
  });
  table.inputs.set(column.key, input);
  return input;
}
function applyInput(column, input) {
  clearTimeout(input.waiting);
  const old = choice.filters.get(column.key);
  if ((old ? old.text : "") === input.value.trim()) return;
  const filter = filterFrom(column, input.value);
  input.setAttribute("aria-invalid", filter === undefined);
  input.title = filter === undefined ? "Expected a number, <2, >=4, =128 or 2..8" : "";
  if (filter !== undefined) setFilter(column.key, filter);
}
function showFilters() {
  for (const [key, input] of table.inputs) {
    if (document.activeElement === input) continue;
    const filter = choice.filters.get(key);
    input.value = filter ? filter.text : "";
    input.setAttribute("aria-invalid", "false");
  }
}

function drawRows() {
  const { scroller, body, order } = table;
  const first = Math.max(0, Math.floor(scroller.scrollTop / LINE) - SPARE);
  const last = Math.min(order.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / LINE) + SPARE);
  const made = [];
  for (let at = first; at < last; at++) made.push(drawRow(order[at], at));
  body.style.height = `${order.length * LINE}px`;
  body.replaceChildren(...made);
  const active = body.querySelector("[aria-selected=true]");
  if (active) scroller.setAttribute("aria-activedescendant", active.id);
  else scroller.removeAttribute("aria-activedescendant");
}
function drawRow(row, at) {
  const chosen = row === choice.row;
  const line = element("div", {
    role: "row", id: `row-${row}`, class: `line${failed(row) ? " failed" : ""}${onFront[row] ? " front" : ""}`,
    "aria-rowindex": at + 3, "aria-selected": String(chosen),
  });
  line.style.top = `${at * LINE}px`;
  for (const column of table.columns) {
    const text = column.text(row);
    const cell = element("div", { role: "gridcell", class: isText(column) ? "" : "number", text });
    if (text.length > 24) cell.title = text;
    line.append(cell);
  }
  line.dataset.row = row;
  return line;
}
function drawTable() {
  sortRows();
  table.scroller.setAttribute("aria-rowcount", table.order.length + 2);
  drawRows();
}

// Choose the row so many places on; the table follows.
function step(by) {
  const { order, scroller } = table;
  if (!order.length) return;
  const at = order.indexOf(choice.row);
  const next = Math.max(0, Math.min(order.length - 1, at < 0 ? 0 : at + by));
  choose(order[next]);
  reveal(next, scroller);
}
function reveal(at, scroller) {
  const [top, bottom] = [at * LINE, (at + 1) * LINE];
  const room = scroller.clientHeight - table.head.offsetHeight;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (bottom > scroller.scrollTop + room) scroller.scrollTop = bottom - room;
}
const page = () => Math.floor(table.scroller.clientHeight / LINE) - 3;
const KEYS = {
  ArrowDown: () => step(1), ArrowUp: () => step(-1), PageDown: () => step(page()), PageUp: () => step(-page()),
  Home: () => step(-N), End: () => step(N),
};

function columnChooser() {
  const box = element("details", { class: "chooser" }, element("summary", { text: "Columns" }));
  const list = element("div", { class: "choices" });
  for (const column of everyColumn) {
    list.append(checkbox(column.title, visible.has(column), (checked) => {
      if (checked) visible.add(column);
      else visible.delete(column);
      drawHead();
      drawRows();
    }));
  }
  box.append(list);
  return box;
}
function startTable() {
  const controls = byId("table-controls");
  controls.append(
    element("button", { type: "button", text: "Clear filters", onclick: clearFilters }),
    element("button", { type: "button", text: "Only the front", onclick: () =>
      setFilter(FRONT, filterFrom(frontColumn, "=yes")) }), columnChooser());
  table.head = element("div", { class: "heads", role: "rowgroup" });
  table.body = element("div", { class: "rows", role: "rowgroup" });
  table.scroller = element("div", {
    class: "grid", role: "grid", tabindex: "0", "aria-label": "All points; arrow keys choose a row",
  }, table.head, table.body);
  table.grid = table.scroller;
  byId("table").append(table.scroller);
  drawHead();
  drawTable();
  table.scroller.addEventListener("scroll", () => requestAnimationFrame(drawRows));
  table.body.addEventListener("click", (event) => {
    const line = event.target.closest("[data-row]");
    if (line) choose(Number(line.dataset.row));
  });
  table.scroller.addEventListener("keydown", (event) => {
    if (event.target !== table.scroller || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  on("choose", () => {
    const at = table.order.indexOf(choice.row);
    if (at >= 0) reveal(at, table.scroller);
    drawRows();
  });
  on("filter", () => {
    showFilters();
    table.scroller.scrollTop = 0;
    drawTable();
  });
}
