/**
 * L8, Node.js behind `env`: the only folder besides the servers that knows the host.
 *
 * What the pure layers may rely on is written in `../env/files.ts` and checked by one suite here and on the simulated
 * disk. Durable writes are one call on Linux (O_DSYNC); whoever needs the medium to be reached on another system gets
 * write and sync. EINTR never arrives: libuv repeats. Short reads are repeated here, short writes by the caller.
 *
 * Left out: TCP, which is in `server/`.
 */
export { freePort, freePorts } from "./free-ports.ts";
export { nodeEnv, type NodeEnvOptions } from "./node-env.ts";
