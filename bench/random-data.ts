/** Keys and values as bytes that look like chance and are the same in every run. */

const KEY_BYTES = 16;
export const VALUE_BYTES = 128;

/** xorshift32. */
function words(seed: number): () => number {
  let state = (seed * 0x9e37_79b9) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function blocks(count: number, sizeBytes: number, seed: number): Uint8Array[] {
  const next = words(seed);
  return Array.from({ length: count }, () => {
    const block = new Uint8Array(sizeBytes);
    const view = new DataView(block.buffer);
    for (let at = 0; at < sizeBytes; at += 4) view.setUint32(at, next());
    return block;
  });
}

export function randomKeys(count: number, seed: number): Uint8Array[] {
  return blocks(count, KEY_BYTES, seed);
}

/** Without repetitions in them, so that a store that compresses gains nothing. */
export function randomValues(count: number, seed: number): Uint8Array[] {
  return blocks(count, VALUE_BYTES, seed);
}

/** The keys of a load in order: `first`, `first + 1` and so on. */
export function orderedKeys(count: number, first: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const key = new Uint8Array(KEY_BYTES);
    new DataView(key.buffer).setUint32(KEY_BYTES - 4, first + i);
    return key;
  });
}
