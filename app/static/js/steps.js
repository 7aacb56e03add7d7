/* The paper's two steps, for those who like them apart: rate one completion at a time, then order them all. */

import { remember } from "./reading.js";

export class Steps {
  /* `go(letter)` frames a completion; `isRated(letter)` and `isBegun()` say where to start. */
  constructor({ letters, go, current, isRated, isBegun }) {
    Object.assign(this, { letters, go, current, now: null });
    this.back = document.getElementById("pager-back");
    this.next = document.getElementById("pager-next");
    this.back.addEventListener("click", () => this.move(-1));
    this.next.addEventListener("click", () => this.move(1));
    remember(document.getElementById("one-by-one"), "oneByOne", (isWanted) => {
      const unrated = letters.find((letter) => !isRated(letter));
      this.set(isWanted && letters.length > 1 ? (unrated && !isBegun() ? "rating" : "ordering") : null);
      if (this.now === "rating") go(unrated);
    });
  }

  set(now) {
    this.now = now;
    for (const place of [document.getElementById("main"), document.querySelector(".order")]) {
      for (const step of ["rating", "ordering"]) place.classList.toggle(step, step === now);
    }
    this.show();
  }

  /* To the next or previous completion, from the last one on to ordering, and from there back. */
  move(by) {
    const { letters } = this;
    if (this.now === "ordering") {
      this.set("rating");
      this.go(letters.at(-1));
      return;
    }
    const index = letters.indexOf(this.current()) + by;
    if (index === letters.length) {
      this.set("ordering");
      this.go(letters[0]);
    } else if (index >= 0) this.go(letters[index]);
  }

  show() {
    const number = this.letters.indexOf(this.current()) + 1;
    const isLast = number === this.letters.length;
    document.getElementById("pager-place").textContent =
      this.now === "rating" ? `Rate: completion ${number} of ${this.letters.length}` : "";
    this.back.disabled = this.now === "rating" && number === 1;
    this.back.querySelector(".words").textContent = this.now === "rating" ? "Previous" : "Rate again";
    this.next.querySelector(".words").textContent = isLast ? "Order them" : "Next";
  }
}
