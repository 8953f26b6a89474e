// The panel of one network: its numbers, diagram, knobs and learning curve.
"use strict";

const rowOf = new Map((data.trials.number ?? []).map((number, row) => [number, row]));
const onFront = new Set(data.front);
let chosen = null;

// One value of one trial; null where there is none.
function value(row, column) {
  return data.trials[column]?.[row] ?? null;
}

const curveRows = new Map();     // trial -> its rows of data.epochs
(data.epochs.number ?? []).forEach((number, row) => {
  if (!curveRows.has(number)) curveRows.set(number, []);
  curveRows.get(number).push(row);
});

const opened = new Map();        // bundle -> promise of its diagrams

function openBundle(index) {
  if (!opened.has(index)) {
    const bytes = Uint8Array.from(atob(data.diagrams.bundles[index]), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    opened.set(index, new Response(stream).text().then(JSON.parse));
  }
  return opened.get(index);
}

async function diagram(number) {
  const place = data.diagrams.trials[number];
  if (place === undefined) return null;
  const bundle = await openBundle(Math.floor(place / data.diagrams.bundle));
  return bundle.drawings[place % data.diagrams.bundle].map((mark) => bundle.marks[mark]).join("");
}

function pairs(className, entries) {
  const list = make("dl", { class: className });
  for (const [name, text] of entries) {
    if (text !== "" && text !== null) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, String(text))));
  }
  return list;
}

function numbersOf(row) {
  return pairs("numbers", [
    ["accuracy", fixed(value(row, "accuracy"))],
    ["MACs", humanCount(value(row, "macs"))],
    ["parameters", humanCount(value(row, "params"))],
    ["activations", humanCount(value(row, "activations"))],
    ["latency", value(row, "latency_ms") === null ? "" : `${value(row, "latency_ms").toPrecision(3)} ms`],
    ["epochs", value(row, "epochs")],
    ["time", humanSeconds(value(row, "seconds"))],
    ["device", value(row, "device")],
  ]);
}

function badges(number, row) {
  const words = [value(row, "state").toLowerCase().replaceAll("_", " ")];
  if (onFront.has(number)) words.push(data.objectives.length > 1 ? "on the front" : "best");
  if (number === data.knee) words.push("knee");
  if (value(row, "reused")) words.push("reused");
  return words.map((word) => make("span", { class: "badge" }, word));
}

// Buttons to the front's next cheaper and next costlier network.
function steps(number) {
  const place = data.front.indexOf(number);
  if (place < 0 || data.front.length < 2) return null;
  const button = (text, to) => make("button", {
    type: "button", disabled: to === undefined, onclick: () => choose(to, { focus: true }) }, text);
  return make("div", { class: "steps" }, button("← cheaper", data.front[place - 1]),
              button("costlier →", data.front[place + 1]));
}

function curve(number) {
  const rows = curveRows.get(number) ?? [];
  if (!rows.length) return null;
  const read = (column) => rows.map((row) => data.epochs[column]?.[row] ?? null);
  const line = (name, axis, shade, dash) => ({
    x: read("epoch"), y: read(name), name: axis === "y" ? "accuracy" : name.replace("_", " "), yaxis: axis,
    mode: "lines+markers", marker: { size: 5 }, line: { color: shade, width: 2, dash } });
  const traces = [line("accuracy", "y", "#2f86c9", "solid"), line("loss", "y2", "#d55e00", "dot"),
                  line("train_loss", "y2", "#8a8f98", "dot")];
  const axis = { automargin: true, zeroline: false, ticks: "outside" };
  const layout = {
    ...structuredClone({ font: data.figures.curves.layout.font, hoverlabel: {} }), height: 230, hovermode: "x unified",
    margin: { l: 44, r: 44, t: 26, b: 38 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { ...axis, title: { text: "epoch" } }, yaxis: { ...axis, title: { text: "accuracy" } },
    yaxis2: { ...axis, title: { text: "loss" }, overlaying: "y", side: "right", showgrid: false } };
  return { data: traces.filter((trace) => trace.y.some((number_) => number_ !== null)), layout };
}

// Show a trial in the panel; `focus` moves there as well, for the keyboard and for rows far away.
async function choose(number, { focus = false } = {}) {
  const row = rowOf.get(number);
  if (row === undefined) return;
  chosen = number;
  const panel = byId("network");
  const title = make("h2", { tabindex: "-1", id: "network-title" }, `Trial ${number}`, ...badges(number, row));
  const picture = make("div", { class: "scroll" }, make("p", { class: "hint" }, "Drawing…"));
  const reason = value(row, "reason");
  const plot = make("div", { class: "plot" });
  const figure = curve(number);
  const knobs = data.axes.map((axis) => [axis, value(row, axis)]);
  panel.replaceChildren(...[
    title, steps(number), reason ? make("p", { class: "reason" }, String(reason)) : null, numbersOf(row), picture,
    make("p", { class: "archline" }, String(value(row, "architecture") ?? "")),
    knobs.some(([, knob]) => knob !== null) ? make("h3", {}, "Knobs") : null, pairs("knobs", knobs),
    make("h3", {}, "Learning curve"), figure ? plot : make("p", { class: "hint" }, "No epoch is recorded."),
    value(row, "checkpoint") ? make("p", { class: "archline" }, `checkpoint: ${value(row, "checkpoint")}`) : null,
  ].filter((part) => part !== null));
  markChosen();
  if (figure) draw(plot, figure, `Learning curve of trial ${number}`);
  if (focus) {
    title.focus({ preventScroll: true });
    panel.scrollIntoView({ block: "nearest" });
  }
  const markup = await diagram(number);
  if (chosen !== number) return;
  if (markup) picture.innerHTML = markup;      // ours: its texts are escaped where it is drawn
  else {
    const why = data.diagrams.lacking[number] || "There is no diagram of this trial.";
    picture.replaceChildren(make("p", { class: "hint" }, why));
  }
}

function markChosen() {
  for (const row of document.querySelectorAll("tr.pick")) {
    row.setAttribute("aria-selected", String(Number(row.dataset.number) === chosen));
  }
}
