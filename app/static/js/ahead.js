/* The next item is taken and its page fetched while this one is at hand, so that there is no wait between the two.
   The browser drops what it fetched after some minutes; then the page is fetched as ever. */

import { send, Unreachable } from "./server.js";

const RECEIPT = "touchstone:receipt";

export function fetchAhead(form) {
  const { ahead } = form.dataset;
  if (!ahead) return;
  let isAsked = false;
  form.addEventListener("input", async () => {
    if (isAsked) return;
    isAsked = true;
    try {
      const { ok, body } = await send("POST", ahead);
      if (!ok || !body.page) return;
      form.dataset.ready = body.page;
      prefetch(body.page);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      isAsked = false; // the next sign of work asks again
    }
  });
}

function prefetch(page) {
  if (!HTMLScriptElement.supports?.("speculationrules")) return;
  const rules = document.createElement("script");
  rules.type = "speculationrules";
  rules.textContent = JSON.stringify({ prefetch: [{ urls: [page], eagerness: "immediate" }] });
  document.head.append(rules);
}

/* To the next item: to the page that is ready, which learns here what was stored, or to the desk, which knows. */
export function goOn(form, { words }) {
  const { ready, next, page, amendMinutes } = form.dataset;
  if (ready) sessionStorage.setItem(RECEIPT, JSON.stringify({ words, page, canAmend: Number(amendMinutes) > 0 }));
  location.assign(ready ?? next);
}

export function showReceipt() {
  const kept = sessionStorage.getItem(RECEIPT);
  sessionStorage.removeItem(RECEIPT);
  if (!kept || document.querySelector(".receipt")) return;
  const { words, page, canAmend } = JSON.parse(kept);
  const receipt = document.getElementById("receipt-template").content.cloneNode(true);
  receipt.querySelector("b").textContent = words;
  const [see, amend] = receipt.querySelectorAll("a");
  see.href = page;
  amend.href = `${page}/amend`;
  amend.hidden = !canAmend;
  document.querySelector(".above").prepend(receipt);
}
