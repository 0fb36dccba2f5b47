/** One replica with a disk that keeps exactly what the Ready contract says, for transcripts and random clusters. */
import { assert } from "../../base/index.ts";
import {
  type ConfState,
  EMPTY_HARD_STATE,
  type Entry,
  type HardState,
  MemoryStorage,
  type Message,
  type NodeId,
  RawNode,
  type Ready,
} from "../index.ts";

export interface TestNodeOptions {
  readonly id: NodeId;
  readonly confState: ConfState;
  readonly seed: number;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
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
  /** The state machine: entry i is applied[i - 1]. What lies above the checkpoint is lost in a crash. */
  readonly applied: Entry[] = [];
  checkpoint = 0;
  #node: RawNode | null = null;
  #lives = 0;
  /** Readys that were handed out and are not durable. */
  readonly inFlight: Ready[] = [];
  /** The commit that a crash cannot take back: that of the newest synced HardState. */
  #syncedCommit = 0;

  constructor(options: TestNodeOptions) {
    this.id = options.id;
    this.#options = options;
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
      group: 1,
      incarnation: this.incarnation,
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
    for (const entry of ready.committedEntries) {
      assert(entry.index === this.applied.length + 1, "entries are applied in order, each once");
      this.applied.push(entry);
    }
    return ready;
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
    if (torn !== undefined) this.disk.append(torn.entries.slice(0, entries));
    if (loseCommit) this.hardState = { ...this.hardState, commit: this.#syncedCommit };
    this.inFlight.length = 0;
    this.applied.length = this.checkpoint;
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
  }

  /** The log as far as any Ready has carried it: durable entries, then those on their way. */
  view(): Entry[] {
    const { disk } = this;
    const out = this.durable();
    for (const ready of this.inFlight) {
      const first = ready.entries[0];
      if (first === undefined) continue;
      out.length = first.index - disk.firstIndex();
      out.push(...ready.entries);
    }
    return out;
  }

  /** What the disk holds. */
  durable(): Entry[] {
    const low = this.disk.firstIndex();
    const high = this.disk.lastIndex() + 1;
    return low === high ? [] : [...this.disk.entries(low, high, Number.MAX_SAFE_INTEGER)];
  }

  #write(ready: Ready): void {
    this.disk.append(ready.entries);
    if (ready.hardState !== undefined) this.hardState = ready.hardState;
    if (ready.mustSync) this.#syncedCommit = this.hardState.commit;
  }
}
