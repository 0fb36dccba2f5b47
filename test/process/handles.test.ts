/** Strangers who do no more than connect, to a node that may have few files open. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dial, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { connect } from "../../src/index.ts";
import { freePorts } from "../../src/platform/index.ts";

const BIN = fileURLToPath(new URL("../../bin/harmonydb", import.meta.url));
const PROCESS_MS = 60_000;
const HANDLES = 256;

describe("a node with few file handles", () => {
  it("keeps enough of them for its log, whichever of its ports is filled with connections", async () => {
    // Elsewhere it is not known how many there are.
    if (process.platform !== "linux") return;
    const root = mkdtempSync(join(tmpdir(), "harmonydb-handles-"));
    const [client, metrics, peer] = (await freePorts(3)) as [number, number, number];
    const url = (port: number): string => `http://127.0.0.1:${port}`;
    const flags = [
      ["--data-dir", join(root, "data")],
      ["--wal-segment-bytes", "1MiB"],
      ["--checkpoint-wal-bytes", "1MiB"],
      ["--listen-client-urls", url(client)],
      ["--listen-metrics-urls", url(metrics)],
      ["--listen-peer-urls", url(peer)],
    ].flat();
    const limited = `ulimit -n ${HANDLES}; exec "$@"`;
    const node = spawn("sh", ["-c", limited, "sh", process.execPath, BIN, "serve", ...flags]);
    const deadline = setTimeout(() => node.kill("SIGKILL"), PROCESS_MS);
    const ended = new Promise<void>((resolve) => node.once("close", () => resolve()));
    let said = "";
    node.stderr.on("data", (text: Buffer) => (said += text.toString()));
    const strangers: Socket[] = [];
    onTestFinished(async () => {
      for (const socket of strangers) socket.destroy();
      node.kill("SIGKILL");
      await ended;
      clearTimeout(deadline);
      rmSync(root, { recursive: true, force: true });
    });
    await new Promise<void>((resolve, reject) => {
      node.stdout.once("data", () => resolve());
      void ended.then(() => reject(new Error(said)));
    });
    const db = await connect([`127.0.0.1:${client}`], { requestTimeoutMs: 30_000 });
    onTestFinished(() => db.close());
    const met = [client, metrics, peer].flatMap((port) =>
      Array.from({ length: HANDLES }, () => {
        const socket = dial(port, "127.0.0.1");
        strangers.push(socket);
        socket.on("error", () => {});
        return new Promise<void>((resolve) =>
          socket.once("connect", resolve).once("close", resolve),
        );
      }),
    );
    await Promise.all(met);
    // Segments and checkpoints are made meanwhile.
    const value = new Uint8Array(16 * 1024);
    for (let i = 0; i < 200; i++) expect((await db.put(`k${i % 20}`, value)).ok).toBe(true);
    expect(node.exitCode).toBeNull();
    expect(said).not.toMatch(/EMFILE|DISK_FULL/);
  }, 90_000);
});
