/**
 * What a normal Raft entry carries: the group's clock as the leader stamped it, and the commands of one turn in the
 * order in which they take effect (architecture section 3, step 2).
 *
 *     u8 format (2) | u64 clockMs | u64 behindMs | u32 count | count x (u32 length, bytes)
 *     u8 format (1) | u64 clockMs |                u32 count | count x (u32 length, bytes)
 *
 * Little endian. Format 1 is read and not written any more: it did not say how far the clock was behind, which counts as
 * not at all. The entry is already checksummed by the frame that holds it, so there is no checksum of its own.
 */
import { assert, readU32, readU64, writeU32, writeU64 } from "../base/index.ts";
import type { Stamp } from "./group-clock.ts";

const FORMAT_WITHOUT_BEHIND = 1;
const FORMAT = 2;
const HEADER_BYTES: number = 1 + 8 + 8 + 4;
const LENGTH_BYTES = 4;

/** How many bytes an entry takes for commands of `commandBytes` in all. */
export function batchSizeBytes(count: number, commandBytes: number): number {
  return HEADER_BYTES + count * LENGTH_BYTES + commandBytes;
}

/** Packs commands into the data of one entry; copies them. */
export function encodeBatch(
  { clockMs, behindMs }: Stamp,
  commands: readonly Uint8Array[],
): Uint8Array {
  let commandBytes = 0;
  for (const command of commands) commandBytes += command.length;
  const out = new Uint8Array(batchSizeBytes(commands.length, commandBytes));
  out[0] = FORMAT;
  writeU64(out, 1, clockMs);
  writeU64(out, 9, behindMs);
  writeU32(out, 17, commands.length);
  let at = HEADER_BYTES;
  for (const command of commands) {
    writeU32(out, at, command.length);
    out.set(command, at + LENGTH_BYTES);
    at += LENGTH_BYTES + command.length;
  }
  return out;
}

export interface Batch extends Stamp {
  /** Views into the entry. */
  readonly commands: readonly Uint8Array[];
}

/**
 * Unpacks an entry. The bytes come from a log that checked them, so what does not fit is a broken invariant: the
 * replica stops.
 */
export function decodeBatch(data: Uint8Array): Batch {
  const [format] = data;
  const isWhole = format === FORMAT && data.length >= HEADER_BYTES;
  const isOld = format === FORMAT_WITHOUT_BEHIND && data.length >= HEADER_BYTES - 8;
  assert(isWhole || isOld, "an entry holds a command batch of format 1 or 2");
  const clockMs = readU64(data, 1);
  assert(Number.isSafeInteger(clockMs), "the clock of a batch is a safe integer");
  const behindMs = isOld ? 0 : readU64(data, 9);
  assert(Number.isSafeInteger(behindMs), "what a clock is behind is a safe integer");
  const headerBytes = isOld ? HEADER_BYTES - 8 : HEADER_BYTES;
  const count = readU32(data, headerBytes - 4);
  assert(
    count * LENGTH_BYTES <= data.length - headerBytes,
    "a batch holds as many commands as it says",
  );
  const commands: Uint8Array[] = [];
  let at = headerBytes;
  for (let i = 0; i < count; i++) {
    assert(at + LENGTH_BYTES <= data.length, "a command has a length");
    const end = at + LENGTH_BYTES + readU32(data, at);
    assert(end <= data.length, "a command lies within its batch");
    commands.push(data.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  assert(at === data.length, "a batch ends with its last command");
  return { clockMs, behindMs, commands };
}
