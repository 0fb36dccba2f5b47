/** A lock with its fence, and keys that end with their holder. */
import { open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");

  let running = 0;
  const work = async (): Promise<number> => {
    await using lock = await db.lock("lock/report", { ttlMs: 30_000 });
    running++;
    // What the lock protects should refuse a fence that is smaller than one it has seen; and long work looks at
    // lock.signal now and then, or gives it to what it calls.
    lock.signal.throwIfAborted();
    if (running !== 1) throw new Error("two at a time");
    await db.put("report", `written under fence ${lock.fence}`);
    running--;
    return lock.fence;
  };
  const fences = await Promise.all([work(), work(), work()]);
  say(`fences grow: ${fences.every((fence, i) => i === 0 || fence > (fences[i - 1] as number))}`);

  const lease = await db.lease(10_000, { keepAlive: true });
  await db.put("service/a", "10.0.0.1", { lease: lease.id });
  say(`services: ${await db.scan({ prefix: "service/" }).count()}`);
  await lease.revoke();
  say(`services: ${await db.scan({ prefix: "service/" }).count()}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
