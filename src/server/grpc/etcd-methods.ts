/** All methods that the etcd door serves, guarded, and the names of their services. */
import type { Database } from "../../db/index.ts";
import type { LogSink } from "../../env/index.ts";
import { clusterService, maintenanceService, type Versions } from "./admin-services.ts";
import { ServiceContext } from "./answer.ts";
import { apiService, type ApiSupport } from "./api-service.ts";
import { guarded } from "./guard.ts";
import { hashService } from "./hash-service.ts";
import { HealthService } from "./health-service.ts";
import { kvService } from "./kv-service.ts";
import { leaseService } from "./lease-service.ts";
import type { Method } from "./method.ts";
import { type NativeSupport, nativeService } from "./native-service.ts";
import { snapshotService, type SnapshotSupport } from "./snapshot-service.ts";
import { type WatchOptions, watchService } from "./watch-service.ts";

export interface EtcdMethods {
  readonly methods: readonly Method[];
  /** Tells health watchers that the server is about to close. */
  readonly stopServing: () => void;
}

export function etcdMethods(
  database: Database,
  versions: Versions,
  log: LogSink,
  watches: WatchOptions,
  native?: NativeSupport,
  snapshots?: SnapshotSupport,
  api?: ApiSupport,
): EtcdMethods {
  const context = new ServiceContext(database, log);
  const services = [
    ...kvService(context),
    ...watchService(context, watches),
    ...leaseService(context),
    ...clusterService(context),
    ...maintenanceService(context, versions),
    ...hashService(context),
    ...snapshotService(snapshots, versions.storage),
    ...nativeService(context, native),
    ...apiService(context, api),
  ];
  const health = new HealthService(services.map((method) => method.path.split("/")[1] as string));
  return {
    methods: [...services, ...health.methods].map((method) => guarded(method, context)),
    stopServing: () => health.stopServing(),
  };
}
