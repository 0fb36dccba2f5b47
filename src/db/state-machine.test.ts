import { setVerifying } from "../base/index.ts";
import { BTreeEngine, MemoryEngine } from "../btree/index.ts";
import type { Files } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { type EngineFactory, machineSuite } from "./machine.suite.ts";

setVerifying(true);

machineSuite("MemoryEngine", { make: () => new MemoryEngine(), reopen: (engine) => engine }, 150);

/** Each engine has a simulated disk of its own. Reopening makes a checkpoint and reads it back from there. */
class OnDisk implements EngineFactory {
  #world = new SimEnv({ seed: 1 });
  #files: Files = this.#world.boot().files;

  make(): BTreeEngine {
    this.#world = new SimEnv({ seed: 1 });
    this.#files = this.#world.boot().files;
    return this.#open();
  }

  reopen(engine: BTreeEngine, payload: Uint8Array): BTreeEngine {
    const meta = { appliedIndex: 1, appliedTerm: 1, walLsn: 0, payload };
    runIoNow(this.#world, engine.checkpoint(meta));
    runIoNow(this.#world, engine.close());
    return this.#open();
  }

  #open(): BTreeEngine {
    const options = { fileId: new Uint8Array([1]), slabSizeBytes: 64 * 1024 };
    return runIoNow(this.#world, BTreeEngine.open(this.#files, "data.hdb", options)).engine;
  }
}

machineSuite("BTreeEngine", new OnDisk(), 50);
