/* Merge insertion (Ford and Johnson 1959): an order of K things from the fewest questions, where two may be equal.

   Everything is a function of the letters and of the answers so far: to go on, to undo and to come back, the sort is
   simply run again and stops at the first pair that nobody has answered. */

/* Best first, as tiers of equals. `compare(x, y)` says "left" when x is better, "right" when y is, else "tie". */
export function sorted(items, compare) {
  return ascending(items, (x, y) => ({ left: 1, right: -1, tie: 0 })[compare(x, y)]).reverse();
}

/* Worst first, for `better(x, y)` > 0 where x is better. */
function ascending(items, better) {
  if (items.length < 2) return items.map((item) => [item]);
  const loserOf = new Map();
  const equalOf = new Map();
  const winners = [];
  for (let index = 0; index + 1 < items.length; index += 2) {
    const [x, y] = [items[index], items[index + 1]];
    const which = better(x, y);
    const winner = which < 0 ? y : x;
    winners.push(winner);
    if (which === 0) equalOf.set(winner, y);
    else loserOf.set(winner, which < 0 ? x : y);
  }
  const tiers = ascending(winners, better);
  const pending = tiers.flat().map((winner) => ({ item: loserOf.get(winner), winner }));
  if (items.length % 2) pending.push({ item: items.at(-1), winner: undefined });
  for (const tier of tiers) tier.push(...tier.map((winner) => equalOf.get(winner)).filter((equal) => equal !== undefined));
  for (const { item, winner } of inBestOrder(pending)) {
    const above = winner === undefined ? tiers.length : tiers.findIndex((tier) => tier.includes(winner));
    insert(tiers, item, above, better);
  }
  return tiers;
}

/* Losers in groups that end at 1, 3, 5, 11, 21, ... (Jacobsthal's numbers), the last of a group first: then each of them
   has at most 1, 3, 7, ... others to be told from, and a binary search wastes no question. */
function inBestOrder(pending) {
  const order = [];
  let [start, end] = [0, 1];
  for (let previous = 1; start < pending.length; [previous, start, end] = [end, end, end + 2 * previous]) {
    order.push(...pending.slice(start, end).reverse());
  }
  return order.filter(({ item }) => item !== undefined); // who was equal to their winner has a place already
}

/* Puts `item` among the first `end` tiers by binary search. */
function insert(tiers, item, end, better) {
  let start = 0;
  while (start < end) {
    const middle = (start + end) >> 1;
    const which = better(item, tiers[middle][0]);
    if (which === 0) {
      tiers[middle].push(item);
      return;
    }
    if (which > 0) start = middle + 1;
    else end = middle;
  }
  tiers.splice(start, 0, [item]);
}

class Unanswered extends Error {
  constructor(left, right) {
    super();
    Object.assign(this, { left, right });
  }
}

const FLIPPED = { left: "right", right: "left", tie: "tie" };

/* Where the sort of `letters` stands after `answers` [{left, right, better}]: the next question, else the tiers. */
export function standing(letters, answers) {
  const known = new Map();
  for (const { left, right, better } of answers) {
    known.set(left + right, better);
    known.set(right + left, FLIPPED[better]);
  }
  try {
    return { tiers: sorted(letters, (x, y) => answer(known, x, y)), about: answers.length };
  } catch (open) {
    if (!(open instanceof Unanswered)) throw open;
    return { question: { left: open.left, right: open.right }, about: answers.length + mostLeft(letters, known) };
  }
}

function answer(known, x, y) {
  if (!known.has(x + y)) throw new Unanswered(...[x, y].sort());
  return known.get(x + y);
}

/* How many questions are left if no two are equal: the more of going always left and always right. */
function mostLeft(letters, known) {
  const counts = ["left", "right"].map((always) => {
    let count = 0;
    sorted(letters, (x, y) => known.get(x + y) ?? ((count += 1), always));
    return count;
  });
  return Math.max(...counts);
}
