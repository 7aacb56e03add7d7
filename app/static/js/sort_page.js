/* Sorting prompts: plain forms, with keys that click their buttons, and the bench's raw view. */

import { remember } from "./reading.js";
import { listenForShortcuts } from "./shortcuts.js";

const raw = document.getElementById("raw-view");
if (raw) remember(raw, "raw");
listenForShortcuts();
