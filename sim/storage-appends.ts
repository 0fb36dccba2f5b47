/**
 * What is appended to the log of a group: new entries, a tail that replaces another one, a HardState alone. A draft
 * says it without the state of the group; `fit` makes of it what Raft could hand in there.
 */
import type { Random } from "../src/base/index.ts";
import { EntryType } from "../src/raft/index.ts";
import type { StorageWorldOptions } from "./storage-options.ts";
import type { AppendPart, EntryDraft, OpDraft } from "./storage-steps.ts";
import {
  type GroupState,
  type KeyTable,
  lastIndexOf,
  type ModelAppend,
  type ModelEntry,
  type TreeOp,
} from "./storage-model.ts";
import { TREES } from "./storage.ts";

export function drawPart(random: Random, options: StorageWorldOptions, group: number): AppendPart {
  if (random.percent(8)) {
    return {
      group,
      entries: [],
      replaces: 0,
      terms: 1,
      vote: random.between(1, 3),
      commitLag: null,
      withHardState: true,
    };
  }
  const overwrites = options.overwrites && random.percent(30);
  return {
    group,
    entries: Array.from({ length: random.between(1, 5) }, () => drawEntry(random, options)),
    replaces: overwrites ? random.between(1, 6) : 0,
    terms: random.percent(4) ? 1 : 0,
    vote: 0,
    commitLag: random.percent(60) ? random.pick([0, 0, 1, 2, 4]) : null,
    withHardState: random.percent(20),
  };
}

function drawEntry(random: Random, options: StorageWorldOptions): EntryDraft {
  if (random.percent(5)) return { isEmpty: true, ops: [] };
  const count = random.percent(5) ? 0 : random.between(1, 3);
  return { isEmpty: false, ops: Array.from({ length: count }, () => drawOp(random, options)) };
}

function drawOp(random: Random, options: StorageWorldOptions): OpDraft {
  const size = random.percent(25)
    ? -1
    : options.large && random.percent(4)
      ? random.between(3000, 15_000)
      : random.percent(10)
        ? random.between(200, 900)
        : random.below(60);
  return { tree: random.below(TREES), key: random.below(options.keys), size };
}

export class AppendMaker {
  readonly #table: KeyTable;
  /** Every value is a different one, so that an old one is never taken for a new one. */
  #values = 0;

  constructor(table: KeyTable) {
    this.#table = table;
  }

  /** The draft as an append to a log in this state. */
  fit(part: AppendPart, state: GroupState): ModelAppend {
    const { hardState } = state;
    const last = lastIndexOf(state);
    const replaces =
      part.entries.length === 0 ? 0 : Math.min(part.replaces, last - hardState.commit);
    // Who replaces entries is a new leader.
    const terms = Math.max(part.terms, replaces > 0 ? 1 : 0);
    const term = Math.max(1, hardState.term + terms);
    const from = last - replaces + 1;
    const entries = part.entries.map((draft, i) => this.#entry(draft, from + i, term));
    const end = from + entries.length - 1;
    const commit =
      part.commitLag === null ? hardState.commit : Math.max(hardState.commit, end - part.commitLag);
    const isNew = term !== hardState.term;
    const isSaved = isNew || commit !== hardState.commit || part.withHardState;
    const vote = isNew ? part.vote : hardState.vote;
    return { group: part.group, entries, hardState: isSaved ? { term, vote, commit } : null };
  }

  /** Its data is the ops one after another: slot, length, and the bytes that are the value. */
  #entry({ isEmpty, ops: drafts }: EntryDraft, index: number, term: number): ModelEntry {
    let size = 0;
    for (const draft of drafts) size += OP_HEAD_BYTES + Math.max(0, draft.size) + VALUE_HEAD_BYTES;
    const data = new Uint8Array(size);
    const ops: TreeOp[] = [];
    let at = 0;
    for (const { tree, key, size: wanted } of drafts) {
      const slot = this.#table.slot(tree, key % this.#table.size);
      const length = wanted < 0 ? 0 : wanted + VALUE_HEAD_BYTES;
      data[at] = slot & 255;
      data[at + 1] = slot >> 8;
      data[at + 2] = length & 255;
      data[at + 3] = length >> 8;
      const start = at + OP_HEAD_BYTES;
      at = start + length;
      if (wanted < 0) {
        ops.push({ slot, value: null });
        continue;
      }
      const number = this.#values++;
      for (let i = 0; i < VALUE_HEAD_BYTES; i++) data[start + i] = (number >>> (8 * i)) & 255;
      data.fill(46, start + VALUE_HEAD_BYTES, at);
      ops.push({ slot, value: data.subarray(start, at) });
    }
    return {
      index,
      term,
      type: isEmpty ? EntryType.empty : EntryType.normal,
      data: data.subarray(0, at),
      ops,
    };
  }
}

const OP_HEAD_BYTES = 4;
const VALUE_HEAD_BYTES = 4;
