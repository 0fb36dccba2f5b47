/** `harmonydb lock` while members are killed: a lock outlives the member that gave it, and so does who waits for one. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { connect } from "../../src/index.ts";
import { Run } from "../process/harmonydb.ts";
import { TestCluster, until } from "./cluster.ts";
import type { Member } from "./member.ts";

const PROCESS_MS = 80_000;

describe("harmonydb lock", () => {
  it("goes on with the next of its endpoints when the one that it asked is killed", async () => {
    const cluster = await TestCluster.start();
    const urls = cluster.members.map(({ clientUrl }) => clientUrl);
    const [first, second] = cluster.members as [Member, Member];
    const done = join(cluster.root, "done");
    const lock = (...command: string[]): Run => {
      const flags = ["--ttl", "12", "--endpoints", urls.join(",")];
      return new Run(["lock", "job", ...flags, "--", ...command], {}, PROCESS_MS);
    };
    const runs: Run[] = [];
    const db = await connect(urls);
    try {
      await cluster.leader();
      const held = lock(
        "sh",
        "-c",
        `echo begun; until [ -e ${done} ]; do sleep 0.1; done; echo ended`,
      );
      runs.push(held);
      await until("the lock", () => Promise.resolve(held.out.includes("begun") || null));
      await first.stop("SIGKILL");
      const extended = async (): Promise<void> => {
        const endOf = async (): Promise<number> => (await db.entry("job"))?.expiresAt ?? 0;
        const before = await endOf();
        // It ends by itself when it is not extended, and the command with it.
        await until("it is held longer", async () => {
          const now = await endOf();
          return now === 0 || now > before ? true : null;
        });
        expect(held.child.exitCode).toBeNull();
        expect(await endOf()).toBeGreaterThan(before);
      };
      await extended();
      // It asks the second one now, as who waits does from the beginning.
      const waiting = lock("echo", "mine");
      runs.push(waiting);
      await until("who waits", () => Promise.resolve(waiting.err.includes("waiting") || null));
      await first.start();
      await second.stop("SIGKILL");
      await extended();
      expect(waiting.child.exitCode).toBeNull();
      writeFileSync(done, "");
      expect(await held.ended).toMatchObject({ exit: 0, out: "begun\nended\n", err: "" });
      expect(await waiting.ended).toMatchObject({ exit: 0, out: "mine\n" });
      // Given back by its holder, through another member than gave it, and not left to its time.
      expect(await db.has("job")).toBe(false);
    } finally {
      for (const run of runs) run.child.kill("SIGKILL");
      await db.close();
      await cluster.close();
    }
  }, 100_000);
});
