/* Handing in: tried until the server says that it is stored, with one key, so that it is stored once. */

import { goOn } from "./ahead.js";
import { send, Unreachable } from "./server.js";

const WAITS = [1, 2, 4, 8, 15];

export class Submission {
  constructor({ form, button, read, autosave, say, problem, signIn }) {
    Object.assign(this, { form, button, read, autosave, say, problem, signIn, attempt: 0, isUnderWay: false });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    window.addEventListener("online", () => { if (this.isWaiting) this.tryNow(); });
  }

  start() {
    if (this.isUnderWay) return;
    this.isUnderWay = true;
    this.attempt = 0;
    this.button.disabled = true;
    this.problem.hidden = true;
    this.autosave.hold();
    // Frozen at the click: what is retried is what was handed in.
    this.body = { ...this.read(), submission_key: this.form.elements.submission_key.value };
    this.tryNow();
  }

  async tryNow() {
    clearTimeout(this.timer);
    this.isWaiting = false;
    this.say("submitting");
    try {
      const answer = await send("POST", `${this.form.dataset.api}/submit`, this.body);
      if (answer.ok && answer.body.stored) this.stored(answer.body);
      else this.refused(answer);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      this.waitAndRetry(error.told);
    }
  }

  stored(receipt) {
    this.autosave.done();
    goOn(this.form, receipt);
  }

  waitAndRetry(told) {
    const seconds = WAITS[Math.min(this.attempt, WAITS.length - 1)];
    this.attempt += 1;
    this.isWaiting = true;
    this.say("not-stored", { seconds });
    this.tell(told.detail ? `${told.detail} ` : "", told.mend); // a server that can speak says why
    if (told.detail && this.attempt === 1) this.problem.scrollIntoView({ block: "center" });
    this.timer = setTimeout(() => this.tryNow(), seconds * 1000);
  }

  refused({ status, body }) {
    this.isUnderWay = false;
    this.button.disabled = false;
    this.say(this.autosave.isUnsaved() ? "unsaved" : "saved");
    this.autosave.release();
    if (status === 401) this.signIn(() => this.start());
    if (status === 401) this.tell("You are signed out, so this is not stored yet. ", "Sign in again, and it is handed in.");
    else this.tell(`${body.detail ?? "That was refused."} `, body.mend);
    this.problem.scrollIntoView({ block: "center" });
  }

  tell(what, mend = "") {
    const words = document.createElement("b");
    words.textContent = what;
    this.problem.replaceChildren(words, mend);
    this.problem.hidden = !what;
  }
}
