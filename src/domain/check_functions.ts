import { didYouWrite } from "../lib/did_you_mean.ts";
import type { MessageType } from "../messages/message_type.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { checkName, checkParts } from "../messages/names.ts";

/**
 * Checks that a handler has exactly one function for each message type it lists.
 *
 * @param handler The handler's name.
 * @param kind Which of the two it handles.
 * @param types What it lists.
 * @param functions Its functions.
 * @throws {DomainDefinitionError} If they do not match.
 */
export function checkFunctions(
  handler: string,
  kind: "event" | "command",
  types: readonly MessageType[],
  functions: object,
): void {
  checkName("handler", handler);
  checkParts(`handler "${handler}"`, `${kind}s`, types, (type) => type.kind === kind);
  if (typeof functions !== "object" || functions === null) {
    throw new DomainDefinitionError(`Cannot define handler "${handler}": it has no functions`);
  }
  const names = types.map(({ type }) => type);
  if (names.length === 0) throw new DomainDefinitionError(`Cannot define handler "${handler}": it handles nothing`);
  for (const name of names) {
    if (!Object.hasOwn(functions, name) || typeof (functions as Record<string, unknown>)[name] !== "function") {
      const others = Object.keys(functions).filter((given) => !names.includes(given));
      throw new DomainDefinitionError(
        `Cannot define handler "${handler}": it has no function for "${name}"${didYouWrite(name, others)}`,
      );
    }
  }
  for (const name of Object.keys(functions)) {
    if (!names.includes(name)) {
      throw new DomainDefinitionError(
        `Cannot define handler "${handler}": it has a function for "${name}", which it does not list; known: ${
          names.join(", ")
        }`,
      );
    }
  }
}

const KINDS = ["net", "env", "read", "write"];

/**
 * Checks a handler's other options: they come from code that may not be typed.
 *
 * @param handler The handler's name.
 * @param options Its options.
 * @throws {DomainDefinitionError} If one of them could not be kept.
 */
export function checkOptions(
  handler: string,
  { retries, permissions = {}, formerly, from }: {
    readonly retries?: unknown;
    readonly permissions?: unknown;
    readonly formerly?: unknown;
    readonly from?: unknown;
  },
): void {
  const refuse = (fault: string) => new DomainDefinitionError(`Cannot define handler "${handler}": ${fault}`);
  if (retries !== undefined && !(Number.isInteger(retries) && retries as number >= 0)) {
    throw refuse(`"retries" is ${String(retries)}; expected a whole number, 0 or more`);
  }
  if (from !== undefined && from !== "now" && from !== "start") {
    throw refuse(`"from" is ${JSON.stringify(from)}; expected "now" or "start"`);
  }
  if (
    formerly !== undefined && (typeof formerly !== "string" || !/^[A-Za-z]\w*$/.test(formerly) || formerly === handler)
  ) {
    throw refuse(`"formerly" is ${JSON.stringify(formerly)}; expected the name it had before`);
  }
  if (typeof permissions !== "object" || permissions === null || Array.isArray(permissions)) {
    throw refuse(`"permissions" is no object; write it like { net: ["smtp.example.com:587"] }`);
  }
  for (const [kind, list] of Object.entries(permissions)) {
    if (!KINDS.includes(kind)) {
      throw refuse(`there is no permission "${kind}" for handlers; known: ${KINDS.join(", ")}`);
    }
    if (list === undefined) continue;
    if (!Array.isArray(list) || !list.every((one) => typeof one === "string" && one !== "" && !one.includes("\0"))) {
      throw refuse(`permission "${kind}" is no list of texts; write it like { ${kind}: ["…"] }`);
    }
  }
}
