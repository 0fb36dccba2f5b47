/** Opening: what it takes, what it refuses, and what cannot harm it. */
import { describe, expect, it } from "vitest";
import { HarmonyError, open } from "../../src/index.ts";
import { codeOf } from "./store.suite.ts";
import { temporaryDirectory } from "./temporary.ts";

describe("open", () => {
  it("refuses options that it does not know and values that make no sense, and makes no directory", async () => {
    const wrong: unknown[] = [
      { fsyncInterval: 5 },
      { dataDir: "elsewhere" },
      { clientUrls: [] },
      { heartbeatIntervalMs: 5 },
      { pinTimeoutMs: 0 },
      { pinTimeoutMs: "1" },
      { pinBytesMax: 0 },
      { log: "stderr" },
      { fsyncIntervalMs: 2000 },
      { walSegmentBytes: 5 },
      { persistence: "tape" },
      { persistence: "disk" },
      null,
      "x",
    ];
    for (const options of wrong)
      expect([options, await codeOf(() => open(":memory:", options as never))]).toEqual([
        options,
        "INVALID_ARGUMENT",
      ]);
    for (const directory of ["", "a\0b", 5, null, undefined])
      expect(await codeOf(() => open(directory as never))).toBe("INVALID_ARGUMENT");
  });

  it("opens one directory once in a process, memory as often as wanted, and after a close again", async () => {
    const directory = temporaryDirectory();
    const first = await open(directory, { walSegmentBytes: 64 * 1024 });
    await expect(open(directory)).rejects.toBeInstanceOf(HarmonyError);
    const elsewhere = temporaryDirectory();
    const both = await Promise.allSettled([open(elsewhere), open(elsewhere)]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    for (const one of both) if (one.status === "fulfilled") await one.value.close();
    expect(await codeOf(() => open(directory))).toBe("DIRECTORY_LOCKED");
    await first.put("a", "1");
    const [one, other] = [await open(":memory:"), await open(":memory:")];
    await one.put("a", "2");
    expect(await other.get("a")).toBeUndefined();
    await Promise.all([first.close(), one.close(), other.close()]);
    const again = await open(directory);
    expect(new TextDecoder().decode(await again.get("a"))).toBe("1");
    await again.close();
  });

  it("takes no harm from a log that throws", async () => {
    let lines = 0;
    const db = await open(":memory:", {
      log: () => {
        lines++;
        throw new Error("the caller's own");
      },
    });
    await db.put("a", "1");
    await db.close();
    expect(lines).toBeGreaterThan(0);
  });
});
