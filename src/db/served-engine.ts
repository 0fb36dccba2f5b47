/**
 * The engine of a node's group, which stays the same object when a snapshot takes the place of its data file. States that
 * somebody has pinned stay readable until they are released, also those of a file that is no longer the node's: its
 * place on the disk is given back then.
 */
import { assert } from "../base/index.ts";
import type {
  CheckpointMeta,
  Engine,
  EngineStats,
  ReadTree,
  Tree,
  TreeId,
  Version,
} from "../btree/index.ts";
import { type Io, runIo } from "../env/index.ts";

/** One engine and who reads its pinned states. */
interface Held {
  readonly engine: Engine;
  pins: number;
}

export class ServedEngine implements Engine {
  #present: Held;
  /** Engines that were replaced and are still read. */
  readonly #retired = new Set<Held>();
  #closings = 0;
  #whenClosed: (() => void)[] = [];

  constructor(engine: Engine) {
    this.#present = { engine, pins: 0 };
  }

  /** The trees are those of `engine` from now on; whoever holds one of the trees before must ask again. */
  replace(engine: Engine): void {
    const before = this.#present;
    this.#present = { engine, pins: 0 };
    this.#retired.add(before);
    this.#retireIfFree(before);
  }

  tree(id: TreeId): Tree {
    return this.#present.engine.tree(id);
  }

  pin(): Version {
    const held = this.#present;
    const version = held.engine.pin();
    held.pins++;
    return new HeldVersion(version, () => {
      held.pins--;
      this.#retireIfFree(held);
    });
  }

  /** Of the present one, and what the ones before still take. */
  get stats(): EngineStats {
    const { stats } = this.#present.engine;
    let { pinnedBytes, memoryBytes } = stats;
    for (const { engine } of this.#retired) {
      pinnedBytes += engine.stats.bytesInUse;
      memoryBytes += engine.stats.memoryBytes;
    }
    return { ...stats, pinnedBytes, memoryBytes };
  }

  checkpoint(meta: CheckpointMeta): Io<void> {
    return this.#present.engine.checkpoint(meta);
  }

  get checkpoints(): Engine["checkpoints"] {
    return this.#present.engine.checkpoints;
  }

  *close(): Io<void> {
    yield* this.#present.engine.close();
    for (const held of this.#retired) {
      this.#retired.delete(held);
      yield* held.engine.close();
    }
    if (this.#closings > 0) yield (done) => this.#whenClosed.push(() => done(null, undefined));
  }

  invariants(): void {
    this.#present.engine.invariants();
  }

  #retireIfFree(held: Held): void {
    assert(held.pins >= 0, "a version is released once");
    if (held.pins > 0 || !this.#retired.delete(held)) return;
    this.#closings++;
    // What is in the file is of no use to anybody, and so is what its closing says.
    runIo(held.engine.close(), () => {
      this.#closings--;
      if (this.#closings === 0) for (const done of this.#whenClosed.splice(0)) done();
    });
  }
}

class HeldVersion implements Version {
  readonly #version: Version;
  readonly #released: () => void;

  constructor(version: Version, released: () => void) {
    this.#version = version;
    this.#released = released;
  }

  tree(id: TreeId): ReadTree {
    return this.#version.tree(id);
  }

  release(): void {
    this.#version.release();
    this.#released();
  }
}
