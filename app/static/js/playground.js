/* The playground's answers as they are written. The page holds what was said before it was loaded; what follows comes
   as server-sent events, which the browser asks for again behind the last one when the line is cut. */

import { listenForShortcuts } from "./shortcuts.js";

const answers = document.getElementById("answers");
const word = document.getElementById("word");

function tell(text, isBad = false) {
  word.textContent = text;
  word.hidden = !text;
  word.classList.toggle("bad", isBad);
}

const take = {
  note: ({ words, mend }) => tell(`${words} ${mend}`.trim()),
  text: ({ side, text, anew }) => {
    const body = sides[side].querySelector(".plain");
    const isAtEnd = body.scrollHeight - body.scrollTop - body.clientHeight < 40; // who reads further up stays there
    if (anew) body.textContent = text;
    else body.append(text);
    if (isAtEnd) body.scrollTop = body.scrollHeight;
  },
  state: ({ side, state, words }) => {
    tell("");
    sides[side].dataset.state = state;
    const place = sides[side].querySelector(".words");
    place.textContent = words;
    place.classList.toggle("bad-ink", state === "failed");
    place.classList.toggle("soft", state !== "failed");
  },
  reward: ({ side, words }) => {
    const chip = sides[side].querySelector(".reward");
    chip.textContent = words;
    chip.hidden = false;
  },
  over: ({ words, bad }) => end(words, bad),
};

let events = null;
const sides = answers ? [...answers.querySelectorAll(".answer")] : [];

function end(words, isBad) {
  events.close();
  tell(words, isBad);
  answers.dataset.live = "false";
  document.getElementById("stop")?.closest("form").remove();
  for (const side of sides) {
    side.setAttribute("aria-busy", "false");
    if (side.dataset.state !== "failed") side.dataset.state = "done";
    side.querySelector(".go-on").hidden = !side.querySelector(".plain").textContent;
  }
}

function follow() {
  events = new EventSource(answers.dataset.events);
  let isCut = false;
  events.addEventListener("open", () => {
    if (isCut) tell("");
    isCut = false;
  });
  events.addEventListener("message", (event) => {
    const said = JSON.parse(event.data);
    take[said.kind](said);
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) {
      end("The answers can't be reached any more: you were signed out, or they are no longer kept. Reload the page.", true);
    } else {
      isCut = true;
      tell("The server does not answer; trying again.", true);
    }
  });
}

listenForShortcuts();
if (answers?.dataset.live === "true") follow();
