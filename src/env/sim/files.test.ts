import { setVerifying } from "../../base/index.ts";
import { filesSuite, type FilesWorld } from "../files.suite.ts";
import { type Io, makeDirectory } from "../index.ts";
import { runIoNow, SimEnv } from "./index.ts";

setVerifying(true);

for (const shortWritePercent of [0, 40]) {
  filesSuite(`simulated, ${shortWritePercent} % short writes`, async (): Promise<FilesWorld> => {
    const machine = new SimEnv({ seed: 7, disk: { shortWritePercent } });
    const { files } = machine.boot();
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
        machine.disk.invariants();
        return value;
      },
      end: async () => machine.disk.invariants(),
    };
  });
}
