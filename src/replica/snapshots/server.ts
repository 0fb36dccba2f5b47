/**
 * Snapshots for members that are too far behind: who may pull, how many at a time, and what Raft hears of it.
 *
 * Raft announces a snapshot to a member and sends it nothing else until it is told what became of it. The member pulls it,
 * or does not; so the pull that follows an announcement is waited for, and its end is what became of it:
 *
 *     announced ──▶ a pull begins in time ──▶ it ends: taken or not ──▶ told to Raft
 *         └─────── none does ─────────────────────────────────────────────▲
 */
import type { Hello } from "../../codec/index.ts";
import { Allowance, type Env, type Link, type Timer } from "../../env/index.ts";
import type { GroupId, NodeId } from "../../raft/index.ts";
import { Serving, type ServingEnd, type SnapshotSource } from "./serving.ts";

/** How long a member may take to begin. One that is busy, or waits after a failure, is announced another later. */
const BEGIN_MS = 5_000;
/** Pulls at a time: each costs reads of the disk, and the memory of what is under way. */
const PULLS_MAX = 4;

export interface SnapshotServerConfig {
  readonly env: Env;
  readonly source: SnapshotSource;
  /** For all pulls together; 0 for no limit. */
  readonly bytesPerSecond: number;
  /** What became of the snapshot that was announced to the member. */
  readonly report: (group: GroupId, member: NodeId, hasArrived: boolean) => void;
}

/** Since the start of the node. */
export interface SnapshotServerStats {
  readonly sent: number;
  readonly failed: number;
  readonly sentBytes: number;
  /** From being asked for one to hearing that it was taken, all of them together, and of the last one. */
  readonly durationMs: number;
  readonly lastDurationMs: number;
  /** Now. */
  readonly pulls: number;
}

export class SnapshotServer {
  readonly #config: SnapshotServerConfig;
  readonly #allowance: Allowance;
  readonly #serving = new Set<Serving>();
  readonly #announced: Map<string, Timer | null> = new Map();
  #stats = { sent: 0, failed: 0, sentBytes: 0, durationMs: 0, lastDurationMs: 0 };

  constructor(config: SnapshotServerConfig) {
    this.#config = config;
    this.#allowance = new Allowance(config.env.clock, config.bytesPerSecond);
  }

  get stats(): SnapshotServerStats {
    return { ...this.#stats, pulls: this.#pulls };
  }

  /** Somebody pulls, or has been told of a snapshot and may be about to. */
  get isBusy(): boolean {
    return this.#announced.size > 0 || this.#pulls > 0;
  }

  /** Raft has announced a snapshot to the member. */
  announced(group: GroupId, member: NodeId): void {
    const name = nameOf(group, member);
    if (this.#announced.has(name)) return;
    // A pull that goes on by itself, after a change of leader say, is as good as the one that is asked for now.
    const isPulled = [...this.#serving].some((of) => of.member === member && of.group === group);
    const timer = isPulled
      ? null
      : this.#config.env.timers.after(BEGIN_MS, () => this.#report(group, member, false));
    this.#announced.set(name, timer);
  }

  /** A member that has been taken for what it says it is calls for a snapshot. */
  serve(link: Link, { from, name }: Hello): Serving {
    const { env, source } = this.#config;
    const serving = new Serving({
      env,
      link,
      member: from,
      source,
      allowance: this.#allowance,
      began: (began, group) => this.#began(began, group, name),
      sent: (bytes) => {
        this.#stats.sentBytes += bytes;
      },
      ended: (ended, end) => this.#ended(ended, end, name),
    });
    this.#serving.add(serving);
    return serving;
  }

  end(): void {
    for (const timer of this.#announced.values()) timer?.cancel();
    this.#announced.clear();
    for (const serving of this.#serving) serving.end("this node stops");
  }

  get #pulls(): number {
    let pulls = 0;
    for (const { group } of this.#serving) if (group !== null) pulls++;
    return pulls;
  }

  /** One pull for each member and group: who asks again has given the one before up. */
  #began(began: Serving, group: GroupId, name: string): boolean {
    const { env } = this.#config;
    const key = nameOf(group, began.member);
    if (this.#announced.has(key)) {
      this.#announced.get(key)?.cancel();
      this.#announced.set(key, null);
    }
    for (const other of this.#serving) {
      if (other === began || other.member !== began.member || other.group !== group) continue;
      other.end("it asked again");
    }
    if (this.#pulls > PULLS_MAX) return false;
    env.log("info", "snapshot", `${name} pulls a snapshot`, { member: name, group });
    return true;
  }

  #ended(ended: Serving, { group, isTaken, why }: ServingEnd, name: string): void {
    this.#serving.delete(ended);
    if (group === null) return;
    if (isTaken) this.#wasTaken(ended);
    else this.#stats.failed++;
    const isNewer = [...this.#serving].some(
      (of) => of.member === ended.member && of.group === group,
    );
    this.#config.env.log(
      isTaken ? "info" : "warn",
      "snapshot",
      isTaken ? `${name} has its snapshot` : `${name} has not got its snapshot`,
      { member: name, group, why },
    );
    if (!isNewer) this.#report(group, ended.member, isTaken);
  }

  #wasTaken({ askedMs }: Serving): void {
    const tookMs = this.#config.env.clock.monotonicMs() - askedMs;
    this.#stats.sent++;
    this.#stats.durationMs += tookMs;
    this.#stats.lastDurationMs = tookMs;
  }

  #report(group: GroupId, member: NodeId, hasArrived: boolean): void {
    const name = nameOf(group, member);
    if (!this.#announced.has(name)) return;
    this.#announced.get(name)?.cancel();
    this.#announced.delete(name);
    this.#config.report(group, member, hasArrived);
  }
}

function nameOf(group: GroupId, member: NodeId): string {
  return `${group} ${member}`;
}
