/** Removes password and query from a URL, for messages. */
export function withoutSecrets(url: string): string {
  return url.replace(/:\/\/([^:@/]*):.*@/, "://$1:***@").replace(/\?.*$/, "");
}
