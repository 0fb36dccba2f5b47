/**
 * A member whose state is not to be trusted, from the moment in which that is found until the others have healed it
 * (requirements C41, S2-51, S2-52; fault-rules R14, R19), and the alarm about it:
 *
 *     well ──differs from the majority, damage──▶ entering ──QUARANTINE, a new life: durable──▶ in
 *      ▲                                                                                        │ read index of the leader,
 *      │                                                                                        │ then his snapshot
 *      └──QUARANTINE gone, durably ◀── leaving ◀── the state covers the read index ◀────────────┘
 *
 * From the first moment on the replica gives no vote, acknowledges nothing and answers nobody, whatever its files say by
 * then. The read index is asked for in the new life, so what the leader answers covers whatever the life before may have
 * been counted for; a leader gets it from a majority without this member, so a member is never healed by a minority. It is
 * asked for again and again, and any answer to what was asked in this life will do, however far away the others are.
 *
 * Whoever leads raises the alarm CORRUPT for a member that says that it is in quarantine, or that all see to differ. It is
 * data, and stays until somebody clears it: a disk that has given back other bytes once is to be looked at. Every member
 * knows of the case, for the leader may be lost before it has raised the alarm; where that is seen to be raised the case is
 * settled, so that whoever leads next raises nothing again that somebody has looked at and cleared.
 */
import { HarmonyError } from "../base/index.ts";
import { type Env, FileError, runIo, type Timer } from "../env/index.ts";
import { type Alarm, AlarmKind } from "../mvcc/index.ts";
import type { QuarantineItem } from "../codec/index.ts";
import type { LogIndex, NodeId } from "../raft/index.ts";
import type { Replica, ReplicaHost, Verdict } from "../replica/index.ts";
import { encodeAlarm } from "./command.ts";
import type { KvDatabase } from "./kv-database.ts";
import type { Outcome } from "./requests.ts";
import { endQuarantine, type QuarantineReason, writeQuarantine } from "./quarantine-file.ts";

const ROUND_MS = 500;
/** How many cases are remembered for which the alarm was raised. */
const RAISED_MAX = 1_000;
/** Without a majority nobody can say who is wrong. */
const NOBODY_KNOWN: Alarm = { kind: AlarmKind.corrupt, memberId: 0n };

export interface QuarantineConfig {
  readonly env: Env;
  readonly dataDir: string;
  readonly host: ReplicaHost;
  readonly replica: Replica<Outcome>;
  readonly database: KvDatabase;
  /** The other members. */
  readonly others: () => readonly NodeId[];
  readonly tell: (member: NodeId, item: QuarantineItem) => void;
  /** Fetches a snapshot of this member that covers the index, and puts it in the place of what is here. */
  readonly fetch: (from: NodeId, indexAtLeast: LogIndex) => void;
  /** It began in quarantine, in this life; null: it did not. */
  readonly begun: { readonly what: QuarantineReason; readonly incarnation: number } | null;
  readonly onFatal: (error: HarmonyError) => void;
}

/** Since the start of the node. */
export interface QuarantineStats {
  /** Why it is in quarantine now; null: it is not. */
  readonly reason: QuarantineReason | null;
  readonly entered: number;
  readonly healed: number;
}

export class Quarantine {
  readonly #config: QuarantineConfig;
  #state: "well" | "entering" | "in" | "leaving" = "well";
  #what: QuarantineReason = "";
  #incarnation = 0;
  /** What the state must cover; 0 as long as nobody has answered. */
  #healIndex: LogIndex = 0;
  #timer: Timer | null = null;
  #isStopped = false;
  #entered = 0;
  #healed = 0;
  /** For whom the alarm is to be raised: a name of the case, and the alarm. */
  readonly #suspects: Map<string, Alarm> = new Map();
  readonly #raised = new Set<string>();

  constructor(config: QuarantineConfig) {
    this.#config = config;
    const { begun } = config;
    if (begun === null) return;
    this.#state = "in";
    this.#what = begun.what;
    this.#incarnation = begun.incarnation;
    this.#entered = 1;
  }

  start(): void {
    if (this.#state !== "well") this.#say("warn", "this member is in quarantine");
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  get stats(): QuarantineStats {
    const reason = this.#state === "well" ? null : this.#what;
    return { reason, entered: this.#entered, healed: this.#healed };
  }

  /** Members were found to differ in what they made of the same entries. */
  differ({ index, differing, isDecided }: Verdict): void {
    const { env, replica, database } = this.#config;
    env.log("error", "quarantine", "members differ in their state after the same entries", {
      index,
      members: differing.map((id) => id.toString(16)),
      isDecided,
    });
    if (!isDecided) {
      // They go on to differ with every entry, that of the alarm among them: one alarm says it all.
      if (!database.hasAlarm(NOBODY_KNOWN)) this.#suspect(`0 at ${index}`, NOBODY_KNOWN);
      return;
    }
    for (const member of differing) {
      // Who is this one itself is told of by the others: it has no say any more.
      if (member !== replica.raft.id) this.#suspect(`${member} at ${index}`, alarmOf(member));
    }
    if (differing.includes(replica.raft.id))
      this.enter(`its state differs from that of a majority at entry ${index}`);
  }

  /** Another member says that it is in quarantine. */
  heard(member: NodeId, { incarnation, what }: QuarantineItem): void {
    const name = `${member} in ${incarnation}`;
    if (this.#raised.has(name) || this.#suspects.has(name)) return;
    const id = member.toString(16);
    this.#config.env.log("error", "quarantine", `member ${id} is in quarantine`, { what });
    this.#suspect(name, alarmOf(member));
  }

  /** What is here is damaged, or wrong. Again: nothing happens. */
  enter(what: QuarantineReason): void {
    if (this.#state !== "well" || this.#isStopped) return;
    const { env, dataDir, host, replica, database } = this.#config;
    if (replica.stopped !== null) return;
    this.#state = "entering";
    this.#what = what;
    this.#healIndex = 0;
    this.#entered++;
    this.#say("error", "this member goes into quarantine");
    const error = new HarmonyError("QUARANTINED", what);
    replica.quarantine(error);
    database.quarantine(error);
    runIo(writeQuarantine(env.files, dataDir, what), (error) => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      host.beginIncarnation(replica.group, (incarnation) => {
        this.#incarnation = incarnation;
        this.#state = "in";
        this.#round();
      });
    });
  }

  #suspect(name: string, alarm: Alarm): void {
    if (!this.#raised.has(name)) this.#suspects.set(name, alarm);
  }

  #arm(): void {
    this.#timer = this.#config.env.timers.after(ROUND_MS, () => {
      if (this.#isStopped || this.#config.replica.stopped !== null) return;
      this.#round();
      this.#arm();
    });
  }

  #round(): void {
    this.#raise();
    if (this.#state !== "in") return;
    const { replica, others, tell, fetch } = this.#config;
    const { group } = replica;
    const incarnation = this.#incarnation;
    for (const member of others())
      tell(member, { kind: "quarantine", group, incarnation, what: this.#what });
    if (this.#healIndex > 0 && replica.machine.appliedIndex >= this.#healIndex) {
      if (!replica.isRestoring) this.#leave();
      return;
    }
    const { leader } = replica.raft;
    if (leader === 0) return;
    if (this.#healIndex > 0) fetch(leader, this.#healIndex);
    else replica.askReadIndex((index) => this.#answered(index, incarnation));
  }

  /**
   * `incarnation`: the life in which it was asked for. Only a snapshot that passes what is committed here is taken over;
   * the alarm alone takes the others that far. The first that will do is kept: a later one would need another snapshot.
   */
  #answered(index: LogIndex, incarnation: number): void {
    if (this.#state !== "in" || incarnation !== this.#incarnation || this.#healIndex > 0) return;
    if (index > this.#config.replica.raft.commit) this.#healIndex = index;
  }

  #leave(): void {
    const { env, dataDir, replica } = this.#config;
    this.#state = "leaving";
    runIo(endQuarantine(env.files, dataDir), (error) => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      if (this.#isStopped || replica.stopped !== null) return;
      this.#healed++;
      this.#say("info", "this member is healed, and takes part again");
      this.#state = "well";
      replica.readmit();
    });
  }

  #raise(): void {
    const { replica, database } = this.#config;
    if (replica.quarantined !== null) return;
    if (this.#raised.size > RAISED_MAX) this.#raised.clear();
    const leads = replica.raft.leadsForSure;
    for (const [name, alarm] of this.#suspects) {
      if (!leads && !database.hasAlarm(alarm)) continue;
      this.#suspects.delete(name);
      this.#raised.add(name);
      if (!leads) continue;
      replica.propose(encodeAlarm(alarm, true), true, (error) => {
        if (error === null) return;
        // Whoever leads then does it, if this one does: twice is once.
        this.#raised.delete(name);
        this.#suspects.set(name, alarm);
      });
    }
  }

  #say(level: "info" | "warn" | "error", message: string): void {
    this.#config.env.log(level, "quarantine", message, {
      what: this.#what,
      incarnation: this.#incarnation,
    });
  }

  #fail(thrown: unknown): void {
    const { onFatal } = this.#config;
    if (thrown instanceof FileError)
      onFatal(
        new HarmonyError(thrown.isFull ? "DISK_FULL" : "IO", thrown.message, { cause: thrown }),
      );
    else onFatal(new HarmonyError("STOPPED", String(thrown), { cause: thrown }));
  }
}

function alarmOf(member: NodeId): Alarm {
  return { kind: AlarmKind.corrupt, memberId: BigInt(member) };
}
