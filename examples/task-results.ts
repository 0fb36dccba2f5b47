/** The results of a task queue: they survive a restart, end by themselves, and somebody waits for a whole group. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Codec, codecs, open } from "../src/index.ts";

interface Result {
  readonly state: "PENDING" | "DONE";
  readonly value?: number;
}

const DAY_MS = 24 * 3_600_000;

export async function main(say: (line: string) => void): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "harmonydb-example-"));
  try {
    const db = await open(directory);
    const codec = codecs.json as Codec<Result>;
    const results = db.scope("result/", { codec, ttlMs: DAY_MS });

    // A group of tasks, all of them known or none, and how many of them are left.
    const tasks = ["one", "two", "three"];
    await results.putMany(tasks.map((task) => [task, { state: "PENDING" }]));
    await db.incr("left/group", tasks.length, { ttlMs: DAY_MS });

    const work = async (task: string, value: number): Promise<void> => {
      // A queue may deliver a task twice; the claim of a worker that died ends after a minute.
      const claim = await db.put(`claim/${task}`, "", { ifAbsent: true, ttlMs: 60_000 });
      if (!claim.ok) {
        say(`${task}: another worker has it`);
        return;
      }
      await results.put(task, { state: "DONE", value });
      // Exactly one worker sees the counter reach 0, and begins what follows on the group.
      if ((await db.decr("left/group")) === 0n) await db.put("finished/group", "");
    };

    const finished = db.watch("finished/group");
    await Promise.all([work("one", 1), work("two", 4), work("three", 9)]);
    await work("two", 4);
    for await (const { events } of finished) if (events.length > 0) break;
    let sum = 0;
    for await (const { value } of results.scan()) sum += value.value ?? 0;
    say(`the group is finished: ${sum}`);
    await db.close();

    const again = await open(directory);
    const kept = await again.scope("result/", { codec }).entry("two");
    say(`after opening again: ${kept?.value.state} ${kept?.value.value}`);
    say(`and it has an end: ${kept?.expiresAt !== undefined}`);
    const { deleted } = await again.delMany({ prefix: "result/" });
    say(`forgotten: ${deleted}`);
    await again.close();
  } finally {
    await rm(directory, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) await main(console.log);
