// The only module that names packages; the server answers with addresses in their place, because a policy that allows no
// inline script allows no import map either.
export { html, nothing, render, svg } from "lit-html";
export { live } from "lit-html/directives/live.js";
export { repeat } from "lit-html/directives/repeat.js";
export { default as Plot } from "uplot/dist/uPlot.esm.js";
