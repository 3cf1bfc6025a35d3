// What is chosen and what is shown; every panel listens.

const choice = {
  row: -1,
  filters: new Map(), // name -> {test(row), text}
  shown: new Uint8Array(N).fill(1),
  count: N,
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
function applyFilters() {
  const tests = [...choice.filters.values()].map((filter) => filter.test);
  choice.count = 0;
  for (let row = 0; row < N; row++) {
    let kept = 1;
    for (const test of tests) {
      if (!test(row)) {
        kept = 0;
        break;
      }
    }
    choice.shown[row] = kept;
    choice.count += kept;
  }
  tell("filter");
}
