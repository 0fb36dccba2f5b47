/**
 * L0, the ground: what every layer may use and what knows of none of them. Assertions that stay on, the catalogue
 * of errors, bytes and their order, CRC32C, seeded randomness.
 *
 * Left out on purpose: anything that touches the world (time, files, entropy). That is `env`.
 */
export { assert, assertSafe, AssertionError, setVerifying, unreachable, verify } from "./assert.ts";
export { ByteReader, ByteWriter } from "./byte-stream.ts";
export {
  compareBytes,
  concatBytes,
  EMPTY_BYTES,
  equalBytes,
  hex,
  readU16,
  readU32,
  readU64,
  readU64BigEndian,
  text,
  utf8,
  viewOf,
  writeU16,
  writeU32,
  writeU64,
  writeU64BigEndian,
} from "./bytes.ts";
export { crc32c } from "./crc32c.ts";
export {
  CorruptionError,
  type Damage,
  type ErrorCode,
  ERRORS,
  HarmonyError,
  type Reaction,
} from "./errors.ts";
export { ownBytes, setChunkMaker } from "./own-bytes.ts";
export { releaseBytes, setReleaser } from "./release-bytes.ts";
export { hash32, Random } from "./random.ts";
