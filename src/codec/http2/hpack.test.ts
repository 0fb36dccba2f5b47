/** HPACK against the examples of RFC 7541, appendix C, and against what else a block may hold. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HpackDecoder } from "./hpack-decoder.ts";
import {
  DYNAMIC_START,
  fieldSize,
  type HeaderField,
  headerField,
  HeaderTable,
} from "./hpack-table.ts";
import { decodeHuffman } from "./huffman.ts";
import { percentEncode, ResponseEncoder } from "./response-encoder.ts";
import { ascii, bytes, field } from "./peer.suite.ts";

const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.replaceAll(" ", "").match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));

function decoded(decoder: HpackDecoder, block: Uint8Array): string[] {
  const fields: HeaderField[] = [];
  expect(decoder.decode(block, fields)).toBe("ok");
  decoder.invariants();
  return fields.map(({ name, value }) => `${name}: ${value}`);
}

describe("the examples of appendix C", () => {
  it.each<[string, string, string]>([
    [
      "C.2.1",
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      "custom-key: custom-header",
    ],
    ["C.2.2", "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path"],
    ["C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret"],
    ["C.2.4", "82", ":method: GET"],
  ])("%s: one field", (_name, hex, expected) => {
    expect(decoded(new HpackDecoder(4096, 4096), fromHex(hex))).toEqual([expected]);
  });

  const REQUESTS = [
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    [
      ":method: GET",
      ":scheme: http",
      ":path: /",
      ":authority: www.example.com",
      "cache-control: no-cache",
    ],
    [
      ":method: GET",
      ":scheme: https",
      ":path: /index.html",
      ":authority: www.example.com",
      "custom-key: custom-value",
    ],
  ];
  it.each<[string, string[]]>([
    [
      "C.3: plain",
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ],
    ],
    [
      "C.4: Huffman",
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
    ],
  ])("%s, three requests on one connection", (_name, blocks) => {
    const decoder = new HpackDecoder(4096, 4096);
    expect(blocks.map((block) => decoded(decoder, fromHex(block)))).toEqual(REQUESTS);
  });

  const COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
  const RESPONSES = [
    [
      ":status: 302",
      "cache-control: private",
      "date: Mon, 21 Oct 2013 20:13:21 GMT",
      "location: https://www.example.com",
    ],
    [
      ":status: 307",
      "cache-control: private",
      "date: Mon, 21 Oct 2013 20:13:21 GMT",
      "location: https://www.example.com",
    ],
    [
      ":status: 200",
      "cache-control: private",
      "date: Mon, 21 Oct 2013 20:13:22 GMT",
      "location: https://www.example.com",
      "content-encoding: gzip",
      `set-cookie: ${COOKIE}`,
    ],
  ];
  it.each<[string, string[]]>([
    [
      "C.5: plain",
      [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
      ],
    ],
    [
      "C.6: Huffman",
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      ],
    ],
  ])("%s, three answers through a table of 256 bytes that forgets", (_name, blocks) => {
    const decoder = new HpackDecoder(256, 4096);
    expect(blocks.map((block) => decoded(decoder, fromHex(block)))).toEqual(RESPONSES);
  });
});

describe("Huffman", () => {
  // Codes of appendix B: the first and the last of each length, as they stand in the paper.
  it.each<[number, number, number]>([
    [0x30, 0x0, 5],
    [0x74, 0x9, 5],
    [0x20, 0x14, 6],
    [0x75, 0x2d, 6],
    [0x3a, 0x5c, 7],
    [0x7a, 0x7b, 7],
    [0x26, 0xf8, 8],
    [0x5a, 0xfd, 8],
    [0x21, 0x3f8, 10],
    [0x3f, 0x3fc, 10],
    [0x27, 0x7fa, 11],
    [0x7c, 0x7fc, 11],
    [0x23, 0xffa, 12],
    [0x3e, 0xffb, 12],
    [0x00, 0x1ff8, 13],
    [0x7e, 0x1ffd, 13],
    [0x5e, 0x3ffc, 14],
    [0x7d, 0x3ffd, 14],
    [0x3c, 0x7ffc, 15],
    [0x7b, 0x7ffe, 15],
    [0x5c, 0x7fff0, 19],
    [0xd0, 0x7fff2, 19],
    [0x80, 0xfffe6, 20],
    [0xe2, 0xfffed, 20],
    [0x99, 0x1fffdc, 21],
    [0xe6, 0x1fffe8, 21],
    [0x81, 0x3fffd2, 22],
    [0xe9, 0x3fffeb, 22],
    [0x01, 0x7fffd8, 23],
    [0xef, 0x7ffff4, 23],
    [0x09, 0xffffea, 24],
    [0xed, 0xfffff5, 24],
    [0xc7, 0x1ffffec, 25],
    [0xeb, 0x1ffffef, 25],
    [0xc0, 0x3ffffe0, 26],
    [0xff, 0x3ffffee, 26],
    [0xcb, 0x7ffffde, 27],
    [0xfe, 0x7fffff0, 27],
    [0x02, 0xfffffe2, 28],
    [0xf9, 0xffffffe, 28],
    [0x0a, 0x3ffffffc, 30],
    [0x16, 0x3ffffffe, 30],
  ])("symbol %i is %i in %i bits", (symbol, code, length) => {
    const bits = code.toString(2).padStart(length, "0");
    // Twice, so that the second one begins at an odd place.
    const padded = (bits + bits).padEnd(Math.ceil((length * 2) / 8) * 8, "1");
    const encoded = Uint8Array.from(padded.match(/.{8}/g) ?? [], (byte) =>
      Number.parseInt(byte, 2),
    );
    const text = String.fromCharCode(symbol, symbol);
    expect(decodeHuffman(encoded, 0, encoded.length)).toBe(text);
  });

  it("is total: any bytes are a text or not, and a text is at most 8/5 as long", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
        const text = decodeHuffman(input, 0, input.length);
        if (text !== null) expect(text.length).toBeLessThanOrEqual((input.length * 8) / 5);
      }),
    );
  });
});

describe("the decoder", () => {
  it("is total: any bytes are ok, too large, or malformed", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(200, 300);
        for (const block of blocks) {
          const fields: HeaderField[] = [];
          const outcome = decoder.decode(block, fields);
          decoder.invariants();
          const size = fields.reduce((sum, one) => sum + fieldSize(one), 0);
          expect(size).toBeLessThanOrEqual(300);
          if (outcome === "malformed") return;
        }
      }),
      { numRuns: 500 },
    );
  });

  it("a block that unfolds to megabytes costs a list of the limit", () => {
    const decoder = new HpackDecoder(4096, 16_384);
    const first: HeaderField[] = [];
    decoder.decode(bytes(0x40, 1, "k", 0x7f, 0x81, 0x1e, "v".repeat(4000)), first);
    expect(first).toHaveLength(1);
    const bomb = new Uint8Array(16_000).fill(0x80 | DYNAMIC_START);
    const fields: HeaderField[] = [];
    expect(decoder.decode(bomb, fields)).toBe("tooLarge");
    expect(fields.length).toBeLessThan(5);
  });

  it("a table that shrinks forgets, and grows again empty", () => {
    const decoder = new HpackDecoder(4096, 4096);
    decoded(decoder, bytes(0x40, 1, "k", 1, "v"));
    expect(decoded(decoder, bytes(0x80 | 62))).toEqual(["k: v"]);
    expect(decoded(decoder, bytes(0x20, 0x3f, 0xe1, 0x1f, 0x82))).toEqual([":method: GET"]);
    expect(decoder.decode(bytes(0x80 | 62), [])).toBe("malformed");
  });

  it("the table is that of the paper: newest first, the oldest leave", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat({ max: 60 }), fc.record({ resize: fc.nat({ max: 300 }) }))),
        (steps) => {
          const table = new HeaderTable(300);
          let max = 300;
          let model: HeaderField[] = [];
          const trim = (): void => {
            while (model.reduce((sum, one) => sum + fieldSize(one), 0) > max) model.pop();
          };
          for (const step of steps) {
            if (typeof step === "number") {
              const added = headerField("k", "v".repeat(step));
              table.add(added);
              model = [added, ...model];
            } else {
              max = step.resize;
              table.resize(max);
            }
            trim();
            table.invariants();
            for (let age = 0; age <= model.length; age++)
              expect(table.at(DYNAMIC_START + age)).toBe(model[age] ?? null);
          }
        },
      ),
    );
  });
});

describe("the encoder", () => {
  const START = [":status: 200", "content-type: application/grpc"];

  it("begins and ends of answers, in any order, are read back as they were meant", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("start", "ok", "bad", "only", "shrink")), (steps) => {
        const encoder = new ResponseEncoder();
        const decoder = new HpackDecoder(4096, 8192);
        for (const step of steps) {
          switch (step) {
            case "start":
              expect(decoded(decoder, encoder.start())).toEqual(START);
              break;
            case "ok":
              expect(decoded(decoder, encoder.trailersOk())).toEqual(["grpc-status: 0"]);
              break;
            case "bad":
              expect(decoded(decoder, encoder.trailers(9, "é%"))).toEqual([
                "grpc-status: 9",
                "grpc-message: %C3%A9%25",
              ]);
              break;
            case "only":
              expect(decoded(decoder, encoder.trailersOnly(5, "", { a: "b" }))).toEqual([
                ...START,
                "grpc-status: 5",
                "a: b",
              ]);
              break;
            case "shrink":
              encoder.limitTable(0);
              break;
          }
        }
      }),
    );
  });

  it("tells a client with a smaller table once that nothing is in it", () => {
    const encoder = new ResponseEncoder();
    encoder.start();
    encoder.limitTable(100);
    expect(encoder.start()[0]).toBe(0x20);
    expect(encoder.start()[0]).toBe(0x88);
    expect(encoder.trailersOk()).toEqual(field("grpc-status", "0"));
  });

  it("an answer like the ones before takes three bytes", () => {
    const encoder = new ResponseEncoder();
    encoder.start();
    encoder.trailersOk();
    expect([...encoder.start(), ...encoder.trailersOk()]).toEqual([0x88, 0xbf, 0xbe]);
  });

  it("long texts keep within a frame and are cut between characters of the code", () => {
    const text = percentEncode("ü".repeat(5000));
    expect(text.length).toBeLessThan(4200);
    expect(text).toMatch(/^(%[0-9A-F]{2})+$/);
    const decoder = new HpackDecoder(4096, 8192);
    const block = new ResponseEncoder().trailers(2, "x".repeat(3000));
    expect(decoded(decoder, block)[1]).toBe(`grpc-message: ${"x".repeat(3000)}`);
    expect(ascii("a")).toHaveLength(1);
  });
});
