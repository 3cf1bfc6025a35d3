// What a person writes into a filter, as a test of rows.

const NUMBER = String.raw`[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?`;
const COMPARED = new RegExp(`^(<=|>=|<|>|=)?\\s*(${NUMBER})$`, "i");
const BETWEEN = new RegExp(`^(${NUMBER})\\s*\\.\\.\\s*(${NUMBER})$`, "i");

// A filter of a column, null for an empty text; undefined where the text is none.
function filterFrom(column, text) {
  const asked = text.trim();
  if (!asked) return null;
  const test = column.labels || column.words ? wordTest(column, asked) : numberTest(column, asked);
  return test && { test, text: asked };
}
function numberTest(column, asked) {
  const tests = [];
  for (const part of asked.replace(/([<>=])\s+/g, "$1").split(/[\s,]+(?!\.\.)/).filter(Boolean)) {
    const test = comparison(part);
    if (!test) return undefined;
    tests.push(test);
  }
  const { values } = column;
  return (row) => tests.every((test) => test(values[row]));
}
function comparison(part) {
  const between = BETWEEN.exec(part);
  if (between) {
    const [least, most] = [Number(between[1]), Number(between[2])];
    // A bound that was written short is meant to hold for what is shown as it.
    const slack = 1e-6 * Math.max(Math.abs(least), Math.abs(most));
    return (value) => value >= least - slack && value <= most + slack;
  }
  const found = COMPARED.exec(part);
  if (!found) return undefined;
  const bound = Number(found[2]);
  switch (found[1]) {
    case "<": return (value) => value < bound;
    case "<=": return (value) => value <= bound;
    case ">": return (value) => value > bound;
    case ">=": return (value) => value >= bound;
  }
  // Numbers are shown with four digits: equal is what is shown so.
  return (value) => value === bound || Math.abs(value - bound) <= 5e-4 * Math.abs(bound) && !Number.isInteger(bound);
}
function wordTest(column, asked) {
  const wanted = asked.split(",").map((word) => word.trim().toLowerCase()).filter(Boolean);
  const fits = (text) => {
    const low = text.toLowerCase();
    return wanted.some((word) => (word.startsWith("=") ? low === word.slice(1).trim() : low.includes(word)));
  };
  if (!column.labels) return (row) => fits(column.text(row));
  const kept = column.labels.map(fits);
  return (row) => kept[column.values[row]];
}
