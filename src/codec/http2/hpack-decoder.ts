/**
 * Reads header blocks (RFC 7541). One decoder for a connection: every block has to be read, also that of a request
 * which is refused, because each may change the table that later ones rely on.
 *
 * Invariant: time and memory are linear in the bytes of the block; what a block unfolds to is bounded by the limit of
 * the list, beyond which fields are read and dropped.
 */
import { decodeHuffman } from "./huffman.ts";
import { fieldSize, type HeaderField, headerField, HeaderTable } from "./hpack-table.ts";

/** `tooLarge`: well formed, but more than the limit; the table is as it should be. `malformed`: the table is lost. */
export type BlockOutcome = "ok" | "tooLarge" | "malformed";

/** More bits than any number of a block that fits the limits needs; shifts beyond it would overflow. */
const INTEGER_SHIFT_MAX = 21;
/** What `String.fromCharCode` is given at once, as arguments. */
const TEXT_CHUNK_BYTES = 4096;

export class HpackDecoder {
  readonly #table: HeaderTable;
  readonly #tableBytesMax: number;
  readonly #listBytesMax: number;
  #block: Uint8Array = new Uint8Array(0);
  #at = 0;
  #failed = false;

  /** `tableBytesMax`: as our SETTINGS say. `listBytesMax`: of one request, counted as RFC 9113 section 6.5.2 does. */
  constructor(tableBytesMax: number, listBytesMax: number) {
    this.#table = new HeaderTable(tableBytesMax);
    this.#tableBytesMax = tableBytesMax;
    this.#listBytesMax = listBytesMax;
  }

  /** Reads one whole block and appends its fields to `into`, in their order. */
  decode(block: Uint8Array, into: HeaderField[]): BlockOutcome {
    this.#block = block;
    this.#at = 0;
    this.#failed = false;
    let listBytes = 0;
    let mayResize = true;
    while (this.#at < block.length) {
      const byte = block[this.#at] as number;
      let field: HeaderField | null;
      if (byte >= 0x80) {
        field = this.#table.at(this.#integer(0x7f));
      } else if (byte >= 0x40) {
        field = this.#literal(0x3f);
        if (field !== null) this.#table.add(field);
      } else if (byte < 0x20) {
        field = this.#literal(0x0f);
      } else {
        // A new size of the table stands before the first field only (section 4.2).
        const size = this.#integer(0x1f);
        if (!mayResize || this.#failed || size > this.#tableBytesMax) return "malformed";
        this.#table.resize(size);
        continue;
      }
      if (this.#failed || field === null) return "malformed";
      mayResize = false;
      listBytes += fieldSize(field);
      if (listBytes <= this.#listBytesMax) into.push(field);
    }
    return listBytes <= this.#listBytesMax ? "ok" : "tooLarge";
  }

  invariants(): void {
    this.#table.invariants();
  }

  #literal(prefixMask: number): HeaderField | null {
    const index = this.#integer(prefixMask);
    const name = index === 0 ? this.#string() : this.#table.at(index)?.name;
    if (name === undefined) return null;
    const value = this.#string();
    return this.#failed ? null : headerField(name, value);
  }

  /** A number whose first bits are those of `prefixMask` in the next byte (section 5.1). */
  #integer(prefixMask: number): number {
    const block = this.#block;
    let value = (block[this.#at++] as number) & prefixMask;
    if (value < prefixMask) return value;
    for (let shift = 0; shift <= INTEGER_SHIFT_MAX; shift += 7) {
      const byte = block[this.#at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    this.#failed = true;
    return 0;
  }

  #string(): string {
    const first = this.#block[this.#at];
    if (first === undefined || this.#failed) {
      this.#failed = true;
      return "";
    }
    const start = this.#integerThenPosition();
    const end = this.#at;
    if (this.#failed) return "";
    if (first < 0x80) return latin1(this.#block, start, end);
    const text = decodeHuffman(this.#block, start, end);
    if (text === null) this.#failed = true;
    return text ?? "";
  }

  /** Reads a length, steps over that many bytes, and says where they began. */
  #integerThenPosition(): number {
    const length = this.#integer(0x7f);
    const start = this.#at;
    if (start + length > this.#block.length) this.#failed = true;
    else this.#at = start + length;
    return start;
  }
}

/** One character for each byte. */
function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at += TEXT_CHUNK_BYTES) {
    const chunk = bytes.subarray(at, Math.min(end, at + TEXT_CHUNK_BYTES));
    text += String.fromCharCode.apply(null, chunk as unknown as number[]);
  }
  return text;
}
