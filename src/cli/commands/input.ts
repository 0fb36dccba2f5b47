/** What arrives on standard input or in a file, read as it comes. */
import type { Readable } from "node:stream";

/** All of it. For what fits into one request; more than any request may hold is cut off there and refused by the node. */
const ALL_BYTES_MAX = 64 * 1024 * 1024;

export async function readAll(stream: Readable): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = chunk as Buffer;
    chunks.push(bytes);
    size += bytes.length;
    if (size > ALL_BYTES_MAX) break;
  }
  return Buffer.concat(chunks);
}

/** A line of an input: its bytes without the line break, or null where it was longer than is taken. */
export interface Line {
  /** From 1. */
  readonly number: number;
  readonly bytes: Uint8Array | null;
  /** Byte position behind the line and its line break. */
  readonly end: number;
  /** A line break followed it; false only for the last line. */
  readonly isEnded: boolean;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** U+FEFF in UTF-8. */
const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf];

/**
 * Lines of a stream that begins at line `first.number` and byte `first.offset` of its source. Holds one line and one
 * chunk, however long the source is; of a line longer than `bytesMax` nothing is held. The byte order mark that some
 * editors put before everything is no part of the first line.
 */
export async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  bytesMax: number,
  first: { readonly number: number; readonly offset: number } = { number: 1, offset: 0 },
): AsyncGenerator<Line, void, undefined> {
  let { number, offset } = first;
  let parts: Uint8Array[] = [];
  let size = 0;
  const take = (bytes: Uint8Array): void => {
    size += bytes.length;
    // One byte more for the return of a line that ends as Windows ends them.
    if (size > bytesMax + 1) parts = [];
    else if (bytes.length > 0) parts.push(bytes);
  };
  const finish = (isEnded: boolean): Line => {
    let bytes =
      size > bytesMax + 1
        ? null
        : parts.length === 1
          ? (parts[0] as Uint8Array)
          : Buffer.concat(parts);
    if (bytes !== null && bytes.at(-1) === RETURN && isEnded) bytes = bytes.subarray(0, -1);
    if (bytes !== null && number === 1 && BYTE_ORDER_MARK.every((byte, i) => bytes?.[i] === byte))
      bytes = bytes.subarray(BYTE_ORDER_MARK.length);
    if (bytes !== null && bytes.length > bytesMax) bytes = null;
    const line: Line = { number, bytes, end: offset, isEnded };
    parts = [];
    size = 0;
    number++;
    return line;
  };
  for await (const chunk of stream) {
    const chunkAt = offset;
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start);
      if (end < 0) break;
      take(chunk.subarray(start, end));
      start = end + 1;
      offset = chunkAt + start;
      yield finish(true);
    }
    // The chunk's memory may be reused by the stream.
    take(Uint8Array.from(chunk.subarray(start)));
    offset = chunkAt + chunk.length;
  }
  if (size > 0) yield finish(false);
}
