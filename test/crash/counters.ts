/**
 * What the clients of the kill tests write, and what must be there afterwards. Client c's n-th write is one
 * transaction: its counter becomes n, and the two halves of pair n mod 16 become n. From the counter alone follows
 * what every pair must hold, so a lost write and half a transaction both show.
 */
import type { Txn } from "../../src/index.ts";

const PAIRS = 16;

export interface Write {
  readonly key: string;
  readonly value: string;
}

export function writesOf(client: number, number: number): Write[] {
  const pair = number % PAIRS;
  // Some are larger than a page and some than a sector, so that writes tear at more than one place.
  const filler = " ".padEnd(number % 11 === 0 ? 6000 : number % 3 === 0 ? 700 : 10, ".");
  return [
    { key: `counter/${client}`, value: `${number}` },
    { key: `left/${client}/${pair}`, value: `${number}${filler}` },
    { key: `right/${client}/${pair}`, value: `${number}${filler}` },
  ];
}

export function txnOf(client: number, number: number): Txn {
  return { then: writesOf(client, number).map(({ key, value }) => ({ type: "put", key, value })) };
}

/**
 * What is wrong with `found` (key to number) when `acknowledged[c]` is the last write that client c was told of, or
 * null. One more may have happened.
 */
export function judge(
  found: ReadonlyMap<string, number>,
  acknowledged: readonly number[],
): string | null {
  let keys = 0;
  for (const [client, last] of acknowledged.entries()) {
    const counter = found.get(`counter/${client}`) ?? 0;
    if (counter < last)
      return `lost: client ${client} was told of write ${last}, and ${counter} is there`;
    if (counter > last + 1)
      return `client ${client} never sent write ${counter}: its last acknowledged one is ${last}`;
    if (counter > 0) keys++;
    for (let pair = 0; pair < PAIRS; pair++) {
      const newest = counter - ((counter - pair + PAIRS) % PAIRS);
      const left = found.get(`left/${client}/${pair}`) ?? 0;
      const right = found.get(`right/${client}/${pair}`) ?? 0;
      if (left !== right)
        return `half a transaction: pair ${pair} of client ${client} is ${left} and ${right}`;
      if (left !== Math.max(newest, 0))
        return `pair ${pair} of client ${client} is ${left}, and its counter ${counter}`;
      if (left > 0) keys += 2;
    }
  }
  return found.size === keys ? null : `${found.size} keys are there, not ${keys}`;
}
