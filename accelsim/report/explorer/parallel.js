// Parallel coordinates: axes with more than one value, and objectives. Lines that lie on each
// other between two axes are drawn once, darker: the time to draw is bounded by the pixels.

const HEIGHT = 260;
const [ABOVE, BELOW, SIDE, LEAST_GAP] = [44, 14, 56, 104];
const MOST_TICKS = 12;

// Where a column's values lie on its axis: 0 at the top, HEIGHT - 1 below, -1 for none.
class Scale {
  constructor(column) {
    this.column = column;
    const { levels } = column;
    if (levels) {
      const at = new Map(levels.map((value, index) => [value, index]));
      const step = levels.length > 1 ? (HEIGHT - 1) / (levels.length - 1) : 0;
      this.place = (value) => HEIGHT - 1 - at.get(value) * step;
    } else {
      const log = column.suitsLog;
      const shape = log ? Math.log10 : (value) => value;
      const [least, most] = column.extent.map(shape);
      const span = most - least || 1;
      this.place = (value) => (HEIGHT - 1) * (1 - (shape(value) - least) / span);
      this.back = (y) => {
        const value = least + span * (1 - y / (HEIGHT - 1));
        return log ? 10 ** value : value;
      };
    }
    this.y = Int16Array.from(column.values, (value) =>
      Number.isFinite(value) ? Math.round(this.place(value)) : -1);
  }
  ticks() {
    const { column } = this;
    if (column.levels) {
      const step = Math.ceil(column.levels.length / MOST_TICKS);
      return column.levels.filter((_, index) => index % step === 0)
        .map((value) => [this.place(value), column.labels ? column.labels[value] : shortNumber(value)]);
    }
    const found = [];
    for (let i = 0; i <= 4; i++) {
      const y = ((HEIGHT - 1) * i) / 4;
      found.push([y, String(Number(this.back(y).toPrecision(3)))]);
    }
    return found;
  }
  // The filter for what lies between two heights; null if that is nothing.
  filter(top, bottom) {
    const { column } = this;
    const { values, labels, levels } = column;
    if (levels) {
      const kept = levels.filter((value) => top - 1 <= this.place(value) && this.place(value) <= bottom + 1);
      if (!kept.length) return null;
      if (!labels) return filterFrom(column, rangeText(kept[0], kept[kept.length - 1]));
      const wanted = new Set(kept);
      const text = kept.map((code) => labels[code]).join(", ");
      return { test: (row) => wanted.has(values[row]), text };
    }
    return filterFrom(column, rangeText(this.back(bottom), this.back(top)));
  }
}
function rangeText(least, most) {
  const near = (value) => String(Number(value.toPrecision(6)));
  return least === most ? `=${near(least)}` : `${near(least)}..${near(most)}`;
}

const parallel = { scales: [], gap: 0, width: 0, rows: [] };

function across(index) {
  return SIDE + index * parallel.gap;
}

const SHADES = 5;
function drawGap(context, index, rows, ink) {
  const [from, to] = [parallel.scales[index].y, parallel.scales[index + 1].y];
  const counts = new Uint32Array(HEIGHT * HEIGHT);
  const distinct = [];
  let most = 1;
  for (const row of rows) {
    if (from[row] < 0 || to[row] < 0) continue; // an axis that the point has not
    const pair = from[row] * HEIGHT + to[row];
    if (counts[pair]++ === 0) distinct.push(pair);
    if (counts[pair] > most) most = counts[pair];
  }
  // Many different lines are each fainter, or they are one grey field.
  const faintest = Math.max(0.03, Math.min(0.5, 60 / distinct.length));
  const strongest = Math.max(0.3, Math.min(0.85, 150 / distinct.length));
  const shades = Array.from({ length: SHADES }, () => []);
  for (const pair of distinct) {
    const share = most > 1 ? Math.log(counts[pair]) / Math.log(most) : 0;
    shades[Math.min(SHADES - 1, Math.floor(share * SHADES))].push(pair);
  }
  context.strokeStyle = ink;
  const [left, right] = [across(index), across(index + 1)];
  shades.forEach((pairs, shade) => {
    context.globalAlpha = faintest + ((strongest - faintest) * shade) / SHADES;
    for (let start = 0; start < pairs.length; start += 200) {
      context.beginPath();
      for (const pair of pairs.slice(start, start + 200)) {
        context.moveTo(left, ABOVE + Math.floor(pair / HEIGHT));
        context.lineTo(right, ABOVE + (pair % HEIGHT));
      }
      context.stroke();
    }
  });
  context.globalAlpha = 1;
}
function drawLine(context, row, ink, width) {
  context.strokeStyle = ink;
  context.lineWidth = width;
  context.beginPath();
  let joined = false;
  parallel.scales.forEach((scale, index) => {
    const [x, y] = [across(index), ABOVE + scale.y[row]];
    if (joined && scale.y[row] >= 0) context.lineTo(x, y);
    else context.moveTo(x, y);
    joined = scale.y[row] >= 0;
  });
  context.stroke();
}

function drawLines() {
  const { canvas, width } = parallel;
  const context = sized(canvas, width, ABOVE + HEIGHT + BELOW);
  const rows = rowsShown(() => true);
  parallel.rows = rows;
  for (let index = 0; index + 1 < parallel.scales.length; index++) {
    drawGap(context, index, rows, colour("dot"));
  }
  context.globalAlpha = 0.7;
  for (const row of rows) if (onFront[row]) drawLine(context, row, colour("front"), 1.2);
  drawOver();
}
// The chosen line and the one under the pointer, on a canvas of their own.
function drawOver(hovered = -1) {
  const context = sized(parallel.over, parallel.width, ABOVE + HEIGHT + BELOW);
  if (hovered >= 0) drawLine(context, hovered, colour("text"), 1.5);
  if (choice.row >= 0 && !failed(choice.row)) drawLine(context, choice.row, colour("chosen"), 3);
}

// The row whose line passes nearest, within a few pixels.
function nearestLine(x, y) {
  const { scales, gap } = parallel;
  const index = Math.max(0, Math.min(scales.length - 2, Math.floor((x - SIDE) / gap)));
  const share = (x - across(index)) / gap;
  const [from, to] = [scales[index].y, scales[index + 1].y];
  let [best, distance] = [-1, 8];
  for (const row of parallel.rows) {
    if (from[row] < 0 || to[row] < 0) continue;
    const away = Math.abs(from[row] + (to[row] - from[row]) * share + ABOVE - y);
    if (away < distance || (away === distance && onFront[row])) [best, distance] = [row, away];
  }
  return best;
}

function drawAxes() {
  const { frame, scales } = parallel;
  frame.replaceChildren();
  frame.setAttribute("width", parallel.width);
  frame.setAttribute("height", ABOVE + HEIGHT + BELOW);
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = `600 ${getComputedStyle(frame).font}`;
  scales.forEach((scale, index) => {
    const { column } = scale;
    const group = svg("g", { transform: `translate(${across(index)},${ABOVE})` });
    // Names of the outer axes end with the page.
    const [first, last] = [index === 0, index === scales.length - 1];
    const [x, anchor] = first ? [4 - SIDE, "start"] : last ? [SIDE - 4, "end"] : [0, "middle"];
    const room = first || last ? parallel.gap / 2 + SIDE - 12 : parallel.gap - 16;
    const name = svg("text", { x, y: -24, "text-anchor": anchor, class: "name" },
      fitted(measure, column.label, room, true));
    name.append(svg("title", {}, `${column.title}: ${column.about || ""}`));
    const note = [column.shownUnit, { min: "↓ is better", max: "↑ is better" }[best.get(column.name)]];
    const unit = svg("text", { x, y: -9, "text-anchor": anchor, class: "unit" },
      fitted(measure, note.filter(Boolean).join(", "), room + 8));
    group.append(name, unit, svg("line", { y1: 0, y2: HEIGHT - 1, class: "axis" }));
    for (const [y, text] of scale.ticks()) {
      group.append(svg("line", { x1: -4, x2: 0, y1: y, y2: y, class: "axis" }));
      const label = svg("text", { x: -7, y: y + 4, "text-anchor": "end", class: "tick" },
        fitted(measure, text, index ? parallel.gap / 2 : SIDE - 10));
      if (column.labels) label.append(svg("title", {}, text));
      group.append(label);
    }
    const kept = svg("rect", { x: -7, width: 14, class: "kept", y: 0, height: 0 });
    const grip = svg("rect", { x: -13, width: 26, y: -6, height: HEIGHT + 12, class: "grip" });
    grip.append(svg("title", {}, `Drag to keep a part of ${column.label}`));
    grip.addEventListener("pointerdown", (event) => startBrush(event, scale, kept));
    group.append(kept, grip);
    frame.append(group);
    scale.kept = kept;
    showKept(scale);
  });
}
// What a filter, from here or from the table, keeps of the axis.
function showKept(scale) {
  const filter = choice.filters.get(scale.column.name);
  let [top, bottom] = [HEIGHT, -1];
  if (filter) {
    for (let row = 0; row < N; row++) {
      if (scale.y[row] < 0 || !filter.test(row)) continue;
      top = Math.min(top, scale.y[row]);
      bottom = Math.max(bottom, scale.y[row]);
    }
  }
  scale.kept.setAttribute("y", Math.max(0, top - 4));
  scale.kept.setAttribute("height", bottom < top ? 0 : bottom - top + 8);
}
function startBrush(event, scale, kept) {
  event.preventDefault();
  const top = parallel.frame.getBoundingClientRect().top + ABOVE;
  const height = (e) => Math.max(0, Math.min(HEIGHT - 1, e.clientY - top));
  const start = height(event);
  let end = start;
  const grip = event.currentTarget;
  grip.setPointerCapture(event.pointerId);
  const move = (e) => {
    end = height(e);
    kept.setAttribute("y", Math.min(start, end));
    kept.setAttribute("height", Math.abs(end - start));
  };
  const done = () => {
    grip.removeEventListener("pointermove", move);
    const dragged = Math.abs(end - start) > 3;
    setFilter(scale.column.name, dragged ? scale.filter(Math.min(start, end), Math.max(start, end)) : null);
    showKept(scale);
  };
  grip.addEventListener("pointermove", move);
  grip.addEventListener("pointerup", done, { once: true });
  grip.addEventListener("pointercancel", done, { once: true });
}

function startParallel() {
  const place = byId("parallel");
  const shown = [...axes.filter((axis) => axis.levels.length > 1),
    ...objectives.filter((column) => column.extent[0] < column.extent[1])];
  if (shown.length < 2) {
    leaveOut("parallel", "two axes or objectives of more than one value");
    return;
  }
  parallel.scales = shown.map((column) => new Scale(column));
  parallel.canvas = element("canvas", { "aria-hidden": "true" });
  parallel.over = element("canvas", { "aria-hidden": "true" });
  parallel.frame = svg("svg", { role: "group", "aria-label": "Axes of the parallel coordinates" });
  place.append(parallel.canvas, parallel.over, parallel.frame);
  const resize = () => {
    const room = place.parentElement.clientWidth;
    const gap = Math.max(LEAST_GAP, (room - 2 * SIDE) / (shown.length - 1));
    const width = Math.floor(2 * SIDE + gap * (shown.length - 1));
    if (width === parallel.width) return;
    Object.assign(parallel, { gap, width });
    place.style.width = `${width}px`;
    drawAxes();
    drawLines();
  };
  resize();
  new ResizeObserver(resize).observe(place.parentElement);
  let hovered = -1;
  parallel.frame.addEventListener("mousemove", (event) => {
    const box = parallel.frame.getBoundingClientRect();
    const row = nearestLine(event.clientX - box.left, event.clientY - box.top);
    if (row !== hovered) drawOver(row);
    hovered = row;
    if (row >= 0) pointTip(event, row);
    else hideTip();
  });
  parallel.frame.addEventListener("mouseleave", () => {
    hovered = -1;
    drawOver();
    hideTip();
  });
  parallel.frame.addEventListener("click", (event) => {
    if (event.target.classList.contains("grip")) return;
    const box = parallel.frame.getBoundingClientRect();
    choose(nearestLine(event.clientX - box.left, event.clientY - box.top));
  });
  on("choose", () => drawOver(hovered));
  on("filter", () => {
    parallel.scales.forEach(showKept);
    drawLines();
  });
  on("theme", () => {
    drawAxes();
    drawLines();
  });
}
