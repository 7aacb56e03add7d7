/* Compare mode: two completions side by side; the answers order them all by as few questions as can be. */

import { standing } from "./merge_insertion.js";
import { markDifferences } from "./word_diff.js";

const byId = (id) => document.getElementById(id);

export class Compare {
  constructor({ board, onOrder, onAnswer }) {
    Object.assign(this, { board, onOrder, onAnswer, isOpen: false });
    this.answers = JSON.parse(board.form.dataset.compared ?? "[]");
    this.section = byId("compare");
    byId("compare-open").addEventListener("click", () => this.open());
    byId("compare-close").addEventListener("click", () => this.close());
    byId("take-back").addEventListener("click", () => this.takeBack());
    byId("start-over").addEventListener("click", () => this.change([]));
    for (const better of ["left", "tie", "right"]) byId(`better-${better}`).addEventListener("click", () => this.answer(better));
    byId("raw-view").addEventListener("change", () => { if (this.isOpen) this.mark(); });
  }

  open() {
    this.isOpen = true;
    this.show();
    byId("compare-title").focus({ preventScroll: true });
  }

  close() {
    this.isOpen = false;
    this.show();
    byId("compare-open").focus({ preventScroll: true });
  }

  answer(better) {
    if (this.question) this.change([...this.answers, { ...this.question, better }]);
  }

  takeBack() {
    if (this.answers.length) this.change(this.answers.slice(0, -1));
  }

  change(answers) {
    this.answers = answers;
    this.onAnswer();
    const { tiers } = standing(this.board.letters, answers);
    if (tiers) {
      this.close();
      this.onOrder(Object.fromEntries(tiers.flatMap((tier, index) => tier.map((letter) => [letter, index + 1]))));
    } else this.show();
  }

  show() {
    document.getElementById("main").classList.toggle("comparing", this.isOpen);
    document.querySelector(".order").classList.toggle("comparing", this.isOpen);
    this.section.hidden = !this.isOpen;
    if (!this.isOpen) return;
    const { question, about } = standing(this.board.letters, this.answers);
    this.question = question;
    const { left, right } = question ?? this.answers.at(-1);
    for (const [side, letter] of [["left", left], ["right", right]]) {
      const pane = this.section.querySelector(`[data-side=${side}]`);
      pane.querySelector(".letter").textContent = letter;
      pane.querySelector(".pane-text").replaceChildren(this.board.textOf(letter).cloneNode(true));
      byId(`better-${side}`).querySelector(".words").textContent = `${letter} is better`;
    }
    this.say(question, about);
    this.mark();
    this.section.scrollIntoView({ block: "nearest" });
  }

  say(question, about) {
    const number = this.answers.length + 1;
    byId("compare-progress").textContent = question
      ? `Question ${number} of about ${Math.max(about, number)}: ${question.left} or ${question.right}?`
      : "Every question is answered.";
    for (const better of ["left", "tie", "right"]) byId(`better-${better}`).disabled = !question;
    byId("start-over").hidden = Boolean(question);
    byId("take-back").disabled = this.answers.length === 0;
  }

  mark() {
    const [left, right] = this.section.querySelectorAll(".pane-text");
    const marked = markDifferences(left, right);
    byId("compare-hint").textContent = marked
      ? marked.left + marked.right ? `Marked words: ${marked.left} only on the left, ${marked.right} only on the right.` : "Word for word the same."
      : "Differences are not marked: they share few words.";
  }
}
