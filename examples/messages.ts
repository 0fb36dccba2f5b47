/** Messages between the parts of a program: nothing is kept, who listens gets them. */
import { open } from "../src/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using db = await open(":memory:");
  const text = new TextDecoder();

  await using news = db.subscribe(["news.*", "alert.[a-z]*"]);
  const receivers = await db.publish("news.sport", "one all");
  await db.publish("weather", "rain");
  await db.publish("alert.fire", "leave");
  say(`receivers: ${receivers}`);

  let count = 0;
  for await (const { channel, data } of news) {
    say(`${channel}: ${text.decode(data)}`);
    if (++count === 2) break;
  }
}

if (process.argv[1] === import.meta.filename) await main(console.log);
