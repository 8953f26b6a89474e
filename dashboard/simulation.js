// Puts the page of a simulation together from its data.
"use strict";

byId("facts").textContent = data.facts.join(" · ");
byId("volume-hint").textContent = data.volume;
byId("time-hint").textContent = data.time;
draw(byId("trials-plot"), data.figures.trials, "Share of the hypervolume by networks tried; the table below has the figures");
draw(byId("time-plot"), data.figures.time, "Share of the hypervolume by simulated time; the table below has the figures");
byId("reached-table").append(make("table", {},
  make("thead", {}, make("tr", {}, ...data.table.head.map((cell) => make("th", { scope: "col" }, cell)))),
  make("tbody", {}, ...data.table.rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell)))))));
