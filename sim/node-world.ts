/**
 * One node on a simulated machine: opened, used by several clients, crashed in the middle of things, opened again, and
 * compared with the oracle, life after life. Everything follows from the seed.
 *
 * What is checked beyond the oracle's rules: an acknowledgement never precedes the durability of what it acknowledges
 * (a fork of the machine loses its power at that very moment and is opened); after a failed write nothing is
 * acknowledged and the node stops; a full disk refuses and recovers without a restart; damage is refused or harmless.
 */
import { CorruptionError, hash32, HarmonyError, Random } from "../src/base/index.ts";
import type { Node, Outcome } from "../src/db/index.ts";
import {
  type CrashMode,
  type InjectedFault,
  type Operation,
  SimEnv,
} from "../src/env/sim/index.ts";
import {
  DATA_DIRECTORY,
  drawNodeOptions,
  NEVER_COMPACTS,
  type NodeWorldOptions,
} from "./node-options.ts";
import { FailedWrite } from "./failed-write.ts";
import { close, observe, open, tryToOpen } from "./node-driver.ts";
import { type Issued, Oracle } from "./oracle.ts";
import { type Failure, failureOf, type RunResult, NO_MARKS } from "./result.ts";
import { Trace } from "./trace.ts";
import { check, show, Violation } from "./violation.ts";
import { Workload } from "./workload.ts";

/** Commands that a life has to have written for its crash to count as a cycle. */
export const COMMANDS_PER_CYCLE = 20;

const STREAM_WORLD = 12;
const STREAM_WORKLOAD = 13;
const LIFE_EVENTS_MAX = 400_000;
const LEASE_TTL_SECONDS_MIN = 2;
const MODES: readonly CrashMode[] = [
  "lose-all",
  "keep-all",
  "prefix",
  "subset",
  "sectors",
  "torn",
  "mixed",
];

export function runNodeSeed(seed: number): RunResult {
  const world = new NodeWorld(seed, drawNodeOptions(seed));
  return world.run();
}

class NodeWorld {
  readonly #seed: number;
  readonly #options: NodeWorldOptions;
  readonly #machine: SimEnv;
  readonly #random: Random;
  readonly #workload: Workload;
  readonly #trace = new Trace();
  #oracle: Oracle;
  #cycles = 0;
  #commands = 0;
  /** Grows with each process: what a client of an earlier one still waits for is of no interest. */
  #life = 0;
  #commandsInLife = 0;
  #haltAt = 0;
  #haltMoment: "before" | "after" = "before";
  /** Ends the process at this operation on the data file from now, when above 0. */
  #haltInDataFile = 0;

  constructor(seed: number, options: NodeWorldOptions) {
    this.#seed = seed;
    this.#options = options;
    this.#random = new Random(hash32(seed, STREAM_WORLD));
    this.#machine = new SimEnv({ seed, disk: options.disk });
    this.#workload = new Workload(hash32(seed, STREAM_WORKLOAD), options.workload);
    const kept = options.node.retention?.retentionRevisions ?? 0;
    this.#oracle = new Oracle(
      {
        leaseTtlSecondsMin: LEASE_TTL_SECONDS_MIN,
        keepsHistory: kept > 0,
        retentionRevisions: kept === NEVER_COMPACTS ? 0 : kept,
      },
      () => this.#machine.scheduler.nowMs,
    );
    this.#machine.disk.observer = (moment, operation, ordinal) =>
      this.#observe(moment, operation, ordinal);
  }

  run(): RunResult {
    let failure: Failure | null = null;
    try {
      for (let life = 0; life < this.#options.lives; life++) this.#liveOnce();
      this.#ending();
    } catch (error) {
      failure = failureOf(this.#thrown ?? error, this.#trace, this.#options);
    }
    return {
      world: "node",
      seed: this.#seed,
      cycles: this.#cycles,
      commands: this.#commands,
      hash: this.#trace.hash,
      marks: NO_MARKS,
      failure,
    };
  }

  get #nowMs(): number {
    return this.#machine.scheduler.nowMs;
  }

  #note(what: string, number = 0, detail: unknown = null): void {
    this.#trace.event(this.#nowMs, what, number, detail);
  }

  /** The node survives what its callers throw, so a failed check inside an answer is kept until the world hears of it. */
  #thrown: unknown = null;

  #inAnswer(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#thrown ??= error;
      this.#machine.halt();
    }
  }

  #rethrow(): void {
    if (this.#thrown !== null) throw this.#thrown as Error;
  }

  #observe(moment: "before" | "after", operation: Operation, ordinal: number): void {
    if (moment === "before") this.#trace.operation(this.#nowMs, operation, ordinal);
    if (this.#haltInDataFile > 0 && moment === "before" && operation.path.endsWith(".hdb"))
      if (--this.#haltInDataFile === 0) this.#machine.halt();
    if (ordinal === this.#haltAt && moment === this.#haltMoment) {
      this.#note(`the process ends ${moment} this operation`);
      this.#machine.halt();
    }
  }

  /** Ends the process at one of the next `within` file operations. */
  #planHalt(within: number): void {
    this.#haltAt = this.#machine.disk.opCount + this.#random.between(1, within);
    this.#haltMoment = this.#random.percent(60) ? "before" : "after";
  }

  // ---- a life: open, verify, work, end ----

  #liveOnce(): void {
    const node = this.#open();
    const { faults } = this.#options;
    this.#commandsInLife = 0;
    const plan = this.#random.below(100);
    if (this.#isCacheDoubtful && this.#random.percent(60)) this.#workOnDoubtfulCache(node);
    else if (faults.failedWrites && plan < 35) this.#workUntilFailedWrite(node);
    else if (faults.fullDisk && plan < 60) this.#workOnFullDisk(node);
    else {
      const slow = faults.slowDisk && plan < 75 ? this.#slowDown() : null;
      this.#workUntilCrash(node);
      slow?.remove();
    }
    if (this.#machine.running && faults.cleanClose && this.#random.percent(40)) this.#close(node);
    if (this.#machine.running || !this.#machine.disk.quiet) this.#crash();
  }

  #ending(): void {
    const node = this.#open();
    this.#work(node, 5);
    this.#close(node);
    // Without a clean close the last batch is not proven durable, and damage to it looks like a torn write.
    if (this.#options.faults.bitRot && this.#closedCleanly) this.#rot();
    this.#close(this.#open());
  }

  /** Opens the node and compares it with the oracle. May be crashed several times before it gets there. */
  #open(): Node {
    for (let attempt = 0; ; attempt++) {
      const crashes =
        attempt < 3 &&
        this.#life > 0 &&
        this.#options.faults.crashInRecovery &&
        this.#random.percent(40);
      if (crashes) this.#planHalt(40);
      if (this.#options.faults.wallClockJumps)
        this.#machine.wallSkewMs = this.#random.between(-3_600_000, 3_600_000);
      const node = tryToOpen(this.#machine, this.#options.node);
      this.#haltAt = 0;
      if (node instanceof Error)
        throw new Violation("a directory opens again after a crash", `${node.stack}`);
      if (node !== null) {
        if (this.#closedCleanly)
          check(node.log?.unclean !== true, "a node that was closed finds a clean log", () =>
            show(node.log),
          );
        this.#closedCleanly = false;
        this.#failedInLife = false;
        this.#life++;
        this.#verify(node);
        return node;
      }
      this.#note("crashed in recovery");
      this.#closedCleanly = false;
      this.#crashNow();
    }
  }

  #verify(node: Node): void {
    this.#oracle.reopened(observe(node.database));
    this.#note("verified", this.#oracle.revision);
    this.#workload.keepLeases(this.#oracle.leases);
    if (this.#pending) this.#cycles++;
    this.#pending = false;
  }

  #closedCleanly = false;
  #failedInLife = false;
  /** The process ended after a failed write, and the machine has been up since. */
  #isCacheDoubtful = false;
  /** The last crash counts as a cycle once what it left is verified. */
  #pending = false;

  #crash(): void {
    const enough = this.#commandsInLife >= COMMANDS_PER_CYCLE;
    const unsynced = this.#crashNow();
    if (enough && unsynced) this.#pending = true;
  }

  /** The process dies, or the power fails. True when there were changes that were not durable. */
  #crashNow(wanted: CrashMode | null = null): boolean {
    const { disk } = this.#machine;
    this.#machine.halt();
    const { files, directories } = disk.unsynced();
    const unsynced = !disk.quiet || files.length > 0 || directories.length > 0;
    if (wanted !== null || (this.#options.faults.powerLoss && this.#random.percent(70))) {
      const mode = wanted ?? this.#random.pick(MODES);
      this.#note("power loss", 0, mode);
      this.#machine.losePower(mode);
    } else {
      this.#note("kill");
      this.#machine.kill();
    }
    return unsynced;
  }

  #close(node: Node): void {
    if (this.#options.faults.crashInRecovery && this.#random.percent(30)) this.#planHalt(20);
    const ended = close(this.#machine, node);
    this.#rethrow();
    this.#haltAt = 0;
    this.#note(ended ? "closed" : "crashed while closing");
    if (ended && this.#failedInLife) {
      // What is left open by a node that failed goes with its process.
      this.#machine.kill();
    } else if (ended) {
      check(
        this.#machine.disk.quiet,
        "a closed node holds nothing",
        () => "files are open or locked",
      );
      this.#machine.halt();
      this.#closedCleanly = true;
    } else this.#crashNow();
  }

  // ---- work ----

  #workUntilCrash(node: Node): void {
    this.#work(node, this.#random.between(COMMANDS_PER_CYCLE, 2 * COMMANDS_PER_CYCLE));
    if (this.#random.percent(20)) this.#pass(this.#random.between(500, 5000));
    this.#planHalt(this.#random.pick([2, 5, 30]));
    this.#work(node, 200);
    this.#haltAt = 0;
  }

  /** Clients send commands until `count` more are answered, the process ends, or `until` says so. */
  #work(node: Node, count: number, until: () => boolean = () => false): void {
    const clients = new Clients(count);
    for (let i = 0; i < this.#options.clients; i++) this.#next(node, clients);
    const { scheduler } = this.#machine;
    for (let events = 0; this.#machine.running && clients.answered < count && !until(); events++) {
      check(
        events < LIFE_EVENTS_MAX && scheduler.step(),
        "commands are answered",
        () => `${clients.answered} of ${count} after ${events} events`,
      );
    }
    this.#rethrow();
    clients.done = true;
  }

  #pass(durationMs: number): void {
    this.#note("time passes", durationMs);
    this.#machine.scheduler.runUntil(this.#nowMs + durationMs);
    this.#rethrow();
  }

  #next(node: Node, clients: Clients): void {
    if (clients.done || clients.issued >= clients.count + this.#options.clients) return;
    const random = this.#random;
    const life = this.#life;
    const again = (): void => {
      const thinkMs = this.#options.thinkMsMax === 0 ? 0 : random.below(this.#options.thinkMsMax);
      this.#machine.scheduler.after(thinkMs, () => {
        if (life === this.#life && this.#machine.running) this.#next(node, clients);
      });
    };
    if (random.percent(15)) {
      this.#read(node, again);
      return;
    }
    if (random.percent(4)) node.checkpoint(() => {});
    clients.issued++;
    this.#write(node, () => {
      clients.answered++;
      again();
    });
  }

  #write(node: Node, answered: (error: HarmonyError | null) => void): void {
    const request = this.#workload.write(this.#oracle);
    const issued: Issued = this.#oracle.issue(request);
    this.#note("write", issued.ordinal, request);
    const oracle = this.#oracle;
    node.database.write(request, {}, (error, outcome) =>
      this.#inAnswer(() => {
        this.#note("answer", outcome?.revision ?? 0, error === null ? outcome : error.message);
        // The caller of a physical compaction hears of one that was made before, once its slices are done.
        const isLate = request.kind === "compact" && request.physical;
        if (error === null && !isLate) this.#mayAcknowledge();
        oracle.answered(issued, error, outcome);
        if (error === null) {
          this.#commands++;
          this.#commandsInLife++;
          if (this.#random.percent(1)) this.#checkDurable();
        }
        answered(error);
      }),
    );
  }

  #read(node: Node, answered: () => void): void {
    const isTxn = this.#random.percent(20);
    const request = isTxn
      ? this.#workload.readTxn(this.#oracle)
      : this.#workload.range(this.#oracle);
    this.#note("read", 0, request);
    const reply = (error: HarmonyError | null, response: Outcome): void =>
      this.#inAnswer(() => {
        this.#note("answer", response?.revision ?? 0, error === null ? response : error.message);
        if (error === null) this.#oracle.read(request, response);
        answered();
      });
    if (request.kind === "range") node.database.range(request, {}, reply);
    else node.database.write(request, {}, reply);
  }

  /** At this moment, with nothing but what is durable, the node must know everything that was acknowledged. */
  #checkDurable(): void {
    const fork = this.#machine.fork();
    fork.losePower("lose-all");
    fork.disk.quotaBytes = Number.POSITIVE_INFINITY;
    const oracle = this.#oracle.copy(() => fork.scheduler.nowMs);
    const node = open(fork, this.#options.node);
    try {
      oracle.reopened(observe(node.database));
    } catch (error) {
      if (error instanceof Violation)
        throw new Violation("an acknowledgement does not precede its sync", error.message);
      throw error;
    }
  }

  // ---- faults ----

  #fault: FailedWrite | null = null;

  #mayAcknowledge(): void {
    check(
      this.#fault?.hasArrived !== true,
      "nothing is acknowledged after a failed write",
      () => "a command was answered",
    );
  }

  /** A write or sync of the log, of VOTE or of the data file fails: the node stops and says so. */
  #workUntilFailedWrite(node: Node): void {
    const fatal: HarmonyError[] = [];
    node.onFatal((error) => fatal.push(error));
    const operation = this.#random.pick(["write", "sync"] as const);
    const skip = this.#random.below(operation === "write" ? 40 : 4);
    const fault = new FailedWrite(
      this.#machine,
      operation,
      (path) => /\/(?:wal|db)\/|\/VOTE$|\/next\.wal$/.test(path),
      this.#random.pick(["EIO", "EROFS"]),
      skip,
    );
    this.#fault = fault;
    this.#note("a write will fail", skip, operation);
    this.#work(node, 60, () => fault.hasArrived);
    if (fault.hasArrived) {
      this.#failedInLife = true;
      this.#pass(5);
      check(
        fatal.length === 1,
        "a failed write stops the node",
        () => `${fatal.length} fatal errors`,
      );
      this.#write(node, (error) =>
        check(error !== null, "a stopped node takes no command", () => "it did"),
      );
      this.#pass(200);
    }
    fault.remove();
    this.#failedInLife ||= fault.wasAsked;
    this.#fault = null;
    // Without a restart of the machine its cache still shows what the device never got (fault-rules D10).
    if (fault.hasArrived && this.#random.percent(60)) {
      this.#machine.kill();
      this.#isCacheDoubtful = true;
    }
  }

  /** Only the process began anew after the failure: a checkpoint now, and the power fails around it (D10). */
  #workOnDoubtfulCache(node: Node): void {
    this.#isCacheDoubtful = false;
    this.#work(node, this.#random.between(1, 10));
    if (!this.#machine.running) return;
    this.#haltInDataFile = this.#random.between(1, 6);
    node.checkpoint(() => {});
    this.#work(node, 200);
    this.#haltInDataFile = 0;
    if (this.#options.faults.powerLoss) this.#crashNow(this.#random.pick(["sectors", "torn"]));
  }

  /** No room for a while: refusals say so, reads go on, and afterwards writes work again without a restart. */
  #workOnFullDisk(node: Node): void {
    const { disk } = this.#machine;
    this.#work(node, this.#random.below(COMMANDS_PER_CYCLE));
    disk.quotaBytes = disk.usedBytes + this.#random.below(3) * 4096;
    this.#note("the disk is full", disk.quotaBytes);
    this.#work(node, 60);
    this.#pass(this.#random.between(0, 2000));
    disk.quotaBytes = Number.POSITIVE_INFINITY;
    this.#note("the disk has room");
    let works = false;
    for (let i = 0; i < 40 && !works && this.#machine.running; i++) {
      this.#pass(500);
      this.#write(node, (error) => {
        works ||= error === null;
      });
      this.#pass(10);
    }
    check(
      works || !this.#machine.running,
      "a full disk is forgotten once there is room",
      () => "writes are still refused after 20 s",
    );
    this.#workUntilCrash(node);
  }

  #slowDown(): InjectedFault {
    return this.#machine.disk.inject({
      operation: ["write", "sync"],
      times: this.#random.between(1, 10),
      skip: this.#random.below(20),
      delayMs: this.#random.pick([5, 50, 900, 3000]),
    });
  }

  /** Bits change in a stopped directory: refused, or without effect on what was acknowledged. */
  #rot(): void {
    const files = this.#machine.disk
      .paths()
      .filter((path) => /\.(?:wal|hdb)$|\/(?:VOTE|MANIFEST)$/.test(path));
    for (let i = 0; i < 4; i++) {
      const fork = this.#machine.fork(hash32(this.#seed, i));
      const path = this.#random.pick(files);
      const size = fork.disk.contents(path).length;
      if (size === 0) continue;
      const offset = this.#random.below(Math.min(size, this.#random.pick([512, 4096, size])));
      fork.disk.flipBit(path, offset, this.#random.below(8));
      this.#note("a bit flips", offset, path);
      const oracle = this.#oracle.copy(() => fork.scheduler.nowMs);
      try {
        const node = tryToOpen(fork, this.#options.node);
        if (node instanceof Error) {
          check(node instanceof HarmonyError, "damage is refused by name", () => `${node.stack}`);
          if (node instanceof CorruptionError)
            check(
              node.damage.file.startsWith(DATA_DIRECTORY) || node.damage.file === "VOTE",
              "a refusal names file and offset",
              () => show(node.damage),
            );
        } else if (node !== null) oracle.reopened(observe(node.database));
      } catch (error) {
        if (error instanceof Violation)
          throw new Violation(
            "damage is refused or harmless",
            `${path} at ${offset}: ${error.message}`,
          );
        // A page that is only read later is refused then.
        if (!(error instanceof CorruptionError)) throw error;
      }
    }
  }
}

class Clients {
  readonly count: number;
  issued = 0;
  answered = 0;
  done = false;

  constructor(count: number) {
    this.count = count;
  }
}
