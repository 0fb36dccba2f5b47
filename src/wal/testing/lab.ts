/**
 * For tests: a data directory on a simulated disk, and a model of what the log of it must hold. The model shares no
 * code with the log: it knows appends, checkpoints and crashes, and nothing of frames.
 */
import type { HarmonyError } from "../../base/index.ts";
import { closeFile, type Env, type Io, openFile, unlinkFile, writeFile } from "../../env/index.ts";
import { runIoNow, SimEnv, type SimEnvOptions } from "../../env/sim/index.ts";
import type { Entry, GroupId, HardState } from "../../raft/index.ts";
import {
  type GroupAppend,
  type GroupCheckpoint,
  type GroupStart,
  Wal,
  type WalIdentity,
  type WalOptions,
  type WalRecovery,
} from "../index.ts";

export const DATA = "data";
export const IDENTITY: WalIdentity = {
  clusterId: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
  memberId: 7,
  walId: Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i),
};

/** What the model knows of one group: plain data, replaced whole. */
export interface ModelGroup {
  readonly terms: readonly number[];
  readonly data: readonly string[];
  readonly hardState: HardState;
}

export type ModelState = ReadonlyMap<GroupId, ModelGroup>;

const EMPTY_GROUP: ModelGroup = { terms: [], data: [], hardState: { term: 0, vote: 0, commit: 0 } };

/** The state after one more append. Entry i stands at position i - 1. */
export function applyToModel(state: ModelState, batch: readonly GroupAppend[]): ModelState {
  const next = new Map(state);
  for (const { group, entries, hardState } of batch) {
    const before = next.get(group) ?? EMPTY_GROUP;
    const first = entries[0];
    const keep = first === undefined ? before.terms.length : first.index - 1;
    next.set(group, {
      terms: [...before.terms.slice(0, keep), ...entries.map((entry) => entry.term)],
      data: [...before.data.slice(0, keep), ...entries.map((entry) => printable(entry.data))],
      hardState: hardState ?? before.hardState,
    });
  }
  return next;
}

/** Its HardState says another term or vote than before: the log may not acknowledge it before it is durable. */
function changesVote(state: ModelState, { group, hardState }: GroupAppend): boolean {
  const before = (state.get(group) ?? EMPTY_GROUP).hardState;
  return hardState !== null && (hardState.term !== before.term || hardState.vote !== before.vote);
}

function printable(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += String.fromCharCode(byte);
  return out;
}

/** Says where the log differs from a state of the model; null when it does not. */
export function difference(
  wal: Wal,
  state: ModelState,
  starts: readonly GroupStart[],
): string | null {
  for (const [group, model] of state) {
    const log = wal.groupLog(group);
    const start = starts.find((it) => it.group === group);
    if (log.lastIndex() !== model.terms.length) {
      return `group ${group} ends at ${log.lastIndex()}, the model at ${model.terms.length}`;
    }
    const firstNeeded = (start?.olderAppliedIndex ?? 0) + 1;
    if (log.firstIndex() > firstNeeded)
      return `group ${group} begins at ${log.firstIndex()}, ${firstNeeded} is needed`;
    const first = log.firstIndex();
    for (let index = first - 1; index <= model.terms.length; index++) {
      const expected = index === 0 ? 0 : model.terms[index - 1];
      if (log.term(index) !== expected)
        return `group ${group}: term of ${index} is ${log.term(index)}, not ${expected}`;
    }
    const entries =
      first > log.lastIndex()
        ? []
        : log.entries(first, log.lastIndex() + 1, Number.POSITIVE_INFINITY);
    if (entries.length !== log.lastIndex() + 1 - first)
      return `group ${group} gives ${entries.length} entries`;
    for (const entry of entries) {
      if (printable(entry.data) !== model.data[entry.index - 1])
        return `group ${group}: data of ${entry.index} differ`;
      if (entry.term !== model.terms[entry.index - 1])
        return `group ${group}: term of entry ${entry.index} differs`;
    }
    const commit = Math.max(model.hardState.commit, start?.appliedIndex ?? 0);
    const { term, vote, commit: found } = wal.hardState(group);
    if (term !== model.hardState.term || vote !== model.hardState.vote || found !== commit) {
      return `group ${group}: HardState ${term}/${vote}/${found}`;
    }
  }
  for (const group of wal.groups())
    if (!state.has(group)) return `group ${group} is not in the model`;
  return null;
}

/** One process on one machine with one log, driven step by step. */
export class Lab {
  readonly machine: SimEnv;
  readonly options: WalOptions;
  env: Env;
  /** State after each append that was handed in; [0] is the empty one. */
  readonly states: ModelState[] = [new Map()];
  /** How many appends are acknowledged. */
  acknowledged = 0;
  /** The log that is open, and what of it was acknowledged when it was opened. */
  #wal: Wal | null = null;
  #openedWith = 0;
  /** By number of the append: the frame of its last entry. Votes alone have none: they are durable when they are done. */
  readonly #frames: Map<number, number> = new Map();
  /** The creation has ended: from now on the directory is opened. */
  created = false;
  /** What the data files would say: set when a checkpoint is durable, before the log hears of it. */
  starts: readonly GroupStart[] = [];

  constructor(
    seed: number,
    options: Partial<WalOptions> = {},
    sim: Omit<SimEnvOptions, "seed"> = {},
  ) {
    this.machine = new SimEnv({ seed, ...sim });
    this.options = { directory: DATA, segmentSizeBytes: 4096, ...options };
    this.env = this.machine.boot();
    const { env } = this;
    this.run(
      (function* (): Io<void> {
        yield (done) => env.files.mkdir(DATA, done);
        yield (done) => env.files.syncDir("", done);
      })(),
    );
  }

  run<T>(io: Io<T>): T {
    return runIoNow(this.machine, io);
  }

  runOn<T>(machine: SimEnv, io: Io<T>): T {
    return runIoNow(machine, io);
  }

  unlink(path: string): void {
    this.run(unlinkFile(this.env.files, path));
  }

  writeFile(path: string, bytes: Uint8Array): void {
    const { files } = this.env;
    this.run(
      (function* (): Io<void> {
        const file = yield* openFile(files, path, { access: "readwrite", create: "if-missing" });
        yield* writeFile(file, 0, bytes);
        yield* closeFile(file);
      })(),
    );
  }

  create(): Wal {
    const wal = this.run(Wal.create(this.env, this.options, IDENTITY));
    this.created = true;
    this.#wal = wal;
    return wal;
  }

  open(): { wal: Wal; recovery: WalRecovery } {
    const opened = this.run(Wal.open(this.env, this.options, IDENTITY, this.starts));
    this.#wal = opened.wal;
    // What a start found it has made durable.
    this.#openedWith = this.acknowledged;
    return opened;
  }

  /** How many of the acknowledged appends a power loss must leave: without an interval all of them. */
  get durable(): number {
    if ((this.options.fsyncIntervalMs ?? 0) === 0 || this.#wal === null) return this.acknowledged;
    let durable = this.acknowledged;
    while (durable > this.#openedWith) {
      const lsn = this.#frames.get(durable);
      if (lsn === undefined || lsn < this.#wal.durableLsn) break;
      durable--;
    }
    return durable;
  }

  /** Hands an append in; the model takes part. */
  submit(
    wal: Wal,
    batch: readonly GroupAppend[],
    reserve = false,
  ): { error: HarmonyError | null | undefined } {
    const outcome: { error: HarmonyError | null | undefined } = { error: undefined };
    const before = this.states[this.states.length - 1] as ModelState;
    this.states.push(applyToModel(before, batch));
    const number = this.states.length - 1;
    wal.append(
      batch,
      (error) => {
        outcome.error = error;
        if (error !== null) return;
        this.acknowledged = number;
        for (const { group, entries } of batch) {
          const last = entries[entries.length - 1];
          if (last !== undefined && wal.groupLog(group).lastIndex() >= last.index)
            this.#frames.set(number, wal.groupLog(group).lsnOf(last.index));
        }
      },
      { reserve, sync: batch.some((append) => changesVote(before, append)) },
    );
    return outcome;
  }

  /** Hands an append in and waits until it is done. Throws its error. */
  append(wal: Wal, batch: readonly GroupAppend[]): void {
    const outcome = this.submit(wal, batch);
    this.wait(() => outcome.error !== undefined);
    if (outcome.error !== null) throw outcome.error as HarmonyError;
  }

  /** Says that a checkpoint is durable, and waits until the log has let go of what it may. */
  release(wal: Wal, group: GroupId, appliedIndex: number): void {
    const before = this.starts.find((it) => it.group === group);
    const checkpoint: GroupCheckpoint = {
      appliedIndex,
      appliedTerm: wal.groupLog(group).term(appliedIndex) as number,
      olderAppliedIndex: before?.appliedIndex ?? 0,
    };
    this.run(wal.sync());
    this.starts = [...this.starts.filter((it) => it.group !== group), { group, ...checkpoint }];
    let error: HarmonyError | null | undefined;
    wal.release(group, checkpoint, (result) => {
      error = result;
    });
    this.wait(() => error !== undefined);
    if (error !== null) throw error as unknown as HarmonyError;
  }

  /** Runs the world until something holds. */
  wait(condition: () => boolean, stepsMax = 100_000): void {
    for (let steps = 0; !condition(); steps++) {
      if (steps >= stepsMax || !this.machine.scheduler.step())
        throw new Error("nothing more happens");
    }
  }

  /** Lets this much time pass. */
  idle(ms: number): void {
    this.machine.scheduler.runUntil(this.machine.scheduler.nowMs + ms);
  }

  kill(): void {
    this.machine.kill();
    this.env = this.machine.boot();
  }

  losePower(mode: Parameters<SimEnv["losePower"]>[0] = "mixed"): void {
    this.machine.losePower(mode);
    this.env = this.machine.boot();
  }

  /** The state of the model that the log shows; throws when it shows none that it may. */
  matching(wal: Wal): number {
    return matchingState(wal, this.states, this.acknowledged, this.starts);
  }
}

/** The number of the state that the log shows, at least `from`. Throws when it shows none of them. */
export function matchingState(
  wal: Wal,
  states: readonly ModelState[],
  from: number,
  starts: readonly GroupStart[],
): number {
  const reasons: string[] = [];
  for (let number = from; number < states.length; number++) {
    const reason = difference(wal, states[number] as ModelState, starts);
    if (reason === null) return number;
    reasons.push(`${number}: ${reason}`);
  }
  throw new Error(
    `the log shows no state from ${from} to ${states.length - 1}: ${reasons.join("; ")}`,
  );
}

const encoder = new TextEncoder();

/** Entries [from, to] of one term, with data that no other entry has. */
export function entries(from: number, to: number, term: number, sizeBytes = 0): Entry[] {
  const out: Entry[] = [];
  for (let index = from; index <= to; index++) {
    const label = `${term}.${index}`;
    const data = new Uint8Array(Math.max(sizeBytes, label.length)).fill(0x2e);
    data.set(encoder.encode(label));
    out.push({ index, term, type: 0, data });
  }
  return out;
}

/** One group's append: entries [from, to] and a HardState. */
export function batch(
  group: GroupId,
  term: number,
  from: number,
  to: number,
  hardState: HardState | null = null,
  sizeBytes = 0,
): GroupAppend {
  return { group, entries: entries(from, to, term, sizeBytes), hardState };
}
