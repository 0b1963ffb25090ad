/** An address to listen at. */
export interface HttpAddress {
  /** A name, or an address. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/**
 * Serves HTTP until closed.
 *
 * @param address Where.
 * @param handle Answers requests.
 * @returns Closes it: requests under way are answered.
 * @throws {Deno.errors.AddrInUse} If the port is taken.
 */
export function serveHttp(
  address: HttpAddress,
  handle: (request: Request) => Response | Promise<Response>,
): { readonly port: number; readonly close: () => Promise<void> } {
  const server = Deno.serve({ ...address, onListen: () => {} }, handle);
  return { port: server.addr.port, close: () => server.shutdown() };
}
