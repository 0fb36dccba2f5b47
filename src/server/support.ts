/** What the services need of a node beside its database. */
import type { Node } from "../db/index.ts";
import type { ApiSupport } from "./grpc/api-service.ts";
import type { NativeSupport } from "./grpc/native-service.ts";
import type { SnapshotSupport } from "./grpc/snapshot-service.ts";

export function supportOf(node: Node): {
  readonly native: NativeSupport;
  readonly snapshots: SnapshotSupport;
  readonly api: ApiSupport;
} {
  return {
    native: { checkpoint: (done) => node.checkpoint(done), clockMs: () => node.database.clockMs },
    snapshots: { openSnapshot: (done) => node.openSnapshot(done) },
    api: {
      checkpoint: (done) => node.checkpoint(done),
      sync: (done) => node.sync(done),
      counts: () => node.stats,
      openSnapshot: (done) => node.openSnapshot(done),
    },
  };
}
