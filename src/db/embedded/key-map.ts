/** A map whose keys are bytes, in the order in which they came first. */
import { compareBytes } from "../../base/index.ts";

export class KeyMap<T> {
  readonly #items = new Map<string, { readonly key: Uint8Array; value: T }>();

  get size(): number {
    return this.#items.size;
  }

  get(key: Uint8Array): T | undefined {
    return this.#items.get(nameOf(key))?.value;
  }

  has(key: Uint8Array): boolean {
    return this.#items.has(nameOf(key));
  }

  set(key: Uint8Array, value: T): void {
    const name = nameOf(key);
    const item = this.#items.get(name);
    if (item === undefined) this.#items.set(name, { key, value });
    else item.value = value;
  }

  get items(): IterableIterator<{ readonly key: Uint8Array; readonly value: T }> {
    return this.#items.values();
  }

  /** Those with keys in [from, to), in byte order; `to` a single zero byte for "to the end". */
  within(from: Uint8Array, to: Uint8Array): { readonly key: Uint8Array; readonly value: T }[] {
    const isOpen = to.length === 1 && to[0] === 0;
    return [...this.#items.values()]
      .filter(({ key }) => compareBytes(key, from) >= 0 && (isOpen || compareBytes(key, to) < 0))
      .sort((a, b) => compareBytes(a.key, b.key));
  }
}

/** One character for each byte: equal exactly for equal bytes. */
export function nameOf(key: Uint8Array): string {
  let name = "";
  for (const byte of key) name += String.fromCharCode(byte);
  return name;
}
