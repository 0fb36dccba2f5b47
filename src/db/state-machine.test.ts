import { setVerifying } from "../base/index.ts";
import { MemoryEngine } from "../btree/index.ts";
import { machineSuite } from "./machine.suite.ts";

setVerifying(true);

machineSuite("MemoryEngine", { make: () => new MemoryEngine(), reopen: (engine) => engine }, 400);
