/* The writing bench: counts words, shows a preview, keeps the draft. */

import { openBench } from "./bench.js";
import { preview } from "./markdown_preview.js";

const form = document.getElementById("bench-form");
const answer = document.getElementById("answer");
const shown = document.getElementById("preview");
const count = document.getElementById("word-count");
const views = document.querySelectorAll("input[name=view]");
const pasted = document.getElementById("pasted");
let pastedCharacters = Number(form.dataset.pastedCharacters);

const { button } = openBench({
  read: () => ({ text: answer.value, pasted_characters: pastedCharacters }),
  write: (draft) => {
    answer.value = draft.text ?? "";
    pastedCharacters = draft.pasted_characters ?? 0;
  },
});

/* Kept as a fact beside the text, and told: a quotation is no fault. */
answer.addEventListener("beforeinput", (event) => {
  if (!["insertFromPaste", "insertFromDrop"].includes(event.inputType)) return;
  pastedCharacters += (event.data ?? event.dataTransfer?.getData("text/plain") ?? "").length;
});

function show() {
  const words = answer.value.trim() ? answer.value.trim().split(/\s+/).length : 0;
  count.textContent = `${words} word${words === 1 ? "" : "s"}`;
  pasted.textContent = pastedCharacters ? `${pastedCharacters} characters pasted ·` : "";
  button.disabled = words === 0;
  document.getElementById("why-not").textContent = words ? "" : "Nothing written yet.";
}

function look(view) {
  const isPreview = view === "preview";
  shown.hidden = !isPreview;
  answer.hidden = isPreview;
  if (isPreview) shown.replaceChildren(...preview(answer.value));
  else answer.focus();
}

form.addEventListener("input", show);
for (const radio of views) radio.addEventListener("change", () => look(radio.value));
document.addEventListener("keydown", (event) => {
  if (!event.altKey || event.code !== "KeyP") return;
  event.preventDefault();
  [...views].find((radio) => !radio.checked).click();
});

show();
answer.focus({ preventScroll: true });
