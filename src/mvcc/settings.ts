/**
 * Settings that live in the data: a database is created with them, and from then on every replica finds the same ones
 * in its `meta` tree, whatever its flags say.
 */
import { assert, ByteReader, ByteWriter, utf8 } from "../base/index.ts";
import type { Engine } from "../btree/index.ts";
import { Trees } from "./trees.ts";

const NAME: Uint8Array = utf8("settings");
const FORMAT = 1;

export interface StoreSettings {
  /** Versions younger than this stay readable. */
  readonly retentionMs: number;
  /** At least so many revisions stay readable, whatever their age. With both 0 no history is written at all. */
  readonly retentionRevisions: number;
}

/** The settings of the database; writes `initial` into a database that has none. */
export function openSettings(engine: Engine, initial: StoreSettings): StoreSettings {
  const meta = engine.tree(Trees.meta);
  const stored = meta.get(NAME);
  if (stored === undefined) {
    const out = new ByteWriter();
    out.u8(FORMAT);
    out.varint(initial.retentionMs);
    out.varint(initial.retentionRevisions);
    meta.put(NAME, out.view());
    return { retentionMs: initial.retentionMs, retentionRevisions: initial.retentionRevisions };
  }
  const reader = new ByteReader(stored);
  const format = reader.u8();
  const settings: StoreSettings = {
    retentionMs: reader.varint(),
    retentionRevisions: reader.varint(),
  };
  assert(format === FORMAT && reader.isAtEnd, "settings of a known format");
  return settings;
}
