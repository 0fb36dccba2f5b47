/** After a timeout nobody knows whether a write happened. Under a request id it can be sent again, and happens once. */
import { HarmonyError, open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  await using session = await db.session();

  const requestId = session.requestId();
  const pay = (timeoutMs?: number): Promise<bigint> =>
    db.incr("paid", 100, timeoutMs === undefined ? { requestId } : { requestId, timeoutMs });
  try {
    // Far too short: whether it happens is left open.
    await pay(0);
  } catch (error) {
    if (!(error instanceof HarmonyError)) throw error;
    say(error.code);
  }
  await pay();
  say(`paid: ${await pay()}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
