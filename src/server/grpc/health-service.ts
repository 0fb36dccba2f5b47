/**
 * grpc.health.v1.Health. The server as a whole (the empty name) and each service that is served are SERVING from the
 * time the port is open until it closes; whether there is a leader is for readiness checks to say, not for this.
 */
import {
  decodeHealthCheckRequest,
  encodeHealthCheckResponse,
  type ServingStatus,
} from "../../codec/index.ts";
import { EMPTY_BYTES } from "../../base/index.ts";
import type { Method, StreamCall, StreamListener } from "./method.ts";
import { UNKNOWN_SERVICE } from "./status.ts";

export class HealthService {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<StreamCall>();
  #status: ServingStatus = "serving";

  constructor(services: Iterable<string>) {
    this.#services = new Set(["", ...services]);
  }

  get methods(): readonly Method[] {
    return [
      {
        kind: "unary",
        path: "/grpc.health.v1.Health/Check",
        handle: (request, _call, reply) => {
          if (this.#services.has(decodeHealthCheckRequest(request))) {
            reply(null, encodeHealthCheckResponse(this.#status));
          } else {
            reply(UNKNOWN_SERVICE, EMPTY_BYTES);
          }
        },
      },
      {
        kind: "serverStream",
        path: "/grpc.health.v1.Health/Watch",
        open: (call) => this.#watch(call),
      },
    ];
  }

  /** Tells the watchers that the server is about to close. */
  stopServing(): void {
    this.#status = "notServing";
    for (const watcher of this.#watchers) watcher.send(encodeHealthCheckResponse(this.#status));
  }

  #watch(call: StreamCall): StreamListener {
    return {
      message: (request, done) => {
        // A service that is not known now may be known to a later version: the stream says so and stays open.
        if (this.#services.has(decodeHealthCheckRequest(request))) {
          this.#watchers.add(call);
          call.send(encodeHealthCheckResponse(this.#status));
        } else {
          call.send(encodeHealthCheckResponse("serviceUnknown"));
        }
        done();
      },
      // The client's one message is all it sends; the stream lasts until it goes away.
      halfClosed() {},
      closed: () => this.#watchers.delete(call),
    };
  }
}
