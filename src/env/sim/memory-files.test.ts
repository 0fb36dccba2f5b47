import { filesSuite, type FilesWorld } from "../files.suite.ts";
import { type Io, makeDirectory } from "../index.ts";
import { MemoryFiles, runIoNow, SimEnv } from "./index.ts";

filesSuite("in memory", async (): Promise<FilesWorld> => {
  const machine = new SimEnv({ seed: 7 });
  const files = new MemoryFiles(machine.boot().timers);
  runIoNow(machine, makeDirectory(files, "root"));
  return {
    files,
    root: "root",
    run: async <T>(io: Io<T>): Promise<T> => runIoNow(machine, io),
    settle: async (start) => {
      let ended = false;
      const value = start(() => {
        ended = true;
      });
      while (!ended && machine.scheduler.step());
      if (!ended) throw new Error("an operation did not complete");
      return value;
    },
    end: async () => {},
  };
});
