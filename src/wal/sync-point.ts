/**
 * How far the log is durable, and in the interval mode: what brings it there.
 *
 * With an interval of 0 a write goes through to the disk, so what is written is durable. With another one a write
 * ends in the page cache: `kill -9` cannot take it back, a power loss can. The first write that no sync has covered
 * starts the clock; when the interval is over one sync covers everything written until then.
 *
 * Invariants:
 * - `durableLsn <= writtenLsn`; both never go back; with an interval of 0 they are equal.
 * - A sync proves what was written when it began, not what came while it ran.
 * - At most one sync is under way: two of them share the one report of an error that the kernel gives, and the other
 *   would return as if nothing had happened (Rebello et al., 2020).
 */
import { assert } from "../base/index.ts";
import type { Env, File, FileError, Timer } from "../env/index.ts";
import type { Lsn } from "./types.ts";

interface SyncListener {
  /** Of the segment that is being written. */
  file(): File;
  /** `durableLsn` has moved. */
  synced(): void;
  syncFailed(error: FileError): void;
  /** `isSyncing` has become false: always, and last. */
  syncEnded(): void;
}

export class SyncPoint {
  readonly #env: Env;
  readonly #intervalMs: number;
  readonly #listener: SyncListener;
  #writtenLsn: Lsn;
  #durableLsn: Lsn;
  #isSyncing = false;
  /** What the sync that is under way will prove. */
  #throughLsn: Lsn = 0;
  /** When the oldest write that no sync covers, not even the one under way, returned. */
  #oldestMs: number | null = null;
  #timer: Timer | null = null;
  #isHeld = false;

  constructor(env: Env, intervalMs: number, lsn: Lsn, listener: SyncListener) {
    this.#env = env;
    this.#intervalMs = intervalMs;
    this.#listener = listener;
    this.#writtenLsn = this.#durableLsn = lsn;
  }

  /** Every write goes through to the disk. */
  get isImmediate(): boolean {
    return this.#intervalMs === 0;
  }

  get writtenLsn(): Lsn {
    return this.#writtenLsn;
  }

  get durableLsn(): Lsn {
    return this.#durableLsn;
  }

  /** Everything that is written is durable. */
  get isSynced(): boolean {
    return this.#durableLsn === this.#writtenLsn;
  }

  get isSyncing(): boolean {
    return this.#isSyncing;
  }

  /** The sync under way covers everything that is written: if nothing more is, `isSynced` follows. */
  get isCovered(): boolean {
    return this.#isSyncing && this.#throughLsn === this.#writtenLsn;
  }

  /** A write of `bytes` at the log's end has returned. */
  wrote(bytes: number): void {
    this.#writtenLsn += bytes;
    if (this.isImmediate) this.#durableLsn = this.#writtenLsn;
    else this.#oldestMs ??= this.#env.clock.monotonicMs();
  }

  /** Starts the clock for what is written and not covered, unless it runs. */
  arm(): void {
    if (this.#oldestMs === null || this.#timer !== null || this.#isSyncing || this.#isHeld) return;
    const waitedMs = this.#env.clock.monotonicMs() - this.#oldestMs;
    this.#timer = this.#env.timers.after(Math.max(0, this.#intervalMs - waitedMs), () => {
      this.#timer = null;
      this.sync();
    });
  }

  /** Begins a sync if there is something to sync and none is under way. */
  sync(): void {
    if (this.#isSyncing || this.#isHeld || this.isSynced) return;
    this.#cancelTimer();
    this.#isSyncing = true;
    this.#throughLsn = this.#writtenLsn;
    this.#oldestMs = null;
    this.#listener.file().sync((error) => {
      this.#isSyncing = false;
      if (error !== null) this.#listener.syncFailed(error);
      // Whoever holds the log has ended it, or syncs by himself what is written.
      else if (!this.#isHeld) {
        this.#durableLsn = this.#throughLsn;
        this.#listener.synced();
        this.arm();
      }
      this.#listener.syncEnded();
    });
  }

  /** No sync begins from here on: the log rolls, closes, or has failed. */
  hold(): void {
    this.#isHeld = true;
    this.#cancelTimer();
  }

  /** The log goes on in another file at `lsn`, and everything below is durable. */
  restart(lsn: Lsn): void {
    assert(this.#isHeld && !this.#isSyncing, "the log rolls while no sync is under way");
    assert(lsn >= this.#writtenLsn, "the log's end never goes back");
    this.#isHeld = false;
    this.#oldestMs = null;
    this.#writtenLsn = this.#durableLsn = lsn;
  }

  invariants(): void {
    assert(this.#durableLsn <= this.#writtenLsn, "only what is written is durable");
    assert(!this.isImmediate || this.isSynced, "without an interval a write is durable");
    assert(!this.#isSyncing || this.#throughLsn <= this.#writtenLsn, "a sync covers what is there");
    assert(
      this.isSynced || this.#isHeld || this.#isSyncing || this.#oldestMs !== null,
      "what is not durable waits for a sync",
    );
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
