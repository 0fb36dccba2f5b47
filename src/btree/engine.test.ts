import { vi } from "vitest";
import { setVerifying } from "../base/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { engineSuite } from "./engine.suite.ts";
import { BTreeEngine, MemoryEngine } from "./index.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 });

engineSuite("MemoryEngine", () => {
  const world = new SimEnv({ seed: 1 });
  return { engine: new MemoryEngine(), run: (io) => runIoNow(world, io) };
});

engineSuite("BTreeEngine", () => {
  const world = new SimEnv({ seed: 1 });
  const { files } = world.boot();
  const options = { fileId: new Uint8Array([1]), slabSizeBytes: 256 * 1024 };
  const { engine } = runIoNow(world, BTreeEngine.open(files, "data.hdb", options));
  return { engine, run: (io) => runIoNow(world, io) };
});
