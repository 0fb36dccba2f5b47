/**
 * L2, the tree: ordered keys and values in one file of 4 KiB pages, changed in place between checkpoints and read
 * through pinned versions. A group's state machine lives in the trees of one such file.
 *
 * What is here, from the ground up: `layout` (where bytes stand), `page-set` (bitmaps), `freelist` (which pages may
 * be overwritten, and why not), `pager` (pages in memory, verified on their way in), `overflow` (long keys and
 * values), `node` (one page of cells), `reader`, `cursor` and `tree` (many of them), `meta`, `space-map` and
 * `checkpoint` (what goes to disk), `open`, `btree-engine`, and `check` for a file at rest. `MemoryEngine` is the same
 * interface as sorted arrays: the oracle of the shared suite.
 *
 * The ideas, and where they come from. Pages are copied before their first change after a pin, and the path above
 * them: shadow paging, as in System R and LMDB. A pin is an epoch; retired pages wait with the youngest pin that sees
 * them, as in the dead lists of ZFS. Two meta pages take turns, and parents keep the checksums of their children
 * (Bairavasundaram et al., "An Analysis of Data Corruption in the Storage Stack", FAST 2008, shows why a checksum
 * inside the page is not enough: a lost or misdirected write leaves pages that are sound in themselves). Nodes keep
 * the first bytes of each key in their slots (Graefe, "Modern B-Tree Techniques", 2011, section 3).
 *
 * Invariants that callers may rely on:
 * - after any crash the file opens as the newest checkpoint that returned, or as the one that was being written;
 * - bytes that do not check out are never served: a CorruptionError names file and offset;
 * - the checkpoint before the newest stays whole until the next one is durable;
 * - a version does not change until it is released, and costs only the pages that change meanwhile;
 * - start, checkpoint and `countRange` cost pages that changed or lie on a path, never the number of keys.
 *
 * Left out: eviction of clean pages (all that were read stay in memory; `pager.slotOf` is the place for it, and the
 * CRC of an evicted child must then stand in its parent), encryption (32 bytes of each page are reserved), the daily
 * scrub, transactions and concurrency: one writer calls, and calls do not overlap.
 *
 * Format, byte by byte: `docs/internals/data-file.md`. Papers: architecture 6, 9, 10; fault-rules D9, D11, D12,
 * D15 to D20, D26, D35.
 */
export { BTreeEngine, type BTreeOpened, type BTreeOptions } from "./btree-engine.ts";
export { checkDataFile, type CheckedCheckpoint, type DataFileReport } from "./check.ts";
export {
  type CheckpointMeta,
  type Cursor,
  type Engine,
  type EngineStats,
  KEY_SIZE_MAX,
  type ReadTree,
  type Tree,
  TREE_SLOTS,
  type TreeId,
  VALUE_SIZE_MAX,
  type Version,
} from "./engine.ts";
export { MemoryEngine } from "./memory-engine.ts";
