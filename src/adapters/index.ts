/**
 * The database in process, as other ecosystems know a store: subpaths of the package, one file each.
 *
 *     harmonydb/abstract-level   a database of Level, with its iterators, snapshots, sublevels and encodings
 *     harmonydb/keyv             a storage adapter for Keyv
 *     harmonydb/unstorage        a driver for unstorage
 *
 * Each stands on the public API, as a program would (and on `base`): on a database that the program has opened and shares, or on a
 * directory, which the adapter opens when it is first used and gives back at its end. In a shared database everything of
 * an adapter stands under its prefix, and nothing outside of it is read or written.
 *
 * Invariants:
 * 1. A subpath needs the package of its own ecosystem at most, never another one's; the front door needs none of them.
 *    Only `abstract-level` is loaded at run time, since Level's stores are subclasses; the others are shapes.
 * 2. What an ecosystem calls an error has its code; ours stands beside it as `cause`.
 * 3. Two keys of an adapter are never one key of the database, whatever is in them, and the other way round.
 * 4. Only a database that the adapter has opened is closed with it.
 *
 * Left out: what an ecosystem has no words for (revisions, conditions, watches in Level and Keyv). The shared database
 * has them, under the same prefix.
 */
export { assertPrefix, Home } from "./home.ts";
export { chunksOf, deleteAll, type Item, putAll } from "./many.ts";
