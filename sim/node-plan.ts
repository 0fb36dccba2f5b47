/**
 * What happens to a node, drawn from the seed while it happens: lives of work with one kind of trouble each, and what
 * ends them. It looks at the node from outside and changes nothing.
 */
import { hash32, Random } from "../src/base/index.ts";
import type { CrashMode } from "../src/env/sim/index.ts";
import type { ModelRequest } from "./model.ts";
import { logUniform, NEVER_COMPACTS, type NodeWorldOptions } from "./node-options.ts";
import type { Halt, NodeStep, PowerLoss } from "./node-steps.ts";
import { COMMANDS_PER_CYCLE } from "./node-watch.ts";
import type { Surroundings } from "./workload.ts";
import { Workload } from "./workload.ts";
import { type NumberedRequest, SessionWorkload } from "./workload-sessions.ts";

const STREAM_WORLD = 12;
const STREAM_WORKLOAD = 13;
const STREAM_SESSIONS = 14;
const STREAM_WATCHERS = 15;
/** A session is over when nobody has used it for a quarter of an hour. */
const SESSION_OVER_MS: number = 16 * 60_000;
const YEAR_MS = 365 * 24 * 3_600_000;
const MODES: readonly PowerLoss[] = [
  "lose-all",
  "keep-all",
  "prefix",
  "subset",
  "sectors",
  "torn",
  "ragged",
  "mixed",
] satisfies readonly (CrashMode | "ragged")[];

/** What can be seen of the world without touching it. */
export interface NodeView {
  /** A process lives and its node is open. */
  readonly isOpen: boolean;
  readonly outstanding: number;
  /** Writes that were answered, and those that were acknowledged, in all lives. */
  readonly answered: number;
  readonly acknowledged: number;
  readonly hasFailed: boolean;
  readonly isCacheDoubtful: boolean;
  readonly oracle: Surroundings & { readonly leases: ReadonlySet<bigint> };
}

type Steps = Generator<NodeStep, void, void>;

export class NodePlan {
  readonly #options: NodeWorldOptions;
  readonly #random: Random;
  readonly #workload: Workload;
  readonly #view: NodeView;
  readonly #steps: Steps;
  readonly #sessions: SessionWorkload;
  readonly #watchers: Random;
  #opened = 0;
  /** The last that was asked for is a limit that nothing fits into. */
  #isLimited = false;

  constructor(seed: number, options: NodeWorldOptions, view: NodeView) {
    this.#options = options;
    this.#random = new Random(hash32(seed, STREAM_WORLD));
    this.#workload = new Workload(hash32(seed, STREAM_WORKLOAD), options.workload);
    this.#sessions = new SessionWorkload(new Random(hash32(seed, STREAM_SESSIONS)));
    this.#watchers = new Random(hash32(seed, STREAM_WATCHERS));
    this.#view = view;
    this.#steps = this.#all();
  }

  next(): NodeStep | null {
    const { done, value } = this.#steps.next();
    return done === true ? null : (value as NodeStep);
  }

  *#all(): Steps {
    for (let life = 0; life < this.#options.lives; life++) yield* this.#life();
    yield* this.#ending();
  }

  *#life(): Steps {
    yield* this.#open();
    const random = this.#random;
    const { faults } = this.#options;
    const plan = random.below(100);
    if (this.#view.isCacheDoubtful && random.percent(60)) yield* this.#doubtfulCache();
    else if (faults.failedWrites && plan < 30) yield* this.#failedWrite();
    else if (faults.fullDisk && plan < 45) yield* this.#fullDisk();
    else if (faults.stuckDisk && plan < 60) yield* this.#stuckDisk();
    else {
      if (faults.slowDisk && plan < 75) yield this.#slow();
      yield* this.#workUntilCrash();
    }
    if (this.#view.isOpen && faults.cleanClose && random.percent(30)) {
      yield* this.#close();
      if (random.percent(80)) return;
    }
    yield this.#crash();
  }

  *#ending(): Steps {
    const random = this.#random;
    yield* this.#open();
    yield* this.#work(5);
    if (this.#options.workload.deadlines === true) {
      yield { do: "pass", forMs: random.pick([1500, 3000, 8000]) };
      yield { do: "overdue" };
    }
    yield { do: "close", halt: null };
    if (this.#options.faults.bitRot)
      for (let i = 0; i < 4; i++)
        yield {
          do: "rot",
          file: random.u32(),
          place: random.percent(30) ? random.below(512) : random.u32(),
          bit: random.below(8),
        };
    yield { do: "open", halt: null };
    yield { do: "close", halt: null };
  }

  /** May be crashed several times before it gets there. */
  *#open(): Steps {
    const random = this.#random;
    for (let attempt = 0; !this.#view.isOpen; attempt++) {
      if (this.#options.faults.wallClockJumps) yield this.#skew();
      const isCut =
        attempt < 3 &&
        this.#opened > 0 &&
        this.#options.faults.crashInRecovery &&
        random.percent(40);
      yield { do: "open", halt: isCut ? this.#halt(40) : null };
      // Where the disk was left full, it may be that there is no room to start.
      if (!this.#view.isOpen) {
        yield { do: "room" };
        yield this.#crash();
      }
    }
    this.#opened++;
    this.#workload.keepLeases(this.#view.oracle.leases);
  }

  *#close(): Steps {
    const isCut = this.#options.faults.crashInRecovery && this.#random.percent(30);
    yield { do: "close", halt: isCut ? this.#halt(20) : null };
  }

  #crash(wanted: PowerLoss | null = null): NodeStep {
    const random = this.#random;
    const isPowerLoss = this.#options.faults.powerLoss && (wanted !== null || random.percent(70));
    const how = isPowerLoss ? (wanted ?? random.pick(MODES)) : "kill";
    return { do: "crash", how, seed: random.u32() };
  }

  #halt(within: number, files: Halt["files"] = "any"): Halt {
    return {
      after: this.#random.between(1, within),
      moment: this.#random.percent(60) ? "before" : "after",
      files,
    };
  }

  // ---- kinds of lives ----

  *#workUntilCrash(): Steps {
    const random = this.#random;
    yield* this.#work(random.between(COMMANDS_PER_CYCLE, COMMANDS_PER_CYCLE + 12));
    if (random.percent(20)) {
      yield { do: "pass", forMs: random.between(500, 5000) };
      yield { do: "overdue" };
    }
    if (random.percent(10)) yield { do: "checkpoint" };
    const isData = random.percent(10);
    if (isData) yield { do: "checkpoint" };
    yield {
      do: "halt",
      halt: isData ? this.#halt(6, "data") : this.#halt(random.pick([2, 5, 30])),
    };
    yield* this.#work(200);
  }

  /** A write or sync of the log, of VOTE or of the data file fails: the node stops and says so. */
  *#failedWrite(): Steps {
    const random = this.#random;
    const operation = random.pick(["write", "sync"] as const);
    // Syncs belong to checkpoints: of pages, then of the meta.
    const files = operation === "sync" && random.percent(70) ? "data" : "state";
    yield {
      do: "fail",
      operation,
      files,
      error: random.pick(["EIO", "EIO", "EROFS"]),
      skip: random.below(operation === "write" ? 40 : 4),
    };
    if (operation === "sync" && random.percent(50)) {
      yield* this.#work(3);
      yield { do: "checkpoint" };
    }
    yield* this.#work(60, () => this.#view.hasFailed);
    if (this.#view.hasFailed) {
      yield { do: "pass", forMs: 6 };
      yield this.#write();
      yield { do: "pass", forMs: 200 };
    }
    yield { do: "heal" };
    // Without a restart of the machine its cache still shows what the device never got (fault-rules D10).
    if (this.#view.hasFailed && random.percent(60))
      yield { do: "crash", how: "kill", seed: random.u32() };
  }

  /** Only the process began anew after the failure: a checkpoint now, and the power fails around it (D10). */
  *#doubtfulCache(): Steps {
    const random = this.#random;
    yield* this.#work(random.between(1, 10));
    yield { do: "halt", halt: this.#halt(6, "data") };
    yield { do: "checkpoint" };
    yield* this.#work(200);
    yield this.#crash(random.pick(["sectors", "torn", "ragged", "ragged"]));
  }

  /** No room for a while: refusals say so, reads go on, and afterwards writes work again without a restart. */
  *#fullDisk(): Steps {
    const random = this.#random;
    yield* this.#work(random.below(COMMANDS_PER_CYCLE));
    yield { do: "full", spareBytes: random.below(3) * 4096 };
    yield* this.#work(40);
    yield { do: "pass", forMs: random.between(0, 2000) };
    if (random.percent(15)) return;
    yield { do: "room" };
    const before = this.#view.acknowledged;
    for (let i = 0; i < 60 && this.#view.isOpen && this.#view.acknowledged === before; i++) {
      yield { do: "pass", forMs: 500 };
      yield this.#write();
      yield { do: "await", atMost: 0 };
    }
    yield* this.#workUntilCrash();
  }

  /** The disk does not answer any more: calls end in time, nobody is told a lie, and only the crash ends it. */
  *#stuckDisk(): Steps {
    const random = this.#random;
    yield* this.#work(random.below(COMMANDS_PER_CYCLE));
    yield { do: "slow", skip: random.below(8), times: 1_000_000, delayMs: null };
    for (let i = 0; i < this.#options.clients + 5 && this.#view.isOpen; i++) {
      yield random.percent(25) ? this.#read() : this.#write();
      if (random.percent(30)) yield { do: "pass", forMs: random.between(1, 50) };
    }
    yield { do: "pass", forMs: random.between(1, 12_000) };
  }

  #slow(): NodeStep {
    const random = this.#random;
    return {
      do: "slow",
      skip: random.below(20),
      times: random.between(1, 10),
      delayMs: random.pick([5, 50, 900, 3000]),
    };
  }

  #skew(): NodeStep {
    const random = this.#random;
    const size = random.pick([1000, 30_000, 3_600_000, YEAR_MS]);
    return { do: "skew", wallMs: random.between(-size, size) };
  }

  // ---- requests ----

  /** Clients send requests until `count` more writes are answered, the process ends, or `until` says so. */
  *#work(count: number, until: () => boolean = () => false): Steps {
    const view = this.#view;
    const random = this.#random;
    const { clients, thinkMsMax, faults } = this.#options;
    const target = view.answered + count;
    while (view.isOpen && view.answered < target && !until()) {
      const free = clients - view.outstanding;
      for (let i = random.between(free > 0 ? 1 : 0, Math.max(0, free)); i > 0; i--)
        yield random.percent(15) ? this.#read() : this.#write();
      if (random.percent(2)) yield { do: "checkpoint" };
      if (faults.wallClockJumps && random.percent(2)) yield this.#skew();
      if (faults.pauses && random.percent(2))
        yield { do: "pause", forMs: logUniform(random, 10, 60_000) };
      if (this.#options.workload.leases && random.percent(2)) yield* this.#leaseCheck();
      if (this.#options.sessions === true && faults.pauses && random.below(300) === 0)
        yield { do: "pause", forMs: SESSION_OVER_MS };
      yield* this.#watching();
      if (thinkMsMax > 0 && random.percent(50))
        yield { do: "pass", forMs: random.below(thinkMsMax) };
      else yield { do: "await", atMost: random.below(clients) };
    }
  }

  /** Watchers come, take or leave it, and go; after a crash they go on where they were. */
  *#watching(): Steps {
    const { watchers = 0 } = this.#options;
    const random = this.#watchers;
    if (watchers === 0 || random.percent(60)) return;
    const watcher = random.below(watchers);
    const die = random.below(100);
    if (die < 12)
      yield {
        do: "watch",
        watcher,
        request: this.#workload.watch(this.#view.oracle, random, random.percent(60)),
      };
    else if (die < 15) yield { do: "unwatch", watcher };
    else if (die < 60)
      yield { do: "take", watcher, maxBytes: random.pick([1, 1, 300, 4000, 1_000_000]) };
  }

  *#leaseCheck(): Steps {
    const leases = [...this.#view.oracle.leases];
    if (leases.length > 0) yield { do: "lease", id: this.#random.pick(leases) };
  }

  #write(): NodeStep {
    const random = this.#random;
    const isImpatient = this.#options.faults.impatience && random.percent(15);
    return {
      do: "write",
      ...this.#drawNumbered(),
      timeoutMs: isImpatient ? random.pick([0, 0.1, 1, 10]) : null,
      prove: random.below(200) === 0,
    };
  }

  #drawNumbered(): NumberedRequest {
    const random = this.#random;
    const { sessions, settings } = this.#options;
    if (settings === true && random.percent(this.#isLimited ? 30 : 3))
      return { request: this.#configure(), id: null };
    if (sessions === true && random.percent(30))
      return this.#sessions.next(() => this.#drawWrite());
    return { request: this.#drawWrite(), id: null };
  }

  /** A limit is lifted soon, or nothing would happen any more. */
  #configure(): ModelRequest {
    const random = this.#random;
    // What the database compacts by itself no client can know, so they leave it to the database then.
    if (this.#isLimited || this.#options.workload.compactions || random.percent(40)) {
      this.#isLimited = !this.#isLimited;
      return { kind: "configure", quotaBytes: this.#isLimited ? 1 : 0 };
    }
    return { kind: "configure", retentionRevisions: random.pick([0, 1, 5, 40, NEVER_COMPACTS]) };
  }

  /**
   * The answer of a physical compaction comes late, after those of commands behind it. In the interval mode the moments
   * of the answers are all that is known of what a power loss may take, so there it is not asked for.
   */
  #drawWrite(): ModelRequest {
    const request = this.#workload.anyWrite(this.#view.oracle);
    const isInterval = (this.#options.node.fsyncIntervalMs ?? 0) > 0;
    return isInterval && request.kind === "compact" ? { ...request, physical: false } : request;
  }

  #read(): NodeStep {
    const { oracle } = this.#view;
    const isTxn = this.#random.percent(20);
    return {
      do: "read",
      request: isTxn ? this.#workload.readTxn(oracle) : this.#workload.range(oracle),
    };
  }
}
