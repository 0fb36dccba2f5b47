/**
 * A queue of tasks for several workers. A task is taken by a claim that ends with its worker's lease, so the tasks of a
 * worker that dies are taken by the others; result, task and claim change in one revision, so each is done once.
 */
import { type Codec, codecs, type HarmonyDB, open } from "../src/index.ts";

interface Task {
  readonly a: number;
  readonly b: number;
}

class Worker {
  readonly #db: HarmonyDB;
  readonly #name: string;

  constructor(db: HarmonyDB, name: string) {
    this.#db = db;
    this.#name = name;
  }

  /** Works until nothing is left; gives up after the first claim if it is to die. Answers how many tasks it did. */
  async run(diesAtOnce: boolean): Promise<number> {
    const tasks = this.#db.scope("task/", { codec: codecs.json as Codec<Task> });
    const claims = this.#db.scope("claim/");
    await using lease = await this.#db.lease(10_000, { keepAlive: true });
    let done = 0;
    for await (const { key: id, value: task } of tasks.scan()) {
      const claim = await claims.put(id, this.#name, { ifAbsent: true, lease: lease.id });
      if (!claim.ok) continue;
      if (diesAtOnce) break;
      const { succeeded } = await this.#db.txn({
        // The claim is still the same one, and so is the task: nobody did it meanwhile.
        if: [
          { key: `claim/${id}`, target: "rev", is: "=", operand: claim.rev },
          { key: `task/${id}`, target: "version", is: ">", operand: 0 },
        ],
        then: [
          { type: "put", key: `result/${id}`, value: String(task.a * task.b) },
          { type: "del", key: `task/${id}` },
          { type: "del", key: `claim/${id}` },
        ],
        else: [{ type: "del", key: `claim/${id}` }],
      });
      if (succeeded) done++;
    }
    return done;
  }
}

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  const tasks = db.scope("task/", { codec: codecs.json as Codec<Task> });
  await tasks.putMany(
    Array.from(
      { length: 20 },
      (_, i) => [`t${String(i).padStart(2, "0")}`, { a: i, b: i }] as const,
    ),
  );

  await new Worker(db, "dies").run(true);
  const done = await Promise.all(
    ["ann", "bob", "eve"].map((name) => new Worker(db, name).run(false)),
  );
  say(`done: ${done.reduce((sum, one) => sum + one, 0)}`);
  say(`left: ${await tasks.scan().count()}`);
  say(`claims: ${await db.scan({ prefix: "claim/" }).count()}`);
  say(`t07 is ${new TextDecoder().decode(await db.get("result/t07"))}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
