// Puts the page of a confirmation together from its data.
"use strict";

byId("facts").textContent = data.facts.join(" · ");
byId("tiles").append(...data.tiles.map((tile) => make("div", {},
  make("dt", {}, tile.label), make("dd", {}, tile.value), make("dd", {}, tile.below))));
byId("words").append(...data.words.map((one) => make("li", {}, one)));

if (data.unfinished.length) {
  byId("unfinished").hidden = false;
  byId("unfinished").textContent = `Not all is trained yet: ${data.unfinished.join(", ")}. The same nas confirm goes on.`;
}

const plots = data.figures.map(() => make("div", { class: "plot" }));
byId("plots").replaceWith(...data.figures.map((one, index) => make("section", { class: "card" },
  make("h2", {}, one.title), make("p", { class: "hint" }, one.hint), plots[index])));
data.figures.forEach((one, index) => drawLater(plots[index], one.figure, one.title));

const last = data.heads.length - 1;
const words = (index) => index === 0 || index === last;
byId("networks").append(
  make("thead", {}, make("tr", {}, ...data.heads.map((one, index) =>
    make("th", { scope: "col", class: words(index) && "words" }, one)))),
  make("tbody", {}, ...data.rows.map((row) => make("tr", {}, ...row.map((one, index) =>
    make("td", { class: index === last ? "words line" : index === 0 && "words" }, one))))));
