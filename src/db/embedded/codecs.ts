/** The codecs that come with the database. */
import { text, utf8 } from "../../base/index.ts";
import { decimalOf, decimalText } from "../decimal.ts";
import type { Codec } from "./api.ts";
import { bytesOf, copyOf, int64Of, INT64_LEAST, invalid } from "./arguments.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const utf8Codec: Codec<string> = {
  name: "utf8",
  encode(value) {
    if (typeof value !== "string") throw invalid("a text is a string");
    return bytesOf(value);
  },
  decode: (bytes) => strict.decode(bytes),
};

const jsonCodec: Codec<unknown> = {
  name: "json",
  encode(value) {
    const encoded = JSON.stringify(value) as string | undefined;
    if (encoded === undefined) throw invalid("the value has no JSON");
    return utf8(encoded);
  },
  decode: (bytes) => JSON.parse(strict.decode(bytes)) as unknown,
};

const bytesCodec: Codec<Uint8Array> = {
  name: "bytes",
  encode(value) {
    if (typeof value === "string") throw invalid("bytes are no string");
    return copyOf(value);
  },
  decode: (bytes) => bytes,
};

const int64Codec: Codec<bigint> = {
  name: "int64",
  encode: (value) => decimalText(int64Of(value, "an int64", INT64_LEAST)),
  decode(bytes) {
    const value = decimalOf(bytes);
    if (value === null) throw invalid(`"${text(bytes.subarray(0, 32))}" is no int64`);
    return value;
  },
};

/** Ready codecs. `int64` is decimal text, as `incr` keeps its counters. */
export const codecs: {
  /** Text; bytes that are no UTF-8 are refused in both directions. */
  readonly utf8: Codec<string>;
  /** What JSON can say: no undefined, no function, no bigint. */
  readonly json: Codec<unknown>;
  readonly bytes: Codec<Uint8Array>;
  /** Signed 64-bit integers. */
  readonly int64: Codec<bigint>;
} = Object.freeze({ utf8: utf8Codec, json: jsonCodec, bytes: bytesCodec, int64: int64Codec });
