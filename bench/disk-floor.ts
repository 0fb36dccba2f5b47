/** The floor under every durable write: this disk, asked by plain system calls. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Latencies, latencies, nowUs } from "./measure.ts";

const SIZE_BYTES = 512;

/** write + fdatasync of preallocated space by sync calls, one at a time. */
export function rawSync(directory: string, count: number): Latencies {
  const path = join(directory, "floor");
  const fd = openSync(path, "w+", 0o600);
  try {
    const zeros = new Uint8Array(1024 * 1024);
    const total = count * SIZE_BYTES;
    for (let at = 0; at < total; at += zeros.length) writeSync(fd, zeros, 0, zeros.length, at);
    fdatasyncSync(fd);
    const block = new Uint8Array(SIZE_BYTES).fill(7);
    const samples: number[] = [];
    const startedUs = nowUs();
    for (let i = 0; i < count; i++) {
      const before = nowUs();
      writeSync(fd, block, 0, SIZE_BYTES, i * SIZE_BYTES);
      fdatasyncSync(fd);
      samples.push(nowUs() - before);
    }
    return latencies(samples, (nowUs() - startedUs) / 1000);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}
