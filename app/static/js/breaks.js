/* After so much work without a pause the page suggests one. It counts over items: in this browser, per person. */

const PAUSE = 5 * 60_000; // so long without a sign of work is a break
const AGAIN = 10 * 60_000; // who goes on is asked again then
const EVERY = 10_000;

export function suggestBreaks(main, time) {
  const after = Number(main.dataset.breakAfter) * 60_000;
  const notice = document.getElementById("take-a-break");
  if (!after || !notice) return;
  const store = `touchstone:work:${main.dataset.person}`;

  function work() {
    try {
      return JSON.parse(localStorage.getItem(store)) ?? {};
    } catch {
      return {};
    }
  }

  function keep(state) {
    try {
      localStorage.setItem(store, JSON.stringify(state));
    } catch {
      // Without a store the count starts anew with every page.
    }
  }

  function look() {
    if (document.hidden || !time.isActive(EVERY)) return;
    const now = Date.now();
    let { began = now, last = now, askAt = 0 } = work();
    if (now - last > PAUSE) [began, askAt] = [now, 0];
    const worked = now - began;
    if (worked >= after && now >= askAt) {
      notice.querySelector(".minutes").textContent = Math.floor(worked / 60_000);
      notice.hidden = false;
      askAt = now + AGAIN;
    }
    keep({ began, last: now, askAt });
  }

  look();
  setInterval(look, EVERY);
  notice.querySelector("button").addEventListener("click", () => { notice.hidden = true; });
}
