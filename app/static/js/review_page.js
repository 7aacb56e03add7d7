/* Deciding about held prompts one by one: plain forms, with keys that click their buttons. */

import { listenForShortcuts } from "./shortcuts.js";

listenForShortcuts();
