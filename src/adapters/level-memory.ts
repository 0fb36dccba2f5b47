/**
 * What a level in memory holds while it is closed. A database in memory ends when it closes; a level that is opened
 * again has to have what it had, as long as its object exists.
 */
import type { HarmonyDB, Range } from "../index.ts";
import { chunksOf } from "./index.ts";

export type Kept = readonly (readonly [Uint8Array, Uint8Array])[];

export async function keep(db: HarmonyDB, range: Range): Promise<Kept> {
  const entries = await db.scan(range).all();
  return entries.map(({ rawKey, value }) => [rawKey, value] as const);
}

export async function giveBack(db: HarmonyDB, kept: Kept): Promise<void> {
  for (const chunk of chunksOf(kept, ([key, value]) => key.length + value.length))
    await db.putMany(chunk);
}
