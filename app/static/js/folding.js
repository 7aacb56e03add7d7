/* Long completions fold at one height, each with its button, and one button for all of them. */

import { keepPreference, preference } from "./reading.js";

const SLACK = 48; // px: to hide less than two lines is not worth a click

export class Folding {
  constructor(texts, all) {
    Object.assign(this, { all });
    this.texts = texts.map((text) => ({ text, button: this.button(text), isOpen: preference("open") }));
    all.setAttribute("aria-pressed", preference("open"));
    all.addEventListener("click", () => this.openAll(all.getAttribute("aria-pressed") !== "true"));
    const measure = () => this.measure();
    const observer = new ResizeObserver(measure);
    for (const text of texts) observer.observe(text.parentElement); // widths change, and completions come and go in steps
    document.getElementById("raw-view").addEventListener("change", measure);
    this.measure();
  }

  button(text) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button small quiet show-all", hidden: true });
    text.after(button);
    button.addEventListener("click", () => {
      const each = this.texts.find((one) => one.text === text);
      each.isOpen = !each.isOpen;
      this.show();
      if (!each.isOpen) text.closest("article").scrollIntoView({ block: "nearest" });
    });
    return button;
  }

  openAll(isOpen) {
    for (const each of this.texts) each.isOpen = isOpen;
    this.all.setAttribute("aria-pressed", isOpen);
    keepPreference("open", isOpen);
    this.show();
  }

  /* Which texts are longer than the fold. All are asked before any is changed: the browser lays the page out once. */
  measure() {
    const fold = parseFloat(getComputedStyle(this.texts[0].text).getPropertyValue("--fold"));
    const heights = this.texts.map(({ text }) => text.scrollHeight);
    this.texts.forEach((each, index) => { each.isLong = heights[index] > fold + SLACK; });
    this.show();
  }

  show() {
    for (const { text, button, isLong, isOpen } of this.texts) {
      text.classList.toggle("folded", isLong && !isOpen);
      text.classList.toggle("whole-text", !isLong || isOpen);
      button.hidden = !isLong;
      button.textContent = isOpen ? "Fold" : "Show all";
      button.setAttribute("aria-expanded", isOpen);
    }
    this.all.hidden = !this.texts.some(({ isLong }) => isLong);
    this.all.querySelector(".words").textContent = this.all.getAttribute("aria-pressed") === "true" ? "Fold all" : "Show all";
  }
}
