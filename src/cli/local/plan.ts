/**
 * What a local cluster is made of, kept in its directory so that it comes back as it was: names and ports. Members know
 * each other by their URLs, so ports are chosen once.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../../platform/index.ts";
import { CommandError, Exit } from "../exit.ts";

export interface PlannedNode {
  readonly name: string;
  readonly dataDir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

interface FileNode {
  readonly name: string;
  readonly client: number;
  readonly peer: number;
}

const FORMAT = 1;
const NODES_DEFAULT = 3;

/** The plan in the directory; made of `count` and `basePort` (null: free ports) where there is none. */
export async function planOf(
  dataDir: string,
  count: number | null,
  basePort: number | null,
): Promise<readonly PlannedNode[]> {
  const path = join(dataDir, "cluster.json");
  const found = existsSync(path) ? read(path) : null;
  if (found !== null) {
    if (count !== null && count !== found.length)
      throw new CommandError(
        `${dataDir} is a cluster of ${found.length}, and --nodes says ${count}`,
        Exit.refused,
        ["leave --nodes out, or name another --data-dir"],
      );
    if (basePort !== null && basePort !== found[0]?.client)
      throw new CommandError(
        `${dataDir} is a cluster whose ports begin with ${found[0]?.client}, and --base-port says ${basePort}`,
        Exit.refused,
        ["its members know each other by their ports: leave --base-port out"],
      );
    return found.map((node) => planned(dataDir, node));
  }
  const size = count ?? NODES_DEFAULT;
  const ports =
    basePort === null
      ? await freePorts(size * 2)
      : Array.from({ length: size * 2 }, (_, i) => basePort + i);
  const nodes = Array.from({ length: size }, (_, i) => ({
    name: `n${i + 1}`,
    client: ports[2 * i] as number,
    peer: ports[2 * i + 1] as number,
  }));
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // Whole or not at all: half of it would be another cluster.
  writeFileSync(`${path}.new`, `${JSON.stringify({ format: FORMAT, nodes }, null, 2)}\n`, {
    mode: 0o600,
  });
  renameSync(`${path}.new`, path);
  return nodes.map((node) => planned(dataDir, node));
}

/** Of a directory that must have one. */
export function existingPlan(dataDir: string): readonly PlannedNode[] {
  const path = join(dataDir, "cluster.json");
  if (!existsSync(path))
    throw new CommandError(`${dataDir} is no local cluster`, Exit.refused, [
      "harmonydb cluster start makes one",
    ]);
  return read(path).map((node) => planned(dataDir, node));
}

function planned(dataDir: string, { name, client, peer }: FileNode): PlannedNode {
  return {
    name,
    dataDir: join(dataDir, name),
    clientUrl: `http://127.0.0.1:${client}`,
    peerUrl: `http://127.0.0.1:${peer}`,
  };
}

function read(path: string): readonly FileNode[] {
  let parsed: { readonly format?: unknown; readonly nodes?: unknown } = {};
  try {
    parsed = JSON.parse(readFileSync(path, "utf8")) as typeof parsed;
  } catch {
    // Said below.
  }
  const { format, nodes } = parsed;
  if (format !== FORMAT || !Array.isArray(nodes) || nodes.length === 0 || !nodes.every(isFileNode))
    throw new CommandError(`${path} is not what it should be`, Exit.refused, [
      "put it back, or begin with another --data-dir",
    ]);
  return nodes;
}

function isFileNode(value: unknown): value is FileNode {
  if (typeof value !== "object" || value === null) return false;
  const { name, client, peer } = value as Partial<FileNode>;
  return (
    typeof name === "string" &&
    /^[\w-]{1,64}$/.test(name) &&
    Number.isSafeInteger(client) &&
    Number.isSafeInteger(peer)
  );
}
