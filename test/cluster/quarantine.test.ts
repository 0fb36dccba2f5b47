/** A real member whose files are edited while it is down: it comes back in quarantine, and is healed by the others. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestCluster, until } from "./cluster.ts";
import type { Member } from "./member.ts";

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
}, 60_000);
afterEach(() => cluster.close());

/** As somebody with a hex editor: every byte that says something, from an offset on. */
function edit(path: string, from: number): void {
  const bytes = readFileSync(path);
  for (let at = from; at < bytes.length; at += 16)
    if (bytes[at] !== 0) bytes[at] = (bytes[at] as number) ^ 0x55;
  writeFileSync(path, bytes);
}

const log = (member: Member): string => {
  const folder = join(member.dataDir, "wal");
  return join(folder, readdirSync(folder).toSorted()[0] as string);
};
const data = (member: Member): string => join(member.dataDir, "db", "0.hdb");

describe("a member as a process, damaged while it is down", { timeout: 120_000 }, () => {
  it.each([
    ["log", log, 600],
    ["data file", data, 16],
  ] as const)("in its %s is healed by the others, which serve meanwhile", async (_, path, from) => {
    const leader = await cluster.leader();
    for (let i = 0; i < 30; i++) await leader.put(`k${i}`, `v${i}`);
    const [sick] = cluster.others(leader) as [Member];
    // The last writes are proven durable by what follows them.
    await sick.stop("SIGTERM");
    edit(path(sick), from);
    await sick.start();
    await leader.put("meanwhile", "served");
    await until("a healed member", async () =>
      (await sick.probe("/readyz")) === 200 ? true : null,
    );
    const here = await until("its answer", () => sick.all("k", true));
    for (let i = 0; i < 30; i++) expect(here.get(`k${i}`)).toBe(`v${i}`);
    expect((await sick.all("m")).get("meanwhile")).toBe("served");
    expect(sick.log).toContain("this member is healed, and takes part again");
    const { header } = await sick.status();
    const alarm = `memberID:${header?.member_id} alarm:CORRUPT`;
    for (const member of cluster.members)
      await until(`the alarm at ${member.name}`, async () =>
        (await member.status()).errors.includes(alarm) ? true : null,
      );
    expect(readdirSync(sick.dataDir)).not.toContain("QUARANTINE");
  });
});
