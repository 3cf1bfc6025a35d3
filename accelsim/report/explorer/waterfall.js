// The timeline of the chosen point: a row per server, a box per task.

const [ROW, AXIS, NARROW, WIDE] = [26, 26, 72, 130];
const runs = new Map(study.timelines.map((told) => [told.row, told]));
const view = { run: null, from: 0, to: 1, canvas: null, context: null, width: 0, drag: null };

function opened(told) {
  if (!told.spans) {
    const [server, task, tile] = [coded(told.server), coded(told.task), coded(told.tile)];
    const [start, end] = [numbers(told.start), numbers(told.end)];
    let last = 0;
    for (const value of end) last = Math.max(last, value);
    told.spans = { server, task, tile, start, end, last, hues: palette(task.of) };
  }
  return told.spans;
}
function gutter() {
  return view.width < 600 ? NARROW : WIDE;
}
function atTime(seconds) {
  return gutter() + ((seconds - view.from) / (view.to - view.from)) * (view.width - gutter());
}
function timeAt(x) {
  return view.from + ((x - gutter()) / (view.width - gutter())) * (view.to - view.from);
}

function drawTimeline() {
  const { run } = view;
  if (!run) return;
  const height = AXIS + run.server.of.length * ROW;
  const context = sized(view.canvas, view.width, height);
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  drawTimes(context, height);
  const hues = new Map([...run.hues].map(([name, hue]) => [name, resolved(hue)]));
  const onHue = colour("on-hue");
  context.save();
  context.beginPath();
  context.rect(gutter(), 0, view.width - gutter(), height);
  context.clip();
  const drawnTo = new Float64Array(run.server.of.length).fill(-1);
  for (let i = 0; i < run.start.length; i++) {
    if (run.end[i] < view.from || run.start[i] > view.to) continue;
    const server = run.server.codes[i];
    const left = atTime(run.start[i]);
    const right = Math.max(atTime(run.end[i]), left + 0.75);
    if (right <= drawnTo[server]) continue; // no pixel of it is left to see
    drawnTo[server] = right;
    const name = run.task.of[run.task.codes[i]];
    context.fillStyle = hues.get(name);
    const width = right - left;
    const top = AXIS + server * ROW + 3;
    context.fillRect(left, top, width > 3 ? width - 0.75 : width, ROW - 6);
    if (width > 34) {
      context.fillStyle = onHue;
      const seen = Math.max(left, gutter());
      context.fillText(fitted(context, name, Math.min(right, view.width) - seen - 8), seen + 4, top + (ROW - 6) / 2);
    }
  }
  if (view.drag) {
    context.fillStyle = colour("chosen");
    context.globalAlpha = 0.2;
    context.fillRect(Math.min(...view.drag), 0, Math.abs(view.drag[1] - view.drag[0]), height);
  }
  context.restore();
  context.fillStyle = colour("text");
  run.server.of.forEach((server, index) => {
    context.fillText(fitted(context, server, gutter() - 10), 0, AXIS + index * ROW + ROW / 2);
  });
}
function drawTimes(context, height) {
  const [factor, prefix] = prefixFor(view.to, "s");
  const about = (view.to - view.from) / Math.max(2, (view.width - gutter()) / 110);
  const decade = 10 ** Math.floor(Math.log10(about));
  const step = [1, 2, 5, 10].map((digit) => digit * decade).find((size) => size >= about);
  context.strokeStyle = colour("grid");
  context.fillStyle = colour("muted");
  const digits = Math.max(0, -Math.floor(Math.log10(step / factor) + 1e-9));
  for (let tick = Math.ceil(view.from / step); tick * step <= view.to; tick++) {
    const x = atTime(tick * step);
    context.beginPath();
    context.moveTo(x, AXIS - 4);
    context.lineTo(x, height);
    context.stroke();
    const text = `${((tick * step) / factor).toFixed(digits)} ${prefix}s`;
    const width = context.measureText(text).width;
    context.fillText(text, Math.min(x - width / 2, view.width - width), AXIS / 2 - 2);
  }
}

function look(from, to) {
  const { last } = view.run;
  const span = Math.min(last, Math.max(to - from, last * 1e-7));
  view.from = Math.max(0, Math.min(from, last - span));
  view.to = view.from + span;
  drawTimeline();
}
function zoom(factor, around = (view.from + view.to) / 2) {
  look(around - (around - view.from) * factor, around + (view.to - around) * factor);
}
function shift(share) {
  const by = share * (view.to - view.from);
  look(view.from + by, view.to + by);
}
const MOVES = {
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "−": () => zoom(2),
  ArrowLeft: () => shift(-0.25), ArrowRight: () => shift(0.25), 0: () => look(0, view.run.last),
};

function taskAt(x, y) {
  const { run } = view;
  const server = Math.floor((y - AXIS) / ROW);
  if (x < gutter() || server < 0) return -1;
  const [at, slack] = [timeAt(x), (2 * (view.to - view.from)) / view.width];
  let [best, distance] = [-1, slack];
  for (let i = 0; i < run.start.length; i++) {
    if (run.server.codes[i] !== server) continue;
    const away = Math.max(0, run.start[i] - at, at - run.end[i]);
    if (away < distance || (away === 0 && distance > 0)) [best, distance] = [i, away];
  }
  return best;
}
function hoverTask(event) {
  const box = view.canvas.getBoundingClientRect();
  const found = taskAt(event.clientX - box.left, event.clientY - box.top);
  if (found < 0) return hideTip();
  const { run } = view;
  showTip(event, run.task.of[run.task.codes[found]], [
    ["server", run.server.of[run.server.codes[found]]],
    ["tile", run.tile.of[run.tile.codes[found]] || "–"],
    ["start", quantity(run.start[found], "s")],
    ["time", quantity(run.end[found] - run.start[found], "s")],
  ]);
}
function dragTimeline(event) {
  if (event.button !== 0) return;
  const box = view.canvas.getBoundingClientRect();
  const place = (e) => Math.max(gutter(), Math.min(view.width, e.clientX - box.left));
  view.drag = [place(event), place(event)];
  view.canvas.setPointerCapture(event.pointerId);
  hideTip();
  const move = (e) => {
    view.drag[1] = place(e);
    drawTimeline();
  };
  const done = (e) => {
    view.canvas.removeEventListener("pointermove", move);
    const [left, right] = [...view.drag].sort((a, b) => a - b);
    view.drag = null;
    if (right - left > 5 && e.type === "pointerup") look(timeAt(left), timeAt(right));
    else drawTimeline();
  };
  view.canvas.addEventListener("pointermove", move);
  view.canvas.addEventListener("pointerup", done, { once: true });
  view.canvas.addEventListener("pointercancel", done, { once: true });
}

function timelineCanvas() {
  const canvas = element("canvas", { tabindex: "0", role: "img", class: "waterfall" });
  canvas.addEventListener("pointerdown", dragTimeline);
  canvas.addEventListener("mousemove", (event) => (view.drag ? undefined : hoverTask(event)));
  canvas.addEventListener("mouseleave", hideTip);
  canvas.addEventListener("dblclick", () => look(0, view.run.last));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event.clientX - canvas.getBoundingClientRect().left));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!MOVES[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    MOVES[event.key]();
  });
  return canvas;
}
function timelineButtons() {
  const button = (text, label, key) =>
    element("button", { type: "button", text, "aria-label": label, title: label, onclick: () => MOVES[key]() });
  return element("div", { class: "controls" },
    button("+", "closer", "+"), button("−", "farther", "-"), button("←", "earlier", "ArrowLeft"),
    button("→", "later", "ArrowRight"), button("all", "the whole timeline", 0));
}
function noTimeline(place) {
  view.run = null;
  if (choice.row >= 0 && failed(choice.row)) return missing(place, "The chosen point failed.");
  const id = choice.row < 0 ? "N" : ids[choice.row];
  const text = runs.size
    ? `Point ${id} has no timeline. These have one: `
    : "No timelines are on this page. ";
  const note = element("p", { class: "missing", text });
  for (const row of runs.keys()) {
    note.append(element("button", { type: "button", text: `point ${ids[row]}`, onclick: () => choose(row) }), " ");
  }
  note.append("To add this one: ",
    element("code", { text: `accelsim report DIR --html FILE --study SWEEP --point ${id}` }));
  place.replaceChildren(note);
}
function showTimeline() {
  const place = byId("timeline");
  if (!runs.has(choice.row)) return noTimeline(place);
  view.run = opened(runs.get(choice.row));
  view.canvas = timelineCanvas();
  const whole = stored("seconds", choice.row);
  const { run } = view;
  view.canvas.setAttribute("aria-label",
    `${run.start.length} tasks on ${run.server.of.join(", ")} in ${quantity(run.last, "s")}`);
  const tasks = element("ul", { class: "parts" });
  for (const [name, hue] of run.hues) {
    const swatch = element("i");
    swatch.style.setProperty("--hue", hue);
    tasks.append(element("li", {}, swatch, name));
  }
  const many = run.start.length;
  const note = whole > run.last * 1.0001
    ? `The first ${many} tasks: ${quantity(run.last, "s")} of ${quantity(whole, "s")}.`
    : `All ${many} tasks, ${quantity(run.last, "s")}.`;
  place.replaceChildren(timelineButtons(), view.canvas, tasks, element("p", { class: "legend", text: note }));
  view.width = place.clientWidth;
  look(0, run.last);
}
function startTimeline() {
  showTimeline();
  on("choose", showTimeline);
  on("theme", drawTimeline);
  new ResizeObserver(() => {
    const width = byId("timeline").clientWidth;
    if (width === view.width || !view.run) return;
    view.width = width;
    drawTimeline();
  }).observe(byId("timeline"));
}
