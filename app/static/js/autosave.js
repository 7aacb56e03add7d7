/* Drafts: on the server a moment after each change, in this browser until the server has them. Says only what is true. */

import { send } from "./server.js";

const PAUSE = 800;
const LONGEST_WAIT = 5_000;
const RETRY = 5_000;

export class Autosave {
  constructor({ api, assignment, read, show }) {
    Object.assign(this, { api, read, store: `touchstone:draft:${assignment}` });
    this.show = (...state) => { if (!this.isHeld) show(...state); };
    this.changes = 0; // counted, so that a save that was overtaken doesn't call a later change saved
    this.saved = 0;
    this.isSaving = false;
    this.isHeld = false;
    window.addEventListener("beforeunload", (event) => { if (this.isUnsaved() && !this.isDone) event.preventDefault(); });
    window.addEventListener("online", () => this.saveNow());
    window.addEventListener("offline", () => { if (this.isUnsaved()) this.show("offline"); });
    document.addEventListener("visibilitychange", () => { if (document.hidden && this.isUnsaved()) this.saveNow({ keepalive: true }); });
  }

  isUnsaved() {
    return this.changes > this.saved;
  }

  /* What this browser kept because the server never got it; none when the server has everything. */
  kept() {
    try {
      return JSON.parse(localStorage.getItem(this.store) ?? "null");
    } catch {
      return null;
    }
  }

  changed() {
    this.changes += 1;
    this.keep();
    if (this.isHeld) return;
    this.show(navigator.onLine ? "unsaved" : "offline");
    this.firstUnsaved ??= Date.now();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.saveNow(), Math.max(0, Math.min(PAUSE, this.firstUnsaved + LONGEST_WAIT - Date.now())));
  }

  keep() {
    try {
      localStorage.setItem(this.store, JSON.stringify(this.read()));
    } catch {
      // A full or forbidden store: the server still gets the draft, and leaving asks first while it has not.
    }
  }

  forget() {
    try {
      localStorage.removeItem(this.store);
    } catch {
      // As above.
    }
  }

  async saveNow(options = {}) {
    clearTimeout(this.timer);
    if (this.isSaving || this.isDone || this.isHeld || !this.isUnsaved()) return;
    if (!this.api) { // a correction has no draft on the server: what counts there is what was submitted
      this.show("kept-here");
      return;
    }
    this.isSaving = true;
    this.firstUnsaved = undefined;
    const upTo = this.changes;
    try {
      const answer = await send("PUT", `${this.api}/draft`, this.read(), options);
      this.answered(answer, upTo);
    } catch (error) {
      this.show(error.told?.detail ? "server-cannot" : "offline", error.told);
      this.timer = setTimeout(() => this.saveNow(), RETRY);
    } finally {
      this.isSaving = false;
    }
    if (this.isUnsaved() && !this.timer) this.saveNow();
  }

  answered(answer, upTo) {
    this.timer = undefined;
    if (answer.ok) {
      this.saved = upTo;
      if (this.isUnsaved()) return;
      this.forget();
      this.show(answer.body.state === "expired" ? "saved-without-lease" : "saved");
    } else {
      this.show(answer.status === 401 ? "signed-out" : "refused", answer.body);
      if (answer.status === 401) this.timer = setTimeout(() => this.saveNow(), RETRY); // signed in again in another tab
    }
  }

  /* While the work is handed in: a draft of what is stored already would be refused, and say that it is not saved. */
  hold() {
    this.isHeld = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.keep();
  }

  release() {
    this.isHeld = false;
    this.saveNow();
  }

  done() {
    this.isDone = true;
    clearTimeout(this.timer);
    this.forget();
  }
}

export function keepLease(api, activeTime) {
  setInterval(() => {
    if (activeTime.isActive(5 * 60_000)) send("POST", `${api}/heartbeat`).catch(() => {}); // the next beat tries again
  }, 60_000);
}
