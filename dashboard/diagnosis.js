// Puts the page of a diagnosis together from its data.
"use strict";

byId("facts").textContent = data.facts.join(" · ");
byId("tiles").append(...data.tiles.map((tile) => make("div", {},
  make("dt", {}, tile.label), make("dd", {}, tile.value), make("dd", {}, tile.below))));

for (const section of data.sections) {
  byId("nav").append(make("a", { href: `#${section.id}` }, section.title));
  const plots = section.figures.map(() => make("div", { class: "plot" }));
  const text = make("div", {},
    make("p", { class: "note" }, section.words),
    make("p", { class: "hint" }, section.shows),
    make("p", { class: "hint" }, make("em", {}, section.paper)),
    make("p", { class: "hint" }, `Measured in ${section.seconds}.`));
  const body = plots.length > 1 ? [make("div", { class: "pair" }, ...plots), text]
    : [make("div", { class: "split" }, ...plots, text)];
  byId("sections").append(make("section", { class: "card", id: section.id }, make("h2", {}, section.title), ...body));
  section.figures.forEach((figure, index) => drawLater(plots[index], figure, `${section.title}: ${section.words}`));
}

if (data.undefined.length) {
  byId("nav").append(make("a", { href: "#undefined" }, "Not defined here"));
  byId("sections").append(make("section", { class: "card", id: "undefined" },
    make("h2", {}, "Not defined for this network"),
    make("ul", {}, ...data.undefined.map((one) => make("li", {}, make("b", {}, one.title), `: ${one.words}`)))));
}
