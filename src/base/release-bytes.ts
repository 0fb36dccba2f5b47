/**
 * Memory that goes back to the system in the moment in which it is not needed any more. The collector of the runtime
 * would find it, too, but only when it runs, and in a process that has become idle it may not run for hours.
 */

type Releaser = (bytes: Uint8Array) => void;

let release: Releaser = () => {};

/** Lets the host give memory back; without one the collector does. */
export function setReleaser(releaser: Releaser): void {
  release = releaser;
}

/** The whole buffer behind `bytes` is not needed any more: whoever still holds a view of it holds nothing. */
export function releaseBytes(bytes: Uint8Array): void {
  release(bytes);
}
