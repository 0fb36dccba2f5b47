/** Leases as programs hold them, renewed by a timer if they are to be. */
import { HarmonyError } from "../../base/index.ts";
import type { Timer } from "../../env/index.ts";
import type { Call } from "./api.ts";
import type { Lease } from "./api-database.ts";
import { CALL, callOf, flagOf, names, type Names, NO_OPTIONS, ttlOf } from "./arguments.ts";
import type { Aborter, Link } from "./link.ts";

const OPTIONS: Names = names(CALL, "keepAlive");
const SECOND_MS = 1000;
/** Renewed often enough that two renewals may fail. */
const RENEWALS_PER_TTL = 3;

export async function grantLease(
  link: Link,
  ttlMs: number,
  options: Call & { readonly keepAlive?: boolean | undefined },
): Promise<Lease> {
  const call = callOf(options, OPTIONS);
  const keepAlive = flagOf(options.keepAlive, "keepAlive");
  const wanted = BigInt(Math.ceil(ttlOf(ttlMs, "ttlMs") / SECOND_MS));
  const { id, ttlSeconds } = await link.write(
    { kind: "leaseGrant", ttlSeconds: wanted, id: 0n },
    call,
  );
  return new HeldLease(link, id, Number(ttlSeconds) * SECOND_MS, keepAlive);
}

class HeldLease implements Lease {
  readonly #link: Link;
  readonly id: bigint;
  readonly ttlMs: number;
  readonly #aborter: Aborter;
  readonly #forget: () => void;
  #timer: Timer | null = null;
  #isOver = false;

  constructor(link: Link, id: bigint, ttlMs: number, keepAlive: boolean) {
    this.#link = link;
    this.id = id;
    this.ttlMs = ttlMs;
    this.#aborter = link.host.newAborter();
    this.#forget = link.onEnd((error) => this.#end(error));
    if (keepAlive) this.#renewLater();
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  async keepAlive(options: Call = NO_OPTIONS): Promise<number> {
    const { ttlSeconds } = await this.#link.write(
      { kind: "leaseKeepAlive", id: this.id },
      callOf(options, CALL),
    );
    if (ttlSeconds === 0n) {
      const gone = new HarmonyError("LEASE_NOT_FOUND");
      this.#end(gone);
      throw gone;
    }
    return Number(ttlSeconds) * SECOND_MS;
  }

  async remainingMs(options: Call = NO_OPTIONS): Promise<number> {
    const { ttlSeconds } = await this.#link.leaseStatus(this.id, callOf(options, CALL));
    if (ttlSeconds < 0n) this.#end(new HarmonyError("LEASE_NOT_FOUND"));
    return Math.max(0, Number(ttlSeconds)) * SECOND_MS;
  }

  async revoke(options: Call = NO_OPTIONS): Promise<boolean> {
    const call = callOf(options, CALL);
    // It is not renewed while it is being ended.
    this.#timer?.cancel();
    try {
      await this.#link.write({ kind: "leaseRevoke", id: this.id }, call);
    } catch (error) {
      if (!(error instanceof HarmonyError) || error.code !== "LEASE_NOT_FOUND") throw error;
      this.#end(error);
      return false;
    }
    this.#end(null);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return;
    try {
      await this.revoke();
    } catch (error) {
      // Its TTL ends it where this could not.
      if (!(error instanceof HarmonyError)) throw error;
    }
  }

  #renewLater(): void {
    this.#timer = this.#link.env.timers.after(this.ttlMs / RENEWALS_PER_TTL, () => {
      this.keepAlive().then(
        () => this.#renewAgain(),
        // A failed renewal is made up for by the next; one that finds no lease has ended it.
        () => this.#renewAgain(),
      );
    });
  }

  #renewAgain(): void {
    if (!this.#isOver) this.#renewLater();
  }

  /** `why` null: its holder ended it. */
  #end(why: HarmonyError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#forget();
    if (why !== null) this.#aborter.abort(why);
  }
}
