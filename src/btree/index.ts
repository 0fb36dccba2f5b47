/** L2, the tree. The chapter is written with the engine. */
export { BTreeEngine, type BTreeOpened, type BTreeOptions } from "./btree-engine.ts";
export { checkDataFile, type CheckedCheckpoint, type DataFileReport } from "./check.ts";
export {
  type CheckpointMeta,
  type Cursor,
  type Engine,
  type EngineStats,
  KEY_SIZE_MAX,
  PAYLOAD_SIZE_MAX,
  type ReadTree,
  type Tree,
  TREE_SLOTS,
  type TreeId,
  VALUE_SIZE_MAX,
  type Version,
} from "./engine.ts";
export { MemoryEngine } from "./memory-engine.ts";
