/**
 * Loads abstract-level. A missing package is an error with a code and a remedy, which an import cannot give; and it is
 * loaded at once, not awaited, so that the subpath also serves programs that `require` it.
 */
import { createRequire } from "node:module";
import type * as Peer from "abstract-level";
import { HarmonyError } from "../base/index.ts";

const NEEDED = "harmonydb/abstract-level needs abstract-level 3: npm install abstract-level@3";

function load(): typeof Peer {
  const require = createRequire(import.meta.url);
  try {
    require.resolve("abstract-level");
  } catch (cause) {
    throw new HarmonyError("PEER_MISSING", NEEDED, { cause });
  }
  const peer = require("abstract-level") as typeof Peer;
  // Snapshots came with version 3.
  if (typeof peer.AbstractSnapshot !== "function") throw new HarmonyError("PEER_MISSING", NEEDED);
  return peer;
}

const peer: typeof Peer = load();

export const AbstractLevel: typeof Peer.AbstractLevel = peer.AbstractLevel;
export const AbstractIterator: typeof Peer.AbstractIterator = peer.AbstractIterator;
export const AbstractSnapshot: typeof Peer.AbstractSnapshot = peer.AbstractSnapshot;
