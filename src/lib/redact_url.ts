/** A URL without its password and settings, for messages. */
export function withoutSecrets(url: string): string {
  return url.replace(/:\/\/([^:@/]*):.*@/, "://$1:***@").replace(/\?.*$/, "");
}
