/** One replica with a disk that keeps exactly what the Ready contract says, for transcripts and random clusters. */
import { assert } from "../../base/index.ts";
import {
  type ConfState,
  EMPTY_HARD_STATE,
  type Entry,
  EntryType,
  type HardState,
  type LogIndex,
  MemoryStorage,
  type Message,
  type NodeId,
  RawNode,
  type Ready,
  type SnapshotMeta,
  type Term,
} from "../index.ts";

const MADE_UP_MAX = 100;
/** What travels beside a snapshot: the entries that it covers, which are the whole state of the machine here. */
const PAYLOADS: WeakMap<SnapshotMeta, readonly Entry[]> = new WeakMap();

export function payloadOf(snapshot: SnapshotMeta): readonly Entry[] {
  const payload = PAYLOADS.get(snapshot);
  // One that a test made up covers entries that nobody wrote.
  return payload ?? madeUp(snapshot);
}

function madeUp({ index, term }: SnapshotMeta): readonly Entry[] {
  const length = Math.min(index, MADE_UP_MAX);
  return Array.from({ length }, (_, i) => ({
    index: i + 1,
    term,
    type: EntryType.empty,
    data: new Uint8Array(0),
  }));
}

export interface TestNodeOptions {
  readonly id: NodeId;
  readonly confState: ConfState;
  readonly seed: number;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  readonly leaseTicks: number;
  readonly electionTicks: number;
  readonly maxEntriesBytesPerMessage: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  readonly maxUncommittedBytes: number;
  readonly maxCommittedBytesPerReady: number;
}

export const DEFAULT_OPTIONS: Omit<TestNodeOptions, "id" | "confState" | "seed"> = {
  preVote: true,
  checkQuorum: true,
  leaseTicks: 0,
  electionTicks: 10,
  maxEntriesBytesPerMessage: 1024,
  maxInflightMessages: 16,
  maxInflightBytes: 1 << 20,
  maxUncommittedBytes: 1 << 20,
  maxCommittedBytesPerReady: 1024,
};

export function simpleConf(voters: readonly NodeId[], learners: readonly NodeId[] = []): ConfState {
  return { voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false };
}

export class TestNode {
  readonly id: NodeId;
  readonly #options: TestNodeOptions;
  /** What survives a crash. */
  disk: MemoryStorage = new MemoryStorage();
  hardState: HardState = EMPTY_HARD_STATE;
  incarnation = 1;
  /** From the next start on. */
  startsQuarantined = false;
  /** The state machine: entry i is applied[i - 1]. What lies above the checkpoint is lost in a crash. */
  readonly applied: Entry[] = [];
  checkpoint = 0;
  /** The configurations at the end of `applied` and at the checkpoint. */
  confState: ConfState;
  /** The configuration after each change that this life has applied. */
  readonly confAfter: Map<LogIndex, ConfState> = new Map();
  #checkpointConf: ConfState;
  /** Whether a leader here can send snapshots. */
  hasSnapshots = true;
  /** A host's own rule: which changes of committed entries it refuses. */
  refuses: (entry: Entry) => boolean = () => false;
  #node: RawNode | null = null;
  #lives = 0;
  /** Readys that were handed out and are not durable. */
  readonly inFlight: Ready[] = [];
  /** The commit that a crash cannot take back: that of the newest synced HardState. */
  #syncedCommit = 0;

  constructor(options: TestNodeOptions) {
    this.id = options.id;
    this.#options = options;
    this.confState = options.confState;
    this.#checkpointConf = options.confState;
  }

  get running(): boolean {
    return this.#node !== null;
  }

  get node(): RawNode {
    assert(this.#node !== null, `node ${this.id} is down`);
    return this.#node;
  }

  start(): void {
    assert(this.#node === null, `node ${this.id} runs already`);
    const { seed, ...rest } = this.#options;
    this.#lives++;
    this.#node = new RawNode({
      ...rest,
      confState: this.#checkpointConf,
      latestSnapshot: () => (this.hasSnapshots ? this.snapshot() : null),
      group: 1,
      incarnation: this.incarnation,
      quarantined: this.startsQuarantined,
      storage: this.disk,
      hardState: this.hardState,
      appliedIndex: this.checkpoint,
      heartbeatTicks: 1,
      seed: seed * 1000 + this.#lives,
    });
  }

  /** Takes a Ready, applies what it commits, and leaves the rest on its way to the disk. */
  takeReady(): Ready {
    const ready = this.node.ready();
    this.inFlight.push(ready);
    // In quarantine what is handed out is part of the snapshot that comes.
    const committed = this.node.isQuarantined ? [] : ready.committedEntries;
    for (const entry of committed) {
      assert(entry.index === this.applied.length + 1, "entries are applied in order, each once");
      this.applied.push(entry);
      if (entry.type === EntryType.confChange) this.#applyConfChange(entry);
    }
    return ready;
  }

  /** What is applied survives crashes from here on. */
  takeCheckpoint(): void {
    this.checkpoint = this.applied.length;
    this.#checkpointConf = this.confState;
  }

  /** Of the checkpoint, as far as the log still holds its last entry. */
  snapshot(): SnapshotMeta | null {
    const index = this.checkpoint;
    const term = this.disk.term(index);
    if (index === 0 || typeof term !== "number") return null;
    const meta = { index, term, confState: this.#checkpointConf };
    PAYLOADS.set(meta, this.applied.slice(0, index));
    return meta;
  }

  advance(): void {
    this.node.advance(this.applied.length);
  }

  /** The oldest `count` Readys become durable. Gives the messages that may leave now. */
  persist(count: number): Message[] {
    const done = this.inFlight.splice(0, count);
    const last = done.at(-1);
    if (last === undefined) return [];
    for (const ready of done) this.#write(ready);
    this.node.persisted(last.number);
    return done.flatMap((ready) => ready.messagesAfterPersist);
  }

  /**
   * Stops. Of the Readys on their way, the oldest `written` are on disk although nobody was told, and of the next one
   * its first `entries` without the HardState, as when a long Ready is split into several frames.
   */
  crash(written = 0, entries = 0, loseCommit = false): void {
    assert(this.#node !== null, `node ${this.id} is down already`);
    for (const ready of this.inFlight.slice(0, written)) this.#write(ready);
    const torn = this.inFlight[written];
    if (torn !== undefined && entries > 0) {
      if (torn.snapshot !== undefined) this.#install(torn.snapshot);
      this.disk.append(torn.entries.slice(0, entries));
    }
    if (loseCommit) this.hardState = { ...this.hardState, commit: this.#syncedCommit };
    this.inFlight.length = 0;
    this.confAfter.clear();
    this.applied.length = this.checkpoint;
    this.confState = this.#checkpointConf;
    this.#node = null;
  }

  /** The disk of a node that is down is replaced by an empty one. */
  wipe(): void {
    assert(this.#node === null, `node ${this.id} runs`);
    this.disk = new MemoryStorage();
    this.hardState = EMPTY_HARD_STATE;
    this.#syncedCommit = 0;
    this.checkpoint = 0;
    this.applied.length = 0;
    this.confState = this.#options.confState;
    this.#checkpointConf = this.confState;
  }

  /** Log and state of a node that is down are lost; it knows its term and its vote, and starts in quarantine. */
  loseState(): void {
    const { hardState } = this;
    this.wipe();
    this.hardState = { ...hardState, commit: 0 };
    this.startsQuarantined = true;
  }

  /** The log as far as any Ready has carried it: durable entries, then those on their way. */
  view(): Entry[] {
    let first = this.disk.firstIndex();
    let out = this.durable();
    for (const ready of this.inFlight) {
      if (ready.snapshot !== undefined) {
        first = ready.snapshot.index + 1;
        out = [];
      }
      const next = ready.entries[0];
      if (next === undefined) continue;
      out.length = next.index - first;
      out.push(...ready.entries);
    }
    return out;
  }

  /** The index at which `view` begins. */
  viewFirst(): LogIndex {
    const snapshot = this.#snapshotInFlight();
    return snapshot === undefined ? this.disk.firstIndex() : snapshot.index + 1;
  }

  /** The term at an index of the view, or of the one before it. */
  viewTerm(index: LogIndex): Term | undefined {
    const snapshot = this.#snapshotInFlight();
    if (index >= this.viewFirst()) return this.view()[index - this.viewFirst()]?.term;
    if (snapshot !== undefined) return index === snapshot.index ? snapshot.term : undefined;
    const term = this.disk.term(index);
    return typeof term === "number" ? term : undefined;
  }

  /** What the disk holds. */
  durable(): Entry[] {
    const low = this.disk.firstIndex();
    const high = this.disk.lastIndex() + 1;
    return low === high ? [] : [...this.disk.entries(low, high, Number.MAX_SAFE_INTEGER)];
  }

  #snapshotInFlight(): SnapshotMeta | undefined {
    return this.inFlight.findLast((ready) => ready.snapshot !== undefined)?.snapshot;
  }

  #applyConfChange(entry: Entry): void {
    if (this.refuses(entry)) {
      this.node.refuseConfChange(entry);
      this.confAfter.set(entry.index, this.confState);
      return;
    }
    const outcome = this.node.applyConfChange(entry);
    if (outcome.ok) this.confState = outcome.confState;
    this.confAfter.set(entry.index, this.confState);
  }

  /** Log and state give way to a leader's, durably. */
  #install(snapshot: SnapshotMeta): void {
    this.disk.restore(snapshot);
    this.applied.splice(0, this.applied.length, ...payloadOf(snapshot));
    this.checkpoint = snapshot.index;
    this.confState = snapshot.confState;
    this.#checkpointConf = snapshot.confState;
  }

  #write(ready: Ready): void {
    if (ready.snapshot !== undefined) this.#install(ready.snapshot);
    this.disk.append(ready.entries);
    if (ready.hardState !== undefined) this.hardState = ready.hardState;
    if (ready.mustSync) this.#syncedCommit = this.hardState.commit;
  }
}
