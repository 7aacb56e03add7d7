/* A plain reading of Markdown for a labeler's own text: made of text nodes, so nothing in it can be anything but text. */

const INLINE = /(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/;

function inline(parent, text) {
  for (const part of text.split(INLINE)) {
    if (!part) continue;
    const mark = part.startsWith("`") ? ["code", 1] : part.startsWith("**") ? ["strong", 2] : ["em", 1];
    if (INLINE.test(part)) parent.append(element(mark[0], part.slice(mark[1], -mark[1])));
    else parent.append(part);
  }
  return parent;
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function list(lines) {
  const made = element(/^\s*\d/.test(lines[0]) ? "ol" : "ul");
  for (const line of lines) made.append(inline(element("li"), line.replace(/^\s*(?:[-*]|\d+[.)])\s+/, "")));
  if (made.localName === "ol") made.start = Number(/\d+/.exec(lines[0])[0]);
  return made;
}

function block(text) {
  const fence = /^```[^\n]*\n([\s\S]*?)(?:\n```)?$/.exec(text);
  if (fence) return element("pre", fence[1]);
  const heading = /^#{1,6}\s+(.*)$/.exec(text);
  if (heading) return inline(element("h3"), heading[1]);
  const lines = text.split("\n");
  if (lines.every((line) => /^\s*(?:[-*]|\d+[.)])\s+/.test(line))) return list(lines);
  return inline(element("p"), text);
}

export function preview(text) {
  const blocks = text.split(/(```[\s\S]*?(?:\n```|$))/).flatMap((part) => (part.startsWith("```") ? [part] : part.split(/\n{2,}/)));
  return blocks.map((part) => part.replace(/^\n+|\n+$/g, "")).filter((part) => part.trim()).map(block);
}
