/** The messages of the gRPC health checking protocol. */
import { responseWriter } from "./header.ts";
import { Reader } from "./reader.ts";

export type ServingStatus = "serving" | "notServing" | "serviceUnknown";

const STATUS_NUMBERS: Readonly<Record<ServingStatus, number>> = {
  serving: 1,
  notServing: 2,
  serviceUnknown: 3,
};

/** The name of the service that is asked about; empty for the server as a whole. */
export function decodeHealthCheckRequest(message: Uint8Array): string {
  const reader = new Reader(message);
  let service = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x0a) service = reader.string();
    else reader.skip(tag, 1);
  }
  return service;
}

export function encodeHealthCheckResponse(status: ServingStatus): Uint8Array {
  const writer = responseWriter.begin();
  writer.counter(1, STATUS_NUMBERS[status]);
  return writer.finish();
}
