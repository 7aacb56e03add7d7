/* The parts that follow their page (`_later.html`): what they say while they come, and when one did not. */

function show(event, hasFailed) {
  const part = event.target.closest?.(".later");
  if (!part) return;
  part.setAttribute("aria-busy", String(!hasFailed));
  part.querySelector(".coming").hidden = hasFailed;
  part.querySelector(".failed").hidden = !hasFailed;
}

document.addEventListener("htmx:beforeRequest", (event) => show(event, false));
for (const fault of ["responseError", "sendError", "timeout"]) {
  document.addEventListener(`htmx:${fault}`, (event) => show(event, true));
}
// Who was signed out meanwhile is led to the sign-in page, which holds no such part.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (event.target.closest?.(".later") && !xhr.responseURL.endsWith(requestConfig.path)) {
    event.detail.shouldSwap = false;
    show(event, true);
  }
});
