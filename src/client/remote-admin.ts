/** What those who run a database ask of it from elsewhere. */
import { HarmonyError } from "../base/index.ts";
import { apiMessages as wire } from "../codec/index.ts";
import type { CallOptions } from "../db/index.ts";
import { type Backup, type DatabaseReport, LinkedAdmin } from "../db/embedded/index.ts";
import { failureError } from "./asking.ts";
import type { Under } from "./channel.ts";
import { API } from "./messages.ts";
import type { RemoteLink } from "./remote-link.ts";

/** Pieces that may wait here before the member is held. */
const PIECES_MAX = 16;

export class RemoteAdmin extends LinkedAdmin {
  readonly #link: RemoteLink;

  constructor(link: RemoteLink) {
    super(link);
    this.#link = link;
  }

  /** Of the member that is asked now. */
  protected async report(call: CallOptions): Promise<DatabaseReport> {
    const report = await this.#link.report(call);
    const { durability: mode } = report;
    return {
      name: report.name,
      clusterId: report.cluster_id,
      memberId: report.member_id,
      isLeader: report.leader === report.member_id,
      term: Number(report.term),
      appliedIndex: Number(report.applied_index),
      rev: Number(report.revision),
      compactRev: Number(report.compact_revision),
      keys: Number(report.keys),
      leases: Number(report.leases),
      sizeBytes: Number(report.size_bytes),
      sizeInUseBytes: Number(report.size_in_use_bytes),
      quotaBytes: Number(report.quota_bytes),
      durability: {
        mode: mode === "interval" || mode === "memory" ? mode : "sync",
        fsyncIntervalMs: Number(report.fsync_interval_ms),
      },
      alarms: report.alarms.filter((alarm) => alarm === "NOSPACE" || alarm === "CORRUPT"),
    };
  }

  metrics(): string {
    if (this.#link.ended !== null) throw this.#link.ended;
    throw new HarmonyError("UNSUPPORTED", "a member tells its metrics over HTTP");
  }

  protected makeCheckpoint(call: CallOptions): Promise<void> {
    return this.#link.chore(wire.ChoreRequest_Chore.CHECKPOINT, call);
  }

  protected async openBackup({ signal, timeoutMs }: CallOptions): Promise<Backup> {
    const member = await this.#link.members.choose();
    const backup = new RemoteBackup(this.#link);
    backup.begin(
      member.channel.stream(`${API}Backup`, wire.BackupRequest.encode({}).finish(), backup),
    );
    // It may take a while to be made; a caller who does not wait for it lets go of it.
    const waited = this.#link.pause(timeoutMs ?? Number.POSITIVE_INFINITY, signal, (wake) => {
      void backup.head.then(wake, wake);
    });
    try {
      await waited;
      if (!backup.isBegun) throw new HarmonyError("TIMEOUT");
      await backup.head;
    } catch (error) {
      await backup[Symbol.asyncDispose]();
      throw error;
    }
    return backup;
  }
}

class RemoteBackup implements Backup {
  readonly head: Promise<void>;
  rev = 0;
  sizeBytes = 0;
  sha256: Uint8Array = new Uint8Array(0);
  isBegun = false;
  readonly #link: RemoteLink;
  readonly #forget: () => void;
  #under: Under | null = null;
  #pieces: Uint8Array[] = [];
  #isHeld = false;
  /** Undefined until it is over; null: in order. */
  #end: HarmonyError | null | undefined;
  #settleHead: (error: HarmonyError | null) => void = () => {};
  #wake: () => void = () => {};

  constructor(link: RemoteLink) {
    this.#link = link;
    this.head = new Promise((resolve, reject) => {
      this.#settleHead = (error) => {
        this.isBegun = true;
        if (error === null) resolve();
        else reject(error);
      };
    });
    // Who has given up does not ask how it began.
    this.head.catch(() => {});
    link.members.begin();
    this.#forget = link.onEnd((error) => this.#over(error));
  }

  begin(under: Under): void {
    this.#under = under;
  }

  message(bytes: Uint8Array): void {
    const { revision, size_bytes, sha256, blob, failure } = wire.BackupResponse.decode(bytes);
    if (failure !== undefined) this.#over(failureError(failure));
    else if (!this.isBegun) {
      this.rev = Number(revision);
      this.sizeBytes = Number(size_bytes);
      this.sha256 = Uint8Array.from(sha256);
      this.#settleHead(null);
    } else {
      this.#pieces.push(Uint8Array.from(blob));
      if (this.#pieces.length >= PIECES_MAX && !this.#isHeld) {
        this.#isHeld = true;
        this.#under?.pause();
      }
      this.#wake();
    }
  }

  over(how: { readonly kind: string; readonly why?: string; readonly text?: string }): void {
    this.#over(
      how.kind === "ended"
        ? null
        : new HarmonyError("UNREACHABLE", `the backup broke off: ${how.why ?? how.text}`),
    );
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) {
          if (this.#isHeld && this.#pieces.length === 0) {
            this.#isHeld = false;
            this.#under?.resume();
          }
          yield piece;
        } else if (this.#end === undefined)
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        else if (this.#end === null) return;
        else throw this.#end;
      }
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#under?.cancel();
    this.#over(null);
    return Promise.resolve();
  }

  #over(end: HarmonyError | null): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#link.members.finish();
    this.#forget();
    if (!this.isBegun) this.#settleHead(end ?? new HarmonyError("UNREACHABLE", "it never began"));
    this.#wake();
  }
}
