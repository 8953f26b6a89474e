// Puts the page of a verification together from its data.
"use strict";

const HEAD = ["claim", "source", "prediction", "measurement", "tolerance", "verdict"];

byId("facts").textContent = data.facts.join(" · ");
byId("about").textContent = data.about;
byId("tiles").append(...data.tiles.map((tile) => make("div", {},
  make("dt", {}, tile.label), make("dd", {}, tile.value), make("dd", {}, tile.below))));

// A cell: words wrap, the verdict is marked.
function cell(text, index) {
  if (index < 5) return make("td", { class: "words line" }, text);
  return make("td", {}, make("span", { class: `verdict ${text}` }, text));
}

for (const system of data.systems) {
  const id = `system-${system.name}`;
  byId("nav").append(make("a", { href: `#${id}` }, system.failed ? `${system.name} ✗` : system.name));
  const plots = system.figures.map((one) => make("figure", {}, make("figcaption", { class: "hint" }, one.title),
    make("div", { class: "plot" })));
  byId("systems").append(make("section", { class: "card", id }, make("h2", {}, system.name),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Checks of ${system.name}` },
      make("table", { class: "checks" },
        make("thead", {}, make("tr", {}, ...HEAD.map((one, index) =>
          make("th", { scope: "col", class: index < 5 && "words" }, one)))),
        make("tbody", {}, ...system.rows.map((row) => make("tr", {}, ...row.map(cell)))))),
    make("div", { class: "proofs" }, ...plots)));
  system.figures.forEach((one, index) => drawLater(plots[index].lastChild, one.figure, one.title));
}
