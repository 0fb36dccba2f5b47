/**
 * HPACK's Huffman code (RFC 7541, section 5.2 and appendix B), decoding only: what we send is short or indexed.
 *
 * The code is canonical: codes of one length follow each other in the order of their symbols. So the lengths say
 * everything, and the tables are made from them once. Decoding takes four bits a step through a table of states; the
 * shortest code has five bits, so that a step completes at most one symbol.
 */
import { assert } from "../../base/index.ts";

/** The length of each symbol's code as a digit of base 36, symbols 0 to 255 and then the end of string. */
const LENGTHS =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq" +
  "u";
const SYMBOLS = 256;
const END_OF_STRING = SYMBOLS;

/** A state is a place in the tree of codes: what was read of a symbol so far. There is one for each inner node. */
const STATES = 256;
const NO_SYMBOL = 0;
/** Cells of `STEPS`: the next state in the low byte, above it the completed symbol plus one. */
const SYMBOL_SHIFT = 8;
const INVALID = 0xffff_ffff;

/** For each state and each four bits: what they lead to. */
const STEPS: Uint32Array = new Uint32Array(STATES * 16);
/** 1 where a string may end: after whole symbols and at most seven bits of the end-of-string code. */
const MAY_END: Uint8Array = new Uint8Array(STATES);
buildTables();

function buildTables(): void {
  // Children of the inner nodes: a non-negative number is another inner node, a negative one the symbol ~child.
  const children: number[] = [0, 0];
  let code = 0;
  let codeLength = 0;
  for (let length = 5; length <= 30; length++) {
    for (let symbol = 0; symbol <= END_OF_STRING; symbol++) {
      if (Number.parseInt(LENGTHS.charAt(symbol), 36) !== length) continue;
      code = codeLength === 0 ? 0 : (code + 1) << (length - codeLength);
      codeLength = length;
      let node = 0;
      for (let bit = length - 1; bit > 0; bit--) {
        const at = node * 2 + ((code >>> bit) & 1);
        if (children[at] === 0) {
          children[at] = children.length / 2;
          children.push(0, 0);
        }
        node = children[at] as number;
      }
      children[node * 2 + (code & 1)] = ~symbol;
    }
  }
  assert(children.length === STATES * 2, "the code is complete");
  for (let state = 0; state < STATES; state++) {
    for (let bits = 0; bits < 16; bits++) STEPS[state * 16 + bits] = step(children, state, bits);
  }
  for (let node = 0, bits = 0; bits < 8; bits++) {
    MAY_END[node] = 1;
    node = children[node * 2 + 1] as number;
  }
}

function step(children: readonly number[], state: number, bits: number): number {
  let node = state;
  let symbol = NO_SYMBOL;
  for (let bit = 3; bit >= 0; bit--) {
    const child = children[node * 2 + ((bits >>> bit) & 1)] as number;
    if (child >= 0) {
      node = child;
      continue;
    }
    if (~child === END_OF_STRING) return INVALID;
    symbol = ~child + 1;
    node = 0;
  }
  return (symbol << SYMBOL_SHIFT) | node;
}

/** The text of `bytes` in [start, end), one character a byte; null when it is not the code of any. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | null {
  let text = "";
  let state = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    const first = STEPS[state * 16 + (byte >>> 4)] as number;
    if (first === INVALID) return null;
    const firstSymbol = first >>> SYMBOL_SHIFT;
    if (firstSymbol !== NO_SYMBOL) text += String.fromCharCode(firstSymbol - 1);
    const second = STEPS[(first & 0xff) * 16 + (byte & 15)] as number;
    if (second === INVALID) return null;
    const secondSymbol = second >>> SYMBOL_SHIFT;
    if (secondSymbol !== NO_SYMBOL) text += String.fromCharCode(secondSymbol - 1);
    state = second & 0xff;
  }
  return MAY_END[state] === 1 ? text : null;
}
