/** URLs at which members reach each other, as they are given by those who add them. */

/** Host and port and nothing else: what can be listened on and called. */
const PEER_URL = /^http:\/\/(?:\[(?=[^\]]*:[^\]]*:)[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/;
const PORT_MAX = 65_535;
const URL_LENGTH_MAX = 1024;
const URLS_MAX = 16;

export function arePeerUrls(urls: readonly string[]): boolean {
  return (
    urls.length > 0 &&
    urls.length <= URLS_MAX &&
    new Set(urls).size === urls.length &&
    urls.every(isPeerUrl)
  );
}

function isPeerUrl(url: string): boolean {
  if (url.length > URL_LENGTH_MAX) return false;
  const port = Number(PEER_URL.exec(url)?.[1] ?? 0);
  return port >= 1 && port <= PORT_MAX;
}
