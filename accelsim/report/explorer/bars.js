// What the chosen point's time, bytes and energy are made of: bars with their numbers in words.

// One bar. parts: [{name, value, text, hue, striped, title}]; whole: what the full width stands for.
function stackedBar(title, total, parts, whole) {
  const bar = element("div", { class: "stack", "aria-hidden": "true" });
  const list = element("ul", { class: "parts" });
  for (const part of parts) {
    if (!(part.value > 0)) continue;
    const kind = part.striped ? "striped" : part.quiet ? "rest" : "";
    const piece = element("span", { class: kind, title: `${part.name}: ${part.text}` });
    piece.style.width = `${(100 * part.value) / whole}%`;
    const swatch = element("i", { class: kind });
    if (part.hue) for (const one of [piece, swatch]) one.style.setProperty("--hue", part.hue);
    bar.append(piece);
    list.append(element("li", { title: part.title }, swatch, `${part.name} `, element("b", { text: part.text })));
  }
  const head = element("h3", {}, element("span", { text: title }), element("span", { text: total }));
  return element("div", { class: "one" }, head, bar, list);
}
function percent(share) {
  return `${shortNumber(Number((100 * share).toPrecision(3)))} %`;
}
function sum(parts) {
  return parts.reduce((total, part) => total + (part.value > 0 ? part.value : 0), 0);
}
const bySize = (a, b) => b.value - a.value;

// [name, number] of the columns that a breakdown names, of the chosen point.
function entries(group) {
  return Object.entries(group || {})
    .filter(([, column]) => columns.has(column))
    .map(([name, column]) => [name, Number(columns.get(column).raw[choice.row])]);
}
function namesOf(groups) {
  return palette(Object.values(groups || {}).flatMap((group) => Object.keys(group)));
}

const { utilization, waits, traffic, energy } = study.breakdown;
const einsumHues = namesOf(utilization);
const tensorHues = namesOf(traffic);
const causeHues = palette(causes.keys());
const partHues = palette(Object.keys(energy || {}));

function utilizationBars() {
  return Object.entries(utilization).map(([unit, group]) => {
    const parts = entries(group).map(([name, value]) => (
      { name, value, text: percent(value), hue: einsumHues.get(name) }));
    return stackedBar(unit, `${percent(sum(parts))} at work`, parts.sort(bySize), 1);
  });
}
function waitBars() {
  return Object.entries(waits).map(([unit, group]) => {
    const parts = entries(group).map(([name, value]) => (
      { name, value, text: percent(value), hue: causeHues.get(name),
        title: causes.get(name) ? `waits for ${causes.get(name)}` : name }));
    const idle = sum(parts);
    const busy = { name: "busy", value: 1 - idle, text: percent(1 - idle), quiet: true };
    return stackedBar(unit, `${percent(idle)} idle`, [...parts.sort(bySize), busy], 1);
  });
}
function trafficBars() {
  return Object.entries(traffic).map(([level, tensors]) => {
    const parts = Object.entries(tensors).flatMap(([tensor, ways]) =>
      entries(ways).map(([way, value]) => ({
        name: `${tensor} ${way === "write" ? "written" : "read"}`, value, striped: way === "write",
        text: quantity(value, "B"), hue: tensorHues.get(tensor),
      })));
    const whole = sum(parts);
    return stackedBar(level, quantity(whole, "B"), parts.sort(bySize), whole || 1);
  });
}
function energyBars() {
  const parts = entries(energy).map(([name, value]) => ({ name, value, hue: partHues.get(name) }));
  const whole = sum(parts);
  for (const part of parts) {
    part.text = `${quantity(part.value * 1e-12, "J")}, ${percent(part.value / (whole || 1))}`;
  }
  return [stackedBar("all parts", quantity(whole * 1e-12, "J"), parts.sort(bySize), whole || 1)];
}

const panels = [];
function drawBars() {
  for (const [id, made] of panels) {
    const place = byId(id);
    if (choice.row < 0) missing(place, "No point is chosen.");
    else if (failed(choice.row)) missing(place, "The chosen point failed.");
    else place.replaceChildren(...made());
  }
}
function startBars() {
  const offer = (id, made, measures) =>
    study.breakdown[id] ? panels.push([id, made]) : leaveOut(id, measures);
  offer("utilization", utilizationBars, "utilization_UNIT_EINSUM");
  offer("waits", waitBars, "wait_share_UNIT_CAUSE");
  offer("traffic", trafficBars, "traffic_bytes_LEVEL_TENSOR_read or _write");
  offer("energy", energyBars, "energy_pj_PART");
  drawBars();
  on("choose", drawBars);
}
