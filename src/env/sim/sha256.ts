/**
 * SHA-256 (FIPS 180-4) in plain arithmetic, so that the simulated world needs no host. The real one comes from
 * `platform`; a test compares the two.
 */
import { assert } from "../../base/index.ts";
import type { Digest } from "../env.ts";

const BLOCK_BYTES = 64;

/** The first 32 bits of the fractions of the roots of the first primes: cube roots here, square roots in INITIAL. */
const ROUND: Int32Array = primeFractions(64, 3);
const INITIAL: Int32Array = primeFractions(8, 2);

/** Exact: an integer root by bisection in BigInt, at load time only. No rounding of a host's Math enters. */
function primeFractions(count: number, degree: 2 | 3): Int32Array {
  const out = new Int32Array(count);
  for (let found = 0, n = 2; found < count; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (!prime) continue;
    // floor(root(n) * 2^32): the greatest r with r^degree <= n * 2^(32 * degree).
    const target = BigInt(n) << BigInt(32 * degree);
    let low = 0n;
    let high = 1n << 38n;
    while (high - low > 1n) {
      const middle = (low + high) >> 1n;
      if (middle ** BigInt(degree) <= target) low = middle;
      else high = middle;
    }
    out[found++] = Number(low & 0xffff_ffffn);
  }
  return out;
}

export class SimSha256 implements Digest {
  readonly #state: Int32Array = INITIAL.slice();
  readonly #block: Uint8Array = new Uint8Array(BLOCK_BYTES);
  readonly #schedule: Int32Array = new Int32Array(64);
  #inBlock = 0;
  #lengthBytes = 0;
  #finished = false;

  update(bytes: Uint8Array): this {
    assert(!this.#finished, "a finished digest takes no more bytes");
    this.#lengthBytes += bytes.length;
    let taken = 0;
    while (taken < bytes.length) {
      const count = Math.min(BLOCK_BYTES - this.#inBlock, bytes.length - taken);
      this.#block.set(bytes.subarray(taken, taken + count), this.#inBlock);
      this.#inBlock += count;
      taken += count;
      if (this.#inBlock === BLOCK_BYTES) this.#compress();
    }
    return this;
  }

  finish(): Uint8Array {
    assert(!this.#finished, "a digest is finished once");
    this.#finished = true;
    const bits = this.#lengthBytes * 8;
    this.#block.fill(0, this.#inBlock);
    this.#block[this.#inBlock] = 0x80;
    // The length needs the last eight bytes; when the mark left no room for it, it goes into a block of its own.
    if (this.#inBlock >= BLOCK_BYTES - 8) {
      this.#compress();
      this.#block.fill(0);
    }
    writeBigEndian(this.#block, BLOCK_BYTES - 8, Math.floor(bits / 0x1_0000_0000));
    writeBigEndian(this.#block, BLOCK_BYTES - 4, bits % 0x1_0000_0000);
    this.#compress();
    const out = new Uint8Array(32);
    for (let i = 0; i < 8; i++) writeBigEndian(out, i * 4, this.#state[i] as number);
    return out;
  }

  #compress(): void {
    const w = this.#schedule;
    const block = this.#block;
    for (let i = 0; i < 16; i++) {
      const at = i * 4;
      w[i] =
        ((block[at] as number) << 24) |
        ((block[at + 1] as number) << 16) |
        ((block[at + 2] as number) << 8) |
        (block[at + 3] as number);
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15] as number;
      const y = w[i - 2] as number;
      const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
      const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
      w[i] = (w[i - 16] as number) + s0 + (w[i - 7] as number) + s1;
    }
    let [a, b, c, d, e, f, g, h] = this.#state as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (ROUND[i] as number) + (w[i] as number)) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    const s = this.#state;
    const add = [a, b, c, d, e, f, g, h];
    for (let i = 0; i < 8; i++) s[i] = (s[i] as number) + (add[i] as number);
    this.#inBlock = 0;
  }
}

function rotate(x: number, bits: number): number {
  return (x >>> bits) | (x << (32 - bits));
}

function writeBigEndian(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}
