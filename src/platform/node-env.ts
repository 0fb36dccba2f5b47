/** Time, chance and digests of the host. */
import { createHash, type Hash, randomFillSync } from "node:crypto";
import { markAsUntransferable, MessageChannel } from "node:worker_threads";
import { setChunkMaker, setReleaser } from "../base/index.ts";
import type { Clock, Digest, Entropy, Env, LogSink, Timer, Timers } from "../env/index.ts";
import { NodeFiles, type OnDurable } from "./node-files.ts";

/** The longest delay that setTimeout takes; longer ones would fire at once. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;

export interface NodeEnvOptions {
  readonly log: LogSink;
  /** For metrics: how long each durable write and each sync took. */
  readonly onDurable?: OnDurable;
}

/** The real world on Node.js. */
export function nodeEnv(options: NodeEnvOptions): Env {
  setChunkMaker(newSharedChunk);
  setReleaser(releaseBuffer);
  return {
    files: new NodeFiles(options.onDurable),
    clock,
    timers,
    entropy,
    log: options.log,
    sha256: () => new NodeDigest(),
  };
}

/** Short values share its buffer: one that is posted to a worker must not take the others along. */
function newSharedChunk(sizeBytes: number): Uint8Array {
  const chunk = new Uint8Array(sizeBytes);
  markAsUntransferable(chunk.buffer);
  return chunk;
}

/** Sent to nobody: with the channel goes what is on its way in it. */
function releaseBuffer({ buffer }: Uint8Array): void {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, [buffer as ArrayBuffer]);
  port1.close();
  port2.close();
}

const clock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

const timers: Timers = {
  after(delayMs: number, fire: () => void): Timer {
    const dueMs = performance.now() + delayMs;
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      handle = setTimeout(
        () => {
          // Timers count whole milliseconds of the loop's own clock and may be a fraction early.
          const rest = dueMs - performance.now();
          if (rest > 0) arm(rest);
          else fire();
        },
        Math.min(Math.ceil(leftMs), TIMEOUT_MS_MAX),
      );
    };
    arm(delayMs);
    return {
      cancel(): void {
        clearTimeout(handle);
      },
    };
  },
  soon(fire: () => void): void {
    setImmediate(fire);
  },
};

/** Plain arrays and no Buffers leave from here: `slice` of a Buffer is a view, of bytes a copy. */
const entropy: Entropy = {
  bytes: (sizeBytes: number) => randomFillSync(new Uint8Array(sizeBytes)),
  u32: () => randomFillSync(new Uint32Array(1))[0] as number,
};

class NodeDigest implements Digest {
  readonly #hash: Hash = createHash("sha256");

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    return this;
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }
}
