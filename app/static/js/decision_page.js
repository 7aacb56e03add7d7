/* Deciding a disagreement: a plain form, with the bench's raw view, its key to submit, and a word before work is lost. */

import { remember } from "./reading.js";
import { listenForShortcuts } from "./shortcuts.js";

const form = document.getElementById("decision");
const asLoaded = () => new URLSearchParams(new FormData(form)).toString();
const loaded = asLoaded();
let isLeaving = false;

remember(document.getElementById("raw-view"), "raw");
listenForShortcuts();
form.addEventListener("submit", () => {
  isLeaving = true;
});
window.addEventListener("beforeunload", (event) => {
  if (!isLeaving && asLoaded() !== loaded) event.preventDefault();
});
