/* What both benches share: the draft's state in words, the clock, handing in. */

import { ActiveTime, clock } from "./active_time.js";
import { fetchAhead, showReceipt } from "./ahead.js";
import { Autosave, keepLease } from "./autosave.js";
import { suggestBreaks } from "./breaks.js";
import { remember } from "./reading.js";
import { signInAgain } from "./sign_in_again.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Submission } from "./submission.js";

const WORDS = {
  saved: ["Draft saved", "saved"],
  "kept-here": ["Kept in this browser · not submitted yet", "unsaved"],
  "saved-without-lease": ["Draft saved · time ran out, still accepted", "unsaved"],
  unsaved: ["Not saved yet", "unsaved"],
  offline: ["Offline · kept in this browser", "unsaved"],
  "server-cannot": ["The server can’t save just now · kept in this browser", "unsaved"],
  "signed-out": ["Signed out · kept in this browser", "unsaved"],
  refused: ["Not saved", "unsaved"],
  submitting: ["Submitting…", ""],
  "not-stored": ["Not stored yet · trying again", "unsaved"],
};

function sayer(chip, signInButton) {
  return (state, details = {}) => {
    const [words, look] = WORDS[state];
    chip.hidden = false;
    chip.className = `chip ${look}`;
    chip.dataset.state = state;
    chip.textContent = details.seconds ? `${words} in ${details.seconds} s` : words;
    chip.title = details.detail ?? "";
    signInButton.hidden = state !== "signed-out";
  };
}

/* `read` gives what stands on the page as a draft; `write` puts a draft onto it. */
export function openBench({ read, write }) {
  const form = document.getElementById("bench-form");
  const button = document.getElementById("submit");
  const signInButton = document.getElementById("sign-in-again");
  const say = sayer(document.getElementById("draft-state"), signInButton);
  const signIn = signInAgain();
  const { api, assignment, amends } = form.dataset;
  const timer = document.getElementById("active-time");
  const tick = (seconds) => {
    timer.hidden = false;
    timer.textContent = `${clock(seconds)} on this one`;
    form.elements.active_seconds.value = seconds;
  };
  const time = new ActiveTime(Number(form.dataset.activeSeconds), tick);
  tick(time.seconds);
  const readAll = () => ({ ...read(), active_seconds: time.seconds, ...(amends ? { amends } : {}) });
  const autosave = new Autosave({ api: amends ? null : api, assignment, read: readAll, show: say });
  const kept = autosave.kept();
  if (form.dataset.savedAt) say("saved");
  if (kept) {
    write(kept);
    autosave.changed();
  }
  form.addEventListener("input", () => autosave.changed());
  new Submission({ form, button, read: readAll, autosave, say, problem: document.getElementById("problem"), signIn });
  signInButton.addEventListener("click", () => signIn(() => autosave.saveNow()));
  document.querySelector("#skip form").addEventListener("submit", () => { autosave.isDone = true; }); // no one asks then
  if (!amends) keepLease(api, time);
  remember(document.getElementById("raw-view"), "raw");
  fetchAhead(form);
  showReceipt();
  suggestBreaks(document.getElementById("main"), time);
  listenForShortcuts();
  return { form, button, autosave };
}
