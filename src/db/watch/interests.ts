/**
 * Which watchers care about a key, without asking each of them. Watchers of the same keys with the same filters share
 * one `Interest`. Single keys are found by a hash of their bytes, ranges in a tree of intervals: O(log n) steps and one
 * more for each range that contains the key (Cormen et al., Introduction to Algorithms, "Interval trees"; kept in
 * balance as a treap, Seidel and Aragon 1996).
 *
 * Invariants: an interest is here while it has watchers; the tree is ordered by (from, to); no child has a higher
 * priority than its parent; `maxTo` of a node is the greatest end in its subtree.
 */
import { assert, compareBytes, equalBytes, Random } from "../../base/index.ts";

/** Keys: `key` alone, or [key, to); `to` null means no upper end. */
export interface Keys {
  readonly key: Uint8Array;
  readonly isSingle: boolean;
  readonly to: Uint8Array | null;
}

/** Those who watch the same keys for the same kinds of change. */
export class Interest<Watcher> {
  readonly keys: Keys;
  readonly puts: boolean;
  readonly deletes: boolean;
  /** Who has nothing to take: only they are to be told of a change. */
  readonly idle: Set<Watcher> = new Set();
  /** All of them. */
  count = 0;

  constructor(keys: Keys, puts: boolean, deletes: boolean) {
    this.keys = keys;
    this.puts = puts;
    this.deletes = deletes;
  }

  wants(isDelete: boolean): boolean {
    return isDelete ? this.deletes : this.puts;
  }

  contains(key: Uint8Array): boolean {
    const { key: from, isSingle, to } = this.keys;
    if (isSingle) return equalBytes(key, from);
    return compareBytes(from, key) <= 0 && (to === null || compareBytes(key, to) < 0);
  }

  isSame(keys: Keys, puts: boolean, deletes: boolean): boolean {
    return (
      this.puts === puts &&
      this.deletes === deletes &&
      this.keys.isSingle === keys.isSingle &&
      compareEnds(this.keys.to, keys.to) === 0 &&
      equalBytes(this.keys.key, keys.key)
    );
  }
}

interface Node<Watcher> {
  readonly keys: Keys;
  /** At most one for each pair of filters. */
  interests: Interest<Watcher>[];
  readonly priority: number;
  maxTo: Uint8Array | null;
  left: Node<Watcher> | null;
  right: Node<Watcher> | null;
}

export class Interests<Watcher> {
  readonly #random: Random;
  readonly #seed: number;
  readonly #singles = new Map<number, Interest<Watcher>[]>();
  #root: Node<Watcher> | null = null;
  #count = 0;

  /** `seed` is not known to clients, who could otherwise choose keys that fall together. */
  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new Random(seed);
  }

  /** How many there are: one for all watchers of the same keys with the same filters. */
  get count(): number {
    return this.#count;
  }

  /** The interest in these keys and changes; its watchers count themselves. Keeps the bytes of `keys`. */
  open(keys: Keys, puts: boolean, deletes: boolean): Interest<Watcher> {
    const list = keys.isSingle ? this.#singlesOf(keys.key) : this.#nodeOf(keys).interests;
    const present = list.find((interest) => interest.isSame(keys, puts, deletes));
    if (present !== undefined) return present;
    const interest = new Interest<Watcher>(keys, puts, deletes);
    list.push(interest);
    this.#count++;
    return interest;
  }

  /** Nobody has it any more. */
  close(interest: Interest<Watcher>): void {
    assert(interest.count === 0 && interest.idle.size === 0, "nobody has this interest");
    const { keys } = interest;
    const list = keys.isSingle ? this.#singlesOf(keys.key) : this.#nodeOf(keys).interests;
    const at = list.indexOf(interest);
    assert(at >= 0, "an interest that is closed was open");
    list.splice(at, 1);
    this.#count--;
    if (list.length > 0) return;
    if (keys.isSingle) this.#singles.delete(this.#hash(keys.key));
    else this.#root = remove(this.#root, keys);
  }

  /** Visits every interest that contains `key` and wants such a change. */
  match(key: Uint8Array, isDelete: boolean, visit: (interest: Interest<Watcher>) => void): void {
    if (this.#singles.size > 0) {
      const singles = this.#singles.get(this.#hash(key));
      if (singles !== undefined)
        for (const interest of singles)
          if (interest.wants(isDelete) && equalBytes(interest.keys.key, key)) visit(interest);
    }
    if (this.#root !== null) stab(this.#root, key, isDelete, visit);
  }

  invariants(): void {
    let count = 0;
    for (const list of this.#singles.values()) {
      assert(list.length > 0, "no list of single keys is empty");
      count += list.length;
    }
    const check = (node: Node<Watcher> | null): void => {
      if (node === null) return;
      assert(node.interests.length > 0, "a node has an interest");
      count += node.interests.length;
      for (const child of [node.left, node.right])
        assert(child === null || child.priority <= node.priority, "the treap is a heap");
      assert(node.left === null || compareKeys(node.left.keys, node.keys) < 0, "left is less");
      assert(node.right === null || compareKeys(node.right.keys, node.keys) > 0, "right is more");
      assert(compareEnds(node.maxTo, greatestEnd(node)) === 0, "the greatest end is known");
      check(node.left);
      check(node.right);
    };
    check(this.#root);
    assert(count === this.#count, "the interests are counted");
  }

  #singlesOf(key: Uint8Array): Interest<Watcher>[] {
    const hash = this.#hash(key);
    const present = this.#singles.get(hash);
    if (present !== undefined) return present;
    const list: Interest<Watcher>[] = [];
    this.#singles.set(hash, list);
    return list;
  }

  #nodeOf(keys: Keys): Node<Watcher> {
    for (let node = this.#root; node !== null;) {
      const order = compareKeys(keys, node.keys);
      if (order === 0) return node;
      node = order < 0 ? node.left : node.right;
    }
    const node: Node<Watcher> = {
      keys,
      interests: [],
      priority: this.#random.u32(),
      maxTo: keys.to,
      left: null,
      right: null,
    };
    this.#root = insert(this.#root, node);
    return node;
  }

  /** FNV-1a, begun with the seed. */
  #hash(key: Uint8Array): number {
    let hash = 0x811c9dc5 ^ this.#seed;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key[i] as number), 0x01000193);
    return hash >>> 0;
  }
}

/** No end is the greatest. */
function compareEnds(a: Uint8Array | null, b: Uint8Array | null): number {
  if (a === null) return b === null ? 0 : 1;
  return b === null ? -1 : compareBytes(a, b);
}

function compareKeys(a: Keys, b: Keys): number {
  const order = compareBytes(a.key, b.key);
  return order === 0 ? compareEnds(a.to, b.to) : order;
}

function greatestEnd<Watcher>({ keys, left, right }: Node<Watcher>): Uint8Array | null {
  let greatest = keys.to;
  if (left !== null && compareEnds(left.maxTo, greatest) > 0) greatest = left.maxTo;
  if (right !== null && compareEnds(right.maxTo, greatest) > 0) greatest = right.maxTo;
  return greatest;
}

function stab<Watcher>(
  node: Node<Watcher>,
  key: Uint8Array,
  isDelete: boolean,
  visit: (interest: Interest<Watcher>) => void,
): void {
  // Everything below ends at or before the key.
  if (node.maxTo !== null && compareBytes(node.maxTo, key) <= 0) return;
  if (node.left !== null) stab(node.left, key, isDelete, visit);
  // Everything from here on begins behind it.
  if (compareBytes(node.keys.key, key) > 0) return;
  const { to } = node.keys;
  if (to === null || compareBytes(key, to) < 0)
    for (const interest of node.interests) if (interest.wants(isDelete)) visit(interest);
  if (node.right !== null) stab(node.right, key, isDelete, visit);
}

function insert<Watcher>(root: Node<Watcher> | null, node: Node<Watcher>): Node<Watcher> {
  if (root === null) return node;
  const isLess = compareKeys(node.keys, root.keys) < 0;
  if (isLess) {
    root.left = insert(root.left, node);
    if (root.left.priority > root.priority) return rotateRight(root);
  } else {
    root.right = insert(root.right, node);
    if (root.right.priority > root.priority) return rotateLeft(root);
  }
  root.maxTo = greatestEnd(root);
  return root;
}

function remove<Watcher>(root: Node<Watcher> | null, keys: Keys): Node<Watcher> | null {
  assert(root !== null, "a node that is removed is there");
  const order = compareKeys(keys, root.keys);
  if (order === 0) return merge(root.left, root.right);
  if (order < 0) root.left = remove(root.left, keys);
  else root.right = remove(root.right, keys);
  root.maxTo = greatestEnd(root);
  return root;
}

function merge<Watcher>(
  left: Node<Watcher> | null,
  right: Node<Watcher> | null,
): Node<Watcher> | null {
  if (left === null) return right;
  if (right === null) return left;
  if (left.priority >= right.priority) {
    left.right = merge(left.right, right);
    left.maxTo = greatestEnd(left);
    return left;
  }
  right.left = merge(left, right.left);
  right.maxTo = greatestEnd(right);
  return right;
}

function rotateRight<Watcher>(node: Node<Watcher>): Node<Watcher> {
  const top = node.left as Node<Watcher>;
  node.left = top.right;
  top.right = node;
  node.maxTo = greatestEnd(node);
  top.maxTo = greatestEnd(top);
  return top;
}

function rotateLeft<Watcher>(node: Node<Watcher>): Node<Watcher> {
  const top = node.right as Node<Watcher>;
  node.right = top.left;
  top.left = node;
  node.maxTo = greatestEnd(node);
  top.maxTo = greatestEnd(top);
  return top;
}
