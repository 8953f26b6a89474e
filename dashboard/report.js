// Puts the page together from its data.
"use strict";

function headline() {
  byId("facts").textContent = [
    data.objectives.map((o) => `${o.name} ${o.direction}`).join(", "), data.data, data.machine].filter(Boolean).join(" · ");
  byId("tiles").replaceChildren(...data.tiles.map((tile) => {
    const below = tile.cost ? `${tile.below}, ${humanCount(tile.cost)} ${data.cost.name}` : tile.below;
    return make("div", {}, make("dt", {}, tile.label), make("dd", {}, tile.value), make("dd", {}, below));
  }));
  const states = Object.entries(data.states).filter(([, count]) => count);
  const bar = make("div", { class: "bar", "aria-hidden": "true" });
  for (const [state, count] of states) {
    const part = make("span", { class: state });
    part.style.flexGrow = count;
    bar.append(part);
  }
  byId("states").replaceChildren(bar, make("ul", { class: "legend", "aria-label": "Trials by state" },
    ...states.map(([state, count]) => make("li", {}, stateCell(state), ` ${count.toLocaleString("en")}`))));
}

function frontSection() {
  const many = data.objectives.length > 1;
  byId("front-title").textContent = many ? "Front" : "Best network";
  byId("front-hint").textContent = many
    ? "No other network is better in one objective without being worse in another. Pick a point or a row to see the network."
    : `One objective: ${data.objectives[0]?.name ?? "none"}. Pick a point or a row to see the network.`;
  const plot = byId("front-plot");
  draw(plot, data.figures.front, "Accuracy against cost of all trials; the front stands in the table below");
  plot.on("plotly_click", (event) => {
    const number = event.points[0]?.customdata;
    if (typeof number === "number") choose(number, { focus: matchMedia("(max-width: 900px)").matches });
  });
  frontTable();
}

function otherPlots() {
  drawLater(byId("curves-plot"), data.figures.curves, "Validation accuracy by epoch");
  byId("progress-hint").textContent = data.objectives.length > 1
    ? "Hypervolume: the share of the box from chance and the costliest network to perfect accuracy at the least cost (log) " +
      "that the front dominates, after each complete trial."
    : "The best value so far, after each complete trial.";
  drawLater(byId("hypervolume-plot"), data.figures.hypervolume, "Progress over trials");
  byId("axes-hint").textContent = `Accuracy alone would only say that bigger is better: here its trend with ` +
    `${data.cost.name} (log) is taken off first.`;
  byId("importance-note").textContent = data.importance.note;
  if (data.importance.rows.length) {
    drawLater(byId("importance-plot"), data.figures.importance, "Axes by importance for accuracy at fixed cost: " +
      data.importance.rows.slice(0, 5).map((row) => `${row.axis} ${row.importance.toFixed(3)}`).join(", "));
  } else {
    byId("importance-plot").remove();
  }
  effects();
}

function effects() {
  const box = byId("effects");
  for (const figure of data.figures.effects) {
    const plot = make("div", { class: "plot" });
    box.append(make("figure", {}, make("figcaption", {}, figure.axis), plot));
    drawLater(plot, figure, `Accuracy at fixed cost by ${figure.axis}`);
  }
  if (!data.figures.effects.length) {
    box.append(make("p", { class: "empty" }, "Effects need at least three complete trials and an axis that varies."));
  }
}

function settings() {
  byId("yaml").textContent = data.yaml;
  byId("copy").addEventListener("click", async (event) => {
    try {
      await navigator.clipboard.writeText(data.yaml);
      event.target.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(byId("yaml"));
      event.target.textContent = "Selected: press Ctrl-C";
    }
  });
}

function start() {
  headline();
  frontSection();
  filters();
  trialTable();
  failureTables();
  settings();
  otherPlots();
  const first = data.knee ?? data.front.at(-1) ?? data.trials.number?.[0];
  if (first !== undefined) choose(first);
  else byId("network").replaceChildren(make("p", { class: "empty" }, data.empty));
}

start();
