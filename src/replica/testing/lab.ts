/**
 * For tests: a host with real Raft, log and vote file on a simulated machine, and a machine of a few lines. Everything
 * that matters for the order of things is written into `trace`: what is appended, when it is durable, what is applied,
 * who is answered.
 */
import { assert, crc32c, hash32, type HarmonyError, text, utf8 } from "../../base/index.ts";
import { type Env, type Io } from "../../env/index.ts";
import { runIoNow, SimEnv, type SimEnvOptions } from "../../env/sim/index.ts";
import {
  type Entry,
  EntryType,
  type GroupId,
  type HardState,
  type LogIndex,
  RawNode,
} from "../../raft/index.ts";
import {
  type AppendDone,
  type AppendOptions,
  decideVote,
  type GroupAppend,
  VoteFile,
  type VoteState,
  Wal,
  type WalIdentity,
} from "../../wal/index.ts";
import { decodeBatch } from "../batch.ts";
import {
  type ApplyContext,
  GroupClock,
  type Proposal,
  Replica,
  ReplicaHost,
  type StateMachine,
} from "../index.ts";

const DATA = "data";
const MEMBER = 1;
const TICK_MS = 100;
const IDENTITY: WalIdentity = {
  clusterId: new Uint8Array(8).fill(1),
  memberId: MEMBER,
  walId: new Uint8Array(16).fill(2),
};

export interface LabOptions {
  readonly groups?: readonly GroupId[];
  /** Of each group; the first is this node. */
  readonly voters?: readonly number[];
  readonly maxUncommittedBytes?: number;
  /** Of the log: above 0 it acknowledges before it syncs. */
  readonly fsyncIntervalMs?: number;
  readonly sim?: Omit<SimEnvOptions, "seed">;
}

/** Keeps what it applied. A command `boom` breaks it; a command is answered with its index and text. */
export class ListMachine implements StateMachine<string> {
  readonly applied: string[] = [];
  appliedIndex: LogIndex = 0;
  appliedTerm = 0;
  clockMs = 0;
  stateHash = 0;
  readonly #group: GroupId;
  readonly #trace: (line: string) => void;

  constructor(group: GroupId, trace: (line: string) => void) {
    this.#group = group;
    this.#trace = trace;
  }

  apply({ index, term, clockMs }: ApplyContext, commands: readonly Uint8Array[]): string[] {
    assert(index === this.appliedIndex + 1, "entries come in a row");
    assert(clockMs >= this.clockMs, "the clock does not go back");
    const words = commands.map(text);
    this.#trace(`apply   g${this.#group} ${index}/${term} ${words.join(" ")}`.trimEnd());
    assert(!words.includes("boom"), "boom");
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.clockMs = clockMs;
    this.applied.push(...words);
    this.stateHash = hash32(this.stateHash, index, crc32c(utf8(words.join())));
    return words.map((word) => `${word}@${index}`);
  }
}

interface GroupParts {
  readonly replica: Replica<string>;
  readonly machine: ListMachine;
  readonly rawNode: RawNode;
}

export class Lab {
  readonly machine: SimEnv;
  readonly trace: string[] = [];
  readonly groups: Map<GroupId, GroupParts> = new Map();
  /** What the log is made to say of its space. */
  space: "ok" | "full" | null = null;
  env: Env;
  host!: ReplicaHost;
  wal!: Wal;
  votes!: VoteFile;
  fatal: HarmonyError | null = null;
  readonly #options: LabOptions;
  #created = false;
  #appends = 0;

  constructor(options: LabOptions = {}) {
    this.#options = options;
    this.machine = new SimEnv({ seed: 1, ...options.sim });
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

  /** Opens the log, or makes it at the first time, and puts the groups on it. */
  open(): void {
    const { env } = this;
    const { fsyncIntervalMs = 0 } = this.#options;
    const options = { directory: DATA, segmentSizeBytes: 64 * 1024, fsyncIntervalMs };
    this.groups.clear();
    this.fatal = null;
    if (this.#created) {
      this.wal = this.run(Wal.open(env, options, IDENTITY, [])).wal;
      this.votes = this.run(VoteFile.open(env, options, IDENTITY));
    } else {
      this.wal = this.run(Wal.create(env, options, IDENTITY));
      this.votes = this.run(VoteFile.create(env, options, IDENTITY));
      this.#created = true;
    }
    this.host = new ReplicaHost({
      env,
      wal: this.#observedWal(),
      votes: this.#observedVotes(),
      tickMs: TICK_MS,
      onFatal: (error) => {
        this.fatal = error;
        this.#say(`fatal   ${error.code}: ${firstLine(error.message)}`);
      },
    });
    for (const group of this.#options.groups ?? [0]) this.#add(group);
  }

  #add(group: GroupId): void {
    const { env, wal } = this;
    const voters = this.#options.voters ?? [MEMBER];
    const decided = decideVote(
      wal.hardState(group),
      this.votes.read(group),
      voters.length === 1,
    ) as VoteState;
    const hardState: HardState = {
      ...wal.hardState(group),
      term: decided.term,
      vote: decided.vote,
    };
    const machine = new ListMachine(group, (line) => this.#say(line));
    const rawNode = new RawNode({
      group,
      id: MEMBER,
      incarnation: decided.incarnation,
      storage: wal.groupLog(group),
      hardState,
      confState: {
        voters,
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      },
      appliedIndex: 0,
      electionTicks: 10,
      heartbeatTicks: 1,
      seed: 1,
      maxEntriesBytesPerMessage: 1024,
      maxInflightMessages: 16,
      maxInflightBytes: 1024 * 1024,
      maxUncommittedBytes: this.#options.maxUncommittedBytes ?? 1024 * 1024,
      maxCommittedBytesPerReady: 1024 * 1024,
      preVote: true,
      checkQuorum: true,
    });
    const replica = new Replica<string>({
      group,
      rawNode,
      machine,
      clock: new GroupClock(env.clock, machine.clockMs),
      hardState,
      wake: () => this.host.wake(),
    });
    this.groups.set(group, { replica, machine, rawNode });
    this.host.add(replica, decided.incarnation);
  }

  group(id: GroupId): GroupParts {
    const parts = this.groups.get(id);
    assert(parts !== undefined, `there is no group ${id}`);
    return parts;
  }

  campaign(): void {
    for (const { rawNode } of this.groups.values()) rawNode.campaign();
    this.host.wake();
  }

  propose(group: GroupId, word: string, reserve = false): Proposal<string> {
    return this.group(group).replica.propose(utf8(word), reserve, (error, result) => {
      this.#say(`reply   g${group} ${word}: ${error === null ? result : describeError(error)}`);
    });
  }

  read(group: GroupId, name: string): void {
    const { replica, machine } = this.group(group);
    replica.readBarrier((error) => {
      const seen = error === null ? `sees [${machine.applied.join(" ")}]` : describeError(error);
      this.#say(`read    g${group} ${name}: ${seen}`);
    });
  }

  /** Lets `ms` pass. Whatever the host does by itself it does within a millisecond or so. */
  pass(ms = 20): void {
    this.machine.scheduler.runUntil(this.machine.scheduler.nowMs + ms);
  }

  kill(): void {
    this.machine.kill();
    this.env = this.machine.boot();
  }

  losePower(): void {
    this.machine.losePower();
    this.env = this.machine.boot();
  }

  takeTrace(): string {
    return this.trace.splice(0).join("\n");
  }

  #say(line: string): void {
    this.trace.push(line);
  }

  #observedWal(): Wal {
    const { wal } = this;
    const space = (): "ok" | "full" => this.space ?? wal.space;
    const observed = {
      get space(): "ok" | "full" {
        return space();
      },
      append: (
        batch: readonly GroupAppend[],
        done: AppendDone,
        options: AppendOptions = {},
      ): void => {
        const number = ++this.#appends;
        const reserve = options.reserve === true ? " (reserve)" : "";
        this.#say(`append  #${number}${reserve} ${batch.map(describeAppend).join("; ")}`);
        const observe: AppendDone = (error) => {
          this.#say(`durable #${number}${error === null ? "" : `: ${describeError(error)}`}`);
          done(error);
        };
        wal.append(batch, observe, options);
      },
      dropCached: (group: GroupId, index: LogIndex): void => wal.dropCached(group, index),
    };
    return observed as unknown as Wal;
  }

  #observedVotes(): VoteFile {
    const observed = {
      save: (group: GroupId, state: VoteState, done: AppendDone): void => {
        this.#say(`vote    g${group} term=${state.term} vote=${state.vote}`);
        this.votes.save(group, state, (error) => {
          // Later than the append beside it: which is first must not hang on the dice of the disk.
          this.env.timers.after(1, () => {
            this.#say(`voted   g${group}${error === null ? "" : `: ${describeError(error)}`}`);
            done(error);
          });
        });
      },
    };
    return observed as unknown as VoteFile;
  }
}

function describeAppend({ group, entries, hardState }: GroupAppend): string {
  const parts = [`g${group}`, ...entries.map(describeEntry)];
  if (hardState !== null)
    parts.push(`term=${hardState.term} vote=${hardState.vote} commit=${hardState.commit}`);
  return parts.join(" ");
}

function describeEntry({ index, term, type, data }: Entry): string {
  const words = type === EntryType.normal ? decodeBatch(data).commands.map(text) : ["-"];
  return `${index}/${term}[${words.map(shortened).join(" ")}]`;
}

function shortened(word: string): string {
  return word.length > 20 ? `${word.slice(0, 1)}*${word.length}` : word;
}

export function describeError(error: HarmonyError): string {
  return `${error.code} maybe=${error.maybeApplied}`;
}

/** Without the path: under which name the log has its segment open is its own business. */
function firstLine(message: string): string {
  return (message.split("\n")[0] as string).replace(/data\/\S+/, "...");
}
