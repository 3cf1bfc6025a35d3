// Elements, colours, the tip beside the pointer. Text goes in as text, never as markup.

function element(tag, settings = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...inside);
  return made;
}
function byId(id) {
  return document.getElementById(id);
}
function svg(tag, settings = {}, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A colour of the theme in use, by the name of its variable.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
const HUES = 10;
// Colours of names: the same name has the same colour in its panel.
function palette(names) {
  const found = new Map();
  for (const name of names) {
    if (found.has(name)) continue;
    const hue = `var(--hue-${found.size % HUES})`;
    found.set(name, found.size < HUES ? hue : `color-mix(in srgb, ${hue} 50%, white)`);
  }
  return found;
}
// For a canvas, which knows no variables.
function resolved(value) {
  return value.replace(/var\(--([\w-]+)\)/g, (_, name) => colour(name));
}

// Short enough for so many pixels in the context's font. byEnd: it is the end that tells.
function fitted(context, text, width, byEnd = false) {
  if (context.measureText(text).width <= width) return text;
  const cut = (length) => (byEnd ? `…${text.slice(-length)}` : `${text.slice(0, length)}…`);
  let length = text.length;
  while (length > 1 && context.measureText(cut(length)).width > width) length--;
  return cut(length);
}

// A canvas as sharp as the screen; drawn in CSS pixels.
function sized(canvas, width, height) {
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  return context;
}

const tip = byId("tip");
function showTip(event, title, lines) {
  tip.replaceChildren(element("b", { text: title }));
  const list = element("dl");
  for (const [name, value] of lines) {
    list.append(element("dt", { text: name }), element("dd", { text: value }));
  }
  tip.append(list);
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const right = event.clientX + 14 + width > innerWidth;
  const left = right ? Math.max(4, event.clientX - 14 - width) : event.clientX + 14;
  const top = Math.min(event.clientY + 12, innerHeight - height - 4);
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}
function hideTip() {
  tip.hidden = true;
}
function standing(row) {
  if (failed(row)) return ", failed";
  if (outside[row]) return ", outside the constraints";
  if (!choice.shown[row]) return ", not among the points shown";
  return onFront[row] ? ", on the front" : "";
}
const TIP_AXES = 10;
function pointTip(event, row, more = []) {
  const lines = [];
  for (const column of [...axes.slice(0, TIP_AXES), ...objectives, ...more]) {
    lines.push([column.label, column.textWithUnit(row)]);
  }
  const rest = axes.length - TIP_AXES;
  if (rest > 0) lines.push(["", `and ${rest} more axes`]);
  showTip(event, `Point ${ids[row]}${standing(row)}`, lines);
}

// A list to choose a column from, in groups.
function columnSelect(label, chosen, offered, changed, none) {
  const select = element("select", { onchange: () => changed(select.value) });
  if (none !== undefined) select.append(element("option", { value: "", text: none }));
  const groups = { objective: "Objectives", axis: "Axes", measure: "Measures" };
  for (const [role, title] of Object.entries(groups)) {
    const own = offered.filter((column) => column.role === role);
    if (!own.length) continue;
    const group = element("optgroup", { label: title });
    for (const column of own) {
      group.append(element("option", { value: column.name, text: column.label, title: column.about }));
    }
    select.append(group);
  }
  select.value = chosen;
  return element("label", { text: `${label} ` }, select);
}
function checkbox(label, checked, changed) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => changed(box.checked));
  return element("label", {}, box, ` ${label}`);
}
// Panels whose measures a study does not have are not shown; the page's end names them.
const leftOut = [];
function leaveOut(id, needs) {
  const panel = byId(id).closest(".panel");
  panel.hidden = true;
  leftOut.push(`${panel.querySelector("h2").textContent} (needs ${needs})`);
}
// What stands beside a panel that is left out takes its room.
function closeGaps() {
  for (const pair of document.querySelectorAll(".pair")) {
    pair.hidden = [...pair.children].every((panel) => panel.hidden);
    if (pair.hidden) pair.previousElementSibling.classList.add("full");
  }
  const halves = [...document.querySelectorAll(".panel.half")].filter((panel) => !panel.hidden);
  if (halves.length === 1) halves[0].classList.add("full");
}
function missing(place, text) {
  place.replaceChildren(element("p", { class: "missing", text }));
}
