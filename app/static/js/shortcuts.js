/* Keys click the real buttons: whatever has data-key="u" is clicked by U, and by Alt+U from inside a text. Of several
   with one key it is the one in sight. */

const isText = (element) => element.matches?.("textarea, select, input:not([type=radio], [type=checkbox])");

function combination(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Control");
  if (event.shiftKey && /^[a-z]$/i.test(event.key)) parts.push("Shift");
  parts.push(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  return parts.join("+");
}

function wanted(event) {
  // On some keyboards Alt and a letter write another sign; the key's place tells which it was.
  if (event.altKey) return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : null;
  const keys = combination(event);
  return isText(event.target) && !keys.startsWith("Control+") ? null : keys;
}

export function isBusy(event) {
  return event.defaultPrevented || event.isComposing || event.repeat || document.querySelector(":popover-open") !== null;
}

export function listenForShortcuts() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isText(event.target)) event.target.blur();
    if (isBusy(event)) return;
    const keys = wanted(event);
    const button = keys && [...document.querySelectorAll(`[data-key~="${CSS.escape(keys)}"]`)].find((each) => each.checkVisibility());
    if (!button || button.disabled) return;
    event.preventDefault();
    if (isText(button)) button.focus();
    else button.click();
  });
}
