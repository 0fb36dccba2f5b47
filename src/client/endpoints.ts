/** Where members are asked. */
import { HarmonyError } from "../base/index.ts";

export interface Endpoint {
  /** `host:port`, as it stands in messages. */
  readonly text: string;
  readonly host: string;
  readonly port: number;
}

/** `host:port`, with or without `http://` before it and `/` behind it. Throws INVALID_ARGUMENT. */
export function endpointsOf(list: string | readonly string[]): readonly Endpoint[] {
  const texts: readonly unknown[] = typeof list === "string" ? list.split(",") : list;
  if (!Array.isArray(texts)) throw invalid("endpoints are texts");
  const endpoints = texts.map(parse);
  if (endpoints.length === 0) throw invalid("there is no endpoint");
  return endpoints;
}

function parse(given: unknown): Endpoint {
  if (typeof given !== "string") throw invalid("an endpoint is text");
  const text = given.trim();
  if (text.startsWith("https://"))
    throw invalid(`${text}: TLS is not available in this version: write http://host:port`);
  const [, host, port] =
    /^(?:http:\/\/)?(\[[\da-fA-F:.]+\]|[^:/\s]+):(\d{1,5})\/?$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535 || Number(port) === 0)
    throw invalid(`"${text}" is no endpoint: write host:port, as in 127.0.0.1:2379`);
  return { text: `${host}:${port}`, host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

function invalid(what: string): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", what);
}
