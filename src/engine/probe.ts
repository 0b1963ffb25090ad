import { EngineStartError } from "./errors.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { DomainDescription, FromWorker, ReadPayload, ToWorker } from "./protocol.ts";

/** How long a domain's module may take to load, in milliseconds. */
const PATIENCE = 20_000;

/** Where workers begin. */
export const WORKER_ENTRY: URL = new URL("./worker.ts", import.meta.url);

/** The top folder of this package. */
export const PACKAGE_ROOT: string = new URL("../../", import.meta.url).href;

/**
 * Asks a worker without any powers what a domain contains.
 *
 * @param module The domain's module: a URL.
 * @param permissions What the worker may do.
 * @param log Called with what the module prints while it loads.
 * @returns A plain description.
 * @throws {EngineStartError} When the module cannot be loaded, or has no domain.
 */
export async function probe(
  module: string,
  permissions: Deno.PermissionOptionsObject,
  log: (text: string) => void,
): Promise<DomainDescription> {
  const answer = await ask({ type: "describe", module }, permissions, log);
  return (answer as FromWorker & { type: "described" }).description;
}

/**
 * Shows stored payloads as the domain's code sees them; the code runs in a worker without any powers.
 *
 * @param module The domain's module: a URL.
 * @param permissions What the worker may do.
 * @param records The messages.
 * @returns A payload for each, in order.
 * @throws {EngineStartError} When the module cannot be loaded.
 */
export async function readPayloads(
  module: string,
  permissions: Deno.PermissionOptionsObject,
  records: readonly MessageRecord[],
): Promise<readonly ReadPayload[]> {
  const answer = await ask({ type: "decode", module, records }, permissions, () => {});
  return (answer as FromWorker & { type: "decoded" }).payloads;
}

/** Asks a worker one question. */
function ask(
  question: ToWorker & { readonly module: string },
  permissions: Deno.PermissionOptionsObject,
  log: (text: string) => void,
): Promise<FromWorker> {
  const worker = new Worker(WORKER_ENTRY, { type: "module", name: "probe", deno: { permissions } });
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      worker.terminate();
    };
    const fail = (message: string): void => {
      end();
      reject(new EngineStartError(`Cannot load the domain from ${question.module}: ${message}`));
    };
    const timer = setTimeout(
      () => fail(`it did not come to an end within ${PATIENCE / 1000} s; look for a loop or a wait at its top level`),
      PATIENCE,
    );
    worker.onerror = (event) => {
      event.preventDefault();
      fail(event.message);
    };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.type === "log") return log(data.text);
      if (data.type === "undescribed") return fail(data.message);
      end();
      resolve(data);
    };
    worker.postMessage(question);
  });
}
