/**
 * Copies of short byte strings. An ArrayBuffer of its own costs ten times what it takes to fill it with a hundred bytes,
 * so copies are cut from chunks: each has its bytes to itself and shares the buffer, as Node's Buffers do.
 *
 * What is shorter still needs no chunk, for the engine keeps it in its heap, and what is longer is worth a buffer; so a
 * copy that is kept keeps one chunk at most.
 */
import { EMPTY_BYTES, viewOf } from "./bytes.ts";

const HEAP_BYTES_MAX = 64;
const SHARED_BYTES_MAX = 1024;
const CHUNK_BYTES = 8192;

type ChunkMaker = (sizeBytes: number) => Uint8Array;

let newChunk: ChunkMaker = (sizeBytes) => new Uint8Array(sizeBytes);
let chunk: Uint8Array = EMPTY_BYTES;
let at = 0;

/** Lets the host make the chunks: one that can refuse to give a shared buffer away to another thread. */
export function setChunkMaker(make: ChunkMaker): void {
  newChunk = make;
  chunk = EMPTY_BYTES;
  at = 0;
}

/**
 * A copy of the bytes from `from` on that belongs to the caller. Its buffer may hold other bytes before and behind it, those
 * before `from` among them: one view less is made when they are copied, too.
 */
export function ownBytes(bytes: Uint8Array, from: number = 0): Uint8Array {
  const { length } = bytes;
  if (length - from <= HEAP_BYTES_MAX || length > SHARED_BYTES_MAX) return bytes.slice(from);
  // A buffer that was given away all the same has no length any more.
  if (at + length > chunk.length) {
    chunk = newChunk(CHUNK_BYTES);
    at = 0;
  }
  chunk.set(bytes, at);
  const own = viewOf(chunk, at + from, at + length);
  at += length;
  return own;
}
