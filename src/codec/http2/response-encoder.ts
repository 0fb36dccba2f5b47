/**
 * The header blocks of answers (RFC 7541, section 6). Nearly all answers are alike: their two blocks are named by
 * numbers once the client's table has been told of them, which saves the client's time as well as ours.
 *
 * Invariant: blocks are written in the order in which they were asked for, since each may count on the table that
 * the ones before it left behind.
 */
import { concatBytes, utf8 } from "../../base/index.ts";
import { DYNAMIC_START } from "./hpack-table.ts";
import { HEADER_TABLE_BYTES } from "./protocol.ts";

const STATUS_200 = 0x88;
const NAME_STATUS = 8;
const NAME_CONTENT_TYPE = 31;
const INDEXED = 0x80;
const ADD_TO_TABLE = 0x40;
/** A new size of the table: zero. */
const TABLE_GONE: Uint8Array = Uint8Array.of(0x20);
/** Of a percent-encoded `grpc-message`: what remains is far below a frame, and a text for people. */
const MESSAGE_CHARACTERS_MAX = 4096;
const CONTENT_TYPE = "application/grpc";

export class ResponseEncoder {
  /** "all": may be used; "gone": the client shrank it and has to be told that nothing is in it; "none": not used. */
  #table: "all" | "gone" | "none" = "all";
  /** How many of our fields the client's table holds: the content type first, then the good status. */
  #known = 0;

  /** The client said how large a table it keeps. One that is smaller than usual is not used at all. */
  limitTable(maxBytes: number): void {
    if (maxBytes < HEADER_TABLE_BYTES && this.#table === "all") {
      this.#table = "gone";
      this.#known = 0;
    }
  }

  /** The begin of an answer with messages. */
  start(): Uint8Array {
    if (this.#table !== "all") return this.#block(START_LITERAL);
    if (this.#known === 2) return START_KNOWN_2;
    if (this.#known === 1) return START_KNOWN_1;
    this.#known = 1;
    return START_FIRST;
  }

  /** The end of an answer that began, status OK. */
  trailersOk(): Uint8Array {
    if (this.#table !== "all" || this.#known === 0) return this.#block(OK_LITERAL);
    if (this.#known === 2) return OK_KNOWN;
    this.#known = 2;
    return OK_FIRST;
  }

  /** The end of an answer that began, with a status that is not OK. */
  trailers(code: number, message: string): Uint8Array {
    return this.#block(statusFields(code, message));
  }

  /** A whole answer without any message. */
  trailersOnly(code: number, message: string, more: Readonly<Record<string, string>>): Uint8Array {
    return this.#block(concatBytes(START_LITERAL, statusFields(code, message), fields(more)));
  }

  /** An answer of plain HTTP. */
  plain(status: number, more: Readonly<Record<string, string>>): Uint8Array {
    return this.#block(concatBytes(literal(NAME_STATUS, "", String(status)), fields(more)));
  }

  #block(block: Uint8Array): Uint8Array {
    if (this.#table !== "gone") return block;
    this.#table = "none";
    return concatBytes(TABLE_GONE, block);
  }
}

/** A field that is not remembered, its name given by number, or by text when the number is 0. */
function literal(nameIndex: number, name: string, value: string, first: number = 0): Uint8Array {
  const nameBytes = nameIndex === 0 ? withLength(name) : [];
  const limit = first === ADD_TO_TABLE ? 0x3f : 0x0f;
  const index = nameIndex < limit ? [first | nameIndex] : [first | limit, nameIndex - limit];
  return Uint8Array.from([...index, ...nameBytes, ...withLength(value)]);
}

function withLength(text: string): number[] {
  const bytes = [...utf8(text)];
  if (bytes.length < 0x7f) return [bytes.length, ...bytes];
  const rest = bytes.length - 0x7f;
  return rest < 0x80 ? [0x7f, rest, ...bytes] : [0x7f, (rest & 0x7f) | 0x80, rest >>> 7, ...bytes];
}

function fields(all: Readonly<Record<string, string>>): Uint8Array {
  return concatBytes(...Object.entries(all).map(([name, value]) => literal(0, name, value)));
}

function statusFields(code: number, message: string): Uint8Array {
  const status = literal(0, "grpc-status", String(code));
  return message === ""
    ? status
    : concatBytes(status, literal(0, "grpc-message", percentEncode(message)));
}

/** The message of a status as headers carry it: what is not printable ASCII, and the percent sign, as %XX of its UTF-8. */
export function percentEncode(message: string): string {
  let out = "";
  for (const byte of utf8(message)) {
    if (out.length >= MESSAGE_CHARACTERS_MAX) break;
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${(byte >> 4).toString(16)}${(byte & 15).toString(16)}`.toUpperCase();
  }
  return out;
}

const START_LITERAL: Uint8Array = concatBytes(
  Uint8Array.of(STATUS_200),
  literal(NAME_CONTENT_TYPE, "", CONTENT_TYPE),
);
const START_FIRST: Uint8Array = concatBytes(
  Uint8Array.of(STATUS_200),
  literal(NAME_CONTENT_TYPE, "", CONTENT_TYPE, ADD_TO_TABLE),
);
const START_KNOWN_1: Uint8Array = Uint8Array.of(STATUS_200, INDEXED | DYNAMIC_START);
const START_KNOWN_2: Uint8Array = Uint8Array.of(STATUS_200, INDEXED | (DYNAMIC_START + 1));
const OK_LITERAL: Uint8Array = statusFields(0, "");
const OK_FIRST: Uint8Array = literal(0, "grpc-status", "0", ADD_TO_TABLE);
const OK_KNOWN: Uint8Array = Uint8Array.of(INDEXED | DYNAMIC_START);
