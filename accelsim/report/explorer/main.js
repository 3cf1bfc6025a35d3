// The page: its head, the chosen point in words, what failed, what columns mean, light and dark.

function counted(number, one, many) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
}
const failures = (() => {
  const found = new Map();
  for (let row = 0; row < N; row++) {
    if (!failed(row)) continue;
    if (!found.has(message(row))) found.set(message(row), []);
    found.get(message(row)).push(row);
  }
  return [...found].sort((a, b) => b[1].length - a[1].length);
})();
const failedPoints = failures.reduce((total, [, rows]) => total + rows.length, 0);

const outsidePoints = outside.reduce((total, one) => total + one, 0);

function drawHeading() {
  byId("name").textContent = study.name;
  byId("description").textContent = study.description;
  const facts = [counted(N, "point", "points"), counted(axes.length, "axis", "axes"),
    ...(outsidePoints ? [`${counted(outsidePoints, "point", "points")} outside the constraints`] : []),
    failedPoints ? `${counted(failedPoints, "point", "points")} failed` : "none failed"];
  byId("facts").textContent = facts.join(" · ");
}

function drawStatus() {
  const shown = choice.count === N
    ? `All ${counted(N, "point", "points")} shown`
    : `${choice.count.toLocaleString("en-GB")} of ${counted(N, "point", "points")} shown`;
  byId("shown").textContent = `${shown}, ${choice.front.length.toLocaleString("en-GB")} on their front`;
  const chips = [...choice.filters].map(([name, filter]) => {
    const column = everyColumn.find((one) => one.key === name);
    return element("button", {
      type: "button", class: "chip", title: `take the filter of ${column.title} away`,
      onclick: () => setFilter(name, null),
    }, `${column.title} ${filter.text} `, element("span", { "aria-hidden": "true", text: "×" }));
  });
  byId("chips").replaceChildren(...chips);
}

function drawPoint() {
  const place = byId("point");
  const { row } = choice;
  if (row < 0) return missing(place, "No point is chosen.");
  byId("chosen-id").textContent = `Chosen: point ${ids[row]}`;
  const list = element("dl", { class: "facts-list" });
  const add = (name, value, title) =>
    list.append(element("dt", { text: name, title }), element("dd", { text: value }));
  for (const column of objectives) add(column.label, column.textWithUnit(row), `${column.about}, ${column.better}`);
  addBounds(add, row);
  for (const column of axes) add(column.label, column.textWithUnit(row), column.about);
  place.replaceChildren(
    element("p", { class: "which" }, element("b", { text: `Point ${ids[row]}` }), standing(row) || ", not on the front"),
    frontButtons(), list);
  if (failed(row)) place.append(element("pre", { text: message(row) }));
}
// How far a point is from what no mapping can beat.
function addBounds(add, row) {
  const ratio = (measure, bound, what) => {
    const times = stored(measure, row) / stored(bound, row);
    if (times > 0 && times < Infinity) {
      add(`${measure} / bound`, `${shortNumber(Number(times.toPrecision(4)))} ×`, what);
    }
  };
  ratio("seconds", "bound_seconds", "time over the least that any mapping could take here");
  ratio("dram_bytes", "bound_traffic_bytes", "traffic over the least that any mapping could move here");
}
// Along the front, in the order of the first objective.
let along = [];
function drawAlong() {
  const [first] = objectives;
  along = first ? [...choice.front].sort((a, b) => first.values[a] - first.values[b] || a - b) : [];
}
function frontButtons() {
  const at = along.indexOf(choice.row);
  const button = (text, next) => element("button", {
    type: "button", text, disabled: next < 0 || next >= along.length,
    onclick: () => {
      choose(along[next]);
      const again = [...byId("point").querySelectorAll("button")].find((one) => one.textContent === text);
      if (!again.disabled) again.focus();
    },
  });
  if (!along.length) return element("p");
  return element("p", { class: "controls" },
    button("← along the front", at < 0 ? 0 : at - 1), button("along the front →", at < 0 ? 0 : at + 1));
}

const MOST_MESSAGES = 20;
const MOST_NAMED = 8;
function drawFailures() {
  const place = byId("failures");
  if (!failures.length) return place.append(element("p", { class: "legend", text: "None." }));
  place.append(element("p", { class: "legend", text:
    `${counted(failedPoints, "point", "points")}, ${counted(failures.length, "message", "different messages")}.` }));
  for (const [text, rows] of failures.slice(0, MOST_MESSAGES)) {
    const head = element("p", { class: "controls" }, element("b", { text: counted(rows.length, "point", "points") }));
    for (const row of rows.slice(0, MOST_NAMED)) {
      head.append(element("button", { type: "button", text: `point ${ids[row]}`, onclick: () => choose(row) }));
    }
    if (rows.length > MOST_NAMED) head.append(`and ${rows.length - MOST_NAMED} more`);
    place.append(element("div", { class: "failure" }, head, element("pre", { text })));
  }
  if (failures.length > MOST_MESSAGES) {
    place.append(element("p", { class: "legend", text:
      `${failures.length - MOST_MESSAGES} rarer messages stand in the table's column error.` }));
  }
}

function drawMeanings() {
  const list = byId("meanings");
  for (const column of columns.values()) {
    const about = [column.about, column.better].filter(Boolean).join("; ");
    list.append(element("dt", { text: column.title }), element("dd", { text: about || "–" }));
  }
  byId("missing").textContent = leftOut.length ? `Left out: ${leftOut.join("; ")}.` : "";
}

function startTheme() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const button = byId("theme");
  const set = (isDark) => {
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.textContent = isDark ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(isDark));
    button.setAttribute("aria-label", "dark colours");
    tell("theme");
  };
  set(dark.matches);
  dark.addEventListener("change", () => set(dark.matches));
  button.addEventListener("click", () => set(document.documentElement.dataset.theme !== "dark"));
}

function start() {
  startTheme();
  drawHeading();
  drawFailures();
  drawAlong();
  const told = along.filter((row) => runs.has(row));
  const first = told.length ? told : along;
  choice.row = first.length ? first[Math.floor(first.length / 2)] : 0;
  drawPoint();
  drawStatus();
  const drawn = startClouds();
  startParallel();
  startBars();
  closeGaps();
  startTimeline();
  startTable();
  drawMeanings();
  on("choose", drawPoint);
  on("filter", () => {
    drawStatus();
    drawAlong();
    drawPoint();
  });
  byId("failures-panel").hidden = !failures.length;
  // Scrolling moves what is under the pointer.
  addEventListener("scroll", hideTip, { passive: true });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip();
  });
  drawn.then(() => requestAnimationFrame(() => requestAnimationFrame(() => {
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  })));
}
start();
