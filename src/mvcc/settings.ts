/**
 * Settings that live in the data: a database is created with them, every replica finds the same ones in its `meta` tree
 * whatever its flags say, and a command changes them (data-model.md).
 *
 *     u8 format (2) | varint retentionMs | varint retentionRevisions | varint quotaBytes + 1, or 0 for none in the data
 *
 * Format 1 ended before the quota: such a database has none in its data until a command sets it.
 */
import { assert, ByteReader, ByteWriter, utf8 } from "../base/index.ts";
import type { Engine } from "../btree/index.ts";
import { Trees } from "./trees.ts";

const NAME: Uint8Array = utf8("settings");
const FORMAT = 2;

export interface StoreSettings {
  /** Versions younger than this stay readable. */
  readonly retentionMs: number;
  /** At least so many revisions stay readable, whatever their age. With both 0 no history is written at all. */
  readonly retentionRevisions: number;
  /** Bytes in use at which writes are refused, 0 for no limit. Undefined: the data says nothing, a node's flag counts. */
  readonly quotaBytes?: number | undefined;
}

/** The settings of the database; writes `initial` into a database that has none. */
export function openSettings(engine: Engine, initial: StoreSettings): StoreSettings {
  const stored = engine.tree(Trees.meta).get(NAME);
  if (stored === undefined) return writeSettings(engine, initial);
  const reader = new ByteReader(stored);
  const format = reader.u8();
  const settings = { retentionMs: reader.varint(), retentionRevisions: reader.varint() };
  const quota = format === FORMAT ? reader.varint() : 0;
  assert((format === FORMAT || format === 1) && reader.isAtEnd, "settings of a known format");
  return quota === 0 ? settings : { ...settings, quotaBytes: quota - 1 };
}

export function writeSettings(engine: Engine, settings: StoreSettings): StoreSettings {
  const { retentionMs, retentionRevisions, quotaBytes } = settings;
  const out = new ByteWriter(32);
  out.u8(FORMAT);
  out.varint(retentionMs);
  out.varint(retentionRevisions);
  out.varint(quotaBytes === undefined ? 0 : quotaBytes + 1);
  engine.tree(Trees.meta).put(NAME, out.view());
  return quotaBytes === undefined
    ? { retentionMs, retentionRevisions }
    : { retentionMs, retentionRevisions, quotaBytes };
}

export function keepsHistory(settings: StoreSettings): boolean {
  return settings.retentionMs > 0 || settings.retentionRevisions > 0;
}
