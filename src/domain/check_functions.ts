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
