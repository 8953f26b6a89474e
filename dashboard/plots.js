// Small helpers for the page's elements and its plots. No request is ever made; every text is set as text.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

// An element with properties and children; strings become text.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

function humanCount(value) {
  if (value === null || value === undefined) return "";
  for (const [factor, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= factor * 0.9995) {
      const scaled = value / factor;
      return (scaled < 999.5 ? String(Number(scaled.toPrecision(3))) : scaled.toFixed(0)) + letter;
    }
  }
  return String(Math.round(value));
}

function humanSeconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 9.95) return `${value.toFixed(1)}s`;
  if (value < 60) return `${value.toFixed(0)}s`;
  if (value < 3600) return `${Math.floor(value / 60)}m ${String(Math.floor(value % 60)).padStart(2, "0")}s`;
  return `${Math.floor(value / 3600)}h ${String(Math.floor((value % 3600) / 60)).padStart(2, "0")}m`;
}

function fixed(value, digits = 4) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The figure's layout in the colours of the page, light or dark.
function themed(layout) {
  const copy = structuredClone(layout);
  copy.font = { ...copy.font, color: colour("--soft") };
  copy.hoverlabel = { ...copy.hoverlabel, bgcolor: colour("--nas-paper"), bordercolor: colour("--line"),
                      font: { color: colour("--ink"), size: 12.5 } };
  for (const [name, axis] of Object.entries(copy)) {
    if (/^[xy]axis\d*$/.test(name)) Object.assign(axis, { gridcolor: colour("--grid"), linecolor: colour("--grid") });
  }
  return copy;
}

const drawn = new Map();     // element -> figure, to draw again when the colours change

function draw(element, figure, label) {
  drawn.set(element, figure);
  element.style.minHeight = figure.layout.height ? `${figure.layout.height}px` : "";
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  return Plotly.react(element, figure.data, themed(figure.layout), CONFIG);
}

// Draw when the element comes near the screen.
function drawLater(element, figure, label) {
  element.style.minHeight = `${figure.layout.height}px`;
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    draw(element, figure, label);
  }, { rootMargin: "400px" });
  watcher.observe(element);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [element, figure] of drawn) {
    if (element.isConnected) Plotly.react(element, figure.data, themed(figure.layout), CONFIG);
    else drawn.delete(element);
  }
});
