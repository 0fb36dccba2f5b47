/** The head of a request: its fields judged as RFC 9113 section 8 and the gRPC protocol over HTTP/2 ask for. */
import type { HeaderField } from "./hpack-table.ts";

/** How a call's time is given: at most eight digits and a unit. */
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly contentType: string;
  /** Empty where the header is absent. */
  readonly timeout: string;
  readonly encoding: string;
  /** Null where the header is absent. */
  readonly contentLength: number | null;
  /** All fields, pseudo-header fields too, in their order. */
  readonly fields: readonly HeaderField[];
}

/** Null: the request is malformed (section 8.1.1). Any authority and any scheme is good: clients send whole URLs there. */
export function requestHead(fields: readonly HeaderField[]): RequestHead | null {
  let method: string | null = null;
  let path: string | null = null;
  let scheme: string | null = null;
  let authority: string | null = null;
  let contentType = "";
  let timeout = "";
  let encoding = "";
  let contentLength: number | null = null;
  let isPseudoOver = false;
  for (const field of fields) {
    const { role, value } = field;
    const isPseudo = field.name.charCodeAt(0) === 0x3a;
    if (role === "forbidden" || (isPseudo && isPseudoOver)) return null;
    if (!isPseudo) isPseudoOver = true;
    switch (role) {
      case "method":
        if (method !== null) return null;
        method = value;
        break;
      case "path":
        if (path !== null) return null;
        path = value;
        break;
      case "scheme":
        if (scheme !== null) return null;
        scheme = value;
        break;
      case "authority":
        if (authority !== null) return null;
        authority = value;
        break;
      case "contentType":
        contentType = value;
        break;
      case "timeout":
        timeout = value;
        break;
      case "encoding":
        encoding = value;
        break;
      case "contentLength": {
        if (!/^\d{1,15}$/.test(value)) return null;
        if (contentLength !== null && contentLength !== Number(value)) return null;
        contentLength = Number(value);
        break;
      }
      case "te":
      case "other":
        break;
    }
  }
  if (method === null || path === null || scheme === null || path === "") return null;
  return { method, path, contentType, timeout, encoding, contentLength, fields };
}

/** Milliseconds, rounded up; null when it is not one. */
export function parseTimeout(text: string): number | null {
  const match = TIMEOUT.exec(text);
  if (match === null) return null;
  const scale = UNIT_MS[match[2] as string] as number;
  return Math.ceil(Number(match[1]) * scale);
}

/** `application/grpc`, also with a suffix or parameters: what is inside is bytes to us. */
export function isGrpc(contentType: string): boolean {
  return (
    contentType.startsWith("application/grpc") &&
    (contentType.length === 16 || contentType[16] === "+" || contentType[16] === ";")
  );
}

/** The first value of a name; of a `-bin` name the decoded bytes, one character each. Undefined where there is none. */
export function metadataValue(fields: readonly HeaderField[], name: string): string | undefined {
  for (const field of fields) {
    if (field.name !== name) continue;
    return name.endsWith("-bin") ? decodeBase64(firstOf(field.value)) : field.value;
  }
  return undefined;
}

/** Several values of one binary name may stand in one field. */
function firstOf(value: string): string {
  const comma = value.indexOf(",");
  return (comma < 0 ? value : value.slice(0, comma)).trim();
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** With or without padding. Undefined when it is not base64. */
function decodeBase64(text: string): string | undefined {
  const digits = text.replace(/={1,2}$/, "");
  if (digits.length % 4 === 1) return undefined;
  let out = "";
  let bits = 0;
  let bitCount = 0;
  for (const character of digits) {
    const digit = BASE64.indexOf(character);
    if (digit < 0) return undefined;
    bits = ((bits << 6) | digit) & 0xfff;
    bitCount += 6;
    if (bitCount >= 8) {
      bitCount -= 8;
      out += String.fromCharCode((bits >>> bitCount) & 0xff);
    }
  }
  return out;
}
