/** One node with its etcd door, on a directory and a free port. */
import { startNode, stopNode } from "../../src/db/index.ts";
import { nodeEnv } from "../../src/platform/index.ts";
import { serveEtcd } from "../../src/server/index.ts";

export interface Stack {
  /** `http://host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

export async function startStack(dataDir: string): Promise<Stack> {
  const log = (): void => {};
  const node = await startNode(nodeEnv({ log }), { dataDir });
  const server = await serveEtcd({ database: node.database, urls: ["http://127.0.0.1:0"], log });
  return {
    address: server.addresses[0] as string,
    close: async () => {
      await server.close(1000);
      await stopNode(node);
    },
  };
}
