import { sleep } from "../lib/sleep.ts";
import { within } from "../lib/within.ts";

/** An address to listen at. */
export interface HttpAddress {
  /** A name, or an address. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** How long requests under way may take when it is closed, and answers to be sent, in milliseconds. */
const PATIENCE = 3_000;
const LINGER = 20;

/** Spells an address. */
export function httpUrl({ hostname, port }: HttpAddress): string {
  return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/**
 * Serves HTTP until closed.
 *
 * @param address Where.
 * @param handle Answers requests.
 * @param ended Hears of it if it ends by itself: a process may have too many files open to take another connection.
 * @returns Closes it: requests under way are answered, if they do not take long.
 * @throws {Deno.errors.AddrInUse} If the port is taken.
 */
export function serveHttp(
  address: HttpAddress,
  handle: (request: Request, info: Deno.ServeHandlerInfo) => Response | Promise<Response>,
  ended: (error: unknown) => void = () => {},
): { readonly port: number; readonly close: () => Promise<void> } {
  const stop = new AbortController();
  const underWay = new Set<Promise<unknown>>();
  let isClosing = false;
  const answer = async (request: Request, info: Deno.ServeHandlerInfo): Promise<Response> => {
    if (isClosing) return new Response(null, { status: 503, headers: { "retry-after": "1", "connection": "close" } });
    return await handle(request, info);
  };
  const server = Deno.serve({ ...address, signal: stop.signal, onListen: () => {} }, (request, info) => {
    const answered = answer(request, info);
    const done: Promise<unknown> = answered.catch(() => {}).finally(() => underWay.delete(done));
    underWay.add(done);
    return answered;
  });
  server.finished.catch((error) => {
    if (!isClosing) ended(error);
  });
  // `shutdown()` waits for whoever sends half of something, and an abort after it throws (Deno 2.9).
  const close = async (): Promise<void> => {
    isClosing = true;
    await within(PATIENCE, Promise.all(underWay));
    // What was answered last is on its way.
    await sleep(LINGER);
    stop.abort("stop");
    await server.finished.catch(() => {});
  };
  return { port: server.addr.port, close };
}
