/** How much may be asked at a time, and for how long, over a connection: as in process. */
import { describe, expect, it } from "vitest";
import type { HarmonyError } from "../../src/index.ts";
import { connected } from "./connected.ts";

const MIB: number = 1024 * 1024;

describe("over a connection", { timeout: 60_000 }, () => {
  it("any number of large writes may be under way", async () => {
    const db = await connected();
    const puts = Array.from({ length: 40 }, (_, i) => db.put(`k${i}`, new Uint8Array(MIB)));
    for (const done of await Promise.all(puts)) expect(done.ok).toBe(true);
    expect(await db.scan().count()).toBe(40);
  });

  it("a write that is much too large is refused as one that is a little too large", async () => {
    const db = await connected();
    for (const sizeBytes of [2 * MIB, 4 * MIB, 24 * MIB]) {
      const [large, small] = await Promise.allSettled([
        db.put("large", new Uint8Array(sizeBytes), { timeoutMs: 30_000 }),
        db.put("small", "1", { timeoutMs: 30_000 }),
      ]);
      const { code, maybeApplied } = (large as PromiseRejectedResult).reason as HarmonyError;
      expect([code, maybeApplied, small.status]).toEqual(["TOO_LARGE", false, "fulfilled"]);
    }
    expect(await db.has("large")).toBe(false);
  });

  it("a call may have all the time there is", async () => {
    const db = await connected();
    for (const timeoutMs of [2 ** 31, Number.MAX_SAFE_INTEGER, 1e300, Number.POSITIVE_INFINITY]) {
      expect((await db.put("a", "1", { timeoutMs })).ok).toBe(true);
      expect((await db.get("a", { timeoutMs }))?.length).toBe(1);
      const lease = await db.lease(60_000, { timeoutMs });
      expect(await lease.keepAlive({ timeoutMs })).toBe(60_000);
      expect(await db.scan({}, { timeoutMs }).count()).toBe(1);
    }
  });
});
