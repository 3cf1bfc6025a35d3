// What is chosen and what is shown; every panel listens.

const FRONT = "\u0000front"; // as a name among filters: no column of a user has it
const choice = {
  row: -1,
  filters: new Map(), // name -> {test(row), text}
  shown: new Uint8Array(N).fill(1),
  count: N,
  front: [...wholeFront],
  listeners: { choose: [], filter: [], theme: [] },
};

function on(what, listener) {
  choice.listeners[what].push(listener);
}
function tell(what) {
  for (const listener of choice.listeners[what]) listener();
}

function choose(row) {
  if (row === choice.row || !(row >= 0)) return;
  choice.row = row;
  tell("choose");
}

// Filter by a column; null takes the filter away.
function setFilter(name, filter) {
  if (filter === null && !choice.filters.has(name)) return;
  if (filter === null) choice.filters.delete(name);
  else choice.filters.set(name, filter);
  applyFilters();
}
function clearFilters() {
  choice.filters.clear();
  applyFilters();
}
// Rows shown that did not fail.
function rowsShown(wanted) {
  const rows = [];
  for (let row = 0; row < N; row++) {
    if (choice.shown[row] && !failed(row) && wanted(row)) rows.push(row);
  }
  return rows;
}
// The front is that of what the other filters leave; only then may it be all that is asked for.
function applyFilters() {
  const others = [...choice.filters].filter(([name]) => name !== FRONT).map(([, filter]) => filter.test);
  for (let row = 0; row < N; row++) choice.shown[row] = others.every((test) => test(row)) ? 1 : 0;
  choice.front = others.length ? frontOfShown() : [...wholeFront];
  onFront.fill(0);
  for (const row of choice.front) onFront[row] = 1;
  const front = choice.filters.get(FRONT);
  choice.count = 0;
  for (let row = 0; row < N; row++) {
    if (front && choice.shown[row] && !front.test(row)) choice.shown[row] = 0;
    choice.count += choice.shown[row];
  }
  tell("filter");
}

// As accelsim/report/front.py: sorted by the first objective, then the next, a point is dominated
// by earlier ones alone; points alike in all are kept.
function frontOfShown() {
  const keys = objectives.map((column) =>
    best.get(column.name) === "min" ? column.raw : column.raw.map((value) => -value));
  const rows = rowsShown((row) => !outside[row] && keys.every((key) => !Number.isNaN(key[row])));
  if (!keys.length) return [];
  rows.sort((a, b) => {
    for (const key of keys) if (key[a] !== key[b]) return key[a] - key[b];
    return a - b;
  });
  const kept = [];
  const dominates = (a, b) =>
    keys.every((key) => key[a] <= key[b]) && keys.some((key) => key[a] < key[b]);
  for (const row of rows) if (!kept.some((other) => dominates(other, row))) kept.push(row);
  return kept;
}
