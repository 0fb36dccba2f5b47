import { assert, equalBytes, setVerifying } from "../base/index.ts";
import { BTreeEngine, type Engine, MemoryEngine } from "../btree/index.ts";
import { type Files, openFile } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { loadSnapshot, writeSnapshot } from "../snapshot/index.ts";
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

/** Reopening makes a snapshot of the engine and loads it into another. */
class ThroughSnapshots implements EngineFactory {
  #world = new SimEnv({ seed: 1 });

  make(): Engine {
    return new MemoryEngine();
  }

  reopen(engine: Engine, payload: Uint8Array): Engine {
    this.#world = new SimEnv({ seed: 1 });
    const env = this.#world.boot();
    const file = runIoNow(
      this.#world,
      openFile(env.files, "a.snap", { access: "readwrite", create: "exclusive" }),
    );
    const version = engine.pin();
    const confState = {
      voters: [1],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    const description = {
      clusterId: 1,
      group: 0,
      meta: { index: 1, term: 1, confState },
      revision: 1,
      compactRevision: 0,
      clockMs: 0,
      stateHash: 0,
      createdMs: 0,
      machine: payload,
    };
    runIoNow(this.#world, writeSnapshot(file, env.sha256(), version, description));
    version.release();
    const again = new MemoryEngine();
    const { header } = runIoNow(
      this.#world,
      loadSnapshot(file, () => env.sha256(), again),
    );
    assert(equalBytes(header.machine, payload), "the machine finds what it gave");
    return again;
  }
}

machineSuite("a snapshot of it", new ThroughSnapshots(), 40);
