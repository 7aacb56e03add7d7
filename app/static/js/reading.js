/* How this person likes to read, kept in this browser: raw or as Markdown, long texts folded or open. */

const STORE = `touchstone:reading:${document.getElementById("main").dataset.person ?? ""}`;

function kept() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

export function preference(name) {
  return kept()[name] === true;
}

export function keepPreference(name, value) {
  try {
    localStorage.setItem(STORE, JSON.stringify({ ...kept(), [name]: value }));
  } catch {
    // A full or forbidden store: it holds for this page.
  }
}

/* A checkbox that is as it was left the last time; `onChange` hears of it at once. */
export function remember(box, name, onChange = () => {}) {
  box.checked = preference(name);
  box.addEventListener("change", () => {
    keepPreference(name, box.checked);
    onChange(box.checked);
  });
  onChange(box.checked);
}
