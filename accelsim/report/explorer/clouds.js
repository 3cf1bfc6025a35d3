// Scatter plots: the Pareto front and the roofline, drawn by plotly, with WebGL where many.

const MANY = 2000;
const withWebgl = (() => {
  const context = document.createElement("canvas").getContext("webgl");
  if (context) context.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
})();
const scatterType = N > MANY && withWebgl ? "scattergl" : "scatter";

// Plotly reads a little markup in titles: what a user wrote is to stay text.
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function axisLayout(column, log) {
  const title = [plain(column.title), column.better].filter(Boolean).join(", ");
  const layout = {
    title: { text: title, standoff: 10 },
    type: log ? "log" : "linear",
    gridcolor: colour("grid"),
    zeroline: false,
    linecolor: colour("line"),
    automargin: true,
    exponentformat: "power",
  };
  if (column.labels) {
    layout.tickvals = column.levels;
    layout.ticktext = column.labels.map(plain);
  } else if (column.levels && column.levels.length <= 10) {
    layout.tickvals = column.levels;
    layout.ticktext = column.levels.map(shortNumber);
  }
  return layout;
}

function baseLayout(x, y) {
  return {
    xaxis: x,
    yaxis: y,
    margin: { l: 56, r: 16, t: 12, b: 48 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("text") },
    hovermode: "closest",
    hoverdistance: 24,
    dragmode: "zoom",
    showlegend: false,
    modebar: { color: colour("muted"), activecolor: colour("text"), bgcolor: "rgba(0,0,0,0)" },
  };
}
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

// A ring around the chosen point: an element above the plot, as a mark in the plot would have all
// points calculated again whenever another is chosen. at: row -> [x, y].
function ring(place, at) {
  const mark = element("span", { class: "ring", "aria-hidden": "true", hidden: true });
  place.parentElement.append(mark);
  const move = () => {
    const { xaxis, yaxis } = place._fullLayout;
    const [x, y] = choice.row < 0 || failed(choice.row) ? [NaN, NaN] : at(choice.row);
    const [left, top] = [xaxis.d2p(x), yaxis.d2p(y)];
    mark.hidden = !(left >= 0 && left <= xaxis._length && top >= 0 && top <= yaxis._length);
    mark.style.transform = `translate(${xaxis._offset + left}px, ${yaxis._offset + top}px)`;
  };
  place.on("plotly_afterplot", move);
  place.on("plotly_relayouting", move);
  on("choose", move);
  move();
}

// The row of a point of the front under the pointer: it lies on top, plotly may find one below.
function frontNear(place, pointer) {
  const { xaxis, yaxis } = place._fullLayout;
  const box = place.getBoundingClientRect();
  const [left, top] = [pointer.clientX - box.left - xaxis._offset, pointer.clientY - box.top - yaxis._offset];
  const { x, y, customdata } = place.data[FRONT_TRACE];
  let [nearest, distance] = [-1, 6];
  for (let i = 0; i < x.length; i++) {
    const away = Math.hypot(xaxis.d2p(x[i]) - left, yaxis.d2p(y[i]) - top);
    if (away < distance) [nearest, distance] = [customdata[i], away];
  }
  return nearest;
}
// A plot of which each trace has the rows of its points as customdata.
function listen(place, more) {
  const found = (event) => {
    const front = frontNear(place, event.event);
    if (front >= 0) return front;
    const row = event.points.length ? event.points[0].customdata : undefined;
    return typeof row === "number" ? row : -1;
  };
  let [hovered, pressed] = [-1, null];
  place.on("plotly_hover", (event) => {
    hovered = found(event);
    if (hovered >= 0) pointTip(event.event, hovered, more());
  });
  place.on("plotly_unhover", () => {
    hovered = -1;
    hideTip();
  });
  place.on("plotly_click", (event) => {
    pressed = null;
    choose(found(event));
  });
  // Plotly tells nothing of a click right after a move: then it is on what the tip was of.
  place.addEventListener("pointerdown", (event) => {
    pressed = { row: hovered, x: event.clientX, y: event.clientY };
  }, true);
  place.addEventListener("click", (event) => {
    const still = pressed && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) < 5;
    if (still) choose(pressed.row);
    pressed = null;
  }, true);
}
function picked(rows, values) {
  const out = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = values[rows[i]];
  return out;
}
const KINDS = [
  (row) => !onFront[row] && !outside[row], (row) => Boolean(onFront[row]), (row) => Boolean(outside[row])];
// Points of a kind: 0 any, 1 on the front, 2 outside the constraints.
function points(x, y, log, kind) {
  const drawable = (row) =>
    Number.isFinite(x[row]) && Number.isFinite(y[row]) &&
    !(log.x && x[row] <= 0) && !(log.y && y[row] <= 0);
  const rows = rowsShown((row) => KINDS[kind](row) && drawable(row));
  return {
    type: scatterType, mode: "markers", hoverinfo: "none",
    x: picked(rows, x), y: picked(rows, y), customdata: rows,
    marker: [
      { size: N > MANY ? 5 : 7, color: colour("dot"), opacity: N > MANY ? 0.55 : 0.75 },
      { symbol: "diamond", size: 9, color: colour("front"), line: { width: 1, color: colour("panel") } },
      { symbol: "x-thin-open", size: 6, color: colour("dot"), opacity: 0.5 },
    ][kind],
  };
}
const FRONT_TRACE = 2;
function cloud(x, y, log) {
  return [0, 2, 1].map((kind) => points(x, y, log, kind)); // the front on top
}

const frontPanel = { x: "", y: "", hue: "", log: { x: false, y: false } };

function coloured(trace, column) {
  const shape = column.suitsLog ? Math.log10 : (value) => value;
  const values = picked(trace.customdata, column.values).map(shape);
  trace.marker = { ...trace.marker, opacity: 0.85, color: values };
  trace.marker.colorscale = column.labels
    ? column.labels.flatMap((_, code, all) => {
        const hue = colour(`hue-${code % HUES}`);
        return [[code / all.length, hue], [(code + 1) / all.length, hue]];
      })
    : [0, 1, 2, 3].map((step) => [step / 3, colour(`scale-${step}`)]);
  const [least, most] = column.labels ? [-0.5, column.labels.length - 0.5] : column.extent.map(shape);
  Object.assign(trace.marker, { cmin: least, cmax: most });
  return trace;
}
function colourBar(column) {
  const bar = { title: { text: plain(column.title), side: "right" }, thickness: 12, outlinewidth: 0 };
  if (column.labels) {
    bar.title.side = "top";
    if (column.labels.length <= 30) {
      Object.assign(bar, { tickvals: column.levels, ticktext: column.labels.map(plain) });
    }
  } else if (column.suitsLog) {
    const [least, most] = column.extent.map(Math.log10);
    bar.tickvals = [0, 1, 2, 3, 4].map((step) => least + ((most - least) * step) / 4);
    bar.ticktext = bar.tickvals.map((value) => shortNumber(Number((10 ** value).toPrecision(2))));
  }
  return bar;
}

function frontTraces(x, y, log) {
  const traces = cloud(x.values, y.values, log);
  const hue = columns.get(frontPanel.hue);
  if (hue) {
    traces.forEach((trace) => coloured(trace, hue));
    traces[0].marker.colorbar = colourBar(hue);
    traces[0].marker.showscale = true;
  }
  const ends = [best.get(x.name), best.get(y.name)];
  if (objectives.length === 2 && ends[0] && ends[1] && x !== y) {
    // What is dominated begins at this line.
    const rows = [...traces[FRONT_TRACE].customdata].sort((a, b) => x.values[a] - x.values[b]);
    traces.push({
      type: "scatter", mode: "lines", hoverinfo: "skip",
      x: picked(rows, x.values), y: picked(rows, y.values),
      line: { color: colour("front"), width: 1, shape: ends[0] === "min" ? "hv" : "vh" },
    });
  }
  return traces;
}
function drawFront() {
  const [x, y] = [columns.get(frontPanel.x), columns.get(frontPanel.y)];
  const log = frontPanel.log;
  const layout = baseLayout(axisLayout(x, log.x), axisLayout(y, log.y));
  layout.uirevision = [x.name, y.name, log.x, log.y].join("\n");
  return Plotly.react(byId("front"), frontTraces(x, y, log), layout, CONFIG);
}
function frontControls() {
  const offered = [...columns.values()];
  const usual = [...objectives, ...axes, ...offered];
  Object.assign(frontPanel, { x: usual[0].name, y: (usual[1] || usual[0]).name });
  const boxes = {};
  const changed = (which) => (name) => {
    frontPanel[which] = name;
    if (which !== "hue") suit(which);
    drawFront();
  };
  const suit = (which) => {
    const column = columns.get(frontPanel[which]);
    frontPanel.log[which] = column.suitsLog;
    boxes[which].checked = column.suitsLog;
    boxes[which].disabled = !(column.extent[0] > 0) || column.labels !== null;
  };
  const place = byId("front-controls");
  for (const which of ["x", "y"]) {
    const label = checkbox("log", false, (checked) => {
      frontPanel.log[which] = checked;
      drawFront();
    });
    boxes[which] = label.firstChild;
    label.firstChild.setAttribute("aria-label", `${which} axis: logarithmic`);
    place.append(columnSelect(which, frontPanel[which], offered, changed(which)), label);
    suit(which);
  }
  place.append(columnSelect("colour", "", offered, changed("hue"), "front or not"));
}

// Roofline: operations per byte and per second of each point, made of whatever is there.
function rooflineData() {
  const has = (...names) => names.every((name) => columns.has(name));
  if (!has("dram_bytes") || !(has("flops", "seconds") || has("tflops", "seconds"))) return null;
  const [intensity, rate] = [new Float64Array(N), new Float64Array(N)];
  for (let row = 0; row < N; row++) {
    const seconds = stored("seconds", row);
    const flops = has("flops") ? stored("flops", row) : stored("tflops", row) * seconds;
    intensity[row] = flops / stored("dram_bytes", row);
    rate[row] = flops / seconds;
  }
  return { intensity, rate, roofs: has("peak_tflops", "dram_bytes_per_second") };
}
const roofline = rooflineData();
const FEW_ROOFS = 8;

function machineOf(row) {
  return `${stored("peak_tflops", row)} ${stored("dram_bytes_per_second", row)}`;
}
function roof(row, [least, most], strong) {
  const peak = stored("peak_tflops", row);
  const bandwidth = stored("dram_bytes_per_second", row);
  if (!(peak > 0 && bandwidth > 0)) return null;
  const x = [least, peak / bandwidth, most].sort((a, b) => a - b);
  return {
    type: "scatter", mode: "lines", hoverinfo: "skip", x,
    y: x.map((value) => Math.min(peak, value * bandwidth)),
    line: { color: colour(strong ? "chosen" : "muted"), width: strong ? 2 : 1,
            dash: strong ? "solid" : "dot" },
  };
}
function roofs() {
  if (!roofline.roofs) return [];
  const some = new Map();
  let [least, most] = [Infinity, 0];
  for (let row = 0; row < N; row++) {
    if (failed(row) || !(roofline.intensity[row] > 0)) continue;
    const ridge = stored("peak_tflops", row) / stored("dram_bytes_per_second", row);
    for (const value of [roofline.intensity[row], ridge]) {
      if (value > 0 && value < Infinity) [least, most] = [Math.min(least, value), Math.max(most, value)];
    }
    if (!choice.shown[row] || some.size > FEW_ROOFS) continue;
    const key = machineOf(row);
    if (!some.has(key)) some.set(key, row);
  }
  const range = [least / 1.6, most * 1.6];
  const drawn = some.size <= FEW_ROOFS ? [...some.values()].map((row) => roof(row, range, false)) : [];
  if (choice.row >= 0 && !failed(choice.row)) drawn.push(roof(choice.row, range, true));
  return drawn.filter(Boolean);
}
function drawRoofline() {
  const log = { x: true, y: true };
  const { intensity, rate } = roofline;
  const axis = (title) => ({
    title: { text: title, standoff: 10 }, type: "log", gridcolor: colour("grid"),
    linecolor: colour("line"), automargin: true, exponentformat: "SI extended",
  });
  const layout = baseLayout(axis("operations per byte (FLOP/B)"), axis("operations a second (FLOP/s)"));
  layout.uirevision = "roofline";
  const drawn = [...cloud(intensity, rate, log), ...roofs()];
  return Plotly.react(byId("roofline"), drawn, layout, CONFIG);
}

function startClouds() {
  frontControls();
  const legend = byId("front-legend");
  const ends = objectives.map((column) => `${column.label} (${column.better})`).join(", ");
  legend.append(element("b", { class: "swatch front", text: "Diamonds" }),
    ` are on the front of the points shown: no other is better in one of ${ends || "the objectives"} and no worse in the others; points alike in all are kept. `,
    element("b", { class: "swatch chosen", text: "The ring" }), " is the chosen point.");
  if (outside.includes(1)) legend.append(" Crosses do not keep the study's constraints.");
  const drawn = drawFront();
  listen(byId("front"), () =>
    [frontPanel.x, frontPanel.y, frontPanel.hue]
      .map((name) => columns.get(name))
      .filter((column) => column && column.role === "measure"));
  ring(byId("front"), (row) => [frontPanel.x, frontPanel.y].map((name) => columns.get(name).values[row]));
  const place = byId("roofline");
  if (roofline) whenNear(place, startRoofline);
  else leaveOut("roofline", "dram_bytes, seconds, and flops or tflops");
  if (roofline && !roofline.roofs) leftOut.push("roofs of the roofline (need peak_tflops and dram_bytes_per_second)");
  on("filter", drawFront);
  on("theme", drawFront);
  return drawn;
}
function startRoofline() {
  const place = byId("roofline");
  drawRoofline();
  ring(place, (row) => [roofline.intensity[row], roofline.rate[row]]);
  listen(place, () => ["tflops", "dram_bytes"].map((n) => columns.get(n)).filter(Boolean));
  on("filter", drawRoofline);
  on("theme", drawRoofline);
  if (roofline.roofs) on("choose", moveRoof);
}
// Once it is about to be seen: what is far below does not hold up what is above.
function whenNear(place, start) {
  const watcher = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    watcher.disconnect();
    start();
  }, { rootMargin: "200px" });
  watcher.observe(place);
}
// After the other panels: with the roof, all of its points are drawn again.
let [roofDrawn, roofWaiting] = ["", 0];
function moveRoof() {
  clearTimeout(roofWaiting);
  const machine = machineOf(choice.row);
  if (machine === roofDrawn || failed(choice.row)) return;
  roofWaiting = setTimeout(() => {
    roofDrawn = machine;
    drawRoofline();
  }, 60);
}
