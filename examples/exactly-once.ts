/** Who gave up waiting may not know whether a write happened. Under a request id it can be sent again and happens once. */
import { HarmonyError, open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  await using session = await db.session();

  const requestId = session.requestId();
  const pay = (signal?: AbortSignal): Promise<bigint> =>
    db.incr("paid", 100, { requestId, signal });

  const controller = new AbortController();
  const first = pay(controller.signal);
  controller.abort();
  try {
    await first;
  } catch (error) {
    if (!(error instanceof HarmonyError)) throw error;
    // error.maybeApplied tells what is known of it; with a request id it does not matter.
    say(error.code);
  }
  await pay();
  say(`paid: ${await pay()}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
