// The tables: the front, all trials (sorted, filtered, a page at a time), what failed and why.
"use strict";

const PAGE = 25;
const COLUMNS = [
  { name: "trial", column: "number", show: (v) => v },
  { name: "accuracy", column: "accuracy", show: (v) => fixed(v) },
  { name: "± (seeds)", column: "spread", repeated: true,
    show: (v, row) => (v === null ? "" : `${fixed(v)} (${value(row, "seeds")})`) },
  { name: "MACs", column: "macs", show: humanCount },
  { name: "params", column: "params", show: humanCount },
  { name: "activations", column: "activations", show: humanCount, objective: true },
  { name: "latency (ms)", column: "latency_ms", show: (v) => (v === null ? "" : v.toPrecision(3)), objective: true },
  { name: "epochs", column: "epochs", show: (v) => v ?? "" },
  { name: "time", column: "seconds", show: humanSeconds },
  { name: "state", column: "state", show: (v) => v, words: true, all: true },
  { name: "architecture", column: "architecture", show: (v) => v ?? "", words: true, line: true },
  { name: "reason", column: "reason", show: (v) => v ?? "", words: true, line: true, all: true },
];

function columnsFor(all) {
  const wanted = new Set(data.objectives.map((objective) => objective.column));
  const repeated = (data.trials.seeds ?? []).some((count) => count > 1);
  return COLUMNS.filter((c) => (all || !c.all) && (!c.repeated || repeated) && (!c.objective || wanted.has(c.column)) && data.trials[c.column]);
}

function stateCell(state) {
  return make("span", { class: "state" }, make("span", { class: `dot ${state}`, "aria-hidden": "true" }),
              state.toLowerCase().replaceAll("_", " "));
}

function trialRow(row, columns) {
  const number = value(row, "number");
  const cells = columns.map((c) => {
    const classes = [c.words ? "words" : "", c.line ? "line" : ""].join(" ").trim() || null;
    if (c.column === "number") {
      return make("td", {}, make("button", { type: "button", "aria-label": `Show trial ${number}` }, String(number)));
    }
    if (c.column === "state") return make("td", { class: classes }, stateCell(String(value(row, "state"))));
    return make("td", { class: classes }, String(c.show(value(row, c.column), row)));
  });
  const focus = (event) => choose(number, { focus: event.detail === 0 || !event.currentTarget.closest("#front-table") });
  return make("tr", { class: "pick", "data-number": number, "aria-selected": String(number === chosen), onclick: focus },
              ...cells);
}

function table(columns, rows, { sort = null, onsort = null } = {}) {
  const heads = columns.map((c) => make("th", {
    scope: "col", class: c.words ? "words" : null,
    "aria-sort": onsort ? (sort.column === c.column ? (sort.up ? "ascending" : "descending") : "none") : null,
  }, onsort ? make("button", { type: "button", onclick: () => onsort(c.column) }, c.name) : c.name));
  return make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
}

function frontTable() {
  const columns = columnsFor(false);
  const rows = data.front.map((number) => trialRow(rowOf.get(number), columns));
  byId("front-table").replaceChildren(rows.length ? table(columns, rows) : make("p", { class: "empty" }, data.empty));
}

// --- all trials ---

const view = { sort: { column: "number", up: true }, hidden: new Set(), words: "", shown: PAGE };

function compared(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;      // what is missing goes last
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return view.sort.up ? order : -order;
}

function visibleRows() {
  const words = view.words.toLowerCase();
  const rows = [...rowOf.values()].filter((row) => !view.hidden.has(value(row, "state")) && (!words ||
    ["number", "architecture", "reason"].some((c) => String(value(row, c) ?? "").toLowerCase().includes(words))));
  return rows.sort((a, b) => compared(value(a, view.sort.column), value(b, view.sort.column)) || a - b);
}

function sortBy(column) {
  view.sort = { column, up: view.sort.column === column ? !view.sort.up : column !== "accuracy" };
  trialTable();
  byId("trial-table").querySelector('th[aria-sort$="ending"] button')?.focus();
}

function trialTable() {
  const box = byId("trial-table");
  if (!rowOf.size) {
    box.replaceChildren(make("p", { class: "empty" }, data.empty));
    return;
  }
  const rows = visibleRows();
  const columns = columnsFor(true);
  const shown = rows.slice(0, view.shown).map((row) => trialRow(row, columns));
  const more = make("div", { class: "more" }, `${shown.length} of ${rows.length} trials`);
  if (rows.length > shown.length) {
    more.append(make("button", { type: "button", onclick: () => { view.shown += 4 * PAGE; trialTable(); } },
                     `Show ${Math.min(4 * PAGE, rows.length - shown.length)} more`));
  }
  box.replaceChildren(table(columns, shown, { sort: view.sort, onsort: sortBy }), more);
}

function filters() {
  const boxes = Object.entries(data.states).filter(([, count]) => count).map(([state, count]) => {
    const toggle = (event) => {
      view.hidden[event.target.checked ? "delete" : "add"](state);
      trialTable();
    };
    return make("label", {}, make("input", { type: "checkbox", checked: true, onchange: toggle }), " ", stateCell(state),
                ` (${count})`);
  });
  const search = make("input", { type: "search", placeholder: "architecture, reason or number",
                                 "aria-label": "Find in trials",
                                 oninput: (event) => { view.words = event.target.value.trim(); trialTable(); } });
  byId("filters").replaceChildren(...(rowOf.size ? [...boxes, search] : []));
}

// --- what failed ---

function reasonTable(title, rows) {
  if (!rows.length) return [];
  const link = (number) => make("button", { type: "button", onclick: () => choose(number, { focus: true }),
                                            "aria-label": `Show trial ${number}` }, String(number));
  const lines = rows.map((row) => make("tr", {},
    make("td", {}, String(row.count)), make("td", { class: "words" }, stateCell(row.state)),
    make("td", { class: "words line" }, row.reason),
    make("td", { class: "words line" }, ...row.trials.flatMap((number) => [link(number), " "]),
         row.count > row.trials.length ? "…" : "")));
  const heads = [{ name: "trials" }, { name: "state", words: true }, { name: "reason", words: true },
                 { name: "which", words: true }];
  return [make("h3", {}, title), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
                                      table(heads, lines))];
}

function failureTables() {
  const lines = data.infeasible.map((one) => make("tr", {}, make("td", {}, one.count.toLocaleString("en")),
    make("td", { class: "words line" }, one.name), make("td", { class: "words" }, one.extent)));
  const parts = [...reasonTable("Failed", data.failures), ...reasonTable("Stopped early", data.prunings)];
  if (lines.length) {
    parts.push(make("h3", {}, "Infeasible points, by the constraint they broke"),
               table([{ name: "points" }, { name: "constraint", words: true }, { name: "by how much", words: true }], lines));
  }
  byId("failure-tables").replaceChildren(
    ...(parts.length ? parts : [make("p", { class: "hint" }, "Nothing failed, nothing was stopped, nothing was refused.")]));
}
