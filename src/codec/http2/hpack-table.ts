/**
 * The fields that HPACK can name by a number: the static table and the dynamic one (RFC 7541, section 2.3 and
 * appendix A). A field is judged once, when it is made; requests that name it again by number cost a look-up.
 */
import { assert } from "../../base/index.ts";

/** Names whose meaning the connection has to know. Any other name is `other`. */
export type FieldRole =
  | "method"
  | "scheme"
  | "path"
  | "authority"
  | "contentType"
  | "contentLength"
  | "timeout"
  | "encoding"
  | "te"
  | "other"
  /** May not stand in a request: makes it malformed (RFC 9113, section 8.2). */
  | "forbidden";

/** Immutable, and shared by every request that names it. Texts have one character for each byte. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
  readonly role: FieldRole;
}

const ROLES: ReadonlyMap<string, FieldRole> = new Map<string, FieldRole>([
  [":method", "method"],
  [":scheme", "scheme"],
  [":path", "path"],
  [":authority", "authority"],
  ["content-type", "contentType"],
  ["content-length", "contentLength"],
  ["grpc-timeout", "timeout"],
  ["grpc-encoding", "encoding"],
  ["te", "te"],
  // They speak of one connection of HTTP/1.
  ["connection", "forbidden"],
  ["keep-alive", "forbidden"],
  ["proxy-connection", "forbidden"],
  ["transfer-encoding", "forbidden"],
  ["upgrade", "forbidden"],
]);

export function headerField(name: string, value: string): HeaderField {
  return { name, value, role: isWellFormed(name, value) ? roleOf(name, value) : "forbidden" };
}

function roleOf(name: string, value: string): FieldRole {
  const role = ROLES.get(name) ?? (name.startsWith(":") ? "forbidden" : "other");
  return role === "te" && value !== "trailers" ? "forbidden" : role;
}

function isWellFormed(name: string, value: string): boolean {
  if (name === "") return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    // Visible ASCII without capitals; a colon only at the start (section 8.2.1).
    if (code <= 0x20 || code >= 0x7f || (code >= 0x41 && code <= 0x5a)) return false;
    if (code === 0x3a && i > 0) return false;
  }
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0 || code === 0x0a || code === 0x0d) return false;
  }
  return true;
}

/** What a field counts in a table and in a header list: its bytes and 32 (RFC 7541, section 4.1). */
export function fieldSize(field: HeaderField): number {
  return field.name.length + field.value.length + 32;
}

/** `name` or `name value`, in the order of the numbers from 1. */
const STATIC_FIELDS: string =
  ":authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|" +
  ":status 200|:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|" +
  "accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|" +
  "allow|authorization|cache-control|content-disposition|content-encoding|content-language|" +
  "content-length|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|" +
  "host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|" +
  "location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|" +
  "server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate";

const STATIC_TABLE: readonly HeaderField[] = STATIC_FIELDS.split("|").map((text) => {
  const space = text.indexOf(" ");
  return space < 0
    ? headerField(text, "")
    : headerField(text.slice(0, space), text.slice(space + 1));
});
/** The number of the newest field of the dynamic table. */
export const DYNAMIC_START: number = STATIC_TABLE.length + 1;

/**
 * The fields that one side told the other to remember, newest first.
 *
 * Invariant: `sizeBytes` is the sum of the sizes of its fields and at most `maxBytes`.
 */
export class HeaderTable {
  /** A ring: the newest stands at `#newest`, older ones after it. Its length is a power of two. */
  #ring: (HeaderField | undefined)[] = Array.from({ length: 16 });
  #newest = 0;
  #count = 0;
  #sizeBytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** The field of a number as it stands on the wire, static or dynamic; null where there is none. */
  at(index: number): HeaderField | null {
    if (index < DYNAMIC_START) return STATIC_TABLE[index - 1] ?? null;
    const age = index - DYNAMIC_START;
    if (age >= this.#count) return null;
    return this.#ring[(this.#newest + age) & (this.#ring.length - 1)] as HeaderField;
  }

  /** Remembers a field and forgets the oldest ones that have no room beside it; all of them if it is too large itself. */
  add(field: HeaderField): void {
    const size = fieldSize(field);
    this.#shrinkTo(this.#maxBytes - size);
    if (size > this.#maxBytes) return;
    if (this.#count === this.#ring.length) this.#grow();
    this.#newest = (this.#newest - 1) & (this.#ring.length - 1);
    this.#ring[this.#newest] = field;
    this.#count++;
    this.#sizeBytes += size;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#shrinkTo(maxBytes);
  }

  invariants(): void {
    let sum = 0;
    for (let age = 0; age < this.#count; age++) {
      sum += fieldSize(this.at(DYNAMIC_START + age) as HeaderField);
    }
    assert(sum === this.#sizeBytes, "the size of the table is that of its fields");
    assert(sum <= this.#maxBytes, "the table keeps to its size");
  }

  #shrinkTo(bytes: number): void {
    while (this.#count > 0 && this.#sizeBytes > bytes) {
      this.#count--;
      const at = (this.#newest + this.#count) & (this.#ring.length - 1);
      this.#sizeBytes -= fieldSize(this.#ring[at] as HeaderField);
      this.#ring[at] = undefined;
    }
  }

  #grow(): void {
    const fields = Array.from({ length: this.#count }, (_, age) => this.at(DYNAMIC_START + age));
    this.#ring = Array.from({ length: this.#count * 2 });
    for (const [age, field] of fields.entries()) this.#ring[age] = field as HeaderField;
    this.#newest = 0;
  }
}
