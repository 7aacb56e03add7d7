/* Which words two texts do not share, painted over them without touching their markup. */

const MOST_WORDS = 20_000;
const LONGEST_SEARCH = 400; // ms
const FEWEST_SHARED = 0.5; // below this share most words would be marked, which helps nobody

const segmenter = Intl.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

function words(element) {
  const found = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.parentElement.checkVisibility()) continue;
    for (const { segment, index, isWordLike } of segmenter.segment(node.data)) {
      if (isWordLike) found.push({ word: segment, node, start: index, end: index + segment.length });
    }
  }
  return found;
}

/* Words that follow each other in one node make one range: fewer for the browser to paint. */
function ranges(marked) {
  const made = [];
  let last = null;
  for (const { node, start, end, place } of marked) {
    if (last?.node === node && last.place + 1 === place) made.at(-1).setEnd(node, end);
    else {
      const range = new Range();
      range.setStart(node, start);
      range.setEnd(node, end);
      made.push(range);
    }
    last = { node, place };
  }
  return made;
}

function onlyOnOneSide(left, right) {
  const [lefts, rights] = [[], []];
  const changes = window.Diff?.diffArrays(left.map(({ word }) => word), right.map(({ word }) => word), { timeout: LONGEST_SEARCH });
  if (!changes) return null;
  let [atLeft, atRight] = [0, 0];
  for (const { added, removed, count } of changes) {
    for (let step = 0; step < count; step += 1) {
      if (removed) lefts.push({ ...left[atLeft], place: atLeft });
      else if (added) rights.push({ ...right[atRight], place: atRight });
      if (!added) atLeft += 1;
      if (!removed) atRight += 1;
    }
  }
  return { lefts, rights };
}

/* Marks what only one of the two holds, and says how much it is; null where marks would not help or cannot be made. */
export function markDifferences(leftElement, rightElement) {
  if (!CSS.highlights || !segmenter) return null; // an older browser: the texts stand side by side all the same
  CSS.highlights.delete("only-here");
  const [left, right] = [words(leftElement), words(rightElement)];
  if (Math.max(left.length, right.length) > MOST_WORDS) return null;
  const found = onlyOnOneSide(left, right);
  if (!found || left.length - found.lefts.length < FEWEST_SHARED * Math.min(left.length, right.length)) return null;
  CSS.highlights.set("only-here", new Highlight(...ranges(found.lefts), ...ranges(found.rights)));
  return { left: found.lefts.length, right: found.rights.length };
}
