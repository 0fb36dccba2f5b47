/** From a snapshot back to trees. */
import { assert } from "../base/index.ts";
import { type Engine, type Tree, TREE_SLOTS } from "../btree/index.ts";
import type { Digest, File, Io } from "../env/index.ts";
import { readSnapshot, type SnapshotInfo, verifySnapshot } from "./reader.ts";

/**
 * Fills the empty trees of `engine` with what the snapshot holds: the same keys and values in the same trees. The file
 * is checked as a whole first, so that nothing of a damaged one is used, unless the caller has just done so and gives what
 * he found; should it change after that, the chunk says so, and the caller throws the engine away. Nothing is durable
 * until a checkpoint.
 *
 * Throws what `verifySnapshot` throws.
 */
export function* loadSnapshot(
  file: File,
  sha256: () => Digest,
  engine: Engine,
  found?: SnapshotInfo,
): Io<SnapshotInfo> {
  const trees: Tree[] = [];
  for (let id = 0; id < TREE_SLOTS; id++) {
    const tree = engine.tree(id);
    assert(tree.count === 0, "a snapshot is loaded into empty trees");
    trees.push(tree);
  }
  const checked = found ?? (yield* verifySnapshot(file, sha256()));
  const info = yield* readSnapshot(file, sha256(), (section, key, value) => {
    const isNew = (trees[section] as Tree).put(key, value);
    assert(isNew, "the keys of a snapshot ascend");
  });
  assert(
    info.sha256.every((byte, i) => byte === checked.sha256[i]),
    "the file that was checked is the file that was loaded",
  );
  for (const { id, count } of info.header.sections) {
    assert((trees[id] as Tree).count === count, "a tree has as many keys as its section");
  }
  return info;
}
