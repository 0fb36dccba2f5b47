/**
 * L1, the outside world as interfaces. The pure layers reach disk, time, chance and logs through an `Env` and in no
 * other way, so one seed decides everything that happens to them in the simulator.
 *
 * `platform` implements it on Node.js, `env/sim` in memory with faults; one shared suite (`files.suite.ts`) runs on
 * both. Links between nodes are carried by `server/peer` and by the network of `env/sim`.
 */
export { Allowance } from "./allowance.ts";
export type { Clock, Digest, Entropy, Env, LogLevel, LogSink, Timer, Timers } from "./env.ts";
export {
  type Completion,
  type DirectoryLock,
  type File,
  FileError,
  type Files,
  type OpenOptions,
} from "./files.ts";
export {
  closeFile,
  fileSize,
  type Io,
  type IoStep,
  listDirectory,
  lockDirectory,
  makeDirectory,
  openFile,
  readFile,
  renameFile,
  runIo,
  syncDirectory,
  syncFile,
  truncateFile,
  unlinkFile,
  unlinkIfThere,
  writeFile,
  writeFully,
} from "./io.ts";
export type { Link, LinkEvents, Links } from "./links.ts";
export { PacedFiles } from "./paced-files.ts";
