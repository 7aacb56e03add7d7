/* The order at the foot: a tier for each rank, its letters to drag, and what is still left. */

export class OrderBar {
  constructor(board, { onPick, current }) {
    Object.assign(this, { board, onPick, current });
    this.list = document.getElementById("tiers");
    this.tray = document.getElementById("tray");
    this.list.replaceChildren(...board.letters.map((_, index) => this.tier(index + 1)));
    this.makeDraggable();
  }

  tier(rank) {
    const tier = document.createElement("li");
    tier.className = "tier";
    const at = document.createElement("button");
    Object.assign(at, { type: "button", className: "at", textContent: rank });
    at.addEventListener("click", () => this.board.place(this.current(), rank));
    const letters = document.createElement("div");
    letters.className = "tier-letters";
    letters.dataset.rank = rank;
    tier.append(at, letters);
    return tier;
  }

  makeDraggable() {
    if (!window.Sortable) return; // the buttons and keys do the same
    for (const place of [...this.list.querySelectorAll(".tier-letters"), this.tray]) {
      window.Sortable.create(place, {
        group: "ranks",
        animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120,
        forceFallback: true, // the same dragging by mouse, pen and finger, in every browser
        fallbackTolerance: 4,
        onEnd: ({ item, to }) => {
          const { letter } = item.dataset;
          // After the library has let go of the element: showing the order anew replaces it.
          setTimeout(() => {
            this.board.place(letter, to.dataset.rank ? Number(to.dataset.rank) : null);
            this.show();
          });
        },
      });
    }
  }

  letterButton(letter) {
    const button = document.createElement("button");
    const rank = this.board.rank(letter);
    Object.assign(button, { type: "button", className: "letter", textContent: letter });
    button.classList.toggle("is-current", letter === this.current());
    button.dataset.letter = letter;
    button.setAttribute("aria-label", `Go to ${letter}, ${rank === null ? "not ranked" : `rank ${rank}`}`);
    button.addEventListener("click", () => this.onPick(letter));
    return button;
  }

  show() {
    const { board } = this;
    for (const place of this.list.querySelectorAll(".tier-letters")) {
      const here = board.letters.filter((letter) => board.rank(letter) === Number(place.dataset.rank));
      place.replaceChildren(...here.map((letter) => this.letterButton(letter)));
      place.parentElement.classList.toggle("full", here.length > 0);
      place.previousSibling.setAttribute("aria-label", `Put ${this.current()} at rank ${place.dataset.rank}`);
    }
    const left = board.leftOver();
    this.tray.replaceChildren(...left.map((letter) => this.letterButton(letter)));
    const words = board.cannotRank ? "Cannot be ranked" : left.length ? `${left.length} left:` : board.words();
    document.getElementById("left-words").textContent = words;
    document.getElementById("left-over").classList.toggle("ready", board.cannotRank || left.length === 0);
    document.getElementById("order-words").textContent = [board.words(), left.length ? `left: ${left.join(", ")}` : ""].filter(Boolean).join("; ");
  }
}
