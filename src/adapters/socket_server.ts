import { dirname } from "node:path";
import { StoreUnavailableError } from "../store/errors.ts";
import type { EventStore } from "../store/port.ts";
import { type Channel, serve } from "./rpc.ts";
import { SocketChannel } from "./socket.ts";

/** What clients need of a server's store; they do not close it. */
const METHODS: ReadonlySet<keyof EventStore> = new Set([
  "commit",
  "readStream",
  "readLog",
  "readAt",
  "readTagged",
  "readSnapshot",
  "writeSnapshots",
  "logId",
  "lastPosition",
  "changed",
  "markPublished",
  "published",
  "outboxStatus",
  "checkpoints",
  "enroll",
  "members",
  "acquireLease",
  "renewLeases",
  "releaseLease",
  "recordEnds",
  "leases",
  "deferred",
  "countDeferred",
  "replayed",
  "lag",
  "lags",
  "due",
  "tidy",
  "onceKeys",
  "scheduled",
  "outcome",
  "deadLetters",
  "deadLetter",
  "countDeadLetters",
  "replayDeadLetters",
  "purgeDeadLetters",
  "readRow",
  "readRows",
  "listRows",
  "queryRows",
  "countRows",
  "projections",
  "generations",
  "addGeneration",
  "markGeneration",
  "swapGenerations",
  "clearGeneration",
  "renameGroup",
  "keepIndexes",
]);

/**
 * Serves a store to local clients of the same user.
 *
 * @param store The store.
 * @param path Where to listen.
 * @returns A function that stops listening.
 * @throws {StoreUnavailableError} If another server listens there.
 */
export async function listen(store: EventStore, path: string): Promise<() => void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  if (await isAnswered(path)) {
    throw new StoreUnavailableError(
      `Another server already runs this domain with its store in memory (${path} answers); stop it, or use a store that several servers can share`,
      "locked",
      false,
    );
  }
  await Deno.remove(path).catch(() => {});
  const umask = Deno.umask(0o177);
  const listener = Deno.listen({ transport: "unix", path });
  Deno.umask(umask);
  const open = new Set<Channel>();
  void (async () => {
    for await (const socket of listener) {
      const channel = new SocketChannel(socket);
      open.add(channel);
      channel.onclose = () => open.delete(channel);
      serve<EventStore>(store, channel, METHODS);
    }
  })();
  return () => {
    listener.close();
    for (const channel of open) channel.close();
    try {
      Deno.removeSync(path);
    } catch {
      // Already removed.
    }
  };
}

async function isAnswered(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}
