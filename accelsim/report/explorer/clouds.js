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
  } else if (log) layout.dtick = tickStep(column.extent);
  return layout;
}
// On a log axis: 1, 2 and 5 where few decades are to be seen, else decades alone.
function tickStep([least, most]) {
  return Math.log10(most / least) < 2.5 ? "D2" : 1;
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

// A ring around the chosen point, moved without drawing the points again.
function ring(x, y) {
  const shape = {
    type: "circle", xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y,
    x0: -9, x1: 9, y0: -9, y1: 9, line: { color: colour("chosen"), width: 3 },
  };
  return Number.isFinite(x) && Number.isFinite(y) ? [shape] : [];
}

// A plot of which each trace has the rows of its points as customdata.
function listen(place, more) {
  const found = (event) => {
    const row = event.points.length ? event.points[0].customdata : undefined;
    return typeof row === "number" ? row : -1;
  };
  place.on("plotly_hover", (event) => {
    const row = found(event);
    if (row >= 0) pointTip(event.event, row, more());
  });
  place.on("plotly_unhover", hideTip);
  place.on("plotly_click", (event) => choose(found(event)));
}
function picked(rows, values) {
  const out = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = values[rows[i]];
  return out;
}
function rowsShown(wanted) {
  const rows = [];
  for (let row = 0; row < N; row++) {
    if (choice.shown[row] && !failed(row) && wanted(row)) rows.push(row);
  }
  return rows;
}
function points(x, y, log, front) {
  const drawable = (row) =>
    Number.isFinite(x[row]) && Number.isFinite(y[row]) &&
    !(log.x && x[row] <= 0) && !(log.y && y[row] <= 0);
  const rows = rowsShown((row) => Boolean(onFront[row]) === front && drawable(row));
  return {
    type: scatterType, mode: "markers", hoverinfo: "none",
    x: picked(rows, x), y: picked(rows, y), customdata: rows,
    marker: front
      ? { symbol: "diamond", size: 9, color: colour("front"),
          line: { width: 1, color: colour("panel") } }
      : { size: N > MANY ? 5 : 7, color: colour("dot"), opacity: N > MANY ? 0.55 : 0.75 },
  };
}

const frontPanel = { x: "", y: "", hue: "", log: { x: false, y: false } };

function coloured(trace, column) {
  trace.marker = { ...trace.marker, opacity: 0.85, color: picked(trace.customdata, column.values) };
  trace.marker.colorscale = column.labels
    ? column.labels.flatMap((_, code, all) => {
        const hue = colour(`hue-${code % HUES}`);
        return [[code / all.length, hue], [(code + 1) / all.length, hue]];
      })
    : "Viridis";
  const [least, most] = column.labels ? [-0.5, column.labels.length - 0.5] : column.extent;
  Object.assign(trace.marker, { cmin: least, cmax: most });
  return trace;
}
function colourBar(column) {
  const bar = { title: { text: plain(column.title), side: "right" }, thickness: 12, outlinewidth: 0 };
  if (column.labels && column.labels.length <= 30) {
    Object.assign(bar, { tickvals: column.levels, ticktext: column.labels.map(plain) });
  }
  return bar;
}

function frontTraces(x, y, log) {
  const traces = [points(x.values, y.values, log, false), points(x.values, y.values, log, true)];
  const hue = columns.get(frontPanel.hue);
  if (hue) {
    traces.forEach((trace) => coloured(trace, hue));
    traces[0].marker.colorbar = colourBar(hue);
    traces[0].marker.showscale = true;
  }
  const ends = [best.get(x.name), best.get(y.name)];
  if (objectives.length === 2 && ends[0] && ends[1] && x !== y) {
    // What is dominated begins at this line.
    const rows = [...traces[1].customdata].sort((a, b) => x.values[a] - x.values[b]);
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
  layout.shapes = frontRing();
  return Plotly.react(byId("front"), frontTraces(x, y, log), layout, CONFIG);
}
function frontRing() {
  const { x, y } = frontPanel;
  if (choice.row < 0 || failed(choice.row)) return [];
  return ring(columns.get(x).values[choice.row], columns.get(y).values[choice.row]);
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
    const key = `${stored("peak_tflops", row)} ${stored("dram_bytes_per_second", row)}`;
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
  const axis = (title, unit) => ({
    title: { text: title, standoff: 10 }, type: "log", gridcolor: colour("grid"),
    linecolor: colour("line"), automargin: true, exponentformat: "SI", ticksuffix: unit, dtick: 1,
  });
  const layout = baseLayout(axis("operations per byte (FLOP/B)", ""), axis("operations a second (FLOP/s)", ""));
  layout.uirevision = "roofline";
  layout.shapes = rooflineRing();
  const cloud = [points(intensity, rate, log, false), points(intensity, rate, log, true)];
  return Plotly.react(byId("roofline"), [...cloud, ...roofs()], layout, CONFIG);
}
function rooflineRing() {
  if (choice.row < 0 || failed(choice.row)) return [];
  return ring(roofline.intensity[choice.row], roofline.rate[choice.row]);
}

function startClouds() {
  frontControls();
  const legend = byId("front-legend");
  const ends = objectives.map((column) => `${column.name} (${column.better})`).join(", ");
  legend.append(element("b", { class: "swatch front", text: "Diamonds" }),
    ` are on the front: no other point is better in one of ${ends || "the objectives"} and no worse in the others; points alike in all are kept. `,
    element("b", { class: "swatch chosen", text: "The ring" }), " is the chosen point.");
  const drawn = [drawFront()];
  listen(byId("front"), () =>
    [frontPanel.x, frontPanel.y, frontPanel.hue]
      .map((name) => columns.get(name))
      .filter((column) => column && column.role === "measure"));
  const place = byId("roofline");
  if (roofline) {
    drawn.push(drawRoofline());
    listen(place, () => ["tflops", "dram_bytes"].map((n) => columns.get(n)).filter(Boolean));
  } else missing(place, "Needs the measures dram_bytes, seconds, and flops or tflops.");
  on("filter", () => {
    drawFront();
    if (roofline) drawRoofline();
  });
  on("theme", () => {
    drawFront();
    if (roofline) drawRoofline();
  });
  on("choose", () => {
    Plotly.relayout(byId("front"), { shapes: frontRing() });
    if (roofline) moveRoofline();
  });
  return Promise.all(drawn);
}
// The roofs are those of the chosen machine: of many points, only the lines are drawn again.
let roofDrawn = "";
function moveRoofline() {
  const key = `${stored("peak_tflops", choice.row)} ${stored("dram_bytes_per_second", choice.row)}`;
  if (roofline.roofs && key !== roofDrawn) drawRoofline();
  else Plotly.relayout(byId("roofline"), { shapes: rooflineRing() });
  roofDrawn = key;
}
