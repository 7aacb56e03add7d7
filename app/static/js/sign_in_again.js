/* Signing in again without leaving the page: the work on it stays as it is. */

import { send, Unreachable } from "./server.js";

/* Gives a function that opens the form; what it is given is called once the same person is signed in again. */
export function signInAgain() {
  const pop = document.getElementById("sign-in");
  const form = pop.querySelector("form");
  const problem = pop.querySelector("[role=alert]");
  let then = () => {};

  const say = (words) => {
    problem.textContent = words;
    problem.hidden = !words;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { email, password, code } = form.elements;
    try {
      const { ok, body } = await send("POST", pop.dataset.signIn, { email: email.value, password: password.value, code: code.value });
      if (body.fields?.code && code.parentElement.hidden) {
        say("");
        code.parentElement.hidden = false;
        code.focus();
      } else if (!ok) say(`${body.detail ?? "That was refused."} ${body.mend ?? ""}`);
      else if (body.id !== pop.dataset.person) say(`This is ${pop.dataset.name}'s work, and you are signed in as ${body.name} now. Sign in as ${pop.dataset.name} to hand it in.`);
      else {
        say("");
        password.value = code.value = "";
        pop.hidePopover();
        then();
      }
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      say("Touchstone does not answer just now. Try again in a moment; your work is kept in this browser.");
    }
  });

  return (whenSignedIn) => {
    then = whenSignedIn;
    if (!pop.matches(":popover-open")) pop.showPopover();
    form.elements.password.focus();
  };
}
