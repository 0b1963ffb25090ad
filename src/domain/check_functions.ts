import { didYouWrite } from "../lib/did_you_mean.ts";
import { DomainDefinitionError } from "../messages/errors.ts";

/** Checks that a handler has exactly one function for each message type it lists. */
export function checkFunctions(handler: string, names: readonly string[], functions: object): void {
  if (!/^[A-Za-z]\w*$/.test(handler)) {
    throw new DomainDefinitionError(
      `Cannot define handler "${handler}": a name starts with a letter and has only letters, digits and "_"`,
    );
  }
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
  { retries, permissions = {} }: { readonly retries?: unknown; readonly permissions?: unknown },
): void {
  const refuse = (fault: string) => new DomainDefinitionError(`Cannot define handler "${handler}": ${fault}`);
  if (retries !== undefined && !(Number.isInteger(retries) && retries as number >= 0)) {
    throw refuse(`"retries" is ${String(retries)}; expected a whole number, 0 or more`);
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
