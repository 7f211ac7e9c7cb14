/**
 * `[http|https|ws|wss://]host[:port]/namespace?query`, each part of which may be missing: then it is the page's.
 * By hand and not with URL, which would rewrite the namespace.
 */
export function parseAddress(text = '') {
  const [, scheme, host, path, query] = /^(?:(?:(\w+):)?\/\/)?([^/?#]*)([^?#]*)(?:\?([^#]*))?/.exec(text);
  const { location } = globalThis;
  const secure = /https|wss/.test(scheme || location?.protocol || 'https');
  return { origin_: `http${secure ? 's' : ''}://${host || location?.host}`, path_: path || '/', query_: query };
}
